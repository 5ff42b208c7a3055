//! The opening handshake (RFC 6455 section 4.2): from a request head to an upgrade, or to a refusal that says why.
//!
//! The lobby reads bytes until [`HeadReader`] sees a whole head, calls [`read_request`], looks at path, origin
//! and token, and answers with [`accept_response`] or [`refusal_response`]. Sans-IO: the lobby owns the
//! socket, the buffer and the deadline.

mod forwarded;
mod head;
pub mod proxies;
mod query;
mod refusal;
mod request;
mod upgrade;

pub use forwarded::ForwardedHeader;
pub use head::HeadReader;
pub use query::query_param;
pub use refusal::{Refusal, json_response, refusal_response};
pub use request::{BadRequest, HEAD_BYTES_MAX, HEADERS_MAX, Request, read_request, subprotocols};
pub use upgrade::{Upgrade, accept_response};
