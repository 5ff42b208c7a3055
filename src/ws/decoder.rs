//! From received bytes to messages and control events.
//!
//! A connection owns one [`Decoder`] and hands it every chunk it receives. Invariant: a peer that stands between two
//! messages costs 8 bytes and no heap; what is half received lives in one box (`Pending`) that goes away with it. A
//! message that lies whole in the chunk is unmasked and checked where it lies, and borrowed from there.
//!
//! ```text
//!                chunk ends in the header              chunk ends in the payload
//!             ┌──────► header cut ───────┐          ┌──────► payload cut ──────┐
//!             │                          ▼          │                          ▼
//!  between ───┴───── header parsed and admitted ────┴──── payload whole: event, or fragment kept ───► between
//! ```
//!
//! The rules for a frame by itself are in [`header`](super::header), those for a frame in its place in `admit`.

use super::close::CloseCode;
use super::header::{Header, Opcode};
use super::mask;
use super::pending::{Assembled, Frame, Pending, take};
use super::violation::Violation;
use std::borrow::Cow;

/// The payload of an event: borrowed from the received chunk, or owned when it came in several pieces.
pub type Payload<'a> = Cow<'a, [u8]>;

/// What a peer sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A whole text message.
    Text(Cow<'a, str>),
    /// A whole binary message; only where the policy takes them.
    Binary(Payload<'a>),
    /// A part of a message, with more to come. It may have been empty, so it is counted by whoever counts frames.
    Fragment,
    /// At most 125 bytes, to be returned in a pong.
    Ping(Payload<'a>),
    Pong(Payload<'a>),
    /// The peer closes; what follows on the connection is not to be read (RFC 6455 section 5.5.1).
    Close(Option<PeerClose<'a>>),
}

/// What a peer's close frame said. The code is one that a peer may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerClose<'a> {
    pub code: CloseCode,
    pub reason: Cow<'a, str>,
}

/// What a peer may send, where RFC 6455 leaves it to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Bounds a message over all its fragments.
    pub message_bytes_max: usize,
    /// Whether binary messages are taken, or are a violation.
    pub binary: bool,
}

impl Policy {
    /// Text messages of at most so many bytes.
    pub const fn text(message_bytes_max: usize) -> Policy {
        Policy { message_bytes_max, binary: false }
    }

    /// Text and binary messages of at most so many bytes.
    pub const fn any(message_bytes_max: usize) -> Policy {
        Policy { message_bytes_max, binary: true }
    }
}

/// The receiving half of one connection.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Option<Box<Pending>>,
}

const _: () = assert!(size_of::<Decoder>() == 8, "an idle connection pays 8 bytes for its decoder");

impl Decoder {
    pub const fn new() -> Decoder {
        Decoder { pending: None }
    }

    /// Whether the peer stands between two messages, with nothing half received.
    #[cfg(test)]
    const fn is_idle(&self) -> bool {
        self.pending.is_none()
    }

    /// Notes when something half received began; true when it has begun since the last time.
    pub fn note_beginning(&mut self, tick: u32) -> bool {
        let Some(since_tick) = self.pending.as_mut().map(|pending| &mut pending.since_tick) else { return false };
        let is_new = since_tick.is_none();
        since_tick.get_or_insert(tick);
        is_new
    }

    /// The tick that was noted for what is half received.
    pub fn unfinished_since(&self) -> Option<u32> {
        self.pending.as_ref()?.since_tick
    }

    /// Takes the next event from the front of `input` and advances `input` past it; `None` when all of it is consumed.
    /// The bytes of `input` are unmasked in place.
    ///
    /// The policy is checked as soon as a header is known, before anything of its frame is stored; it may change
    /// between two frames. After a [`Violation`] the connection is closed and the decoder not used again.
    ///
    /// ```
    /// use ringway::ws::decoder::{Decoder, Incoming, Policy};
    /// use ringway::ws::frame::{Opcode, encode_masked};
    ///
    /// let mut received = encode_masked(Opcode::Text, b"hello", [1, 2, 3, 4]);
    /// let mut input = &mut received[..];
    /// let mut decoder = Decoder::new();
    /// while let Some(incoming) = decoder.next(&mut input, Policy::text(8192))? {
    ///     assert_eq!(incoming, Incoming::Text("hello".into()));
    /// }
    /// # Ok::<(), ringway::ws::violation::Violation>(())
    /// ```
    #[inline]
    pub fn next<'a>(&mut self, input: &mut &'a mut [u8], policy: Policy) -> Result<Option<Incoming<'a>>, Violation> {
        while !input.is_empty() {
            if self.pending.is_none()
                && let Some((frame, payload)) = whole_frame(input, policy)?
            {
                return event(frame, payload);
            }
            if let Some(incoming) = self.next_of_pieces(input, policy)? {
                return Ok(Some(incoming));
            }
        }
        Ok(None)
    }

    /// One step with something half received, or about to be: a cut header, a cut frame, a message in fragments.
    #[cold]
    fn next_of_pieces<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        policy: Policy,
    ) -> Result<Option<Incoming<'a>>, Violation> {
        let Some(frame) = self.resume_frame(input, policy)? else { return Ok(None) };
        let untouched = frame.received_bytes == 0 && frame.payload_bytes <= input.len();
        if untouched && !frame.is_fragment() {
            return event(frame, take(input, frame.payload_bytes));
        }
        self.receive_piece(frame, input)
    }

    /// The frame that `input` goes on with; `None` when `input` ends in its header.
    fn resume_frame(&mut self, input: &mut &mut [u8], policy: Policy) -> Result<Option<Frame>, Violation> {
        let pending = self.pending.get_or_insert_default();
        let frame = match pending.take_frame() {
            Some(frame) => frame,
            None => match pending.complete_header(input)? {
                Some(header) => admit(header, pending.message_bytes(), policy)?,
                None => return Ok(None),
            },
        };
        self.release_if_empty();
        Ok(Some(frame))
    }

    /// Stores a piece of a payload that is not whole, or that is one fragment of a message.
    fn receive_piece<'a>(&mut self, frame: Frame, input: &mut &mut [u8]) -> Result<Option<Incoming<'a>>, Violation> {
        let assembled = self.pending.get_or_insert_default().receive(frame, input)?;
        self.release_if_empty();
        match assembled {
            Some(Assembled::Text(text)) => Ok(Some(Incoming::Text(Cow::Owned(text)))),
            Some(Assembled::Binary(bytes)) => Ok(Some(Incoming::Binary(Cow::Owned(bytes)))),
            Some(Assembled::Fragment) => Ok(Some(Incoming::Fragment)),
            Some(Assembled::Control(opcode, payload)) => control_event(opcode, Cow::Owned(payload)).map(Some),
            None => Ok(None),
        }
    }

    fn release_if_empty(&mut self) {
        self.pending.take_if(|pending| pending.is_empty());
    }
}

