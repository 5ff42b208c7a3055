//! Joins that somebody outside decides about: who is asked, for what, and what waits meanwhile.
//!
//! A message that joins channels of which the authorizer decides waits as a whole until it has; then it is served as
//! any other, with what is known by then. What joins or leaves behind it waits as well, or a client that joins and
//! leaves would end up as a member.

use crate::channel::name;
use crate::lane::{Permission, Question};
use crate::protocol::request::Request;
use crate::route::action::Action;

use crate::shard::connection::Connection;
use crate::shard::session::Session;
use crate::shard::session::error::SessionError;
use crate::shard::session::filling::Given;
use crate::shard::session::subscriptions::CHANNELS_PER_REQUEST_MAX;

impl Session<'_> {
    /// Whether a message is served later: it has to be asked for what it joins, or others are before it.
    pub(super) fn is_to_wait(
        &mut self,
        connection: &Connection,
        request: &Request<'_>,
        action: &'static Action,
        given: &Given<'_>,
    ) -> Result<bool, SessionError> {
        let asks_nobody = self.state.rules.authorizer.is_none() || self.state.pending.has_asked();
        if asks_nobody || !action.changes_channels() {
            return Ok(false);
        }
        if self.state.pending.is_behind(self.slot) {
            self.state.pending.follow(self.slot, request.text)?;
            return Ok(true);
        }
        let channels = self.to_be_asked(connection, request, action, given)?;
        if channels.is_empty() { Ok(false) } else { Ok(self.ask(connection, request, channels)?) }
    }

    /// The channels that the authorizer decides about, of those that a message would join.
    fn to_be_asked(
        &self,
        connection: &Connection,
        request: &Request<'_>,
        action: &'static Action,
        given: &Given<'_>,
    ) -> Result<Vec<Box<str>>, SessionError> {
        let mut channels: Vec<Box<str>> = Vec::new();
        match action {
            Action::Subscribe(list) => {
                for item in &request.strings(&list.field, CHANNELS_PER_REQUEST_MAX)? {
                    let Ok(channel) = self.item_channel(connection, list, item, given) else { continue };
                    // More could not be joined.
                    let has_room = channels.len() < self.state.rules.channels_per_connection_max;
                    if has_room && self.is_in_question(connection, &channel) {
                        channels.push(channel.as_str().into());
                    }
                }
            }
            Action::Join(one) => {
                let channel = self.named(connection, &one.channel, given)?;
                if self.is_in_question(connection, &channel) {
                    channels.push(channel.as_str().into());
                }
            }
            other => debug_assert!(
                matches!(other, Action::Unsubscribe(_) | Action::Leave(_)),
                "whoever joins is asked for: {other:?}"
            ),
        }
        Ok(channels)
    }

    fn is_in_question(&self, connection: &Connection, channel: &str) -> bool {
        let rules = &self.state.rules;
        rules.authorizer.as_ref().is_some_and(|authorizer| authorizer.concerns(channel))
            && name::is_valid(channel, rules.channel_name_bytes_max)
            && !name::is_implicit(channel)
            && self.is_granted(connection, channel)
            && !self.state.table.is_member(self.slot, channel)
    }

    /// True when the message waits; false when nobody can be asked, and it goes on without.
    fn ask(
        &mut self,
        connection: &Connection,
        request: &Request<'_>,
        channels: Vec<Box<str>>,
    ) -> Result<bool, SessionError> {
        let Some(authorizer) = self.state.rules.authorizer.clone() else { return Ok(false) };
        let from = self.id(connection);
        let ticket = self.state.pending.begin(from, request.text, self.state.now.tick())?;
        let user_id = self.user_id(connection).into();
        let asked = authorizer.ask(Question { from, ticket, user_id, channels });
        if asked.is_err() {
            self.state.pending.go_on_without(self.slot);
        }
        Ok(asked.is_ok())
    }

    /// Whether a channel may be joined, as far as somebody outside decides.
    pub(super) fn permission(&self, channel: &str) -> Permission {
        let authorizer = self.state.rules.authorizer.as_ref();
        if authorizer.is_none_or(|authorizer| !authorizer.concerns(channel))
            || self.state.table.is_member(self.slot, channel)
        {
            return Permission::Granted;
        }
        self.state.pending.permission(channel)
    }
}
