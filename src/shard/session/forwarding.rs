//! What a client says to others: who may, to which channel, and how it gets there.
//!
//! A message is handed to the route's service. The service `local` stands in the gateway itself: it brings the message
//! to its channel, on all shards, and has taken it with that. A shard waits for nobody: where a lane is full the client
//! hears that it is to try again.

use crate::channel::name;
use crate::lane::{Draft, Except};
use crate::protocol::request::Request;
use crate::route::action::{Audience, Forward};
use crate::route::template::NameTemplate;

use crate::shard::connection::Connection;
use crate::shard::session::Session;
use crate::shard::session::error::{ChannelError, SessionError};
use crate::shard::session::filling::{ChannelName, Given};

impl Session<'_> {
    /// Hands a message to its service, and answers when that has taken it.
    pub(super) fn forward(
        &mut self,
        connection: &Connection,
        request: &Request<'_>,
        forward: &Forward,
        given: &Given<'_>,
    ) -> Result<(), SessionError> {
        if let (Some(audience), Some(message)) = (&forward.audience, &forward.message) {
            let channel = self.addressed(connection, audience, given)?;
            let frame = self.written(connection, message, given);
            let except = if audience.to_sender { Except::Nobody } else { Except::Session(self.id(connection)) };
            self.publish(Draft { except, ..Draft::new(&channel, frame) })?;
        }
        self.reply_if_any(connection, request, forward.reply.as_ref(), given);
        Ok(())
    }

    /// The channel of an audience, when this session may send there.
    pub(super) fn addressed(
        &self,
        connection: &Connection,
        audience: &Audience,
        given: &Given<'_>,
    ) -> Result<ChannelName, SessionError> {
        let channel = self.spoken_to(connection, &audience.channel, given)?;
        if audience.members_only && !self.state.table.is_member(self.slot, &channel) {
            return Err(SessionError::Channel(ChannelError::NotSubscribed));
        }
        Ok(channel)
    }

    /// The channel that a message goes to. One that follows from who somebody is can only be named by the route itself,
    /// and not by what a client fills in.
    pub(super) fn spoken_to(
        &self,
        connection: &Connection,
        name: &NameTemplate,
        given: &Given<'_>,
    ) -> Result<ChannelName, SessionError> {
        let channel = self.named(connection, name, given)?;
        let is_allowed = !name::is_implicit(&channel) || name::is_implicit(name.prefix());
        is_allowed.then_some(channel).ok_or(SessionError::Channel(ChannelError::NotAllowed))
    }

    /// Brings a message to all shards that have subscribers of its channel, without waiting for any.
    pub(super) fn publish(&self, draft: Draft<'_>) -> Result<(), SessionError> {
        let outcome = self.state.bus.try_publish(draft);
        if outcome.lost > 0 { Err(SessionError::Busy) } else { Ok(()) }
    }
}
