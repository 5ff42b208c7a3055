//! `[limits]`: what one connection, or one address, may use up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::check::Check;
use crate::config::value::duration;
use crate::ws::frame::MESSAGE_BYTES_MAX;

/// What one connection, or one address, may use up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of one message from a client, all fragments together. Beyond it: close 1009.
    pub message_bytes: usize,
    /// Bytes that wait for one slow client, each frame with 128 more for its bookkeeping. Beyond it: close 4002.
    pub outbox_bytes: usize,
    /// Channels that one connection may subscribe to.
    pub channels_per_connection: usize,
    /// Bytes of a channel's name.
    pub channel_name_bytes: usize,
    /// Messages from one connection within `messages_window`; 0: unlimited. Beyond it: close 4003.
    pub messages: u32,
    #[serde(with = "duration")]
    pub messages_window: Duration,
    /// Pings, pongs and fragments of messages from one connection within `messages_window`; 0: unlimited. They cost the
    /// gateway something and the sender next to nothing. Beyond it: close 4003.
    pub frames: u16,
    /// From the first byte of a message to its last, however many fragments it has. Beyond it: close 1002.
    #[serde(with = "duration")]
    pub message_deadline: Duration,
    /// From accept to the end of the HTTP upgrade.
    #[serde(with = "duration")]
    pub handshake_deadline: Duration,
    /// From accept to the first byte of the request, which an honest client sends at once: shorter than
    /// `handshake_deadline`, so that silence costs little.
    #[serde(with = "duration")]
    pub first_byte_deadline: Duration,
    /// Handshakes that one shard has in progress at once. Beyond it whoever has been silent for longest makes room.
    pub handshakes: usize,
    /// Of them, those of one address whose request is still awaited; 0: unlimited. Beyond it that address's oldest
    /// goes.
    pub handshakes_per_address: usize,
    /// Connections that one address (IPv6: one /64) has open in this process; 0: unlimited, as a whole office or a
    /// proxy may stand behind one. Beyond it: 429.
    pub connections_per_address: u32,
    /// Connections that one user has open in this process; 0: unlimited. Beyond it: 429, or close 1013 after `auth`.
    pub connections_per_user: u32,
    /// Connections of this process that have yet to send their token in an `auth` message; 0: unlimited. Beyond it:
    /// 503. An honest client is one of them for a round trip, so the default lasts for tens of thousands of connects a
    /// second, and keeps those who never authenticate from taking every place.
    pub unauthenticated: usize,
    /// Connects from one address within `connects_window`; 0: unlimited, as many clients share the address of a
    /// proxy. Beyond it: 429.
    pub connects_per_address: u32,
    #[serde(with = "duration")]
    pub connects_window: Duration,
    /// How long a close handshake may take before the socket is closed without the peer's answer.
    #[serde(with = "duration")]
    pub close_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_bytes: 8 * 1024,
            outbox_bytes: 64 * 1024,
            channels_per_connection: 128,
            channel_name_bytes: 255,
            messages: 100,
            messages_window: Duration::from_secs(60),
            frames: 1000,
            message_deadline: Duration::from_secs(30),
            handshake_deadline: Duration::from_secs(5),
            first_byte_deadline: Duration::from_secs(2),
            handshakes: 1024,
            handshakes_per_address: 256,
            connections_per_address: 0,
            connections_per_user: 0,
            unauthenticated: 10_000,
            connects_per_address: 0,
            connects_window: Duration::from_secs(60),
            close_deadline: Duration::from_secs(5),
        }
    }
}

impl Limits {
    pub(super) fn check(&self, check: &mut Check<'_>) {
        check.number("message_bytes", self.message_bytes, 1..=MESSAGE_BYTES_MAX);
        check.number("outbox_bytes", self.outbox_bytes, 1..=u32::MAX as usize);
        check.number("channels_per_connection", self.channels_per_connection, 1..=u16::MAX as usize);
        check.number("channel_name_bytes", self.channel_name_bytes, 1..=u8::MAX as usize);
        check.number("handshakes", self.handshakes, 1..=u16::MAX as usize);
        check.number("handshakes_per_address", self.handshakes_per_address, 0..=u16::MAX as usize);
        check.time("messages_window", self.messages_window);
        check.time("message_deadline", self.message_deadline);
        check.time("handshake_deadline", self.handshake_deadline);
        check.time("first_byte_deadline", self.first_byte_deadline);
        check.time("connects_window", self.connects_window);
        check.time("close_deadline", self.close_deadline);
        if self.outbox_bytes < self.message_bytes {
            let message =
                "is less than limits.message_bytes: a client that is behind cannot be sent the largest messages";
            check.warning("outbox_bytes", message);
        }
    }
}
