//! `nats://[user:password@]host[:port]`, or several of them separated by commas, taken apart once.
//!
//! Invariant: what can be printed (`Display`, `Debug`, `Serialize`) never had user, password or token.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use super::{Secret, text};

/// The servers of one cluster: each is as good as the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsUrl {
    /// Without who connects.
    servers: Vec<Url>,
    /// For `settle`, which moves it to `nats.user`, `nats.password` or `nats.token`; `None` in a loaded configuration.
    pub(in crate::config) identity: Option<Identity>,
}

/// Who connects, as a URL says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    User(String, Secret),
    /// What stands before the `@` without a colon.
    Token(Secret),
}

impl NatsUrl {
    /// # Errors
    ///
    /// One line that says what is wrong and does not repeat the URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut servers, mut identity) = (Vec::new(), None);
        for server in text.split(',').map(str::trim).filter(|server| !server.is_empty()) {
            let (server, own) = parse_server(server)?;
            servers.push(server);
            match (&identity, own) {
                (_, None) => {}
                (None, own) => identity = own,
                (Some(earlier), Some(own)) if *earlier == own => {}
                _ => return Err("the servers of one cluster know one user, and these are several".into()),
            }
        }
        if servers.is_empty() {
            return Err(FORM.into());
        }
        Ok(Self { servers, identity })
    }

    /// One at least, without who connects.
    pub fn servers(&self) -> &[Url] {
        &self.servers
    }
}

const FORM: &str = "expected nats://[user:password@]host[:port], or several separated by commas";

fn parse_server(text: &str) -> Result<(Url, Option<Identity>), String> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("nats://{text}") };
    if with_scheme.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("a URL has no blanks in it; %20 stands for one".into());
    }
    let mut url = Url::parse(&with_scheme).map_err(|error| format!("not a valid URL: {error}"))?;
    match url.scheme() {
        "nats" | "tls" => {}
        "ws" | "wss" => return Err(format!("NATS over WebSocket is not supported: {FORM}")),
        _ => return Err(format!("not a NATS URL: {FORM}")),
    }
    let names_host = url.host_str().is_some_and(|host| !host.is_empty());
    if !names_host || !["", "/"].contains(&url.path()) || url.query().or(url.fragment()).is_some() {
        return Err(format!("not a NATS URL: {FORM}"));
    }
    let identity = match (url.username(), url.password()) {
        ("", None) => None,
        (token, None) => Some(Identity::Token(Secret::new(decoded(token)?))),
        ("", Some(_)) => return Err("the URL has a password and no user".into()),
        (user, Some(password)) => Some(Identity::User(decoded(user)?, Secret::new(decoded(password)?))),
    };
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    cleared.map_err(|()| FORM)?;
    Ok((url, identity))
}

fn decoded(part: &str) -> Result<String, String> {
    let text = percent_decode_str(part).decode_utf8();
    text.map(Into::into).map_err(|_| "user, password and token are UTF-8".into())
}

impl fmt::Display for NatsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, server) in self.servers.iter().enumerate() {
            write!(f, "{}{server}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl Serialize for NatsUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NatsUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::parsed(deserializer, "a URL", Self::parse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_servers_have_one_user() {
        let url = NatsUrl::parse("nats://us%40er:p%3Ass@a, tls://us%40er:p%3Ass@b:5222,c").expect("valid");
        assert_eq!(url.to_string(), "nats://a,tls://b:5222,nats://c");
        assert_eq!(url.identity, Some(Identity::User("us@er".into(), Secret::new("p:ss"))));
        let error = NatsUrl::parse("nats://u:hunter2@a,nats://u:hunter3@b").expect_err("two passwords");
        assert!(error.contains("one user") && !error.contains("hunter"), "{error}");
    }

    #[test]
    fn what_stands_alone_before_the_host_is_a_token() {
        let url = NatsUrl::parse("nats://s3cret@localhost:4222").expect("valid");
        assert_eq!(url.identity, Some(Identity::Token(Secret::new("s3cret"))));
        assert_eq!(NatsUrl::parse("localhost").expect("valid").identity, None);
    }

    #[test]
    fn neither_user_nor_password_nor_token_is_printed() {
        for (written, printed) in [
            ("nats://u:hunter2@h:1", "nats://h:1"),
            ("nats://hunter2@h", "nats://h"),
            ("tls://u:a%40hunter2@[::1]:1,h", "tls://[::1]:1,nats://h"),
        ] {
            let url = NatsUrl::parse(written).expect(written);
            assert_eq!(url.to_string(), printed);
            assert!(!format!("{url:?}").contains("hunter2"), "{url:?}");
            assert_eq!(NatsUrl::parse(printed).expect(printed).to_string(), printed);
        }
    }

    #[test]
    fn what_cannot_be_reached_is_refused_without_quoting_it() {
        for (url, reason) in [
            ("wss://u:hunter2@h", "WebSocket"),
            ("redis://u:hunter2@h", "not a NATS URL"),
            ("nats://u:hunter2@", "URL"),
            ("nats://:hunter2@h", "no user"),
            ("nats://u:hunter2@h:99999", "URL"),
            ("nats://u:hunter2@h/path", "not a NATS URL"),
            ("nats://u:hunter2@h?x=1", "not a NATS URL"),
            ("nats://u:hun ter2@h", "blanks"),
            ("nats://u:%ffhunter2@h", "UTF-8"),
            (" , ", "expected nats://"),
        ] {
            let error = NatsUrl::parse(url).expect_err(url);
            assert!(error.contains(reason) && !error.contains("hun"), "{url}: {error}");
        }
    }
}
