//! `ws://host:port/path`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use http::Uri;
use http::uri::PathAndQuery;

use crate::limits::Trouble;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub host: String,
    pub port: u16,
    pub path: String,
}

impl Url {
    /// What goes into the `Host` header.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub fn resolve(&self) -> Result<SocketAddr, Trouble> {
        let unknown = |reason| Trouble::new(format!("{} has no address: {reason}", self.host));
        let mut addresses = (self.host.trim_matches(['[', ']']), self.port)
            .to_socket_addrs()
            .map_err(|error| unknown(error.to_string()))?;
        addresses.next().ok_or_else(|| unknown("none found".into()))
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not of the form ws://HOST:PORT/PATH");
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("ws")).ok_or_else(wrong)?;
        let host = authority.host();
        let port = match authority.as_str().strip_prefix(host).ok_or_else(wrong)? {
            "" => 80,
            port => port.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(wrong)?,
        };
        if host.is_empty() {
            return Err(wrong());
        }
        // As it was written: what stands in braces is filled in per connection.
        let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
        Ok(Self { host: host.into(), port, path: path.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_each_form() {
        let parse = |text: &str| text.parse::<Url>().map(|url| (url.host, url.port, url.path));
        assert_eq!(parse("ws://127.0.0.1:4000/ws?a={i}"), Ok(("127.0.0.1".into(), 4000, "/ws?a={i}".into())));
        assert_eq!(parse("ws://[::1]:1/{i}"), Ok(("[::1]".into(), 1, "/{i}".into())));
        assert_eq!(parse("ws://example.org"), Ok(("example.org".into(), 80, "/".into())));
        for wrong in
            ["http://x/", "ws://", "ws://:80/", "ws://x:port/", "ws://x:70000/", "ws://u:p@x/", "wss://x/", "/ws"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
