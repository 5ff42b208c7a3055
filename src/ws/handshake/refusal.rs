//! Every way to refuse a connection before the upgrade, and the one table that maps it to an HTTP answer.
//!
//! The lobby answers with [`refusal_response`], counts the refusal under its code, and closes the socket.

use http::StatusCode;

/// Why a request is refused. Closed: a reason that is not in here does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    Malformed,
    /// A trusted proxy did not say for whom it connects, or not in the form that was agreed on.
    BadProxyHeader,
    HttpVersion,
    BadHost,
    UpgradeMissing,
    ConnectionNotUpgrade,
    BadKey,
    /// Why the token is refused: a word and a sentence that need no escaping in JSON.
    Token {
        code: &'static str,
        message: &'static str,
    },
    OriginNotAllowed,
    RoleNotAllowed,
    /// By an operator, for a time.
    UserSentAway,
    PathNotFound,
    MethodNotAllowed,
    DeadlineExceeded,
    /// Its head was still awaited when others needed the place.
    Displaced,
    WebSocketVersion,
    TooManyFromAddress {
        retry_after_s: u32,
    },
    /// As many connections as one address may have open.
    AddressFull {
        retry_after_s: u32,
    },
    /// As many connections as one user may have open.
    UserFull {
        retry_after_s: u32,
    },
    HeadTooLarge,
    TooManyHeaders,
    /// No room for one more without a token.
    UnauthenticatedFull {
        retry_after_s: u32,
    },
    /// The keys of the issuer, without which nothing is known of a token, are not to be had now.
    KeysUnavailable {
        retry_after_s: u32,
    },
    Full {
        retry_after_s: u32,
    },
    Draining {
        retry_after_s: u32,
    },
}

impl Refusal {
    /// Every reason, for those who count by reason.
    pub const ALL: [Refusal; 25] = [
        Refusal::Malformed,
        Refusal::BadProxyHeader,
        Refusal::HttpVersion,
        Refusal::BadHost,
        Refusal::UpgradeMissing,
        Refusal::ConnectionNotUpgrade,
        Refusal::BadKey,
        Refusal::Token { code: "token", message: "" },
        Refusal::OriginNotAllowed,
        Refusal::RoleNotAllowed,
        Refusal::UserSentAway,
        Refusal::PathNotFound,
        Refusal::MethodNotAllowed,
        Refusal::DeadlineExceeded,
        Refusal::Displaced,
        Refusal::WebSocketVersion,
        Refusal::TooManyFromAddress { retry_after_s: 0 },
        Refusal::AddressFull { retry_after_s: 0 },
        Refusal::UserFull { retry_after_s: 0 },
        Refusal::HeadTooLarge,
        Refusal::TooManyHeaders,
        Refusal::UnauthenticatedFull { retry_after_s: 0 },
        Refusal::KeysUnavailable { retry_after_s: 0 },
        Refusal::Full { retry_after_s: 0 },
        Refusal::Draining { retry_after_s: 0 },
    ];

    /// The HTTP status.
    pub const fn status(self) -> StatusCode {
        self.row().0
    }

