//! One connection, sans-IO: what a shard remembers of it, and when it next needs attention.
//!
//! ```text
//!  no token yet          token verified            close frame queued, either side
//!   Arrived ───────────────► Open ───────────────────► Closing ─── both have said ───► Finishing ──┐
//!      │                      │                           │            close                      │ all sent
//!      │                      │    the peer broke         │                           all sent    │
//!      ├──────────────────────┴─────── the protocol ──────┴──────────► Failing ──────► Lingering ─┤ the peer's end, or
//!      │                                                                                          │ the deadline
//!      └── the peer vanished, in any phase ───────────────────────────────────────────────────────┤
//!                                                                                                 ▼
//!                                        Stopped: the backend finishes what is in flight, then the slot is free
//! ```
//!
//! A connection of the echo endpoint is `Echo` where another is `Arrived` or `Open`.
//!
//! A million of these lie in the slabs, so every field answers for its bytes; the size is asserted below.

pub mod outbox;
pub mod wheel;

use crate::auth::Grants;
use crate::channel::table::ChannelId;
use crate::clock::{Now, TICK_MS};
use crate::ws::decoder::{Decoder, Policy};

use crate::shard::connection::outbox::Outbox;
use crate::shard::profiles::{self, ProfileId};
use crate::shard::rules::Rules;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Upgraded, waiting for a token.
    Arrived,
    /// Has a verified token.
    Open,
    /// Came through the echo endpoint: no session, and none will be.
    Echo,
    /// Our close frame is queued or sent; the peer's is awaited.
    Closing,
    /// Our close frame is queued or sent and the peer's has come: the socket goes with the last byte.
    Finishing,
    /// Our close frame is queued or sent, and the peer's input is not what it should be: our side of the stream ends with
    /// the last byte.
    Failing,
    /// Our side of the stream has ended; what the peer still sends is dropped until it ends its own.
    Lingering,
    /// The backend closes the socket.
    Stopped,
}

pub struct Connection {
    /// Counts the connections of the shard; part of the connection's id.
    pub generation: u32,
    pub phase: Phase,
    /// Input is dropped unread: the peer broke the protocol and the decoder cannot go on.
    pub deaf: bool,
    /// The session was told that its token expires soon.
    pub warned: bool,
    /// The upgrade named a device, a type or a platform, or the token named channels.
    pub details: Option<Box<Details>>,
    pub decoder: Decoder,
    /// Only while the connection is behind.
    pub outbox: Option<Box<Outbox>>,
    /// The session's own channel, whose name holds the user id. Meaningful when `Open`.
    pub user_channel: ChannelId,
    pub profile: ProfileId,
    /// Unix seconds. Meaningful when `Open`; afterwards how many bytes of input
    /// are still read to be dropped.
    pub expires_at: u32,
    /// Ticks, like all that follows.
    pub connected_at: u32,
    pub last_seen: u32,
    /// While open: when the next heartbeat is sent. While closing: when patience ends.
    pub attention_at: u32,
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
    /// The token's `channels` claim.
    pub grants: Option<Grants>,
}

/// Why a connection needs attention now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    AuthenticationOverdue,
    MessageOverdue,
    Silent,
    TokenExpired,
    TokenExpiresSoon,
    HeartbeatDue,
    CloseOverdue,
}

impl Connection {
    pub fn new(generation: u32, now: Now, details: Option<Box<Details>>) -> Self {
        Self {
            generation,
            phase: Phase::Arrived,
            deaf: false,
            warned: false,
            details,
            decoder: Decoder::new(),
            outbox: None,
            user_channel: 0,
            profile: profiles::NONE,
            expires_at: 0,
            connected_at: now.tick(),
            last_seen: now.tick(),
            attention_at: 0,
            window_messages: 0,
            window_frames: 0,
            window: 0,
        }
    }

    /// What the peer may send now. Once we close, messages are dropped, so it no longer matters of which kind they are.
    pub fn policy(&self, rules: &Rules) -> Policy {
        match (self.phase, &rules.echo) {
            (Phase::Echo, Some(echo)) => Policy::any(echo.message_bytes_max),
            (Phase::Closing, _) => Policy::any(rules.message_bytes_max),
            _ => Policy::text(rules.message_bytes_max),
        }
    }

    /// True while messages are read and delivered.
    pub fn is_alive(&self) -> bool {
        matches!(self.phase, Phase::Arrived | Phase::Open | Phase::Echo)
    }

