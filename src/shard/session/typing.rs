//! That somebody writes, and does not any more. What the others were told is known to [`crate::channel::typing`].

use crate::channel::name;
use crate::channel::typing::Stop;
use crate::lane::{Draft, Except};
use crate::route::action::Typing;
use crate::route::table::Route;

use crate::shard::connection::Connection;
use crate::shard::session::Session;
use crate::shard::session::error::SessionError;
use crate::shard::session::filling::Given;

impl Session<'_> {
    /// Tells the others that the user writes, unless they have just been told, or that he does not any more, unless
    /// they think so already.
    pub(super) fn typing(
        &mut self,
        connection: &Connection,
        route: &Route,
        typing: &Typing,
        given: &Given<'_>,
    ) -> Result<(), SessionError> {
        let channel = self.addressed(connection, &typing.audience, given)?;
        let flag = typing.flag.and_then(|field| given.values[field]);
        if flag.is_some_and(|flag| flag.get() == "false") {
            let stop = self.state.typing.end(self.slot, &channel, route.number);
            stop.iter().for_each(|stop| self.state.tell(stop));
            return Ok(());
        }
        let now = self.state.now.tick();
        let is_news = match self.state.typing.renew(self.slot, &channel, route.number, now) {
            Some(is_news) => is_news,
            None => {
                self.state.typing.make_room(self.slot, now)?;
                let frame = self.written(connection, &typing.stop, given);
                let stop = Stop { channel: (&*channel).into(), except_user: self.others(connection, typing), frame };
                self.state.typing.begin(self.slot, route.number, stop, now);
                true
            }
        };
        if is_news {
            let (frame, except) = (self.written(connection, &typing.start, given), self.others(connection, typing));
            let except = except.map_or(Except::Nobody, Except::User);
            self.publish(Draft { except, ..Draft::new(&channel, frame) })?;
        }
        Ok(())
    }

    /// The session has left the channel.
    pub(super) fn end_typing(&mut self, channel: &str) {
        self.state.typing.end_in(self.slot, channel).iter().for_each(|stop| self.state.tell(stop));
    }

    /// Whose sessions are not told: the user's, as he knows himself what he does on which device.
    fn others(&self, connection: &Connection, typing: &Typing) -> Option<u64> {
        let user_channel = self.state.table.name(connection.user_channel);
        debug_assert!(user_channel.starts_with(name::USER_PREFIX));
        (!typing.audience.to_sender).then(|| self.state.bus.hash(user_channel))
    }
}
