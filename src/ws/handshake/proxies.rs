//! Which proxies stand in front, and so for whom a connection counts: the nearest hop that is not one of them.
//!
//! Immutable, a part of the rules. Without a trusted network every peer is a client, whatever it says.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::{ForwardedHeader, Request};

#[derive(Default)]
pub struct Proxies {
    trusted: Vec<Network>,
    header: ForwardedHeader,
    /// They begin with a PROXY header.
    pub proxy_protocol: bool,
}

impl Proxies {
    pub fn new(trusted: Vec<Network>, header: ForwardedHeader, proxy_protocol: bool) -> Self {
        Self { trusted, header, proxy_protocol }
    }

    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|Network(network)| network.contains(&address))
    }

    /// For whom a request from `peer` counts. A proxy that does not say counts for itself.
    pub fn client(&self, peer: IpAddr, request: &Request<'_>) -> IpAddr {
        let mut nearest = peer;
        if !self.trusts(peer) {
            return nearest;
        }
        for hop in self.header.hops(request) {
            let Some(hop) = hop else { break };
            nearest = hop;
            if !self.trusts(hop) {
                break;
            }
        }
        nearest
    }
}

/// A network, `10.0.0.0/8`, or the one of a single address, which may be written without its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = text.parse().ok().or_else(|| text.parse().ok().map(<IpAddr as Into<IpNet>>::into));
        let network = network.and_then(canonical).map(Self);
        network.ok_or_else(|| format!("`{text}` is no address or network such as `10.0.0.0/8`"))
    }
}

/// A network of IPv4 addresses mapped into IPv6 as the one of IPv4 that it is: addresses are compared in that form.
/// None where it reaches beyond them.
fn canonical(network: IpNet) -> Option<IpNet> {
    match network.addr().to_canonical() {
        IpAddr::V4(address) if network.max_prefix_len() == 128 => {
            IpNet::new(address.into(), network.prefix_len().checked_sub(96)?).ok()
        }
        _ => Some(network),
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(network) = self;
        match network.prefix_len() == network.max_prefix_len() {
            true => network.addr().fmt(f),
            false => network.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::handshake::read_request;

    fn proxies(trusted: &[&str]) -> Proxies {
        let trusted = trusted.iter().map(|text| text.parse().expect("a network")).collect();
        Proxies::new(trusted, ForwardedHeader::XForwardedFor, false)
    }

    fn client(proxies: &Proxies, peer: &str, forwarded: &str) -> String {
        let head = format!("GET / HTTP/1.1\r\nX-Forwarded-For: {forwarded}\r\n\r\n");
        let request = read_request(head.as_bytes()).expect("valid").expect("complete");
        proxies.client(peer.parse().expect("an address"), &request).to_string()
    }

    #[test]
    fn the_nearest_that_is_no_proxy_of_ours_is_the_client() {
        let proxies = proxies(&["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"]);
        for (peer, forwarded, expected) in [
            ("10.1.1.1", "6.6.6.6, 198.51.100.7", "198.51.100.7"),
            ("10.1.1.1", "6.6.6.6, 198.51.100.7, 10.2.2.2, 192.0.2.1", "198.51.100.7"),
            ("2001:db8::9", "198.51.100.7", "198.51.100.7"),
            ("::ffff:10.1.1.1", "198.51.100.7", "198.51.100.7"),
            ("10.1.1.1", "10.3.3.3, 10.2.2.2", "10.3.3.3"),
            ("10.1.1.1", "6.6.6.6, unknown", "10.1.1.1"),
            ("10.1.1.1", "6.6.6.6, unknown, 10.2.2.2", "10.2.2.2"),
            ("10.1.1.1", "", "10.1.1.1"),
            ("198.51.100.9", "6.6.6.6", "198.51.100.9"),
        ] {
            assert_eq!(client(&proxies, peer, forwarded), expected, "{peer} says {forwarded}");
        }
    }

    #[test]
    fn a_mapped_network_is_one_of_ipv4() {
        let proxies = proxies(&["::ffff:10.0.0.0/104", "::ffff:192.0.2.1/128"]);
        for peer in ["10.1.1.1", "::ffff:10.1.1.1", "192.0.2.1"] {
            assert_eq!(client(&proxies, peer, "198.51.100.7"), "198.51.100.7", "{peer}");
        }
        assert_eq!(client(&proxies, "11.1.1.1", "198.51.100.7"), "11.1.1.1");
        assert_eq!(client(&proxies, "192.0.2.2", "198.51.100.7"), "192.0.2.2");
    }

    #[test]
    fn nobody_is_believed_by_default() {
        assert_eq!(client(&Proxies::default(), "127.0.0.1", "6.6.6.6"), "127.0.0.1");
    }

    #[test]
    fn what_is_no_network_is_named() {
        for bad in ["10.0.0.0/33", "proxy.example", "", "10.0.0.0/", "::ffff:10.0.0.0/95"] {
            let error = bad.parse::<Network>().expect_err(bad);
            assert!(error.contains(&format!("`{bad}`")), "{bad}: {error}");
        }
    }

    #[test]
    fn a_network_is_written_so_that_it_reads_back() {
        for (text, written) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1/32", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            let network: Network = text.parse().expect(text);
            assert_eq!(network.to_string(), written);
            assert_eq!(written.parse(), Ok(network));
        }
    }
}
