//! The channels a session joins and leaves.

use crate::channel::name;
use crate::channel::table::Joined;
use crate::lane::Permission;
use crate::lane::events::{EventKind, What};
use crate::protocol::reply::Part;
use crate::protocol::request::{Request, RequestError};
use crate::route::action::{ChannelList, OneChannel};

use crate::shard::connection::Connection;
use crate::shard::session::Session;
use crate::shard::session::error::{ChannelError, SessionError};
use crate::shard::session::filling::{ChannelName, Given};

/// Channels in one request. More are refused as a bad field; the channels a connection may be in are limited apart.
pub(super) const CHANNELS_PER_REQUEST_MAX: usize = 1024;

/// What became of a list: the items that hold now, and those that are refused.
#[derive(Default)]
struct Settled<'r> {
    held: Vec<&'r str>,
    refused: Vec<(ChannelError, &'r str)>,
}

impl Session<'_> {
    /// Joins or leaves the one channel that a message is about.
    pub(super) fn settle_one(
        &mut self,
        connection: &Connection,
        request: &Request<'_>,
        one: &OneChannel,
        given: &Given<'_>,
        act: impl FnOnce(&mut Self, &Connection, &str) -> Result<(), ChannelError>,
    ) -> Result<(), SessionError> {
        let channel = self.named(connection, &one.channel, given)?;
        act(self, connection, &channel).map_err(SessionError::Channel)?;
        self.reply_if_any(connection, request, one.reply.as_ref(), given);
        Ok(())
    }

    /// Joins or leaves every channel of a list, and says which hold and which are refused for what.
    pub(super) fn settle(
        &mut self,
        connection: &Connection,
        request: &Request<'_>,
        list: &'static ChannelList,
        given: &Given<'_>,
        act: impl Fn(&mut Self, &Connection, &str) -> Result<(), ChannelError>,
    ) -> Result<(), RequestError> {
        let items = request.strings(&list.field, CHANNELS_PER_REQUEST_MAX)?;
        let mut settled = Settled { held: Vec::with_capacity(items.len()), refused: Vec::new() };
        for item in &items {
            let channel = self.item_channel(connection, list, item, given);
            match channel.and_then(|channel| act(self, connection, &channel)) {
                Ok(()) => settled.held.push(item),
                Err(error) => settled.refused.push((error, item)),
            }
        }
        debug_assert_eq!(settled.held.len() + settled.refused.len(), items.len(), "each is told of once");
        self.tell(connection, request, list, given, &settled);
        Ok(())
    }

    /// The channel of an item of a list. Whether there may be one of this name is for who joins it to say.
    pub(super) fn item_channel(
        &self,
        connection: &Connection,
        list: &ChannelList,
        item: &str,
        given: &Given<'_>,
    ) -> Result<ChannelName, ChannelError> {
        self.text(connection, &list.channel, &Given { values: given.values, item, ..Given::default() })
    }

    /// One answer with what holds, unless that is nothing, and one error for each reason.
    fn tell(
        &mut self,
        connection: &Connection,
        request: &Request<'_>,
        list: &ChannelList,
        given: &Given<'_>,
        Settled { held, refused }: &Settled<'_>,
    ) {
        if !held.is_empty() || refused.is_empty() {
            self.reply(
                connection,
                request,
                &list.reply,
                &Given { values: given.values, list: held, ..Given::default() },
            );
        }
        if refused.is_empty() {
            return;
        }
        for error in ChannelError::ALL {
            let items: Vec<&str> = refused.iter().filter(|(why, _)| *why == error).map(|(_, item)| *item).collect();
            if !items.is_empty() {
                let part = Part { field: &list.field, items: &items };
                self.send_error(error.code(), error.sentence(), Some(request), Some(part));
            }
        }
    }

    pub(super) fn join(&mut self, connection: &Connection, channel: &str) -> Result<(), ChannelError> {
        let rules = &self.state.rules;
        if !name::is_valid(channel, rules.channel_name_bytes_max) {
            return Err(ChannelError::BadName);
        }
        if name::is_implicit(channel) || !self.is_granted(connection, channel) {
            return Err(ChannelError::NotAllowed);
        }
        match self.permission(channel) {
            Permission::Granted => {}
            Permission::Denied => return Err(ChannelError::NotAllowed),
            Permission::Unavailable => return Err(ChannelError::Unavailable),
        }
        // The session's own channel, that of its type and the cells of its circle are not counted.
        let of_type = usize::from(self.state.profiles.user_type(connection.profile).is_some());
        let channels_max = rules.channels_per_connection_max + 1 + of_type + self.state.nearby.cells_of(self.slot);
        let joined = self.state.table.join_within(self.slot, channel, channels_max).ok_or(ChannelError::TooMany)?;
        if matches!(joined, Joined::New(_)) {
            debug_assert!(self.state.table.is_member(self.slot, channel));
            self.state.presence.enter(channel, self.user_id(connection));
            self.tell_event(connection, EventKind::Subscribed, || What::Subscribed { channel: channel.into() });
        }
        Ok(())
    }

    /// Whether the token, or else the configuration, lets the session hear what is said there.
    pub(super) fn is_granted(&self, connection: &Connection, channel: &str) -> bool {
        let granted = connection.details.as_ref().and_then(|d| d.grants.as_ref());
        granted.unwrap_or(&self.state.rules.default_grants).allows(channel)
    }

    pub(super) fn leave(&mut self, connection: &Connection, channel: &str) -> Result<(), ChannelError> {
        let left = !name::is_implicit(channel) && self.state.table.leave(self.slot, channel);
        if left {
            self.state.presence.leave(channel, self.user_id(connection));
            self.tell_event(connection, EventKind::Unsubscribed, || What::Unsubscribed { channel: channel.into() });
        }
        self.end_typing(channel);
        left.then_some(()).ok_or(ChannelError::NotSubscribed)
    }
}
