//! The route table: from the `type` of a message, which field it has and who sends it, to what is done with it.
//!
//! Compiled once at start, then only read, by all shards. Sorted and searched by halves: for the few dozens of types
//! there are that is quick, and no hash has to be defended against what clients send.

use std::cmp::Ordering;
use std::fmt;
use std::sync::LazyLock;

use serde::Serialize;

use crate::protocol::request::{Request, RequestError};

use super::action::Action;
use super::compile::Context;
use super::definition::{Definition, Definitions, Event};
use super::field::{self, Field, Values};
use super::problem::Problem;
use super::reach;
use super::vocabulary::Vocabulary;

/// What happens with a message.
#[derive(Debug)]
pub struct Route {
    /// The message's `type`.
    pub kind: Box<str>,
    /// The field that the message must have.
    pub when: Option<Box<str>>,
    /// User types that may send it; empty: all.
    pub roles: Box<[Box<str>]>,
    /// The bit of the claim that the sender's token must have, of [`Routes::claims`]; 0: none.
    pub claim: u8,
    /// Holds also before the session has a token.
    pub before_auth: bool,
    pub fields: Box<[Field]>,
    pub action: Action,
    /// Its place in the table, which tells it from the next 65,535.
    pub number: u16,
    /// Where it is written.
    pub file: Box<str>,
    pub line: usize,
    /// As it is written.
    pub definition: Definition,
}

/// A route that cannot be used, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteError {
    pub file: String,
    pub line: usize,
    /// The message's `type`.
    pub kind: String,
    pub problem: Problem,
}

#[derive(Debug)]
pub struct Routes {
    routes: Box<[Route]>,
    /// What backends publish, with the file that says so.
    events: Vec<(String, Event)>,
    /// In the order of their bits.
    claims: Vec<String>,
    replaced: Vec<Replaced>,
}

/// A shipped route that is not in the table, as the configuration has one for its messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Replaced {
    /// The message's `type`.
    #[serde(rename = "type")]
    pub kind: String,
    pub file: String,
    pub line: usize,
    /// Where the other one is written.
    pub by_file: String,
    pub by_line: usize,
}

/// Who sends a message, as far as routes ask.
#[derive(Clone, Copy, Default)]
pub struct Sender<'a> {
    pub user_type: Option<&'a str>,
    /// Bits of [`Routes::claims`] that the token has.
    pub claims: u8,
}

/// Why a message has no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFound {
    UnknownType,
    /// There are routes for this type, and none without this field.
    WithoutField(&'static str),
    /// There is one, for others.
    Forbidden,
}

impl Route {
    fn allows(&self, sender: Sender<'_>) -> bool {
        let is_of_role = |role: &str| *role == *sender.user_type.unwrap_or_default();
        (self.roles.is_empty() || self.roles.iter().any(|role| is_of_role(role)))
            && self.claim & sender.claims == self.claim
    }

    fn is_for(&self, request: &Request<'_>) -> bool {
        self.when.as_deref().is_none_or(|field| request.field(field).is_some())
    }

    /// The values of its fields in a message.
    pub fn read<'a>(&'static self, request: &Request<'a>) -> Result<Values<'a>, RequestError> {
        field::read(&self.fields, request)
    }

    /// Whether it is for this message of its type, and its sender may take it.
    pub(super) fn takes(&self, request: &Request<'_>, sender: Sender<'_>) -> bool {
        self.is_for(request) && self.allows(sender)
    }
}

