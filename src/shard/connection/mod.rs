//! One connection, sans-IO: what a shard remembers of it.
//!
//! Where it is in its life is [`phase`]'s, how that ends [`ending`]'s, when it next needs attention [`deadlines`]'s,
//! and what it has not been sent yet [`outbox`]'s.
//!
//! A million of these lie in the slabs, so every field answers for its bytes; the size is asserted below.

pub mod deadlines;
pub mod ending;
pub mod outbox;
pub mod phase;
pub mod wheel;

use std::net::IpAddr;

use crate::auth::Grants;
use crate::channel::table::ChannelId;
use crate::clock::Now;
use crate::ws::decoder::{Decoder, Policy};

use crate::shard::connection::outbox::Outbox;
use crate::shard::connection::phase::{Phase, State};
use crate::shard::profiles::{self, ProfileId};
use crate::shard::rules::Rules;

pub use deadlines::Attention;

/// Messages of one connection that may wait for somebody outside, for services and for verdicts each: far more than a
/// person's client has under way, and few enough to be looked through.
pub const WAITING_MAX: usize = 32;

/// Their bytes, and those of what may not leave yet of their answers: a full window of parts of the largest messages
/// that clients themselves may send by default, twice.
pub const WAITING_BYTES_MAX: usize = 256 << 10;

pub struct Connection {
    /// Counts the connections of the shard; part of the connection's id.
    pub generation: u32,
    phase: Phase,
    /// The upgrade named a device, a type or a platform, or the token named channels.
    pub details: Option<Box<Details>>,
    pub decoder: Decoder,
    /// Only while the connection is behind.
    pub outbox: Option<Box<Outbox>>,
    /// The session's own channel, whose name holds the user id. Meaningful when open.
    pub user_channel: ChannelId,
    pub profile: ProfileId,
    /// Ticks, like all that follows.
    pub connected_at: u32,
    pub last_seen: u32,
    pub window_messages: u32,
    /// Frames that are no messages.
    window_frames: u16,
    /// The window that these were counted in: how many have passed since the connection came.
    window: u16,
}

const _: () = assert!(size_of::<Connection>() <= 64, "an idle connection pays one cache line");

/// What only some connections have.
#[derive(Default)]
pub struct Details {
    pub device_id: Option<Box<str>>,
    /// As the upgrade asked; what holds is in the profile.
    pub user_type: Option<Box<str>>,
    pub platform: Option<Box<str>>,
    /// Where it came from, when that is to be told.
    pub address: Option<IpAddr>,
    /// The token's `channels` claim.
    pub grants: Option<Grants>,
}

impl Connection {
    /// A connection that waits for a token.
    pub fn new(generation: u32, now: Now, details: Option<Box<Details>>) -> Self {
        Self {
            generation,
            phase: Phase::arrived(),
            details,
            decoder: Decoder::new(),
            outbox: None,
            user_channel: 0,
            profile: profiles::NONE,
            connected_at: now.tick(),
            last_seen: now.tick(),
            window_messages: 0,
            window_frames: 0,
            window: 0,
        }
    }

    /// A connection of the echo endpoint.
    pub fn echo(generation: u32, now: Now) -> Self {
        Self { phase: Phase::echo(), ..Self::new(generation, now, None) }
    }

    /// What the peer may send now. Once we close, messages are dropped, so it no longer matters of which kind they are.
    pub fn policy(&self, rules: &Rules) -> Policy {
        match &rules.echo {
            Some(echo) if self.phase.is_echo() => Policy::any(echo.message_bytes_max),
            _ if self.phase.is_closing() => Policy::any(rules.message_bytes_max),
            _ => Policy::text(rules.message_bytes_max),
        }
    }

    pub fn device_id(&self) -> Option<&str> {
        self.details.as_ref()?.device_id.as_deref()
    }

    /// Where it is in its life. It goes on by what is done with the connection.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Whether more is to be read behind a chunk of `bytes`. What is dropped because the peer failed is counted.
    pub fn goes_on_reading(&mut self, bytes: usize) -> bool {
        self.phase.goes_on_reading(bytes)
    }

    /// True while messages are read and delivered.
    pub fn is_alive(&self) -> bool {
        self.phase.is_alive()
    }

    /// Whether only so much may wait for it. An echo is held back by not reading more, for which all that waits must
    /// stand in its outbox; to a connection that ends nothing more is published, and what it was to get before its
    /// close frame it gets.
    pub fn is_bounded(&self) -> bool {
        self.is_alive() && !self.phase.is_echo()
    }

    /// When the session's token expires, in unix seconds; none while it is no session.
    pub fn token_expires_at(&self) -> Option<u32> {
        match self.phase.state() {
            State::Open(open) => Some(open.token_expires_at),
            _ => None,
        }
    }

    /// A token has been verified, for the first time or anew.
    pub fn authenticate(&mut self, expires_at: u64, grants: Option<Grants>, now: Now, rules: &Rules) {
        self.phase.open(u32::try_from(expires_at).unwrap_or(u32::MAX), self.first_heartbeat(now, rules));
        if grants.is_some() || self.details.is_some() {
            self.details.get_or_insert_default().grants = grants;
        }
    }

    /// Counts a message; false when it is one too many for its window.
    pub fn admit_message(&mut self, now: Now, rules: &Rules) -> bool {
        if rules.messages_max == 0 {
            return true;
        }
        self.enter_window(now, rules);
        self.window_messages += 1;
        self.window_messages <= rules.messages_max
    }

    /// Counts a control frame or a fragment; false when it is one too many for its window.
    pub fn admit_frame(&mut self, now: Now, rules: &Rules) -> bool {
        if rules.frames_max == 0 || self.phase.is_echo() {
            return true;
        }
        self.enter_window(now, rules);
        self.window_frames = self.window_frames.saturating_add(1);
        self.window_frames <= rules.frames_max
    }

    fn enter_window(&mut self, now: Now, rules: &Rules) {
        // Wraps after 65,536 windows, and is then taken for the same one only if nothing was said in all of them.
        let window = ((now.tick() - self.connected_at) / rules.message_window_ticks) as u16;
        if self.window != window {
            (self.window, self.window_messages, self.window_frames) = (window, 0, 0);
        }
    }
}