    /// The reason in a word: the `code` of the body.
    pub const fn code(self) -> &'static str {
        self.row().1
    }

    /// The reason as a metric label: one for all tokens, which are counted apart.
    pub const fn label(self) -> &'static str {
        match self {
            Refusal::Token { .. } => "token",
            other => other.code(),
        }
    }

    /// The reason in a sentence.
    pub const fn message(self) -> &'static str {
        self.row().2
    }

    /// The table: refusal, status, code, message. Neither text needs escaping in JSON.
    #[rustfmt::skip]
    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        use Refusal::*;
        use StatusCode as S;
        match self {
            Malformed                 => (S::BAD_REQUEST, "malformed_request", "not a valid HTTP/1.1 request"),
            BadProxyHeader            => (S::BAD_REQUEST, "bad_proxy_header", "a PROXY protocol header was expected"),
            HttpVersion               => (S::BAD_REQUEST, "http_version", "a WebSocket upgrade needs HTTP/1.1"),
            BadHost                   => (S::BAD_REQUEST, "bad_host", "exactly one Host header is needed"),
            UpgradeMissing            => (S::BAD_REQUEST, "upgrade_missing", "Upgrade: websocket is missing"),
            ConnectionNotUpgrade      => (S::BAD_REQUEST, "connection_not_upgrade", "Connection: Upgrade is missing"),
            BadKey                    => (S::BAD_REQUEST, "bad_key", "Sec-WebSocket-Key must be one base64 value of 16 bytes"),
            Token { code, message }   => (S::UNAUTHORIZED, code, message),
            OriginNotAllowed          => (S::FORBIDDEN, "origin_not_allowed", "this origin is not allowed"),
            RoleNotAllowed            => (S::FORBIDDEN, "role_not_allowed", "this role is not allowed"),
            UserSentAway              => (S::FORBIDDEN, "user_sent_away", "an operator has disconnected this user for a time"),
            PathNotFound              => (S::NOT_FOUND, "not_found", "nothing is served at this path"),
            MethodNotAllowed          => (S::METHOD_NOT_ALLOWED, "method_not_allowed", "only GET is allowed"),
            DeadlineExceeded          => (S::REQUEST_TIMEOUT, "handshake_timeout", "the request did not arrive in time"),
            Displaced                 => (S::REQUEST_TIMEOUT, "handshake_displaced", "the request did not arrive before others needed the place"),
            WebSocketVersion          => (S::UPGRADE_REQUIRED, "websocket_version", "Sec-WebSocket-Version must be 13"),
            TooManyFromAddress { .. } => (S::TOO_MANY_REQUESTS, "too_many_from_address", "too many connections from this address"),
            AddressFull { .. }        => (S::TOO_MANY_REQUESTS, "too_many_open_from_address", "this address has as many connections as it may"),
            UserFull { .. }           => (S::TOO_MANY_REQUESTS, "too_many_of_user", "this user has as many connections as it may"),
            HeadTooLarge              => (S::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", "the request head is too large"),
            TooManyHeaders            => (S::REQUEST_HEADER_FIELDS_TOO_LARGE, "too_many_headers", "the request has too many headers"),
            UnauthenticatedFull { .. } => (S::SERVICE_UNAVAILABLE, "too_many_unauthenticated", "too many connections have not authenticated; send the token with the request"),
            KeysUnavailable { .. }    => (S::SERVICE_UNAVAILABLE, "keys_unavailable", "the keys of the token's issuer are not to be had now"),
            Full { .. }               => (S::SERVICE_UNAVAILABLE, "full", "the server is full"),
            Draining { .. }           => (S::SERVICE_UNAVAILABLE, "draining", "the server is shutting down"),
        }
    }

    /// The header that the status requires beside the usual ones.
    fn header(self) -> Option<(&'static str, String)> {
        use Refusal::*;
        match self {
            Token { .. } => Some(("WWW-Authenticate", "Bearer error=\"invalid_token\"".into())),
            MethodNotAllowed => Some(("Allow", "GET".into())),
            WebSocketVersion => Some(("Sec-WebSocket-Version", "13".into())),
            TooManyFromAddress { retry_after_s }
            | AddressFull { retry_after_s }
            | UserFull { retry_after_s }
            | UnauthenticatedFull { retry_after_s }
            | KeysUnavailable { retry_after_s }
            | Full { retry_after_s }
            | Draining { retry_after_s } => Some(("Retry-After", retry_after_s.to_string())),
            _ => None,
        }
    }
}

