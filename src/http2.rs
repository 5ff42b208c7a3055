//! How far a connection of HTTP/2 reads ahead, whichever end of it is ours. Used by the service and the admin port that
//! speak gRPC.
//!
//! Invariant: a call that is not read holds up itself alone. Its own window bounds it; that of the connection, and what
//! hangs on it, is large enough for the windows of all calls.

/// What the library takes a frame for that waits to be read, however little is in it.
const FRAME_BYTES: u64 = 256;

/// An empty message of gRPC is as long, and may come in a frame of its own.
const MESSAGE_BYTES_MIN: u64 = 5;

/// What frames are taken for beyond what is in them may be one part in so many of the connection's window. It ends,
/// with all of its calls, when it is more.
const PARTS: u64 = 2;

/// The largest window there is.
const WINDOW_BYTES_MAX: u32 = i32::MAX as u32;

/// The window of a connection on which so many calls may each be full of the smallest messages, unread.
pub fn connection_window(call_window_bytes: u32, calls: u32) -> u32 {
    let frames = u64::from(call_window_bytes).div_ceil(MESSAGE_BYTES_MIN);
    let bytes = PARTS * frames * (FRAME_BYTES - MESSAGE_BYTES_MIN);
    bytes.saturating_mul(calls.into()).try_into().map_or(WINDOW_BYTES_MAX, |bytes: u32| bytes.min(WINDOW_BYTES_MAX))
}
