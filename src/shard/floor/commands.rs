//! What a shard does with the commands from its lane: each goes to whom it concerns.

use crate::lane::Command;

use crate::shard::floor::Floor;
use crate::shard::io::Io;

impl<I: Io> Floor<I> {
    pub(in crate::shard) fn obey(&mut self, command: Command) {
        match command {
            Command::Publish(publication) => self.publish(publication),
            Command::Send(addressed) => self.send_addressed(addressed),
            Command::Respond(response) => self.respond(response),
            Command::Permit(verdict) => self.permit(verdict),
            Command::Disconnect { user, code, answer } => self.sweeps.disconnect(&user, code, answer),
            Command::Ask(query) => self.inspections.ask(query),
            Command::Drain { over } => self.start_draining(over),
        }
    }
}
