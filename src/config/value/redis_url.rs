//! `redis://[user[:password]@]host[:port][/database]`, taken apart once.
//!
//! Invariant: what can be printed (`Display`, `Debug`, `Serialize`) never had the password.

use std::fmt;

use redis::{ConnectionAddr, IntoConnectionInfo};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

use super::Secret;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// Without the password.
    url: Url,
    pub host: String,
    pub port: u16,
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
        if !text.starts_with("redis://") {
            return Err(scheme_refused(text));
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("a URL has no blanks in it; %20 stands for one".into());
        }
        let mut url = Url::parse(text).map_err(|error| format!("not a valid URL: {error}"))?;
        let info = url.clone().into_connection_info().map_err(|error| format!("not a valid URL: {error}"))?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else { return Err(scheme_refused(text)) };
        url.set_password(None).map_err(|()| "not a valid URL: it names no host")?;
        let settings = info.redis_settings();
        Ok(RedisUrl {
            host: host.clone(),
            port: *port,
            username: settings.username().map(str::to_owned),
            password: settings.password().filter(|text| !text.is_empty()).map(Secret::new),
            database: named_database(&url, settings.db())?,
            url,
        })
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
        // By way of `Value`, because serde's own error for a wrong type quotes what it found.
        let value = toml::Value::deserialize(deserializer)?;
        let text = value.as_str().ok_or_else(|| de::Error::custom("expected a URL in quotes"))?;
        RedisUrl::parse(text).map_err(de::Error::custom)
    }
}

fn scheme_refused(url: &str) -> String {
    let reason = match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("rediss" | "valkeys") => "Redis over TLS is not supported yet",
        Some("unix" | "redis+unix") => "Redis over a Unix socket is not supported",
        _ => "not a Redis URL",
    };
    format!("{reason}: expected redis://[user[:password]@]host[:port][/database]")
}

fn named_database(url: &Url, number: i64) -> Result<Option<u32>, String> {
    match url.path().trim_matches('/') {
        "" => Ok(None),
        _ => u32::try_from(number).map(Some).map_err(|_| "the database is a number from 0".into()),
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
            ("rediss://:hunter2@h", "TLS"),
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
