//! From a message to the request that brings it: the target, the headers that say who says it, the signature.
//!
//! Invariant: whatever a client chose, the request goes to the configured host, the path has the configured number of
//! levels, the query is the configured one, and there are no headers but ours. A value for which that cannot be held is
//! refused.

use std::cell::Cell;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use hmac::{Hmac, Mac};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri};
use http_body_util::Full;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;

use crate::config::{Body, HttpService, UrlTemplate};
use crate::lane::Content;
use crate::service::envelope::envelope;

/// Path and query, as long as servers usually take them.
const TARGET_BYTES_MAX: usize = 8 << 10;

/// The value of one header, likewise.
const HEADER_BYTES_MAX: usize = 8 << 10;

/// What stays as it is in a path: RFC 3986 section 2.3.
const OUTSIDE_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What cannot stand in a header as it is, and what escapes it.
const OUTSIDE_HEADER: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

const SIGNATURE: HeaderName = HeaderName::from_static("ringway-signature");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TYPE: HeaderName = HeaderName::from_static("ringway-type");
const USER_ID: HeaderName = HeaderName::from_static("ringway-user-id");
const SESSION_ID: HeaderName = HeaderName::from_static("ringway-session-id");
const USER_TYPE: HeaderName = HeaderName::from_static("ringway-user-type");
const CHANNEL: HeaderName = HeaderName::from_static("ringway-channel");
const KEY: HeaderName = HeaderName::from_static("ringway-key");

/// Makes the requests of one service.
pub struct Post {
    url: UrlTemplate,
    secret: Option<Hmac<Sha256>>,
    body: Body,
    /// Differs from that of every other start.
    epoch: u64,
    /// Messages so far.
    count: AtomicU64,
}

/// The requests for one message: all alike, but for the time at which they are signed.
pub struct Letter {
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    secret: Option<Hmac<Sha256>>,
}

impl Post {
    pub fn new(url: UrlTemplate, service: &HttpService) -> Self {
        let secret = service.secret.as_ref();
        let secret =
            secret.map(|secret| Hmac::new_from_slice(secret.expose().as_bytes()).expect("any length is a key"));
        Self { url, secret, body: service.body, epoch: fastrand::u64(..), count: AtomicU64::new(0) }
    }

    /// `None` when the message lacks what its path is named by, or has it as it cannot be.
    pub fn letter(&self, content: &Content) -> Option<Letter> {
        let uri = self.target(content)?;
        let mut headers = HeaderMap::with_capacity(12);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("ringway/", env!("CARGO_PKG_VERSION"))));
        let number = self.count.fetch_add(1, Relaxed);
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::try_from(format!("{:016x}-{number}", self.epoch)).ok()?);
        for (name, value) in [
            (TYPE, Some(&*content.kind)),
            (USER_ID, Some(&*content.user_id)),
            (SESSION_ID, Some(&*content.session_id)),
            (USER_TYPE, content.user_type.as_deref()),
            (CHANNEL, content.channel.as_deref()),
            (KEY, content.key.as_deref()),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                headers.insert(name, header(value)?);
            }
        }
        let body = match self.body {
            Body::Message => Bytes::copy_from_slice(content.body.as_bytes()),
            Body::Envelope => envelope(content).into(),
        };
        Some(Letter { uri, headers, body, secret: self.secret.clone() })
    }

    fn target(&self, content: &Content) -> Option<Uri> {
        let is_segment = Cell::new(true);
        let path = self.url.path().fill(content, |path, _, value| {
            // Proxies that decode a path before they look at it may also take `//` for `/`, and walk up at dots.
            let walks = value.split(['/', '\\']).any(|part| matches!(part, "." | ".."));
            is_segment.set(is_segment.get() && !value.is_empty() && !walks && value.len() <= TARGET_BYTES_MAX);
            if is_segment.get() {
                path.extend(utf8_percent_encode(value, OUTSIDE_SEGMENT));
            }
        })?;
        // Dots of the template and of a value may stand together.
        let walks = path.split('/').any(|segment| matches!(segment, "." | ".."));
        let target = format!("{}{path}{}", self.url.origin(), self.url.query());
        let is_one = is_segment.get() && !walks && target.len() <= self.url.origin().len() + TARGET_BYTES_MAX;
        is_one.then(|| target.parse().ok()).flatten()
    }
}

impl Letter {
    /// A request, signed at a time in unix seconds.
    pub fn request(&self, unix_s: u64) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        if let Some(secret) = &self.secret {
            let signature = HeaderValue::try_from(signature(secret.clone(), unix_s, &self.body));
            request.headers_mut().insert(SIGNATURE, signature.expect("digits and letters"));
        }
        request
    }
}

