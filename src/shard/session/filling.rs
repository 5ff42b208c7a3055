//! What the templates of a route are filled with: who the session is, the time, and what its message says.

use std::cell::OnceCell;
use std::fmt::{self, Display};

use arrayvec::ArrayString;
use bytes::Bytes;
use serde_json::value::RawValue;
use uuid::{Builder, Uuid};

use crate::channel::name;
use crate::protocol::reply::Timestamp;
use crate::protocol::request::Request;
use crate::route::template::{NameTemplate, NameValues, Place, Template, Value};
use crate::shard::connection::Connection;
use crate::shard::id::SessionId;
use crate::shard::session::Session;
use crate::shard::session::error::{ChannelError, SessionError};
use crate::ws::frame::encode_text;

/// A channel's name while it is made of a message's fields: without an allocation.
pub(super) type ChannelName = ArrayString<512>;

/// What one message is answered and passed on with. Made once for all templates of its route, so that they agree.
#[derive(Default)]
pub(super) struct Given<'a> {
    /// Of the route's fields.
    pub values: &'a [Option<&'a RawValue>],
    pub list: &'a [&'a str],
    /// The one of the message's list that is looked at.
    pub item: &'a str,
    /// The one that the message is about, where its action says so.
    pub channel: &'a str,
    /// JSON.
    pub users: &'a str,
    pub count: u64,
    pub once: Once,
}

/// What is made when a template asks for it first, and then is the same for all.
#[derive(Default)]
pub(super) struct Once {
    message_id: OnceCell<Uuid>,
    session_id: OnceCell<SessionId>,
    timestamp: OnceCell<Timestamp>,
}

/// Made when it is written, which few names ask for.
struct Shown<F>(F);

impl<F: Fn() -> SessionId> Display for Shown<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0().fmt(f)
    }
}

impl Session<'_> {
    /// Leaves an answer, with the `id` of the message.
    pub(super) fn reply(
        &mut self,
        connection: &Connection,
        request: &Request<'_>,
        reply: &Template,
        given: &Given<'_>,
    ) {
        let frame = self.kept_reply(connection, request, reply, given);
        self.send_frame(frame);
    }

    pub(super) fn reply_if_any(
        &mut self,
        connection: &Connection,
        request: &Request<'_>,
        reply: Option<&Template>,
        given: &Given<'_>,
    ) {
        if let Some(reply) = reply {
            self.reply(connection, request, reply, given);
        }
    }

    /// The frame of a message that is made for others.
    pub(super) fn written(&mut self, connection: &Connection, message: &Template, given: &Given<'_>) -> Bytes {
        self.fill(connection, message, None, given)
    }

    /// The text of a message that is made for a service.
    pub(super) fn text_of(&self, connection: &Connection, message: &Template, given: &Given<'_>) -> Box<str> {
        let mut json = String::new();
        message.fill(&mut json, None, |place| self.value(connection, given, place));
        json.into()
    }

    /// The frame of an answer that is kept until its time has come.
    pub(super) fn kept_reply(
        &mut self,
        connection: &Connection,
        request: &Request<'_>,
        reply: &Template,
        given: &Given<'_>,
    ) -> Bytes {
        self.fill(connection, reply, request.id, given)
    }

    /// The channel that a message is about.
    pub(super) fn named(
        &self,
        connection: &Connection,
        name: &NameTemplate,
        given: &Given<'_>,
    ) -> Result<ChannelName, SessionError> {
        let channel = self.text(connection, name, given).map_err(SessionError::Channel)?;
        // What the issuer of the token calls the user is no word of a client: blanks and length are the issuer's.
        let own_bytes = if name.has_user_id() { self.user_id(connection).len() } else { 0 };
        let is_short = channel.len() - own_bytes <= self.state.rules.channel_name_bytes_max;
        let is_clean = own_bytes > 0 || name::is_valid(&channel, usize::MAX);
        if is_short && is_clean && !channel.is_empty() {
            Ok(channel)
        } else {
            Err(SessionError::Channel(ChannelError::BadName))
        }
    }

    /// What a service may order by: any text.
    pub(super) fn text(
        &self,
        connection: &Connection,
        name: &NameTemplate,
        given: &Given<'_>,
    ) -> Result<ChannelName, ChannelError> {
        let mut text = ChannelName::new();
        let session_id = &Shown(|| *given.once.session_id.get_or_init(|| self.session_id(connection)));
        let values =
            NameValues { user_id: self.user_id(connection), session_id, item: given.item, fields: given.values };
        name.fill(&mut text, &values).map(|()| text).map_err(|_| ChannelError::BadName)
    }

    fn fill(
        &mut self,
        connection: &Connection,
        template: &Template,
        id: Option<&RawValue>,
        given: &Given<'_>,
    ) -> Bytes {
        let mut json = std::mem::take(&mut self.state.scratch);
        json.clear();
        template.fill(&mut json, id, |place| self.value(connection, given, place));
        let frame = encode_text(&json);
        self.state.scratch = json;
        frame
    }

    fn value<'v>(&'v self, connection: &Connection, given: &'v Given<'_>, place: Place) -> Value<'v> {
        match place {
            Place::UserId => Value::Text(self.user_id(connection)),
            Place::SessionId => Value::Shown(given.once.session_id.get_or_init(|| self.session_id(connection))),
            Place::UserType => {
                self.state.profiles.user_type(connection.profile).map_or(Value::Json("null"), Value::Text)
            }
            Place::Timestamp => Value::Shown(given.once.timestamp.get_or_init(|| Timestamp(self.state.now.unix_ms))),
            Place::TimestampMs => Value::Number(self.state.now.unix_ms),
            Place::MessageId => Value::Shown(given.once.message_id.get_or_init(|| self.new_message_id())),
            Place::List => Value::List(given.list),
            Place::Channel => Value::Text(given.channel),
            Place::Users => Value::Json(given.users),
            Place::Count => Value::Number(given.count),
            Place::Field(at) => given.values[at].map_or(Value::Missing, |value| Value::Json(value.get())),
        }
    }

    /// In the order of time, as ids of messages are expected to be: version 7 of RFC 9562.
    fn new_message_id(&self) -> Uuid {
        let mut random = [0; 10];
        fastrand::fill(&mut random);
        Builder::from_unix_timestamp_millis(self.state.now.unix_ms, &random).into_uuid()
    }
}
