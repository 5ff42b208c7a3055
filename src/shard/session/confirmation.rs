//! Notifications until a device of their user has them: what waits for a user when a session of his begins, and what
//! his devices confirm.

use crate::channel::name::USER_PREFIX;
use crate::lane::frame::Frame;
use crate::protocol::request::Request;
use crate::route::action::Forward;
use crate::route::field::id_text;
use crate::ws::frame::encode_text;

use crate::shard::connection::Connection;
use crate::shard::session::Session;
use crate::shard::session::error::SessionError;
use crate::shard::session::filling::Given;
use crate::shard::state::ShardState;

/// Notifications that a session is handed when it begins. The others follow, some a second.
const HANDED_OUT_MAX: usize = 64;

impl Session<'_> {
    /// Hands out what waits for the user, as far as half of an outbox has room for it. Called behind the message that
    /// greets the session.
    pub fn hand_out_kept(&mut self, connection: &Connection) {
        let ShardState { table, notifications, rules, now, counters, .. } = &*self.state;
        let user = table.name(connection.user_channel).strip_prefix(USER_PREFIX).unwrap_or_default();
        let frames = &mut self.effects.frames;
        let before = frames.len();
        let mut room = rules.outbox_bytes_max / 2;
        notifications.arrived(user, *now, |text| {
            let has_room = text.len() <= room && frames.len() - before < HANDED_OUT_MAX;
            if has_room {
                room -= text.len();
                frames.push(Frame::local(encode_text(text), now.us));
            }
            has_room
        });
        counters.deliveries.add((frames.len() - before) as u64);
    }

    /// Notes that a notification is confirmed, and hands the message to its service. One of which nothing is known is
    /// no mistake: others may have sent it, or another device was quicker.
    pub(super) fn confirm(
        &mut self,
        connection: &Connection,
        request: &Request<'_>,
        field: usize,
        forward: &Forward,
        given: &Given<'_>,
    ) -> Result<(), SessionError> {
        if let Some(id) = given.values[field].and_then(id_text) {
            self.state.notifications.confirm(self.user_id(connection), &id, self.state.now);
        }
        self.forward(connection, request, forward, given)
    }
}