/// A value as visible ASCII: everything else, and the percent sign, is percent-encoded. `None` when it is too long.
fn header(value: &str) -> Option<HeaderValue> {
    if value.len() > HEADER_BYTES_MAX {
        return None;
    }
    let text: String = utf8_percent_encode(value, OUTSIDE_HEADER).collect();
    HeaderValue::try_from(text).ok().filter(|text| text.len() <= HEADER_BYTES_MAX)
}

/// `t=<unix seconds>,v1=<hex of HMAC-SHA256 over the seconds, a dot and the body>`.
fn signature(mut secret: Hmac<Sha256>, unix_s: u64, body: &[u8]) -> String {
    secret.update(unix_s.to_string().as_bytes());
    secret.update(b".");
    secret.update(body);
    let mut text = format!("t={unix_s},v1=");
    for byte in secret.finalize().into_bytes() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Secret;

    fn post(url: &str) -> Post {
        let service = HttpService { secret: Some(Secret::new("key")), ..HttpService::default() };
        Post::new(url.parse().expect(url), &service)
    }

    fn content(key: &str) -> Content {
        Content {
            kind: "chat".into(),
            user_id: key.into(),
            session_id: "s1".into(),
            body: r#"{"type":"chat"}"#.into(),
            key: Some(key.into()),
            ..Content::default()
        }
    }

    fn target(url: &str, key: &str) -> Option<String> {
        post(url).letter(&content(key)).map(|letter| letter.uri.to_string())
    }

    #[test]
    fn a_value_is_one_segment() {
        for (key, segment) in [
            ("b1", "b1"),
            ("a/b?c#d", "a%2Fb%3Fc%23d"),
            ("a b\r\nHost: x", "a%20b%0D%0AHost%3A%20x"),
            ("gr\u{fc}n", "gr%C3%BCn"),
            ("%2e%2e", "%252e%252e"),
            ("...", "..."),
            ("{type}", "%7Btype%7D"),
            ("a@b:1", "a%40b%3A1"),
        ] {
            let found = target("http://h.example/v1/{key}/x?q=1", key);
            assert_eq!(found, Some(format!("http://h.example/v1/{segment}/x?q=1")), "{key}");
        }
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        let long = "x".repeat(TARGET_BYTES_MAX + 1);
        for key in ["", ".", "..", "../x", "a/../../b", "a/..", "..\\x", "./x", long.as_str()] {
            assert_eq!(target("http://h.example/v1/{key}", key), None, "{key}");
        }
        assert_eq!(target("http://h.example/v1/.{key}", "."), None);
        assert_eq!(target("http://h.example/{user_type}", "x"), None, "the message has none");
    }

    #[test]
    fn a_signature_is_over_time_and_body() {
        let letter = post("http://h.example/").letter(&content("k")).expect("valid");
        let request = letter.request(1_700_000_000);
        // printf '1700000000.{"type":"chat"}' | openssl dgst -sha256 -hmac key
        let expected = "t=1700000000,v1=f10a3d2cb8004f128da64c00eb4621230b34226bd5de977d2cb1f4ace88ca155";
        assert_eq!(request.headers()[SIGNATURE], expected);
    }

    #[test]
    fn letters_differ_and_the_requests_of_one_do_not() {
        let post = post("http://h.example/");
        let key = |letter: &Letter, unix_s| letter.request(unix_s).headers()[IDEMPOTENCY_KEY].clone();
        let letters = [post.letter(&content("k")).expect("valid"), post.letter(&content("k")).expect("valid")];
        assert_eq!(key(&letters[0], 1), key(&letters[0], 2));
        assert_ne!(key(&letters[0], 1), key(&letters[1], 1));
    }

    proptest! {
        #[test]
        fn whatever_a_client_says_host_levels_query_and_headers_stay(key in "\\PC*|[./\\\\\r\n\0%?#:@ -~]{0,40}") {
            if let Some(letter) = post("http://h.example:81/v1/{key}/{user_id}-x?a=b").letter(&content(&key)) {
                prop_assert_eq!(letter.uri.authority().map(|a| a.as_str()), Some("h.example:81"));
                prop_assert_eq!(letter.uri.query(), Some("a=b"));
                let segments: Vec<&str> = letter.uri.path().split('/').collect();
                prop_assert_eq!((segments.len(), segments[1]), (4, "v1"));
                let said = percent_encoding::percent_decode_str(segments[2]).decode_utf8().expect("as it was");
                prop_assert_eq!(&*said, &key);
                let request = letter.request(1);
                prop_assert_eq!(request.headers().len(), 8);
                let said = request.headers()[KEY].to_str().expect("visible ASCII");
                prop_assert!(said.bytes().all(|b| b.is_ascii_graphic()));
                prop_assert_eq!(&*percent_encoding::percent_decode_str(said).decode_utf8().expect("as it was"), &key);
            }
        }
    }
}
