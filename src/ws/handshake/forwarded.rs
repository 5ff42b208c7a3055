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
                for list in request.raw_headers("X-Forwarded-For") {
                    hops.extend(list.split(|byte| *byte == b',').map(|hop| node(str::from_utf8(hop).ok()?)));
                }
            }
            Self::Forwarded => {
                for list in request.raw_headers("Forwarded") {
                    hops.extend(split(list, b',').map(named));
                }
            }
        }
        hops.into_iter().rev()
    }
}

/// The `for` of one element of `Forwarded`.
fn named(element: &[u8]) -> Option<IpAddr> {
    let mut pairs = split(element, b';').filter_map(|pair| str::from_utf8(pair).ok()?.trim().split_once('='));
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

/// Splits at a sign that is not within quotes. Where the last quote has no end, quotes count for nothing: it was opened
/// by whoever wrote first, and must not swallow what was appended.
fn split(text: &[u8], sign: u8) -> impl Iterator<Item = &[u8]> {
    let mut quotes = Quotes::default();
    text.iter().for_each(|byte| quotes.read(*byte));
    let are_closed = !quotes.open;
    let mut quotes = Quotes::default();
    text.split(move |byte| {
        quotes.read(*byte);
        *byte == sign && !(quotes.open && are_closed)
    })
}

/// Whether a text is within quotes, after each of its bytes.
#[derive(Default)]
struct Quotes {
    open: bool,
    escaped: bool,
}

impl Quotes {
    fn read(&mut self, byte: u8) {
        self.open ^= byte == b'"' && !self.escaped;
        self.escaped = byte == b'\\' && !self.escaped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::handshake::read_request;
    use proptest::prelude::*;

    fn hops(header: ForwardedHeader, lines: impl AsRef<[u8]>) -> Vec<String> {
        let head = [b"GET / HTTP/1.1\r\n", lines.as_ref(), b"\r\n"].concat();
        let request = read_request(&head).expect("valid").expect("complete");
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
    fn a_quote_without_end_hides_no_hop() {
        let lines = "Forwarded: for=\"6.6.6.6, for=198.51.100.7, for=\"[2001:db8::9]:4711\";proto=http\r\n";
        assert_eq!(hops(ForwardedHeader::Forwarded, lines), ["2001:db8::9", "198.51.100.7", "?"]);
    }

    #[test]
    fn what_is_no_text_hides_no_hop() {
        let lines = b"X-Forwarded-For: \xff, 198.51.100.7\r\n";
        assert_eq!(hops(ForwardedHeader::XForwardedFor, lines), ["198.51.100.7", "?"]);
        let lines = b"Forwarded: for=\xff, ext=\xff;for=198.51.100.7\r\n";
        assert_eq!(hops(ForwardedHeader::Forwarded, lines), ["198.51.100.7", "?"]);
    }

    /// All that may stand in a header, and often what divides it.
    fn written() -> impl Strategy<Value = Vec<u8>> {
        let dividing = prop::sample::select(b"\"\\,;= \t".to_vec());
        prop::collection::vec(prop_oneof![dividing, b' '..=b'~', 0x80..=0xff_u8], 0..40)
    }

    proptest! {
        #[test]
        fn whatever_a_client_writes_the_hop_behind_it_is_read(written in written()) {
            use ForwardedHeader::{Forwarded, XForwardedFor};
            for (header, name, hop, address) in [
                (XForwardedFor, "X-Forwarded-For: ", "192.0.2.9", "192.0.2.9"),
                (Forwarded, "Forwarded: ", "for=192.0.2.9", "192.0.2.9"),
                (Forwarded, "Forwarded: ", "proto=http;for=\"[2001:db8::9]:4711\";by=\"_a\"", "2001:db8::9"),
            ] {
                for between in [", ", ",", "\r\n"] {
                    let name_again = if between == "\r\n" { name } else { "" };
                    let lines = [name.as_bytes(), &written, format!("{between}{name_again}{hop}\r\n").as_bytes()].concat();
                    prop_assert_eq!(hops(header, lines).swap_remove(0), address);
                }
            }
        }
    }
}
