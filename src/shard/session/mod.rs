//! What a session may ask for: authentication, ping, subscribing and unsubscribing. Sans-IO: a message in, effects out.
//!
//! Called by the floor with the connection and a [`Session`]: the shard's [`ShardState`], the slot, and [`Effects`], in
//! which is left what the floor has to send and close.

use std::borrow::Cow;

use crate::auth::{Identity, TokenError};
use crate::channel::name;
use crate::channel::table::Joined;
use crate::clock::TICK_MS;
use crate::metrics::Timed;
use crate::protocol::reply;
use crate::protocol::request::{Request, RequestError};
use crate::ws::close::CloseCode;
use crate::ws::frame::encode_text;
use crate::ws::violation::Violation;

use crate::lane::ConnectionId;
use crate::lane::frame::{Frame, LocalFrame};
use crate::shard::connection::{Connection, Phase};
use crate::shard::id::SessionId;
use crate::shard::io::Slot;
use crate::shard::profiles::Claims;
use crate::shard::rules::Rules;
use crate::shard::state::ShardState;

/// Channels in one request. More are refused as a bad field; the channels a connection may be in are limited apart.
const CHANNELS_PER_REQUEST_MAX: usize = 1024;

/// The session of one connection, for as long as a piece of its input is served.
pub struct Session<'a> {
    pub state: &'a mut ShardState,
    pub slot: Slot,
    pub effects: &'a mut Effects,
}

/// What the floor has to do after a piece of input.
#[derive(Default)]
pub struct Effects {
    pub frames: Vec<LocalFrame>,
    /// Where among the frames the answer to a ping stands.
    pub pong: Option<usize>,
    /// We close with this code and wait for the peer's answer.
    pub close: Option<CloseCode>,
    /// What the peer did in the same piece of input, after that or without it.
    pub end: Option<End>,
    /// The connection's next deadline may have come nearer.
    pub rearm: bool,
}

impl Effects {
    /// Answers a ping. The newest one stands for all (RFC 6455 section 5.5.3): its answer takes the place of an older.
    pub fn answer_ping(&mut self, pong: LocalFrame) {
        match self.pong {
            Some(at) => self.frames[at] = pong,
            None => {
                self.pong = Some(self.frames.len());
                self.frames.push(pong);
            }
        }
    }
}

/// How a peer ends its side: nothing more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It broke the protocol, and is told how.
    Fail(Violation),
    /// It closes; it gets its code back.
    Answer {
        code: Option<CloseCode>,
        /// Something follows its close frame, or may.
        goes_on: bool,
    },
}

/// The two vocabularies in which channels are named.
#[derive(Clone, Copy)]
enum Naming {
    Channels,
    Conversations,
}

impl Naming {
    fn field(self) -> &'static str {
        match self {
            Self::Channels => "channels",
            Self::Conversations => "conversation_ids",
        }
    }

    fn channel(self, asked: &str) -> Cow<'_, str> {
        match self {
            Self::Channels => Cow::Borrowed(asked),
            Self::Conversations => Cow::Owned(format!("{}{asked}", name::CONVERSATION_PREFIX)),
        }
    }
}

/// Why a channel is not joined.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Denied {
    NotAllowed,
    BadName,
    TooMany,
}

impl Denied {
    fn code(self) -> &'static str {
        match self {
            Self::NotAllowed => "not_allowed",
            Self::BadName => "bad_channel",
            Self::TooMany => "too_many_channels",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::NotAllowed => "not allowed to subscribe to these channels",
            Self::BadName => "these are not channel names",
            Self::TooMany => "subscribed to as many channels as a connection may",
        }
    }
}

