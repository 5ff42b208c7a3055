//! Who is online in a channel, for whoever is in it.

use crate::protocol::presence::users_json;
use crate::protocol::request::Request;
use crate::route::action::OneChannel;

use crate::shard::connection::Connection;
use crate::shard::session::Session;
use crate::shard::session::error::{ChannelError, SessionError};
use crate::shard::session::filling::Given;

impl Session<'_> {
    /// Answers with the users of a channel, as many as are listed, and their number.
    pub(super) fn list_present(
        &mut self,
        connection: &Connection,
        request: &Request<'_>,
        one: &OneChannel,
        given: &Given<'_>,
    ) -> Result<(), SessionError> {
        let channel = self.named(connection, &one.channel, given)?;
        if !self.state.table.is_member(self.slot, &channel) {
            return Err(SessionError::Channel(ChannelError::NotSubscribed));
        }
        let listed = self.state.presence.list(&channel).ok_or(SessionError::NoPresence)?;
        let users = users_json(listed.users.iter().map(|user| &**user));
        let given = Given {
            values: given.values,
            channel: &channel,
            users: &users,
            count: listed.count as u64,
            ..Given::default()
        };
        self.reply_if_any(connection, request, one.reply.as_ref(), &given);
        Ok(())
    }
}