/// The fast way: a frame that lies whole in `input`, between two messages, and its payload as it was received. `None`,
/// with nothing taken, for any other.
#[inline]
fn whole_frame<'a>(input: &mut &'a mut [u8], policy: Policy) -> Result<Option<(Frame, &'a mut [u8])>, Violation> {
    let Some((header, header_bytes)) = Header::parse(input)? else { return Ok(None) };
    let frame = admit(header, None, policy)?;
    if frame.is_fragment() || frame.payload_bytes > input.len() - header_bytes {
        return Ok(None);
    }
    take(input, header_bytes);
    Ok(Some((frame, take(input, frame.payload_bytes))))
}

/// Judges a header in its place: after how many bytes of an unfinished message it comes, and what the limit is.
#[inline]
fn admit(header: Header, message_bytes: Option<usize>, policy: Policy) -> Result<Frame, Violation> {
    match (header.opcode, message_bytes) {
        (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::ExpectedContinuation),
        (Opcode::Continuation, None) => return Err(Violation::UnexpectedContinuation),
        (Opcode::Binary, None) if !policy.binary => return Err(Violation::BinaryNotSupported),
        _ => {}
    }
    let total_bytes = header.payload_bytes.saturating_add(message_bytes.unwrap_or(0) as u64);
    if !header.opcode.is_control() && total_bytes > policy.message_bytes_max as u64 {
        return Err(Violation::MessageTooBig);
    }
    Ok(Frame {
        opcode: header.opcode,
        fin: header.fin,
        mask: header.mask,
        payload_bytes: header.payload_bytes as usize,
        received_bytes: 0,
    })
}

/// The event of a frame that is no fragment, from its whole payload as it was received. Made in the shape that `next`
/// returns: wrapping it anew on the way out costs more than unmasking a small message.
#[inline]
fn event(frame: Frame, payload: &mut [u8]) -> Result<Option<Incoming<'_>>, Violation> {
    mask::apply(payload, frame.mask, 0);
    if frame.opcode.is_control() {
        return control_event(frame.opcode, Cow::Borrowed(payload)).map(Some);
    }
    if frame.opcode == Opcode::Binary {
        return Ok(Some(Incoming::Binary(Cow::Borrowed(payload))));
    }
    match simdutf8::basic::from_utf8(payload) {
        Ok(text) => Ok(Some(Incoming::Text(Cow::Borrowed(text)))),
        Err(_) => Err(Violation::InvalidUtf8),
    }
}

fn control_event(opcode: Opcode, payload: Payload<'_>) -> Result<Incoming<'_>, Violation> {
    match opcode {
        Opcode::Ping => Ok(Incoming::Ping(payload)),
        Opcode::Pong => Ok(Incoming::Pong(payload)),
        Opcode::Close => peer_close(payload).map(Incoming::Close),
        Opcode::Text | Opcode::Binary | Opcode::Continuation => unreachable!("data frames are not control frames"),
    }
}

fn peer_close(payload: Payload<'_>) -> Result<Option<PeerClose<'_>>, Violation> {
    if payload.is_empty() {
        return Ok(None);
    }
    let (&code, _) = payload.split_first_chunk::<2>().ok_or(Violation::BadCloseLength)?;
    let code = CloseCode(u16::from_be_bytes(code));
    if !code.may_be_received() {
        return Err(Violation::BadCloseCode);
    }
    let reason = match payload {
        Cow::Borrowed(payload) => Cow::Borrowed(close_reason(&payload[2..])?),
        Cow::Owned(payload) => Cow::Owned(close_reason(&payload[2..])?.to_owned()),
    };
    Ok(Some(PeerClose { code, reason }))
}

fn close_reason(bytes: &[u8]) -> Result<&str, Violation> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| Violation::InvalidUtf8InCloseReason)
}

#[cfg(test)]
mod tests;