    /// A token has been verified, for the first time or anew.
    pub fn authenticate(&mut self, expires_at: u64, grants: Option<Grants>, now: Now, rules: &Rules) {
        if self.phase == Phase::Arrived {
            self.attention_at = self.first_heartbeat(now, rules);
        }
        self.phase = Phase::Open;
        self.warned = false;
        self.expires_at = u32::try_from(expires_at).unwrap_or(u32::MAX);
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
        if rules.frames_max == 0 || self.phase == Phase::Echo {
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

    /// Our close frame is the last that is sent: nothing of the peer's input is understood any more, and at most so many
    /// bytes of it are read.
    pub fn finish(&mut self, phase: Phase, input_bytes_max: usize) {
        self.phase = phase;
        self.deaf = true;
        self.decoder = Decoder::new();
        self.expires_at = u32::try_from(input_bytes_max).unwrap_or(u32::MAX);
    }

    /// Whether more is to be read behind a chunk of `bytes`. What is dropped because we are done is counted.
    pub fn goes_on_reading(&mut self, bytes: usize) -> bool {
        match self.phase {
            Phase::Arrived | Phase::Open | Phase::Echo | Phase::Closing => true,
            Phase::Failing | Phase::Lingering => {
                self.expires_at = self.expires_at.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
                self.expires_at > 0
            }
            // A socket that is about to be closed is not watched any more: to stop watching costs a search in the kernel.
            Phase::Finishing | Phase::Stopped => false,
        }
    }

    /// Somewhere in the second half of the interval, by chance: those who came together do not beat together.
    fn first_heartbeat(&self, now: Now, rules: &Rules) -> u32 {
        let chance = self.generation.wrapping_add(now.tick()).wrapping_mul(0x9e37_79b1) >> 16;
        now.tick() + rules.heartbeat_ticks - chance % (rules.heartbeat_ticks / 2 + 1)
    }

    /// A whole number of intervals after the last: those whose beats were late together are not together from then on.
    fn next_heartbeat(&self, now: Now, rules: &Rules) -> u32 {
        let missed = (now.tick() - self.attention_at) / rules.heartbeat_ticks;
        self.attention_at + (missed + 1) * rules.heartbeat_ticks
    }

    /// When a message that is half received is overdue.
    fn message_due(&self, rules: &Rules) -> Option<u32> {
        Some(self.decoder.unfinished_since()? + rules.message_deadline_ticks)
    }

    /// The tick at which [`Connection::attention`] has something to say. What a peer owes is not asked for before `judge_from`.
    pub fn due(&self, now: Now, rules: &Rules, judge_from: u32) -> u32 {
        let silent = self.last_seen + rules.idle_ticks;
        let owed = self.message_due(rules).unwrap_or(silent).min(silent).max(judge_from);
        match self.phase {
            Phase::Arrived => (self.connected_at + rules.auth_deadline_ticks).max(judge_from).min(owed),
            Phase::Echo => silent.max(judge_from),
            Phase::Open => {
                let warning = if self.warned { 0 } else { rules.expiry_warning_s };
                let expiry = tick_of(u64::from(self.expires_at).saturating_sub(warning), now);
                self.attention_at.min(owed).min(expiry)
            }
            Phase::Closing | Phase::Finishing | Phase::Failing | Phase::Lingering | Phase::Stopped => self.attention_at,
        }
    }

    /// Why the deadline has come; `None` when it has moved on in the meantime. To be asked until it says so.
    pub fn attention(&mut self, now: Now, rules: &Rules, judge_from: u32) -> Option<Attention> {
        let tick = now.tick();
        let judges = tick >= judge_from;
        let silent = judges && tick >= self.last_seen + rules.idle_ticks;
        let message_overdue = judges && self.message_due(rules).is_some_and(|due| tick >= due);
        let expires_in_s = u64::from(self.expires_at).saturating_sub(now.unix_s());
        match self.phase {
            Phase::Arrived if judges && tick >= self.connected_at + rules.auth_deadline_ticks => {
                Some(Attention::AuthenticationOverdue)
            }
            Phase::Arrived | Phase::Open if message_overdue => Some(Attention::MessageOverdue),
            Phase::Arrived | Phase::Open | Phase::Echo if silent => Some(Attention::Silent),
            Phase::Open if expires_in_s == 0 => Some(Attention::TokenExpired),
            Phase::Open if !self.warned && expires_in_s <= rules.expiry_warning_s => {
                self.warned = true;
                Some(Attention::TokenExpiresSoon)
            }
            Phase::Open if tick >= self.attention_at => {
                self.attention_at = self.next_heartbeat(now, rules);
                Some(Attention::HeartbeatDue)
            }
            Phase::Closing | Phase::Finishing | Phase::Failing | Phase::Lingering if tick >= self.attention_at => {
                Some(Attention::CloseOverdue)
            }
            _ => None,
        }
    }
}

/// The tick in which a unix second begins, rounded up.
fn tick_of(unix_s: u64, now: Now) -> u32 {
    let ahead_ms = (unix_s * 1000).saturating_sub(now.unix_ms);
    let ticks = ahead_ms.div_ceil(u64::from(TICK_MS)) + 1;
    now.tick().saturating_add(u32::try_from(ticks).unwrap_or(u32::MAX))
}
