//! The head of an HTTP/1.1 request, read where it lies.
//!
//! The lobby calls [`read_request`] each time bytes have arrived. A [`Request`] borrows all it gives from the buffer.

use super::refusal::Refusal;
use smallvec::SmallVec;
use std::mem::MaybeUninit;

/// The longest head that is read: room for a large token and a browser's cookies.
pub const HEAD_BYTES_MAX: usize = 8192;

/// The most header lines that are read.
pub const HEADERS_MAX: usize = 64;

/// What stands for a header value that is not UTF-8: it is present, and equal to nothing that is allowed.
const UNREADABLE: &str = "\u{fffd}";

/// Headers kept without an allocation; browsers send 12 to 16 with an upgrade.
const HEADERS_INLINE: usize = 16;

/// Bytes that are not the head of an HTTP/1 request, or one beyond the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRequest {
    Malformed,
    HeadTooLarge,
    TooManyHeaders,
}

impl From<BadRequest> for Refusal {
    fn from(bad: BadRequest) -> Refusal {
        match bad {
            BadRequest::Malformed => Refusal::Malformed,
            BadRequest::HeadTooLarge => Refusal::HeadTooLarge,
            BadRequest::TooManyHeaders => Refusal::TooManyHeaders,
        }
    }
}

/// The head of a request.
#[derive(Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// The path as sent, not decoded; without the authority if the target was an absolute URI.
    pub path: &'a str,
    /// What follows the `?`, not decoded; see [`query_param`](super::query_param).
    pub query: Option<&'a str>,
    /// Bytes of the head in the buffer. What follows them are WebSocket frames of a hasty client.
    pub head_len: usize,
    /// HTTP/1.1, as opposed to HTTP/1.0.
    pub is_http_1_1: bool,
    headers: SmallVec<[httparse::Header<'a>; HEADERS_INLINE]>,
}

/// Reads a request head from the front of `buf`; `None` when more bytes are needed.
pub fn read_request(buf: &[u8]) -> Result<Option<Request<'_>>, BadRequest> {
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    let status = parsed.parse_with_uninit_headers(buf, &mut headers).map_err(|error| match error {
        httparse::Error::TooManyHeaders => BadRequest::TooManyHeaders,
        _ => BadRequest::Malformed,
    })?;
    let head_len = match status {
        httparse::Status::Complete(head_len) => head_len,
        httparse::Status::Partial => buf.len() + 1,
    };
    if head_len > HEAD_BYTES_MAX {
        return Err(BadRequest::HeadTooLarge);
    }
    if status.is_partial() {
        return Ok(None);
    }
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else { return Err(BadRequest::Malformed) };
    let (path, query) = split_target(target);
    let headers = SmallVec::from_slice(parsed.headers);
    Ok(Some(Request { method, path, query, head_len, is_http_1_1: parsed.version == Some(1), headers }))
}

impl<'a> Request<'a> {
    /// The value of the first header of this name, whatever its case, without the blanks around it. A value that is not
    /// UTF-8 reads as U+FFFD: present, but nothing that any rule allows.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers(name).next()
    }

    /// The values of all headers of this name, in their order.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.raw_headers(name).map(text)
    }

    /// The same as they came, for a list of which each item is to be read by itself, whatever the others are.
    pub fn raw_headers(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }

    /// Whether `token` is in the comma-separated list of this header, whatever its case.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.headers(name).flat_map(list_items).any(|item| item.eq_ignore_ascii_case(token))
    }

    /// What the client offers in `Sec-WebSocket-Protocol`, in its order of preference.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'a str> {
        self.headers("Sec-WebSocket-Protocol").flat_map(subprotocols)
    }
}

/// The items of one `Sec-WebSocket-Protocol` header.
pub fn subprotocols(header: &str) -> impl Iterator<Item = &str> {
    list_items(header)
}

fn list_items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(|item| item.trim_matches([' ', '\t'])).filter(|item| !item.is_empty())
}

fn text(value: &[u8]) -> &str {
    std::str::from_utf8(value).map_or(UNREADABLE, |value| value.trim_matches([' ', '\t']))
}

