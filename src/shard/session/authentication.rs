//! Who a session is: the token that begins it, with the upgrade or as a message, and the fresh one that renews it.

use crate::auth::{Identity, TokenError};
use crate::channel::name;
use crate::channel::table::Joined;
use crate::lane::events::{Arrived, EventKind, What};
use crate::metrics::Timed;
use crate::protocol::reply::{Message, Welcome};
use crate::protocol::request::Request;
use crate::route::template::Template;

use crate::shard::connection::Connection;
use crate::shard::profiles::Claims;
use crate::shard::seats::Sitter;
use crate::shard::session::Session;
use crate::shard::session::error::SessionError;
use crate::shard::session::filling::Given;
use crate::shard::state::ShardState;
use crate::shard::verification::Asker;

impl Session<'_> {
    /// Who the token of a message says it is. None while that is verified beside the shard: then the message is
    /// answered again.
    pub(super) fn identity(
        &mut self,
        connection: &Connection,
        request: &Request<'_>,
        field: &'static str,
        verified: Option<Result<Identity, TokenError>>,
    ) -> Result<Option<Identity>, SessionError> {
        let verified = match verified {
            Some(verified) => verified,
            None => {
                let token = request.string(field)?;
                if self.state.rules.verifier.is_slow(&token) {
                    return self.have_verified(connection, request, &token);
                }
                let ShardState { rules, latency, now, .. } = &mut *self.state;
                latency.time(Timed::Authentication, || rules.verifier.verify(&token, now.unix_s()))
            }
        };
        let verified = verified.inspect_err(|error| self.state.counters.tokens_refused.count(error.name()));
        Ok(Some(verified?))
    }

    fn have_verified(
        &mut self,
        connection: &Connection,
        request: &Request<'_>,
        token: &str,
    ) -> Result<Option<Identity>, SessionError> {
        let id = self.id(connection);
        if !self.state.paused.begin(id, request.text) {
            return Err(SessionError::Busy);
        }
        self.state.verification.ask(token, Asker::Connection(id));
        Ok(None)
    }

    /// A verified token as a message: the first one of a connection that came without, or a fresh one in place of the
    /// old.
    pub(super) fn authenticate(
        &mut self,
        connection: &mut Connection,
        request: &Request<'_>,
        identity: Identity,
        reply: &Template,
        given: &Given<'_>,
    ) -> Result<(), SessionError> {
        if connection.phase().is_open() && *self.user_id(connection) != *identity.user_id {
            return Err(SessionError::OtherUser);
        }
        let begins = connection.phase().is_arrived();
        if begins {
            let sitter = Sitter { user_id: &identity.user_id, device_id: connection.device_id() };
            let in_place = self.state.seats.is_taken(sitter);
            let share = self.state.shares.take_user(self.slot, &identity.user_id, in_place);
            share.map_err(|_| SessionError::TooManyOfUser)?;
        }
        if !self.admit(connection, identity) {
            return Err(SessionError::RoleNotAllowed);
        }
        self.reply(connection, request, reply, given);
        if begins {
            self.hand_out_kept(connection);
        }
        Ok(())
    }

    /// Makes the bearer of a verified token a session, or renews the one it has; false when its user type may not
    /// connect.
    pub fn admit(&mut self, connection: &mut Connection, identity: Identity) -> bool {
        debug_assert!(connection.phase().is_arrived() || connection.phase().is_open(), "an echo is not a session");
        if !self.state.rules.may_connect(&identity) {
            return false;
        }
        if connection.phase().is_arrived() {
            let asked = connection.details.as_ref();
            let user_type = identity.user_type_or(asked.and_then(|d| d.user_type.as_deref()));
            let (Joined::New(channel) | Joined::Already(channel)) =
                self.state.table.join(self.slot, &format!("{}{}", name::USER_PREFIX, identity.user_id));
            connection.user_channel = channel;
            connection.profile = self.state.profiles.enter(Claims {
                user_type,
                is_vouched: identity.user_type.is_some(),
                platform: asked.and_then(|d| d.platform.as_deref()),
                granted: identity.claims,
            });
            if let Some(user_type) = user_type {
                self.state.table.join(self.slot, &format!("{}{user_type}", name::TYPE_PREFIX));
            }
            let sitter = Sitter { user_id: &identity.user_id, device_id: connection.device_id() };
            self.state.seats.take(sitter, self.id(connection));
            self.state.sessions += 1;
            self.tell_arrival(connection);
            self.state.counters.unauthenticated.add(-1);
        } else {
            let is_vouched = identity.user_type.is_some();
            connection.profile = self.state.profiles.regrant(connection.profile, identity.claims, is_vouched);
        }
        debug_assert_eq!(self.user_id(connection), &*identity.user_id, "a session stays its user's");
        connection.authenticate(identity.expires_at, identity.grants, self.state.now, &self.state.rules);
        self.effects.rearm = true;
        true
    }

    fn tell_arrival(&self, connection: &Connection) {
        let (details, profiles) = (connection.details.as_ref(), &self.state.profiles);
        self.tell_event(connection, EventKind::Connected, || {
            What::Connected(Arrived {
                user_type: profiles.user_type(connection.profile).map(Into::into),
                device_id: connection.device_id().map(Into::into),
                platform: profiles.platform(connection.profile).map(Into::into),
                address: details.and_then(|details| details.address),
            })
        });
    }

    /// The message that greets a session whose token came with the upgrade.
    pub fn greeting(&self, connection: &Connection) -> String {
        let rules = &self.state.rules;
        let welcome = Welcome {
            user_id: self.user_id(connection),
            session_id: &self.session_id(connection).to_string(),
            server_id: &rules.server_id,
            heartbeat_interval: rules.heartbeat_ms,
        };
        Message::connected(welcome).json()
    }
}