impl Session<'_> {
    /// Counts a frame that is no message; one too many ends the connection. False when it is to be dropped.
    pub fn admit_frame(&mut self, connection: &mut Connection) -> bool {
        if self.effects.close.is_some() || !connection.is_alive() {
            return false;
        }
        let admitted = connection.admit_frame(self.state.now, &self.state.rules);
        if !admitted {
            self.effects.close = Some(CloseCode::TOO_MANY_MESSAGES);
        }
        admitted
    }

    /// Answers one text message.
    pub fn answer(&mut self, connection: &mut Connection, message: &str) {
        self.state.counters.messages_received.add(1);
        if !connection.admit_message(self.state.now, &self.state.rules) {
            self.effects.close = Some(CloseCode::TOO_MANY_MESSAGES);
            return;
        }
        match Request::parse(message) {
            Ok(request) => {
                if let Err(error) = self.route(connection, &request) {
                    self.refuse(error.code(), &error.to_string(), Some(&request));
                }
            }
            Err(error) => self.refuse(error.code(), &error.to_string(), None),
        }
    }

    fn route(&mut self, connection: &mut Connection, request: &Request<'_>) -> Result<(), RequestError> {
        match &*request.kind {
            "auth" => self.authenticate(connection, request),
            "ping" => {
                self.reply(reply::pong(self.state.now.unix_ms, request.id));
                Ok(())
            }
            _ if connection.phase != Phase::Open => {
                self.refuse("not_authenticated", "send an auth message first", Some(request));
                Ok(())
            }
            "subscribe" => self.subscribe(connection, request),
            "unsubscribe" => self.unsubscribe(request),
            // A sign of life, and that is all.
            "heartbeat_ack" => Ok(()),
            _ => Err(RequestError::UnknownType),
        }
    }

    /// A token as a message: the first one of a connection that came without, or a fresh one in place of the old.
    fn authenticate(&mut self, connection: &mut Connection, request: &Request<'_>) -> Result<(), RequestError> {
        let token = request.string("token")?;
        let ShardState { rules, latency, now, .. } = &mut *self.state;
        let identity = match latency.time(Timed::Authentication, || rules.verifier.verify(&token, now.unix_s())) {
            Ok(identity) => identity,
            Err(error) => {
                self.state.counters.tokens_refused.count(error.name());
                self.refuse(error.name(), &error.to_string(), Some(request));
                self.effects.close = Some(match error {
                    TokenError::UserSentAway => CloseCode::OPERATOR,
                    _ => CloseCode::TOKEN_INVALID,
                });
                return Ok(());
            }
        };
        if connection.phase == Phase::Open && *self.user_id(connection) != *identity.user_id {
            self.refuse("other_user", "the token is for another user", Some(request));
            self.effects.close = Some(CloseCode::TOKEN_INVALID);
            return Ok(());
        }
        if connection.phase == Phase::Arrived && self.state.shares.take_user(self.slot, &identity.user_id).is_err() {
            self.refuse("too_many_of_user", "this user has as many connections as it may", Some(request));
            self.effects.close = Some(CloseCode::TRY_AGAIN_LATER);
            return Ok(());
        }
        let user_id = identity.user_id.clone();
        if !self.admit(connection, identity) {
            self.refuse("role_not_allowed", "this user type may not connect", Some(request));
            self.effects.close = Some(CloseCode::NOT_ALLOWED);
            return Ok(());
        }
        self.reply(reply::auth_success(&user_id, &self.session_id(connection).to_string(), request.id));
        Ok(())
    }

    /// Makes the bearer of a verified token a session, or renews the one it has; false when its role may not connect.
    pub fn admit(&mut self, connection: &mut Connection, identity: Identity) -> bool {
        if !self.state.rules.may_connect(&identity) {
            return false;
        }
        if connection.phase == Phase::Arrived {
            let asked = connection.details.as_ref();
            let user_type = identity.user_type_or(asked.and_then(|d| d.user_type.as_deref()));
            let (Joined::New(channel) | Joined::Already(channel)) =
                self.state.table.join(self.slot, &format!("{}{}", name::USER_PREFIX, identity.user_id));
            connection.user_channel = channel;
            connection.profile = self.state.profiles.enter(Claims {
                user_type,
                is_vouched: identity.user_type.is_some(),
                platform: asked.and_then(|d| d.platform.as_deref()),
            });
            if let Some(user_type) = user_type {
                self.state.table.join(self.slot, &format!("{}{user_type}", name::TYPE_PREFIX));
            }
            self.state.sessions += 1;
            self.state.counters.unauthenticated.add(-1);
        }
        connection.authenticate(identity.expires_at, identity.grants, self.state.now, &self.state.rules);
        self.effects.rearm = true;
        true
    }

    /// The message that greets a session whose token came with the upgrade.
    pub fn greeting(&self, connection: &Connection) -> String {
        let session_id = self.session_id(connection).to_string();
        reply::connected(
            self.user_id(connection),
            &session_id,
            &self.state.rules.server_id,
            self.state.rules.heartbeat_ms,
        )
    }

    fn subscribe(&mut self, connection: &mut Connection, request: &Request<'_>) -> Result<(), RequestError> {
        let (naming, asked) = self.named_channels(request)?;
        let mut joined = Vec::with_capacity(asked.len());
        let mut denied: Vec<(Denied, &str)> = Vec::new();
        for asked in &asked {
            match self.join(connection, &naming.channel(asked)) {
                Ok(()) => joined.push(&**asked),
                Err(why) => denied.push((why, asked)),
            }
        }
        if !joined.is_empty() || denied.is_empty() {
            self.reply(reply::subscribed(naming.field(), &joined, request.id));
        }
        for why in [Denied::NotAllowed, Denied::BadName, Denied::TooMany] {
            let names: Vec<&str> = denied.iter().filter(|(w, _)| *w == why).map(|(_, name)| *name).collect();
            self.refuse_channels(why.code(), why.sentence(), naming, &names, request);
        }
        Ok(())
    }

    fn join(&mut self, connection: &Connection, channel: &str) -> Result<(), Denied> {
        if !name::is_valid(channel, self.state.rules.channel_name_bytes_max) {
            return Err(Denied::BadName);
        }
        let granted = connection.details.as_ref().and_then(|d| d.grants.as_ref());
        if name::is_implicit(channel) || !granted.unwrap_or(&self.state.rules.default_grants).allows(channel) {
            return Err(Denied::NotAllowed);
        }
        // The session's own channel and that of its type are not counted.
        let implicit = 1 + usize::from(self.state.profiles.user_type(connection.profile).is_some());
        let channels_max = self.state.rules.channels_per_connection_max + implicit;
        self.state.table.join_within(self.slot, channel, channels_max).map(drop).ok_or(Denied::TooMany)
    }

    fn unsubscribe(&mut self, request: &Request<'_>) -> Result<(), RequestError> {
        let (naming, asked) = self.named_channels(request)?;
        let mut left = Vec::with_capacity(asked.len());
        let mut kept = Vec::new();
        for asked in &asked {
            let channel = naming.channel(asked);
            if !name::is_implicit(&channel) && self.state.table.leave(self.slot, &channel) {
                left.push(&**asked);
            } else {
                kept.push(&**asked);
            }
        }
        if !left.is_empty() || kept.is_empty() {
            self.reply(reply::unsubscribed(naming.field(), &left, request.id));
        }
        self.refuse_channels("not_subscribed", "not subscribed to these channels", naming, &kept, request);
        Ok(())
    }

    fn named_channels<'r>(&self, request: &Request<'r>) -> Result<(Naming, Vec<Cow<'r, str>>), RequestError> {
        let naming = if request.field("conversation_ids").is_some() { Naming::Conversations } else { Naming::Channels };
        Ok((naming, request.strings(naming.field(), CHANNELS_PER_REQUEST_MAX)?))
    }

    fn user_id<'a>(&'a self, connection: &Connection) -> &'a str {
        self.state.table.name(connection.user_channel).strip_prefix(name::USER_PREFIX).unwrap_or_default()
    }

    fn session_id(&self, connection: &Connection) -> SessionId {
        self.state.rules.session_id(ConnectionId {
            shard: self.state.shard as u16,
            slot: self.slot,
            generation: connection.generation,
        })
    }

    /// A pong has come. If it has the payload of one of our pings, which is the time at which it was sent, it tells how
    /// long that took; of what a client makes up only what could be true counts.
    pub fn time_ping(&mut self, payload: &[u8]) {
        let Ok(sent_us) = payload.try_into().map(u64::from_be_bytes) else { return };
        let longest_us = u64::from(self.state.rules.idle_ticks) * u64::from(TICK_MS) * 1000;
        let round_trip_us = self.state.now.us.checked_sub(sent_us);
        if let Some(us) = round_trip_us.filter(|us| *us <= longest_us) {
            self.state.latency.record(Timed::PingRoundTrip, us);
        }
    }

    /// Leaves a message for the client.
    pub fn reply(&mut self, json: String) {
        self.effects.frames.push(Frame::local(encode_text(&json), self.state.now.us));
    }

    fn refuse(&mut self, code: &str, message: &str, request: Option<&Request<'_>>) {
        self.state.counters.errors_sent.add(1);
        let (kind, id) = (request.map(|r| &*r.kind), request.and_then(|r| r.id));
        self.reply(reply::error(code, message, kind, id));
    }

    /// Says which channels of a request are refused; nothing when there are none.
    fn refuse_channels(&mut self, code: &str, message: &str, naming: Naming, names: &[&str], request: &Request<'_>) {
        if !names.is_empty() {
            self.state.counters.errors_sent.add(1);
            self.reply(reply::error_about(code, message, &request.kind, (naming.field(), names), request.id));
        }
    }
}

impl Rules {
    /// The role check of an upgrade and of an `auth` message. What a client says of itself is no role.
    pub fn may_connect(&self, identity: &Identity) -> bool {
        let is_role = |user_type: &str| self.roles.iter().any(|role| role == user_type);
        self.roles.is_empty() || identity.user_type.as_deref().is_some_and(is_role)
    }

    pub fn session_id(&self, connection: ConnectionId) -> SessionId {
        self.session_key.session(connection)
    }
}