/// The whole answer to a refused request. The connection is closed after it.
pub fn refusal_response(refusal: &Refusal) -> Vec<u8> {
    let body = format!(r#"{{"error":{{"code":"{}","message":"{}"}}}}"#, refusal.code(), refusal.message());
    let header = refusal.header();
    response(refusal.status(), header.as_ref().map(|(name, value)| (*name, value.as_str())), &body)
}

/// The whole answer `200 OK` with a JSON body, for the few plain requests the public port serves. The connection
/// is closed after it.
pub fn json_response(body: &str) -> Vec<u8> {
    response(StatusCode::OK, None, body)
}

fn response(status: StatusCode, header: Option<(&str, &str)>, body: &str) -> Vec<u8> {
    let (name, colon, value, end) = header.map_or(("", "", "", ""), |(name, value)| (name, ": ", value, "\r\n"));
    format!(
        "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\
         {name}{colon}{value}{end}\r\n{body}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len(),
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sonic_rs::JsonValueTrait;
    use std::collections::HashSet;

    const TOKEN: Refusal = Refusal::Token { code: "expired", message: "the token has expired" };

    /// Status, headers and body as an independent parser sees them.
    fn read(response: &[u8]) -> (u16, Vec<(String, String)>, String) {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut parsed = httparse::Response::new(&mut headers);
        let head_len = parsed.parse(response).unwrap().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let headers = parsed.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect();
        assert!(!parsed.reason.unwrap().is_empty());
        (parsed.code.unwrap(), headers, text(&response[head_len..]))
    }

    #[test]
    fn every_refusal_is_a_whole_http_answer_with_its_reason_in_json() {
        for refusal in Refusal::ALL.into_iter().chain([TOKEN]) {
            let (status, headers, body) = read(&refusal_response(&refusal));
            assert_eq!(status, refusal.status().as_u16());
            assert!(headers.contains(&("Content-Length".into(), body.len().to_string())));
            assert!(headers.contains(&("Connection".into(), "close".into())));
            let error = sonic_rs::from_str::<sonic_rs::Value>(&body).unwrap()["error"].clone();
            assert_eq!(error["code"].as_str(), Some(refusal.code()));
            assert_eq!(error["message"].as_str(), Some(refusal.message()));
        }
    }

    #[test]
    fn the_body_names_code_and_message() {
        let (_, _, body) = read(&refusal_response(&Refusal::PathNotFound));
        assert_eq!(body, r#"{"error":{"code":"not_found","message":"nothing is served at this path"}}"#);
    }

    #[test]
    fn every_refusal_has_its_own_label() {
        let labels: HashSet<_> = Refusal::ALL.iter().map(|refusal| refusal.label()).collect();
        assert_eq!(labels.len(), Refusal::ALL.len());
    }

    #[test]
    fn the_headers_a_status_requires_are_there() {
        for (refusal, name, value) in [
            (TOKEN, "WWW-Authenticate", "Bearer error=\"invalid_token\""),
            (Refusal::MethodNotAllowed, "Allow", "GET"),
            (Refusal::WebSocketVersion, "Sec-WebSocket-Version", "13"),
            (Refusal::TooManyFromAddress { retry_after_s: 7 }, "Retry-After", "7"),
            (Refusal::AddressFull { retry_after_s: 5 }, "Retry-After", "5"),
            (Refusal::UserFull { retry_after_s: 5 }, "Retry-After", "5"),
            (Refusal::UnauthenticatedFull { retry_after_s: 5 }, "Retry-After", "5"),
            (Refusal::Full { retry_after_s: 8 }, "Retry-After", "8"),
            (Refusal::Draining { retry_after_s: 9 }, "Retry-After", "9"),
        ] {
            let (_, headers, _) = read(&refusal_response(&refusal));
            assert!(headers.contains(&(name.into(), value.into())), "{refusal:?}");
        }
    }

    #[test]
    fn a_plain_answer_is_ok_with_its_body() {
        let (status, _, body) = read(&json_response(r#"{"status":"ok"}"#));
        assert_eq!((status, body.as_str()), (200, r#"{"status":"ok"}"#));
    }
}
