//! Where a backend listens: `http://host:port`, `https://host:port`, or `host:port` alone, which is the first.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::text;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// By TLS.
    pub is_secure: bool,
    /// A name or an address, one of IPv6 in brackets.
    pub host: String,
    pub port: u16,
}

const EXPECTED: &str = "expected http://host:port, https://host:port or host:port";

impl FromStr for Endpoint {
    /// One line that says what is wrong. It does not repeat the text, in which somebody may have put a password.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = whole.parse().map_err(|_| format!("not an address: {EXPECTED}"))?;
        let is_secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(format!("not an address of gRPC: {EXPECTED}")),
        };
        let Some(authority) = uri.authority().filter(|authority| !authority.as_str().contains('@')) else {
            return Err(format!("there is no place for a user or a password: {EXPECTED}"));
        };
        if uri.query().is_some() || !matches!(uri.path(), "" | "/") {
            return Err(format!("there is no place for a path: {EXPECTED}"));
        }
        let host = authority.host();
        let port = match authority.as_str().strip_prefix(host) {
            Some("") => Some(if is_secure { 443 } else { 80 }),
            rest => rest.and_then(|rest| rest.strip_prefix(':')?.parse().ok()),
        };
        let port = port.filter(|port| *port > 0).ok_or_else(|| format!("not a port: {EXPECTED}"))?;
        if host.is_empty() {
            Err(format!("no host: {EXPECTED}"))
        } else {
            Ok(Self { is_secure, host: host.into(), port })
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", if self.is_secure { "https" } else { "http" }, self.host, self.port)
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text::parsed(deserializer, "an address", |text| text.trim().parse())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_read_and_print_as_the_first() {
        for (written, printed) in [
            ("localhost:50051", "http://localhost:50051"),
            ("http://10.0.0.7:50051/", "http://10.0.0.7:50051"),
            ("https://chat.example", "https://chat.example:443"),
            ("http://chat", "http://chat:80"),
            ("[::1]:50051", "http://[::1]:50051"),
            ("chat-service:9090", "http://chat-service:9090"),
        ] {
            let endpoint: Endpoint = written.parse().expect(written);
            assert_eq!(endpoint.to_string(), printed);
            assert_eq!(printed.parse(), Ok(endpoint));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_quoting_it() {
        for text in [
            "",
            ":50051",
            "hunter2:",
            "http://hunter2:0",
            "hunter2:99999",
            "http://u:hunter2@h:1",
            "u:hunter2@h:1",
            "tcp://hunter2:1",
            "http://h:1/hunter2",
            "http://h:1/?hunter2",
            "hun ter2:1",
            "unix:///run/hunter2",
        ] {
            let error = text.parse::<Endpoint>().expect_err(text);
            assert!(error.ends_with(EXPECTED) && !error.contains("hun"), "{text}: {error}");
        }
    }
}
