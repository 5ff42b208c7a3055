//! From one text message to what is done with it: its rate, its route, its action, and what went wrong.

use crate::auth::{Identity, TokenError};
use crate::protocol::reply::{Message, Part, Problem};
use crate::protocol::request::{Request, RequestError};
use crate::route::action::Action;
use crate::route::table::{NotFound, Route, Sender};
use crate::ws::close::CloseCode;

use crate::shard::connection::Connection;
use crate::shard::session::Session;
use crate::shard::session::error::SessionError;
use crate::shard::session::filling::Given;

impl Session<'_> {
    /// Answers one text message.
    pub fn answer(&mut self, connection: &mut Connection, message: &str) {
        debug_assert!(connection.is_alive() && self.effects.close.is_none(), "who is closed is not heard any more");
        self.state.counters.messages_received.add(1);
        if !connection.admit_message(self.state.now, &self.state.rules) {
            self.effects.close = Some(CloseCode::TOO_MANY_MESSAGES);
            return;
        }
        self.serve(connection, message, None);
        if self.state.pending.has_asked() {
            // There was nobody to ask, so nothing has come behind it either.
            let next = self.state.pending.next(self.slot);
            debug_assert!(next.is_none());
        }
    }

    /// Serves a message that has waited: it was counted when it came. `verified` is what has become of its token, if it
    /// waited for that.
    pub fn go_on(
        &mut self,
        connection: &mut Connection,
        message: &str,
        verified: Option<Result<Identity, TokenError>>,
    ) {
        debug_assert!(connection.is_alive() && self.effects.close.is_none(), "what waits goes with its connection");
        self.serve(connection, message, verified);
    }

    fn serve(&mut self, connection: &mut Connection, message: &str, verified: Option<Result<Identity, TokenError>>) {
        match Request::parse(message) {
            Ok(request) => {
                if let Err(error) = self.act(connection, &request, verified) {
                    self.send_error(error.code(), &error.to_string(), Some(&request), None);
                    self.effects.close = error.close_code();
                }
            }
            Err(error) => self.send_error(error.code(), &error.to_string(), None, None),
        }
    }

    fn act(
        &mut self,
        connection: &mut Connection,
        request: &Request<'_>,
        verified: Option<Result<Identity, TokenError>>,
    ) -> Result<(), SessionError> {
        let route = self.route(connection, request)?;
        debug_assert!(connection.phase().is_open() || route.before_auth);
        let values = route.read(request)?;
        let given = Given { values: &values, ..Given::default() };
        if self.is_to_wait(connection, request, &route.action, &given)? {
            return Ok(());
        }
        match &route.action {
            Action::Authenticate { field, reply } => match self.identity(connection, request, field, verified)? {
                Some(identity) => self.authenticate(connection, request, identity, reply, &given),
                None => Ok(()),
            },
            Action::Ping { reply } => {
                self.reply(connection, request, reply, &given);
                Ok(())
            }
            Action::Accept { reply } => {
                self.reply_if_any(connection, request, reply.as_ref(), &given);
                Ok(())
            }
            Action::Refuse => Err(SessionError::Forbidden),
            Action::Subscribe(list) => Ok(self.settle(connection, request, list, &given, Self::join)?),
            Action::Unsubscribe(list) => Ok(self.settle(connection, request, list, &given, Self::leave)?),
            Action::Join(one) => self.settle_one(connection, request, one, &given, Self::join),
            Action::Leave(one) => self.settle_one(connection, request, one, &given, Self::leave),
            Action::Presence(one) => self.list_present(connection, request, one, &given),
            Action::Forward(forward) => self.forward(connection, request, forward, &given),
            Action::Confirm { field, forward } => self.confirm(connection, request, *field, forward, &given),
            Action::Locate(locate) => self.locate(connection, request, route, locate, &given),
            Action::Nearby(nearby) => self.follow_nearby(connection, request, route, nearby, &given),
            Action::LeaveNearby { reply } => self.leave_nearby(connection, request, reply.as_ref(), &given),
            Action::Typing(typing) => self.typing(connection, route, typing, &given),
        }
    }

    /// What is to be done with a message of this session.
    fn route(&self, connection: &Connection, request: &Request<'_>) -> Result<&'static Route, SessionError> {
        let (profiles, profile) = (&self.state.profiles, connection.profile);
        let sender = Sender { user_type: profiles.user_type(profile), claims: profiles.granted(profile) };
        let found = self.state.rules.routes.find(request, sender);
        if !connection.phase().is_open() && !found.is_ok_and(|route| route.before_auth) {
            return Err(SessionError::NotAuthenticated);
        }
        found.map_err(|missing| match missing {
            NotFound::UnknownType => RequestError::UnknownType.into(),
            NotFound::WithoutField(field) => RequestError::MissingField(field).into(),
            NotFound::Forbidden => SessionError::Forbidden,
        })
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
