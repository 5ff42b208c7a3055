//! `amqp://[user[:password]@]host[:port][/virtual host]`, and `amqps://` for TLS, taken apart once.
//!
//! Invariant: what can be printed (`Display`, `Debug`, `Serialize`) never had the password.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::{Host, Url};

use super::{Secret, text};

/// Who comes without a name. The broker lets it in over loopback alone, unless it is told otherwise.
const GUEST: &str = "guest";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RabbitMqUrl {
    /// Without the password.
    url: Url,
    pub tls: bool,
    /// An IPv6 address stands here without brackets.
    pub host: String,
    pub port: u16,
    pub username: String,
    pub virtual_host: String,
    /// For `settle`, which moves it to `rabbitmq.password`; `None` in a loaded configuration.
    pub(in crate::config) password: Option<Secret>,
}

impl RabbitMqUrl {
    /// # Errors
    ///
    /// One line that says what is wrong and does not repeat the URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str = "expected amqp://[user[:password]@]host[:port][/virtual host], or amqps:// for TLS";
        let tls = text.starts_with("amqps://");
        if !tls && !text.starts_with("amqp://") {
            return Err(format!("not a RabbitMQ URL: {FORM}"));
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("a URL has no blanks in it; %20 stands for one".into());
        }
        let mut url = Url::parse(text).map_err(|error| format!("not a valid URL: {error}"))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("what stands behind ? or # has no meaning here: {FORM}"));
        }
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => return Err(format!("not a valid URL: it names no host: {FORM}")),
        };
        let username = Some(decoded(url.username())?).filter(|name| !name.is_empty());
        let password = url.password().map(decoded).transpose()?.filter(|password| !password.is_empty());
        let virtual_host = virtual_host(url.path())?;
        url.set_password(None).map_err(|()| "not a valid URL: it names no host")?;
        Ok(Self {
            tls,
            host,
            port: url.port().unwrap_or(if tls { 5671 } else { 5672 }),
            username: username.unwrap_or_else(|| GUEST.into()),
            virtual_host,
            password: password.map(Secret::new),
            url,
        })
    }

    /// The password of who has none: a guest's is known to everybody.
    pub fn default_password(&self) -> &'static str {
        if self.username == GUEST { GUEST } else { "" }
    }
}

/// `/` and nothing are the broker's own virtual host, which is called `/`.
fn virtual_host(path: &str) -> Result<String, String> {
    match path.strip_prefix('/').unwrap_or_default() {
        "" => Ok("/".into()),
        name if name.contains('/') => Err("the virtual host is one name; %2f stands for a / in it".into()),
        name => decoded(name).map_err(|_| "the virtual host is not UTF-8".into()),
    }
}

fn decoded(text: &str) -> Result<String, String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(Into::into).map_err(|_| "the user and the password must be UTF-8".into())
}

impl fmt::Display for RabbitMqUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl Serialize for RabbitMqUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RabbitMqUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::parsed(deserializer, "a URL", Self::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> RabbitMqUrl {
        RabbitMqUrl::parse(text).expect(text)
    }

    #[test]
    fn a_full_url_is_taken_apart() {
        let url = parsed("amqps://us%40er:p%3Ass%2F@rabbit.local:7000/a%2fb");
        assert_eq!((url.tls, url.host.as_str(), url.port), (true, "rabbit.local", 7000));
        assert_eq!((url.username.as_str(), url.virtual_host.as_str()), ("us@er", "a/b"));
        assert_eq!(url.password.as_ref().map(Secret::expose), Some("p:ss/"));
    }

    #[test]
    fn the_short_url_has_the_brokers_own_defaults() {
        for text in ["amqp://localhost", "amqp://localhost/", "amqp://localhost/%2f"] {
            let url = parsed(text);
            assert_eq!(
                (url.tls, url.host.as_str(), url.port, url.virtual_host.as_str()),
                (false, "localhost", 5672, "/")
            );
            assert_eq!((url.username.as_str(), url.default_password()), ("guest", "guest"));
        }
        assert_eq!(parsed("amqps://h").port, 5671);
        assert_eq!(parsed("amqp://[::1]:5673").host, "::1");
        assert_eq!(parsed("amqp://127.0.0.1").host, "127.0.0.1");
        assert_eq!(parsed("amqp://app@h").default_password(), "");
    }

    #[test]
    fn the_password_is_never_printed() {
        for (written, printed) in [
            ("amqp://u:hunter2@h", "amqp://u@h"),
            ("amqps://u:hunter2@h:1/v", "amqps://u@h:1/v"),
            ("amqp://u:a%40hunter2@h/%2f", "amqp://u@h/%2f"),
        ] {
            let url = parsed(written);
            assert_eq!(url.to_string(), printed);
            assert!(!format!("{url:?}").contains("hunter2"), "{url:?}");
            assert_eq!(parsed(printed).to_string(), printed);
        }
    }

    #[test]
    fn what_cannot_be_reached_is_refused_without_quoting_it() {
        for (url, reason) in [
            ("hunter2:5672", "not a RabbitMQ URL"),
            ("http://:hunter2@h", "not a RabbitMQ URL"),
            ("amqp://", "host"),
            ("amqp://u:hunter2@", "host"),
            ("amqp://u:hunter2@h:99999", "URL"),
            ("amqp://u:hunter2@h/a/b", "one name"),
            ("amqp://u:hunter2@h?heartbeat=5", "has no meaning"),
            ("amqp://u:hun ter2@h", "blanks"),
            ("amqp://u:hunter2%ff@h", "UTF-8"),
        ] {
            let error = RabbitMqUrl::parse(url).expect_err(url);
            assert!(error.contains(reason) && !error.contains("hun"), "{url}: {error}");
        }
    }
}
