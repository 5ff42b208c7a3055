//! From one text message to what is done with it: its rate, its route, its action, and what went wrong.

use crate::protocol::reply::{Message, Part, Problem, Timestamp};
use crate::protocol::request::{Request, RequestError};
use crate::route::action::Action;
use crate::route::template::Value;
use crate::ws::close::CloseCode;

use crate::shard::connection::Connection;
use crate::shard::session::Session;
use crate::shard::session::error::SessionError;

impl Session<'_> {
    /// Answers one text message.
    pub fn answer(&mut self, connection: &mut Connection, message: &str) {
        self.state.counters.messages_received.add(1);
        if !connection.admit_message(self.state.now, &self.state.rules) {
            self.effects.close = Some(CloseCode::TOO_MANY_MESSAGES);
            return;
        }
        match Request::parse(message) {
            Ok(request) => {
                if let Err(error) = self.act(connection, &request) {
                    self.send_error(error.code(), &error.to_string(), Some(&request), None);
                    self.effects.close = error.close_code();
                }
            }
            Err(error) => self.send_error(error.code(), &error.to_string(), None, None),
        }
    }

    fn act(&mut self, connection: &mut Connection, request: &Request<'_>) -> Result<(), SessionError> {
        let route = self.state.rules.routes.find(request);
        if !connection.phase.is_open() && !route.is_some_and(|route| route.before_auth) {
            return Err(SessionError::NotAuthenticated);
        }
        match &route.ok_or(RequestError::UnknownType)?.action {
            Action::Authenticate { field, reply } => self.authenticate(connection, request, field, reply)?,
            Action::Ping { reply } => {
                let now_ms = self.state.now.unix_ms;
                self.send(&reply.fill(request.id, |_| Value::Time(Timestamp(now_ms))));
            }
            Action::Subscribe(list) => self.subscribe(connection, request, list)?,
            Action::Unsubscribe(list) => self.unsubscribe(request, list)?,
            Action::HeartbeatAck => {}
        }
        Ok(())
    }

    /// Tells what went wrong, with all of a request or with a part of it.
    pub(super) fn send_error(
        &mut self,
        code: &str,
        message: &str,
        request: Option<&Request<'_>>,
        part: Option<Part<'_>>,
    ) {
        self.state.counters.errors_sent.add(1);
        let problem = Problem { code, message, request: request.map(|request| &*request.kind), part };
        self.send(&Message::error(problem).json_in_answer_to(request.and_then(|request| request.id)));
    }
}
