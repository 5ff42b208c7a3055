//! Who moves and who follows: a session tells where it is, or follows whatever comes into a circle.
//!
//! A position is one publication: to the channel of whoever moves, and to those whose circle holds the place and who do
//! not follow him anyway. Each shard looks at one moment who follows by name and who by place, so everybody is told
//! once, and nobody is lost when he moves his circle. His own circle does not hold himself. Of one who moves only the
//! latest position waits for a slow client.

use crate::channel::{Overflow, name};
use crate::geo::Position;
use crate::lane::{Draft, Near};
use crate::protocol::request::{Request, RequestError};
use crate::route::action::{Locate, Nearby};
use crate::route::field::number_of;
use crate::route::table::Route;
use crate::route::template::Template;

use crate::shard::connection::Connection;
use crate::shard::session::Session;
use crate::shard::session::error::{ChannelError, SessionError};
use crate::shard::session::filling::Given;
use crate::shard::state::ShardState;

impl Session<'_> {
    /// Tells where the session is to those who follow it, and to the route's service.
    pub(super) fn locate(
        &mut self,
        connection: &Connection,
        request: &Request<'_>,
        route: &'static Route,
        locate: &Locate,
        given: &Given<'_>,
    ) -> Result<(), SessionError> {
        let position = position(route, locate.latitude, locate.longitude, given)?;
        let channel = self.spoken_to(connection, &locate.channel, given)?;
        let bytes = self.written(connection, &locate.message, given);
        let near = Near { position, session: self.id(connection) };
        let near = Some((near, self.state.nearby.shards(position, self.state.bus.interest())));
        let draft = Draft { overflow: Overflow::Latest, near, ..Draft::new(&channel, bytes) };
        self.publish(draft)?;
        self.forward(connection, request, &locate.forward, given)
    }

    /// Follows whatever comes into a circle, which takes the place of the one before.
    pub(super) fn follow_nearby(
        &mut self,
        connection: &Connection,
        request: &Request<'_>,
        route: &'static Route,
        nearby: &Nearby,
        given: &Given<'_>,
    ) -> Result<(), SessionError> {
        let centre = position(route, nearby.latitude, nearby.longitude, given)?;
        let radius_m = number(route, nearby.radius, given)?;
        if !self.is_granted(connection, name::CELL_PREFIX) {
            return Err(SessionError::Channel(ChannelError::NotAllowed));
        }
        let ShardState { nearby: circles, table, .. } = &mut *self.state;
        if !circles.watch(self.slot, table, centre, radius_m) {
            return Err(RequestError::BadField(&route.fields[nearby.radius].name).into());
        }
        self.reply_if_any(connection, request, nearby.reply.as_ref(), given);
        Ok(())
    }

    pub(super) fn leave_nearby(
        &mut self,
        connection: &Connection,
        request: &Request<'_>,
        reply: Option<&Template>,
        given: &Given<'_>,
    ) -> Result<(), SessionError> {
        let ShardState { nearby, table, .. } = &mut *self.state;
        if !nearby.unwatch(self.slot, table) {
            return Err(SessionError::Channel(ChannelError::NotSubscribed));
        }
        self.reply_if_any(connection, request, reply, given);
        Ok(())
    }
}

/// Checked here too: a route may leave the range of its fields open.
fn position(
    route: &'static Route,
    latitude: usize,
    longitude: usize,
    given: &Given<'_>,
) -> Result<Position, RequestError> {
    let degrees = (number(route, latitude, given)?, number(route, longitude, given)?);
    Position::new(degrees.0, degrees.1).ok_or_else(|| {
        let at = if Position::new(degrees.0, 0.0).is_none() { latitude } else { longitude };
        RequestError::BadField(&route.fields[at].name)
    })
}

fn number(route: &'static Route, field: usize, given: &Given<'_>) -> Result<f64, RequestError> {
    let name = &*route.fields[field].name;
    let value = given.values[field].ok_or(RequestError::MissingField(name))?;
    number_of(value).ok_or(RequestError::BadField(name))
}
