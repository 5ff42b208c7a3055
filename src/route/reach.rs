//! Which messages come to a route at all: some go to an earlier route of their type, or to one that stands in its
//! place. Looked at once, when the table is made.

use crate::protocol::request::Request;

use super::action::Action;
use super::field::Wrong;
use super::problem::Problem;
use super::table::{Route, Sender};

impl Route {
    /// Whether both take some of the same messages of the same senders, and nothing tells which of them is narrower.
    fn conflicts_with(&self, other: &Route) -> bool {
        let shares_role =
            self.roles.is_empty() && other.roles.is_empty() || self.roles.iter().any(|role| other.roles.contains(role));
        self.kind == other.kind && self.when == other.when && self.claim == other.claim && shares_role
    }

    /// Whether this one takes all that the other one would from senders of a role, or of any.
    fn covers(&self, other: &Route, role: Option<&str>) -> bool {
        self.kind == other.kind
            && (self.when.is_none() || self.when == other.when)
            && self.claim & other.claim == self.claim
            && (self.roles.is_empty() || role.is_some_and(|role| self.roles.iter().any(|own| **own == *role)))
    }

    /// Whether this one, of the configuration, stands in the place of a shipped one.
    fn replaces(&self, shipped: &Route) -> bool {
        self.kind == shipped.kind && self.when == shipped.when && (self.roles.is_empty() || self.roles == shipped.roles)
    }

    /// What is wrong with its example, of which the routes of its file are asked in their order.
    fn check_example(&self, routes: &[Route]) -> Result<(), Problem> {
        let Some(example) = &self.definition.example else { return Ok(()) };
        let refused = |why: String| Err(Problem::Example(why));
        let request = match Request::parse(example) {
            Ok(request) if *request.kind == *self.kind => request,
            Ok(request) => return refused(format!("its type is {}", request.kind)),
            Err(error) => return refused(error.to_string()),
        };
        if let Some(field) = self.when.as_deref().filter(|field| request.field(field).is_none()) {
            return refused(format!("the field {field} is missing"));
        }
        let sender = Sender { user_type: self.roles.first().map(|role| &**role), claims: self.claim };
        let taken_by = routes.iter().find(|route| route.kind == self.kind && route.takes(&request, sender));
        if let Some(other) = taken_by.filter(|other| !std::ptr::eq(*other, self)) {
            return refused(format!("that of line {} does", other.line));
        }
        if let Action::Subscribe(list) | Action::Unsubscribe(list) = &self.action {
            let items = request.field(&list.field).map(|value| serde_json::from_str::<Vec<String>>(value.get()));
            if !matches!(items, Some(Ok(_))) {
                return refused(format!("the field {} is no list of texts", list.field));
            }
        }
        let wrong = self.fields.iter().find_map(|field| Some((field, field.find(&request).err()?)));
        match wrong {
            None => Ok(()),
            Some((field, Wrong::Missing)) => refused(format!("the field {} is missing", field.name)),
            Some((field, Wrong::Bad)) => refused(format!("the field {} has the wrong type or size", field.name)),
        }
    }
}

/// The route among `earlier` ones because of which nothing is left for this one: the last, if it takes several.
fn covering<'a>(earlier: &'a [Route], route: &Route) -> Option<&'a Route> {
    let of_role = |role: Option<&str>| earlier.iter().find(|earlier| earlier.covers(route, role));
    match &*route.roles {
        [] => of_role(None),
        roles => roles.iter().map(|role| of_role(Some(role))).reduce(|all, one| all.and(one)).flatten(),
    }
}

/// Which of these routes, of one file or of those that ship, can never be taken or show an example that cannot, and
/// why.
pub fn problems(routes: &[Route]) -> impl Iterator<Item = (&Route, Problem)> {
    routes.iter().enumerate().filter_map(|(at, route)| {
        let earlier = &routes[..at];
        let conflicting = earlier.iter().find(|earlier| earlier.conflicts_with(route));
        match conflicting.or_else(|| covering(earlier, route)) {
            Some(other) => Some((route, Problem::Conflict(other.line))),
            None => route.check_example(routes).err().map(|problem| (route, problem)),
        }
    })
}

/// The route of the configuration that takes the messages of a shipped one.
pub fn replacement<'a>(own: &'a [Route], shipped: &Route) -> Option<&'a Route> {
    own.iter().find(|own| own.replaces(shipped)).or_else(|| covering(own, shipped))
}
