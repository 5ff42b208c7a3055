//! For whom a proxy says that it asks: `X-Forwarded-For` and `Forwarded` (RFC 7239), from the nearest to the farthest.
//!
//! Only what is said is read here; who is believed is decided by [`crate::ws::handshake::proxies`].

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::request::Request;

/// The header that the proxies in front write. One of them, and not whichever is there: a proxy that writes the one
/// passes on the other as its client sent it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    #[default]
    XForwardedFor,
    Forwarded,
}

impl ForwardedHeader {
    /// Whom each hop names, the last that wrote first. None for one that says nothing that is an address.
    pub fn hops(self, request: &Request<'_>) -> impl Iterator<Item = Option<IpAddr>> {
        let mut hops = Vec::new();
        match self {
            Self::XForwardedFor => {
                for list in request.headers("X-Forwarded-For") {
                    hops.extend(list.split(',').map(node));
                }
            }
            Self::Forwarded => {
                for list in request.headers("Forwarded") {
                    hops.extend(split(list, b',').map(named));
                }
            }
        }
        hops.into_iter().rev()
    }
}

/// The `for` of one element of `Forwarded`.
fn named(element: &str) -> Option<IpAddr> {
    let mut pairs = split(element, b';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    // No address has a sign that would have to be escaped.
    node(value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value))
}

/// An address with or without a port, an IPv6 address in brackets or as it is.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address: Option<IpAddr> = text.parse().ok().or_else(bracketed).or_else(with_port);
    address.map(|address| address.to_canonical())
}

/// Splits at a sign that is not within quotes.
fn split(text: &str, sign: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let all = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = all.bytes().position(|byte| {
            let ends = byte == sign && !quoted;
            quoted ^= byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        rest = end.map(|end| &all[end + 1..]);
        Some(end.map_or(all, |end| &all[..end]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::handshake::read_request;
    use proptest::prelude::*;

    fn hops(header: ForwardedHeader, lines: &str) -> Vec<String> {
        let head = format!("GET / HTTP/1.1\r\n{lines}\r\n");
        let request = read_request(head.as_bytes()).expect("valid").expect("complete");
        header.hops(&request).map(|hop| hop.map_or("?".into(), |address| address.to_string())).collect()
    }

    #[test]
    fn the_nearest_hop_comes_first_over_all_headers() {
        let lines = "X-Forwarded-For: 192.0.2.1, 192.0.2.2\r\nForwarded: for=6.6.6.6\r\nx-forwarded-for: 192.0.2.3\r\n";
        assert_eq!(hops(ForwardedHeader::XForwardedFor, lines), ["192.0.2.3", "192.0.2.2", "192.0.2.1"]);
        assert_eq!(hops(ForwardedHeader::Forwarded, lines), ["6.6.6.6"]);
        assert!(hops(ForwardedHeader::XForwardedFor, "Host: a\r\n").is_empty());
    }

    #[test]
    fn every_way_to_write_an_address_is_read() {
        for (written, read) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("unknown", "?"),
            ("_hidden", "?"),
            ("192.0.2.256", "?"),
            ("", "?"),
        ] {
            let x = format!("X-Forwarded-For: {written}\r\n");
            assert_eq!(hops(ForwardedHeader::XForwardedFor, &x), [read], "{written}");
            let standard = format!("Forwarded: proto=http;For=\"{written}\";by=203.0.113.43\r\n");
            assert_eq!(hops(ForwardedHeader::Forwarded, &standard), [read], "{written}");
        }
    }

    #[test]
    fn signs_in_quotes_divide_nothing() {
        let lines = "Forwarded: for=192.0.2.1;ext=\"a, for=6.6.6.6; \\\" for=6.6.6.6\", for=192.0.2.2\r\n";
        assert_eq!(hops(ForwardedHeader::Forwarded, lines), ["192.0.2.2", "192.0.2.1"]);
    }

    #[test]
    fn a_quote_without_end_names_nobody() {
        let lines = "Forwarded: for=\"6.6.6.6, for=192.0.2.1\r\n";
        assert_eq!(hops(ForwardedHeader::Forwarded, lines), ["?"]);
    }

    proptest! {
        #[test]
        fn whatever_a_client_writes_the_hop_behind_it_is_read(written in "[ -~]{0,40}") {
            let lines = format!("X-Forwarded-For: {written}, 192.0.2.9\r\n");
            let nearest = hops(ForwardedHeader::XForwardedFor, &lines).swap_remove(0);
            prop_assert_eq!(nearest, "192.0.2.9");
            let lines = format!("Forwarded: {written}\r\nForwarded: for=192.0.2.9\r\n");
            let nearest = hops(ForwardedHeader::Forwarded, &lines).swap_remove(0);
            prop_assert_eq!(nearest, "192.0.2.9");
        }
    }
}
