//! What a client says to others: who may, to which channel, and how it gets there.
//!
//! A message is handed to the route's service. The service `local` stands in the gateway itself: it brings the message
//! to its channel, on all shards, and has taken it with that; any other is asked, and answers later (`calling`). A
//! shard waits for nobody: where a lane is full the client hears that it is to try again.

use crate::channel::name;
use crate::lane::{Draft, Except, ServiceId};
use crate::protocol::request::Request;
use crate::route::action::{Audience, Forward};
use crate::route::template::NameTemplate;

use crate::shard::connection::Connection;
use crate::shard::session::Session;
use crate::shard::session::calling::Forwarded;
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
        let services = &self.state.rules.services;
        if let Some(service) = services.find(&forward.service).filter(|service| services.remote(*service).is_some()) {
            return self.hand_over(connection, request, (service, forward), given);
        }
        if let (Some(audience), Some(message)) = (&forward.audience, &forward.message) {
            let channel = self.addressed(connection, audience, given)?;
            let frame = self.written(connection, message, given);
            let except = if audience.to_sender { Except::Nobody } else { Except::Session(self.id(connection)) };
            self.publish(Draft { except, ..Draft::new(&channel, frame) })?;
        }
        self.reply_if_any(connection, request, forward.reply.as_ref(), given);
        Ok(())
    }

    /// Hands a message to a service outside. What it brings to the channel is up to that; who may send there is not.
    fn hand_over(
        &mut self,
        connection: &Connection,
        request: &Request<'_>,
        (service, forward): (ServiceId, &Forward),
        given: &Given<'_>,
    ) -> Result<(), SessionError> {
        let audience = forward.audience.as_ref();
        let channel = audience.map(|audience| self.addressed(connection, audience, given)).transpose()?;
        let key = forward.key.as_ref().map(|key| self.text(connection, key, given)).transpose();
        let key = key.map_err(SessionError::Channel)?;
        let body = match &forward.message {
            Some(message) => self.text_of(connection, message, given),
            None => request.text.into(),
        };
        let reply = forward.reply.as_ref().map(|reply| self.kept_reply(connection, request, reply, given));
        let text = |name: ChannelName| Box::from(name.as_str());
        let (kind, id) = (request.kind.as_ref().into(), request.id);
        let forwarded = Forwarded { service, kind, id, body, channel: channel.map(text), key: key.map(text), reply };
        self.call(connection, forwarded)
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
        let is_allowed = !name::is_implicit(&channel) || name.is_implicit();
        is_allowed.then_some(channel).ok_or(SessionError::Channel(ChannelError::NotAllowed))
    }

    /// Brings a message to all shards that have subscribers of its channel, without waiting for any.
    pub(super) fn publish(&self, draft: Draft<'_>) -> Result<(), SessionError> {
        let outcome = self.state.bus.try_publish(draft);
        if outcome.lost > 0 { Err(SessionError::Busy) } else { Ok(()) }
    }
}
