//! That somebody writes, and does not any more. What the others were told is known to [`crate::channel::typing`].

use crate::channel::name;
use crate::channel::typing::Stop;
use crate::lane::{Draft, Except};
use crate::route::action::Typing;

use crate::shard::connection::Connection;
use crate::shard::session::Session;
use crate::shard::session::error::SessionError;
use crate::shard::session::filling::{ChannelName, Given};

impl Session<'_> {
    /// Tells the others that the user writes, unless they have just been told, or that he does not any more, unless
    /// they think so already.
    pub(super) fn typing(
        &mut self,
        connection: &Connection,
        route: &Typing,
        given: &Given<'_>,
    ) -> Result<(), SessionError> {
        let channel = self.addressed(connection, &route.audience, given)?;
        let flag = route.flag.and_then(|field| given.values[field]);
        if flag.is_some_and(|flag| flag.get() == "false") {
            self.end_typing(&channel);
            return Ok(());
        }
        let now = self.state.now.tick();
        let is_news = match self.state.typing.renew(self.slot, &channel, now) {
            Some(is_news) => is_news,
            None => self.begin_typing(connection, route, given, &channel)?,
        };
        if is_news {
            let (frame, except) = (self.written(connection, &route.start, given), self.others(connection, route));
            let except = except.map_or(Except::Nobody, Except::User);
            self.publish(Draft { except, ..Draft::new(&channel, frame) })?;
        }
        Ok(())
    }

    /// The session has left the channel, or says that it does not write there any more.
    pub(super) fn end_typing(&mut self, channel: &str) {
        if let Some(stop) = self.state.typing.end(self.slot, channel) {
            self.state.tell(&stop);
        }
    }

    /// True: the others are to be told.
    fn begin_typing(
        &mut self,
        connection: &Connection,
        route: &Typing,
        given: &Given<'_>,
        channel: &ChannelName,
    ) -> Result<bool, SessionError> {
        self.state.typing.make_room(self.slot, self.state.now.tick())?;
        let frame = self.written(connection, &route.stop, given);
        let stop = Stop { channel: (&**channel).into(), except_user: self.others(connection, route), frame };
        self.state.typing.begin(self.slot, stop, self.state.now.tick());
        Ok(true)
    }

    /// Whose sessions are not told: the user's, as he knows himself what he does on which device.
    fn others(&self, connection: &Connection, route: &Typing) -> Option<u64> {
        let user_channel = self.state.table.name(connection.user_channel);
        debug_assert!(user_channel.starts_with(name::USER_PREFIX));
        (!route.audience.to_sender).then(|| self.state.bus.hash(user_channel))
    }
}