/// Path and query of a target. A server must accept an absolute URI too (RFC 9112 section 3.2.2).
fn split_target(target: &str) -> (&str, Option<&str>) {
    let target = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => {
            rest.find(['/', '?']).map_or("/", |authority| &rest[authority..])
        }
        _ => target,
    };
    match target.split_once('?') {
        Some(("", query)) => ("/", Some(query)),
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &str = "GET /ws?token=abc&userType=driver HTTP/1.1\r\nHost: example.org\r\n\
                        ORIGIN:  https://a.example \r\n\
                        Sec-WebSocket-Protocol: ringway.v1,\tbearer.abc\r\nsec-websocket-protocol: , chat\r\n\r\n";

    fn head_with(headers: &str) -> String {
        format!("GET / HTTP/1.1\r\n{headers}\r\n")
    }

    #[test]
    fn a_head_is_read_with_what_follows_left_alone() {
        let bytes = [HEAD.as_bytes(), b"\x81\x85frames"].concat();
        let request = read_request(&bytes).unwrap().unwrap();
        assert_eq!((request.method, request.path, request.is_http_1_1), ("GET", "/ws", true));
        assert_eq!(request.query, Some("token=abc&userType=driver"));
        assert_eq!(request.head_len, HEAD.len());
    }

    #[test]
    fn headers_are_found_whatever_their_case() {
        let request = read_request(HEAD.as_bytes()).unwrap().unwrap();
        assert_eq!(request.header("host"), Some("example.org"));
        assert_eq!(request.header("Origin"), Some("https://a.example"));
        assert_eq!(request.header("Authorization"), None);
    }

    #[test]
    fn subprotocols_are_listed_over_all_their_headers() {
        let request = read_request(HEAD.as_bytes()).unwrap().unwrap();
        assert_eq!(request.subprotocols().collect::<Vec<_>>(), ["ringway.v1", "bearer.abc", "chat"]);
        assert!(request.lists("sec-websocket-protocol", "CHAT"));
        assert!(!request.lists("sec-websocket-protocol", "bearer"));
        assert_eq!(subprotocols(" ,a,,b\t").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_head_cut_at_any_byte_waits_for_more() {
        for cut in 0..HEAD.len() {
            assert!(read_request(&HEAD.as_bytes()[..cut]).unwrap().is_none(), "cut at {cut}");
        }
    }

    #[test]
    fn a_head_that_never_ends_is_refused_at_the_limit() {
        let endless = format!("GET / HTTP/1.1\r\nCookie: {}", "c".repeat(HEAD_BYTES_MAX));
        assert!(read_request(&endless.as_bytes()[..HEAD_BYTES_MAX - 1]).unwrap().is_none());
        assert_eq!(read_request(&endless.as_bytes()[..HEAD_BYTES_MAX]).unwrap_err(), BadRequest::HeadTooLarge);
    }

    #[test]
    fn a_head_fills_the_limit_to_the_byte() {
        let around = head_with("Cookie: \r\n").len();
        let fits = head_with(&format!("Cookie: {}\r\n", "c".repeat(HEAD_BYTES_MAX - around)));
        assert_eq!(read_request(fits.as_bytes()).unwrap().unwrap().head_len, HEAD_BYTES_MAX);
        let exceeds = head_with(&format!("Cookie: {}\r\n", "c".repeat(HEAD_BYTES_MAX - around + 1)));
        assert_eq!(read_request(exceeds.as_bytes()).unwrap_err(), BadRequest::HeadTooLarge);
    }

    #[test]
    fn the_number_of_headers_is_limited() {
        let fits = head_with(&"A: b\r\n".repeat(HEADERS_MAX));
        assert!(read_request(fits.as_bytes()).unwrap().is_some());
        let exceeds = head_with(&"A: b\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(read_request(exceeds.as_bytes()).unwrap_err(), BadRequest::TooManyHeaders);
    }

    #[test]
    fn what_is_not_http_is_refused_without_waiting_for_its_end() {
        for bytes in
            [&b"\x16\x03\x01\x02\x00"[..], b"GET / HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n", b"\0"]
        {
            assert_eq!(read_request(bytes).unwrap_err(), BadRequest::Malformed, "{bytes:?}");
        }
    }

    #[test]
    fn an_unreadable_header_is_present_and_matches_nothing() {
        let bytes = b"GET / HTTP/1.1\r\nOrigin: https://\xff.example\r\n\r\n";
        let request = read_request(bytes).unwrap().unwrap();
        assert_eq!(request.header("Origin"), Some("\u{fffd}"));
    }

    #[test]
    fn every_form_of_target_has_a_path() {
        for (target, path, query) in [
            ("/", "/", None),
            ("/ws", "/ws", None),
            ("/ws?", "/ws", Some("")),
            ("/ws?a=b?c", "/ws", Some("a=b?c")),
            ("/ws?back=http://x/y", "/ws", Some("back=http://x/y")),
            ("http://example.org/ws?a=b", "/ws", Some("a=b")),
            ("http://example.org", "/", None),
            ("http://example.org?a=b", "/", Some("a=b")),
            ("*", "*", None),
        ] {
            assert_eq!(split_target(target), (path, query), "{target}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>, cut in any::<prop::sample::Index>()) {
            let _ = read_request(&bytes);
            let damaged = [&HEAD.as_bytes()[..cut.index(HEAD.len())], &bytes].concat();
            if let Ok(Some(request)) = read_request(&damaged) {
                prop_assert!(request.head_len <= damaged.len());
            }
        }
    }
}
