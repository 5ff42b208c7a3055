//! `ws://host:port/path`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

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
        let mut addresses =
            (self.host.as_str(), self.port).to_socket_addrs().map_err(|error| unknown(error.to_string()))?;
        addresses.next().ok_or_else(|| unknown("none found".into()))
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not of the form ws://HOST:PORT/PATH");
        let rest = text.strip_prefix("ws://").ok_or_else(wrong)?;
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
            None => (authority, 80),
        };
        if host.is_empty() {
            return Err(wrong());
        }
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
        assert_eq!(parse("ws://example.org"), Ok(("example.org".into(), 80, "/".into())));
        for wrong in ["http://x/", "ws://", "ws://:80/", "ws://x:port/", "wss://x/"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