impl Routes {
    /// The vocabularies inside the binary. They live as long as the process.
    pub fn shipped() -> &'static Routes {
        static ROUTES: LazyLock<Routes> = LazyLock::new(|| {
            Routes::compile(&Vocabulary::ALL, &Definitions::default(), &[], usize::MAX)
                .unwrap_or_else(|errors| panic!("{errors:?}"))
        });
        &ROUTES
    }

    /// Compiles vocabularies, and what the configuration adds to them or puts in the place of their routes: services
    /// and routes of its own, whose channels have names of at most so many bytes.
    ///
    /// # Errors
    ///
    /// Every route that cannot be used.
    pub fn compile(
        vocabularies: &[Vocabulary],
        own: &Definitions,
        services: &[&str],
        channel_name_bytes_max: usize,
    ) -> Result<Routes, Vec<RouteError>> {
        let mut errors = Vec::new();
        let (mut events, mut context) = (Vec::new(), Context { claims: Vec::new(), services, channel_name_bytes_max });
        let mut routes = compiled(own, &mut context, &mut errors);
        // Nobody wrote the shipped ones for this configuration: where names are too short for one, it is not used.
        context.channel_name_bytes_max = usize::MAX;
        let mut shipped = Vec::new();
        for definitions in vocabularies.iter().map(|vocabulary| vocabulary.definitions()) {
            let file = definitions.file.clone();
            shipped.extend(compiled(&definitions, &mut context, &mut errors));
            events.extend(definitions.events.into_iter().map(|event| (file.clone(), event)));
        }
        for list in [&routes, &shipped] {
            errors.extend(reach::problems(list).map(|(route, problem)| RouteError::new(route, problem)));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut replaced = Vec::new();
        shipped.retain(|shipped| match reach::replacement(&routes, shipped) {
            Some(own) => {
                replaced.push(Replaced::new(shipped, own));
                false
            }
            None => true,
        });
        routes.extend(shipped);
        // Stable: of several routes of a type the order in the files counts, those of the configuration first.
        routes.sort_by(|a, b| by_length(&a.kind, &b.kind));
        routes.iter_mut().enumerate().for_each(|(place, route)| route.number = place as u16);
        Ok(Routes { routes: routes.into(), events, claims: context.claims, replaced })
    }

    /// The route of a message: of those of its type the first whose field it has, and that its sender may take.
    pub fn find(&'static self, request: &Request<'_>, sender: Sender<'_>) -> Result<&'static Route, NotFound> {
        let routes = self.of_type(&request.kind);
        let mut missing = NotFound::UnknownType;
        for route in routes {
            if !route.is_for(request) {
                missing = match (missing, route.when.as_deref()) {
                    (NotFound::Forbidden, _) | (_, None) => missing,
                    (_, Some(field)) => NotFound::WithoutField(field),
                };
            } else if !route.allows(sender) {
                missing = NotFound::Forbidden;
            } else {
                return Ok(route);
            }
        }
        Err(missing)
    }

    /// The claims that some route asks for, in the order of their bits.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.claims.iter().map(String::as_str)
    }

    pub fn all(&self) -> &[Route] {
        &self.routes
    }

    /// Shipped routes that the configuration has others for.
    pub fn replaced(&self) -> &[Replaced] {
        &self.replaced
    }

    /// All of it for programs: the routes as they are written, with file, line and whether they reach other clients,
    /// what of the shipped ones is replaced, and what backends publish.
    pub fn json(&self) -> String {
        let routes = self.routes.iter().map(|route| RouteLine {
            file: &route.file,
            line: route.line,
            reaches_others: route.action.reaches_others(),
            route: &route.definition,
        });
        let events = self.events.iter().map(|(file, event)| EventLine { file, event });
        let listing = Listing { routes: routes.collect(), replaced: &self.replaced, events: events.collect() };
        serde_json::to_string(&listing).expect("texts and numbers")
    }

    pub fn events(&self) -> &[(String, Event)] {
        &self.events
    }

    fn of_type(&self, kind: &str) -> &[Route] {
        let begin = self.routes.partition_point(|route| by_length(&route.kind, kind).is_lt());
        let count = self.routes[begin..].iter().take_while(|route| *route.kind == *kind).count();
        &self.routes[begin..begin + count]
    }
}

#[derive(Serialize)]
struct Listing<'a> {
    routes: Vec<RouteLine<'a>>,
    replaced: &'a [Replaced],
    events: Vec<EventLine<'a>>,
}

#[derive(Serialize)]
struct RouteLine<'a> {
    file: &'a str,
    line: usize,
    reaches_others: bool,
    #[serde(flatten)]
    route: &'a Definition,
}

#[derive(Serialize)]
struct EventLine<'a> {
    file: &'a str,
    #[serde(flatten)]
    event: &'a Event,
}

fn compiled(definitions: &Definitions, context: &mut Context<'_>, errors: &mut Vec<RouteError>) -> Vec<Route> {
    let mut routes = Vec::new();
    for (line, definition) in &definitions.routes {
        match Route::compile(&definitions.file, *line, definition, context) {
            Ok(route) => routes.push(route),
            Err(problem) => errors.push(RouteError {
                file: definitions.file.clone(),
                line: *line,
                kind: definition.kind.clone(),
                problem,
            }),
        }
    }
    routes
}

/// The order of the table: most types are told apart by their length.
fn by_length(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

impl RouteError {
    fn new(route: &Route, problem: Problem) -> Self {
        Self { file: route.file.to_string(), line: route.line, kind: route.kind.to_string(), problem }
    }
}

impl Replaced {
    fn new(shipped: &Route, own: &Route) -> Self {
        Self {
            kind: shipped.kind.to_string(),
            file: shipped.file.to_string(),
            line: shipped.line,
            by_file: own.file.to_string(),
            by_line: own.line,
        }
    }
}

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, file, line, by_file, by_line } = self;
        write!(f, "{kind} of {file}:{line} is replaced by that of {by_file}:{by_line}")
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}: route {}: {}", self.file, self.line, self.kind, self.problem)
    }
}

#[cfg(test)]
mod tests;
