//! Every reason for which a request is refused by the admin port, and the one table that maps it to an HTTP answer.

use axum::Json;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::auth::Full;
use crate::ws::frame::MESSAGE_BYTES_MAX;

const _: () = assert!(MESSAGE_BYTES_MAX == 16 << 20, "the table below says so");

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminError {
    BadPath,
    BadQuery,
    BadName,
    NoPresence,
    BodyUnreadable,
    BodyEmpty,
    BodyNotUtf8,
    BodyTooLarge,
    BodyTooSlow,
    BodiesFull,
    TokenMissing,
    TokenInvalid,
    HostUnknown,
    OriginForeign,
    PathNotFound,
    MethodNotAllowed,
    Busy,
    NotTaken,
    NoAnswer,
    RevocationsFull,
    BadBatch,
    BadKey,
    KeyReused,
    UnderWay,
    NotificationUnknown,
    WaitsFull,
}

impl AdminError {
    /// The table: error, status, code, message.
    #[rustfmt::skip]
    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        use AdminError::*;
        use StatusCode as Status;
        match self {
            BadPath          => (Status::BAD_REQUEST, "bad_path", "the path is not valid UTF-8 when decoded"),
            BadQuery         => (Status::BAD_REQUEST, "bad_query", "the query names something unknown, or a value that does not fit"),
            BadName          => (Status::BAD_REQUEST, "bad_name", "a user id or token id has 1 to 250 bytes and no control characters"),
            BodyUnreadable   => (Status::BAD_REQUEST, "body_unreadable", "the body did not arrive"),
            BodyEmpty        => (Status::BAD_REQUEST, "body_empty", "the body is the message and must not be empty"),
            BodyNotUtf8      => (Status::BAD_REQUEST, "body_not_utf8", "the body is the message and must be UTF-8 text"),
            BodyTooLarge     => (Status::PAYLOAD_TOO_LARGE, "body_too_large", "the message is larger than 16 MiB"),
            BodyTooSlow      => (Status::REQUEST_TIMEOUT, "body_too_slow", "the body did not arrive in time: see admin.transfer_deadline"),
            BodiesFull       => (Status::SERVICE_UNAVAILABLE, "bodies_full", "too many bodies arrive at once; nothing was done"),
            TokenMissing     => (Status::UNAUTHORIZED, "token_missing", "send the admin token: Authorization: Bearer TOKEN"),
            TokenInvalid     => (Status::UNAUTHORIZED, "token_invalid", "the admin token is not this one"),
            HostUnknown      => (Status::FORBIDDEN, "host_unknown", "without an admin token only localhost and IP addresses are served: set admin.token"),
            OriginForeign    => (Status::FORBIDDEN, "origin_foreign", "pages of other sites may not use the admin port"),
            PathNotFound     => (Status::NOT_FOUND, "not_found", "nothing is served at this path"),
            MethodNotAllowed => (Status::METHOD_NOT_ALLOWED, "method_not_allowed", "this path wants another method: see Allow"),
            Busy             => (Status::SERVICE_UNAVAILABLE, "busy", "too many requests wait for the shards; nothing was done"),
            NotTaken         => (Status::SERVICE_UNAVAILABLE, "not_taken", "every shard that it was for is too far behind to take it; nothing was done"),
            NoPresence       => (Status::NOT_FOUND, "no_presence", "who is online in this channel is not kept: see presence.channels"),
            NoAnswer         => (Status::SERVICE_UNAVAILABLE, "no_answer", "no shard answered in time; what was asked may still happen"),
            BadBatch         => (Status::BAD_REQUEST, "bad_batch", "expected {\"messages\":[{\"channel\":…,\"message\":…}]}: at most 1,000 messages and 10,000 channels"),
            BadKey           => (Status::BAD_REQUEST, "bad_key", "an Idempotency-Key has 1 to 255 visible characters"),
            KeyReused        => (Status::UNPROCESSABLE_ENTITY, "key_reused", "another request had this Idempotency-Key; nothing was done"),
            UnderWay         => (Status::CONFLICT, "under_way", "a request with this Idempotency-Key is being carried out: ask again for its answer"),
            NotificationUnknown => (Status::NOT_FOUND, "notification_unknown", "no notification of this id is kept here for such a user, nor its end remembered"),
            WaitsFull        => (Status::SERVICE_UNAVAILABLE, "waits_full", "too many requests wait for notifications; name a `user`, or ask without `wait`"),
            RevocationsFull  => (Status::INSUFFICIENT_STORAGE, "revocations_full", "as many users and tokens as there is room for are revoked; nothing was done"),
        }
    }
}

#[cfg(feature = "grpc")]
impl AdminError {
    /// The word of the table.
    pub const fn code(self) -> &'static str {
        self.row().1
    }

    /// The sentence of the table.
    pub const fn sentence(self) -> &'static str {
        self.row().2
    }

    /// What it is over gRPC. The word is in the metadata `ringway-code`.
    pub fn status(self) -> tonic::Status {
        use tonic::Code;
        let code = match self.row().0 {
            StatusCode::UNAUTHORIZED => Code::Unauthenticated,
            StatusCode::FORBIDDEN => Code::PermissionDenied,
            StatusCode::NOT_FOUND => Code::NotFound,
            StatusCode::REQUEST_TIMEOUT => Code::DeadlineExceeded,
            StatusCode::CONFLICT => Code::Aborted,
            StatusCode::UNPROCESSABLE_ENTITY => Code::FailedPrecondition,
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::INSUFFICIENT_STORAGE => Code::ResourceExhausted,
            StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
            _ => Code::InvalidArgument,
        };
        let mut status = tonic::Status::new(code, self.sentence());
        let word = tonic::metadata::MetadataValue::from_static(self.code());
        status.metadata_mut().insert("ringway-code", word);
        status
    }
}

#[derive(Serialize)]
struct Body {
    error: Error,
}

#[derive(Serialize)]
struct Error {
    code: &'static str,
    message: &'static str,
}

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        let (status, code, message) = self.row();
        let mut response = (status, Json(Body { error: Error { code, message } })).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let challenge = header::HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<Full> for AdminError {
    fn from(_: Full) -> Self {
        AdminError::RevocationsFull
    }
}

impl From<BytesRejection> for AdminError {
    fn from(rejection: BytesRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => AdminError::BodyTooLarge,
            _ => AdminError::BodyUnreadable,
        }
    }
}

impl From<PathRejection> for AdminError {
    fn from(_: PathRejection) -> Self {
        AdminError::BadPath
    }
}

impl From<QueryRejection> for AdminError {
    fn from(_: QueryRejection) -> Self {
        AdminError::BadQuery
    }
}
