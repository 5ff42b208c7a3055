//! `redis://[user[:password]@]host[:port][/database]`, or `rediss://` for TLS, taken apart once.
//!
//! Invariant: what can be printed (`Display`, `Debug`, `Serialize`) never had the password.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use super::{Secret, text};

/// Where Redis listens if nothing else is said.
const PORT: u16 = 6379;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// Without the password.
    url: Url,
    pub host: String,
    pub port: u16,
    /// `rediss://`.
    pub uses_tls: bool,
    pub username: Option<String>,
    /// For `settle`, which moves it to `redis.password`; `None` in a loaded configuration.
    pub(in crate::config) password: Option<Secret>,
    /// For `settle`, as above; `None` also when the URL names no database.
    pub(in crate::config) database: Option<u32>,
}

impl RedisUrl {
    /// # Errors
    ///
    /// One line that says what is wrong and does not repeat the URL.
    pub fn parse(text: &str) -> Result<RedisUrl, String> {
        let uses_tls = text.starts_with("rediss://");
        if !uses_tls && !text.starts_with("redis://") {
            return Err(scheme_refused(text));
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("a URL has no blanks in it; %20 stands for one".into());
        }
        let mut url = Url::parse(text).map_err(|error| format!("not a valid URL: {error}"))?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("not a valid URL: it names no host")?;
        // An address of IPv6 stands in brackets.
        let host = host.trim_matches(['[', ']']).to_owned();
        if ["0.0.0.0", "::"].contains(&&*host) {
            return Err("not a valid URL: a wildcard address is nobody's".into());
        }
        let username = Some(decoded(url.username())?).filter(|name| !name.is_empty());
        let password = url.password().map(decoded).transpose()?.filter(|text| !text.is_empty()).map(Secret::new);
        let (database, port) = (named_database(&url)?, url.port().unwrap_or(PORT));
        url.set_password(None).map_err(|()| "not a valid URL: it names no host")?;
        Ok(RedisUrl { url, host, port, uses_tls, username, password, database })
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl Serialize for RedisUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RedisUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RedisUrl, D::Error> {
        text::parsed(deserializer, "a URL", Self::parse)
    }
}

fn scheme_refused(url: &str) -> String {
    let reason = match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("unix" | "redis+unix") => "Redis over a Unix socket is not supported",
        _ => "not a Redis URL",
    };
    format!("{reason}: expected redis://[user[:password]@]host[:port][/database], or rediss:// for TLS")
}

fn decoded(part: &str) -> Result<String, String> {
    let text = percent_decode_str(part).decode_utf8().map_err(|_| "not a valid URL: user or password is not UTF-8")?;
    Ok(text.into_owned())
}

fn named_database(url: &Url) -> Result<Option<u32>, String> {
    match url.path().trim_matches('/') {
        "" => Ok(None),
        number => number.parse().map(Some).map_err(|_| "the database is a number from 0".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_url_is_taken_apart() {
        let url = RedisUrl::parse("redis://us%40er:p%3Ass%2F@cache.local:7000/3").expect("valid");
        assert_eq!((url.host.as_str(), url.port), ("cache.local", 7000));
        assert_eq!(url.username.as_deref(), Some("us@er"));
        assert_eq!(url.password.as_ref().map(Secret::expose), Some("p:ss/"));
        assert_eq!(url.database, Some(3));
    }

    #[test]
    fn the_short_url_has_redis_own_defaults() {
        let url = RedisUrl::parse("redis://localhost").expect("valid");
        assert_eq!((url.host.as_str(), url.port, url.username, url.database), ("localhost", 6379, None, None));
        assert!(url.password.is_none());
        assert_eq!(RedisUrl::parse("redis://[::1]:6380/").expect("valid").host, "::1");
    }

    #[test]
    fn another_s_is_for_tls() {
        let url = RedisUrl::parse("rediss://:secret@cache.example/2").expect("valid");
        assert_eq!((url.uses_tls, url.port, url.database), (true, 6379, Some(2)));
        assert_eq!(url.to_string(), "rediss://cache.example/2");
        assert!(!RedisUrl::parse("redis://cache.example").expect("valid").uses_tls);
    }

    #[test]
    fn the_password_is_never_printed() {
        for (written, printed) in [
            ("redis://:hunter2@h:1/0", "redis://h:1/0"),
            ("redis://u:hunter2@h", "redis://u@h"),
            ("redis://u:a@hunter2@h?protocol=resp3", "redis://u@h?protocol=resp3"),
            ("redis://h/5", "redis://h/5"),
        ] {
            let url = RedisUrl::parse(written).expect(written);
            assert_eq!(url.to_string(), printed);
            assert!(!format!("{url:?}").contains("hunter2"), "{url:?}");
            assert_eq!(RedisUrl::parse(printed).expect(printed).to_string(), printed);
        }
    }

    #[test]
    fn what_cannot_be_reached_is_refused_without_quoting_it() {
        for (url, reason) in [
            ("redis+unix:///run/redis.sock?pass=hunter2", "Unix socket"),
            ("unix:///run/hunter2", "Unix socket"),
            ("hunter2:6379", "not a Redis URL"),
            ("redis://", "URL"),
            ("redis://:hunter2@h:99999", "URL"),
            ("redis://:hunter2@h/abc", "database"),
            ("redis://:hunter2@h/-1", "database"),
            ("redis://:hunter2@h/99999999999", "database"),
            ("redis://:hun ter2@h", "blanks"),
            ("redis://0.0.0.0", "wildcard"),
        ] {
            let error = RedisUrl::parse(url).expect_err(url);
            assert!(error.contains(reason) && !error.contains("hun"), "{url}: {error}");
        }
    }
}
