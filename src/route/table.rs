//! The route table: from the `type` of a message, and which field it has, to what is done with it.
//!
//! Compiled once at start, then only read, by all shards. Sorted and searched by halves: for the few dozens of types
//! there are that is quick, and no hash has to be defended against what clients send.

use std::cmp::Ordering;
use std::sync::LazyLock;

use crate::protocol::request::Request;

use super::action::Action;
use super::vocabulary::{self, Problem, VocabularyError};

/// The vocabularies inside the binary, by the names of their files.
const SHIPPED: [(&str, &str); 1] = [("core.toml", include_str!("vocabularies/core.toml"))];

/// What happens with a message.
pub struct Route {
    /// The message's `type`.
    pub kind: Box<str>,
    /// Holds also before the session has a token.
    pub before_auth: bool,
    pub action: Action,
}

pub struct Routes(Box<[Route]>);

impl Routes {
    /// The vocabularies inside the binary, compiled when they are asked for first. They live as long as the process.
    pub fn shipped() -> &'static Routes {
        static ROUTES: LazyLock<Routes> =
            LazyLock::new(|| Routes::compile(&SHIPPED).unwrap_or_else(|error| panic!("{error}")));
        &ROUTES
    }

    /// Compiles vocabularies: file name and text of each.
    fn compile(vocabularies: &[(&str, &str)]) -> Result<Routes, VocabularyError> {
        let mut routes: Vec<Route> = Vec::new();
        for (file, text) in vocabularies {
            for (line, route) in vocabulary::read(file, text)? {
                let (kind, field) = (&route.kind, route.action.field());
                let is_same = |other: &Route| {
                    other.kind == *kind && (other.action.field() == field || other.action.field().is_none())
                };
                if routes.iter().any(is_same) {
                    let problem = Problem::Conflict(route.kind.into());
                    return Err(VocabularyError { file: (*file).to_owned(), line, problem });
                }
                routes.push(route);
            }
        }
        // Stable: of several routes of a type the order in the files counts.
        routes.sort_by(|a, b| by_length(&a.kind, &b.kind));
        Ok(Routes(routes.into()))
    }

    /// The route of a message: of those of its type the first whose field the message has, or else the last.
    pub fn find(&self, request: &Request<'_>) -> Option<&Route> {
        let routes = self.of_type(&request.kind);
        let has_field = |route: &&Route| route.action.field().is_some_and(|field| request.field(field).is_some());
        match routes {
            [] | [_] => routes.first(),
            [others @ .., last] => others.iter().find(has_field).or(Some(last)),
        }
    }

    fn of_type(&self, kind: &str) -> &[Route] {
        let begin = self.0.partition_point(|route| by_length(&route.kind, kind).is_lt());
        let count = self.0[begin..].iter().take_while(|route| *route.kind == *kind).count();
        &self.0[begin..begin + count]
    }
}

/// The order of the table: most types are told apart by their length.
fn by_length(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field_of<'a>(routes: &'a Routes, message: &str) -> Option<Option<&'a str>> {
        routes.find(&Request::parse(message).unwrap()).map(|route| route.action.field())
    }

    #[test]
    fn a_message_finds_its_route_by_type_and_field() {
        let routes = Routes::shipped();
        for (message, field) in [
            (r#"{"type":"auth"}"#, Some("token")),
            (r#"{"type":"ping"}"#, None),
            (r#"{"type":"heartbeat_ack"}"#, None),
            (r#"{"type":"subscribe","channels":[]}"#, Some("channels")),
            (r#"{"type":"subscribe","payload":{"conversation_ids":[]},"channels":[]}"#, Some("conversation_ids")),
            (r#"{"type":"unsubscribe"}"#, Some("channels")),
        ] {
            assert_eq!(field_of(routes, message), Some(field), "{message}");
        }
        for kind in ["", "a", "aut", "authh", "Ping", "zzz", "subscribe "] {
            assert!(routes.of_type(kind).is_empty(), "{kind}");
        }
    }

    #[test]
    fn before_a_token_only_auth_and_ping_are_answered() {
        let open: Vec<&str> = Routes::shipped().0.iter().filter(|r| r.before_auth).map(|r| &*r.kind).collect();
        assert_eq!(open, ["auth", "ping"]);
    }

    #[test]
    fn two_routes_for_the_same_messages_are_refused() {
        let ack = "[[routes]]\ntype = \"a\"\naction = \"heartbeat_ack\"\n";
        let error = Routes::compile(&[("one.toml", ack), ("two.toml", &format!("\n{ack}"))]).err().unwrap();
        assert_eq!((&*error.file, error.line), ("two.toml", 2));
        assert_eq!(error.problem, Problem::Conflict("a".into()));
        assert!(error.to_string().contains("type a"), "{error}");
    }
}
