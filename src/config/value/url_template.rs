//! An `http://` or `https://` URL in whose path values of the message may stand in braces:
//! `https://chat.internal/messages/{type}?from=ringway`.
//!
//! Invariant: scheme, host and query are the same for every message, and so is the number of `/` in the path, if a
//! value is written as one segment.

use std::fmt;
use std::str::FromStr;

use url::Url;

use super::{Subject, text};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlTemplate {
    /// Scheme and host, with the port where one is named: `https://chat.internal:8443`.
    origin: Box<str>,
    path: Subject,
    /// With its question mark; empty without one.
    query: Box<str>,
}

impl UrlTemplate {
    /// What is the same for every message and is reached before any of them: scheme, host and port.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Begins with `/`.
    pub fn path(&self) -> &Subject {
        &self.path
    }

    /// What stands behind the path; empty, or from its question mark on.
    pub fn query(&self) -> &str {
        &self.query
    }

    pub fn is_https(&self) -> bool {
        self.origin.starts_with("https://")
    }
}

impl FromStr for UrlTemplate {
    type Err = String;

    /// # Errors
    ///
    /// One line that does not repeat the URL, as somebody may have put a password into it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let behind_scheme = ["http://", "https://"].into_iter().find_map(|scheme| text.strip_prefix(scheme));
        let rest = behind_scheme.ok_or("expected a URL that begins with http:// or https://")?;
        if !text.chars().all(|c| c.is_ascii_graphic() && !"\"<>\\^`|#".contains(c)) {
            return Err(
                "a URL has neither blanks nor a # nor letters outside of ASCII in it; %20 stands for one".into()
            );
        }
        let origin_len = text.len() - rest.len() + rest.find(['/', '?']).unwrap_or(rest.len());
        let (origin, behind) = text.split_at(origin_len);
        let (path, query) = behind.split_at(behind.find('?').unwrap_or(behind.len()));
        if origin.contains('@') {
            return Err("a name and a password have no place in this URL".into());
        }
        if [origin, query].iter().any(|part| part.contains(['{', '}'])) {
            return Err("values in braces may stand in the path alone".into());
        }
        Url::parse(origin).map_err(|error| format!("not a valid URL: {error}"))?;
        let path: Subject = if path.is_empty() { "/" } else { path }.parse()?;
        if path.to_string().split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err("the path has . or .. in it".into());
        }
        if path.texts().any(|text| text.contains('}') || !is_escaped(text)) {
            return Err("the path has a % or a brace that stands for nothing".into());
        }
        Ok(Self { origin: origin.into(), path, query: query.into() })
    }
}

/// Whether every percent sign has its two digits.
fn is_escaped(text: &str) -> bool {
    text.split('%').skip(1).all(|behind| {
        let digits = behind.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

impl fmt::Display for UrlTemplate {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.origin, self.path, self.query)
    }
}

impl serde::Serialize for UrlTemplate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for UrlTemplate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::parsed(deserializer, "a URL", str::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_printed_as_it_was() {
        for (text, origin, path, query) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "/", ""),
            ("https://a.example/v1/{type}/x", "https://a.example", "/v1/{type}/x", ""),
            ("https://[::1]:1/{key}?a=b&c", "https://[::1]:1", "/{key}", "?a=b&c"),
            ("http://a.example?x", "http://a.example", "/", "?x"),
            ("http://a.example/a%20b", "http://a.example", "/a%20b", ""),
        ] {
            let url: UrlTemplate = text.parse().expect(text);
            assert_eq!((url.origin(), &*url.path().to_string(), url.query()), (origin, path, query));
            let again: UrlTemplate = url.to_string().parse().expect("what is printed");
            assert_eq!(again, url);
        }
    }

    #[test]
    fn what_is_no_such_url_is_refused_and_not_repeated() {
        for (text, error) in [
            ("ftp://a.example/", "begins with http"),
            ("a.example/", "begins with http"),
            ("http://", "not a valid URL"),
            ("http:///x", "not a valid URL"),
            ("http://a.example:99999/", "not a valid URL"),
            ("http://u:hunter2@a.example/", "no place in this URL"),
            ("http://{key}.example/", "path alone"),
            ("http://a.example/?q={key}", "path alone"),
            ("http://a.example/x#y", "neither blanks nor a #"),
            ("http://a.example/x y", "neither blanks nor a #"),
            ("http://a.example/\u{fc}", "neither blanks nor a #"),
            ("http://a.example/x\r\nHost: b", "neither blanks nor a #"),
            ("http://a.example/a/../b", ". or .."),
            ("http://a.example/..", ". or .."),
            ("http://a.example/{nobody}", "there is no {nobody}"),
            ("http://a.example/{key", "not closed"),
            ("http://a.example/a}b", "stands for nothing"),
            ("http://a.example/100%", "stands for nothing"),
            ("http://a.example/%zz", "stands for nothing"),
        ] {
            let found = text.parse::<UrlTemplate>().expect_err(text);
            assert!(found.contains(error), "{text:?}: {found}");
            assert!(!found.contains("hunter2"), "{found}");
        }
    }
}
