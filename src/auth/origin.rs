//! Which web pages may connect: the header `Origin` against the configured list. The lobby asks at each upgrade.
//!
//! A browser cannot be made to lie about its origin, everything else can: this protects users from foreign pages, and
//! only the token protects the gateway. Hence a request without `Origin`, which is no browser, passes.

use std::fmt;
use std::str::FromStr;

/// The pages that may connect; none: all.
#[derive(Debug, Clone, Default)]
pub struct Origins(Vec<Origin>);

/// One entry of the list: an origin (`https://app.example.com`, `http://localhost:3000`), every subdomain of a host at
/// any depth (`https://*.example.com`; not the host itself), `null` (sandboxed pages, files), or `*`.
/// Scheme and host compare without case; the port counts, where the one that the scheme implies may be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// As configured.
    text: Box<str>,
    pattern: Pattern,
}

/// An entry that is no origin, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginError {
    pub entry: String,
    pub reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Any,
    Null,
    Exact(Box<str>),
    /// Between `before` (`https://`) and `after` (`.example.com:8443`) stand one or more labels.
    Subdomain {
        before: Box<str>,
        after: Box<str>,
    },
}

impl Origins {
    /// An empty list allows every origin.
    pub fn new(list: Vec<Origin>) -> Origins {
        Origins(list)
    }

    /// Whether a request with this `Origin` header may connect.
    pub fn allows(&self, origin: Option<&str>) -> bool {
        match origin {
            None => true,
            Some(_) if self.0.is_empty() => true,
            Some(origin) => {
                let origin = without_implied_port(origin);
                self.0.iter().any(|entry| entry.pattern.matches(origin))
            }
        }
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(entry: &str) -> Result<Origin, OriginError> {
        let entry = entry.trim();
        let pattern = Pattern::parse(entry).map_err(|reason| OriginError { entry: entry.to_owned(), reason })?;
        Ok(Origin { text: entry.into(), pattern })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pattern {
    fn parse(entry: &str) -> Result<Pattern, &'static str> {
        match entry {
            "*" => return Ok(Pattern::Any),
            "null" => return Ok(Pattern::Null),
            _ => {}
        }
        let (scheme, authority) = entry.split_once("://").ok_or("it has no scheme, as in https://app.example.com")?;
        if scheme.is_empty() || authority.is_empty() {
            return Err("it has no scheme or no host");
        }
        if authority.contains(['/', '?', '#', '@']) || authority.contains(char::is_whitespace) {
            return Err("an origin ends with its host or port: no path, no trailing slash");
        }
        let entry = without_implied_port(entry);
        match entry.split_once('*') {
            None => Ok(Pattern::Exact(entry.into())),
            Some((before, after))
                if before.ends_with("://") && after.starts_with('.') && after.len() > 1 && !after.contains('*') =>
            {
                Ok(Pattern::Subdomain { before: before.into(), after: after.into() })
            }
            Some(_) => Err("a star stands for the subdomains only, as in https://*.example.com"),
        }
    }

    fn matches(&self, origin: &str) -> bool {
        match self {
            Pattern::Any => true,
            Pattern::Null => origin == "null",
            Pattern::Exact(exact) => origin.eq_ignore_ascii_case(exact),
            Pattern::Subdomain { before, after } => labels_between(origin, before, after).is_some_and(is_host_labels),
        }
    }
}

fn labels_between<'a>(origin: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let end = origin.len().checked_sub(after.len())?;
    let labels = origin.get(before.len()..end)?;
    let fits = origin.get(..before.len())?.eq_ignore_ascii_case(before) && origin[end..].eq_ignore_ascii_case(after);
    fits.then_some(labels)
}

/// Keeps `https://evil.example/.example.com` and its like from passing as a subdomain.
fn is_host_labels(labels: &str) -> bool {
    let is_label_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !labels.is_empty() && !labels.starts_with('.') && labels.bytes().all(is_label_byte)
}

fn without_implied_port(origin: &str) -> &str {
    let has_scheme = |scheme: &str| origin.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let implied = if has_scheme("https://") {
        ":443"
    } else if has_scheme("http://") {
        ":80"
    } else {
        return origin;
    };
    origin.strip_suffix(implied).unwrap_or(origin)
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an origin: {}", self.entry, self.reason)
    }
}

impl std::error::Error for OriginError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origins(list: &[&str]) -> Origins {
        Origins::new(list.iter().map(|entry| entry.parse().unwrap()).collect())
    }

    fn allows(list: &[&str], origin: &str) -> bool {
        origins(list).allows(Some(origin))
    }

    #[test]
    fn without_a_list_every_origin_may_connect() {
        assert!(allows(&[], "https://anything.example"));
        assert!(allows(&["*"], "https://anything.example"));
    }

    #[test]
    fn what_is_no_browser_sends_no_origin_and_passes() {
        assert!(origins(&["https://app.example.com"]).allows(None));
    }

    #[test]
    fn an_origin_allows_itself_only() {
        let list = ["https://app.example.com", "http://localhost:3000"];
        for origin in [
            "https://app.example.com",
            "HTTPS://App.Example.COM",
            "https://app.example.com:443",
            "http://localhost:3000",
        ] {
            assert!(allows(&list, origin), "{origin}");
        }
        for origin in [
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.example",
            "https://example.com",
            "http://localhost",
            "http://localhost:30000",
            "null",
            "",
        ] {
            assert!(!allows(&list, origin), "{origin}");
        }
    }

    #[test]
    fn a_star_stands_for_subdomains() {
        let list = ["https://*.example.com"];
        for origin in ["https://a.example.com", "https://a.b.example.com", "https://A.EXAMPLE.com"] {
            assert!(allows(&list, origin), "{origin}");
        }
        for origin in [
            "https://example.com",
            "https://.example.com",
            "https://evilexample.com",
            "http://a.example.com",
            "https://a.example.com:8443",
            "https://evil.example/.example.com",
            "https://evil.example#.example.com",
            "https://user@a.example.com",
            "https://a.example.com.evil.example",
        ] {
            assert!(!allows(&list, origin), "{origin}");
        }
        assert!(allows(&["https://*.example.com:8443"], "https://a.example.com:8443"));
    }

    #[test]
    fn the_null_origin_must_be_listed() {
        assert!(allows(&["null"], "null"));
        assert!(!allows(&["https://app.example.com"], "null"));
    }

    #[test]
    fn an_entry_that_is_no_origin_is_named() {
        for entry in [
            "app.example.com",
            "https://",
            "https://app.example.com/",
            "https://a.*.com",
            "https://*example.com",
            "https://*",
            "",
        ] {
            assert_eq!(entry.parse::<Origin>().unwrap_err().entry, entry);
        }
    }

    proptest! {
        #[test]
        fn no_origin_brings_it_down(origin in "(https://)?\\PC{0,30}(\\.example\\.com)?") {
            let origins = origins(&["https://*.example.com", "https://é.example"]);
            let allowed = origins.allows(Some(&origin));
            prop_assert!(!allowed || origin.len() > "https://".len());
        }
    }
}
