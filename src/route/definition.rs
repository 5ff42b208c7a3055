//! A route as it is written in TOML, in a vocabulary or in the configuration.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::field::Description;

/// One `[[routes]]`. Its keys are described in docs/ROUTES.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// The message's `type`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Only messages that have this field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Only sessions of these user types; `""` stands for those without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// Only sessions whose token has this claim: `name`, or `name=value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// Also before the session has a token.
    #[serde(default, skip_serializing_if = "is_false")]
    pub before_auth: bool,
    pub action: ActionName,
    /// Required.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, Description>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub optional: BTreeMap<String, Description>,
    // What actions have use for, each for some of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members_only: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_sender: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// A message that takes this route, to be pasted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionName {
    Authenticate,
    Ping,
    Accept,
    Refuse,
    Subscribe,
    Unsubscribe,
    Join,
    Leave,
    Forward,
    Typing,
    Presence,
    Locate,
    Nearby,
    LeaveNearby,
    Confirm,
}

/// A message that backends publish to the clients of a vocabulary: nothing is done with it here but to deliver it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    pub example: String,
}

/// A file of routes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definitions {
    /// Where they stand, for people.
    pub file: String,
    /// Each with the line it begins in.
    pub routes: Vec<(usize, Definition)>,
    pub events: Vec<Event>,
}

/// No TOML, or not what routes are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    pub line: usize,
    pub message: String,
}

#[derive(Deserialize)]
struct RouteList {
    #[serde(default)]
    routes: Vec<Spanned<Definition>>,
}

#[derive(Deserialize)]
struct EventList {
    #[serde(default)]
    events: Vec<Event>,
}

impl Definitions {
    /// The `[[routes]]` of a configuration; whatever else stands in it is others', a section `[events]` too.
    pub fn read(file: &str, text: &str) -> Result<Self, SyntaxError> {
        let routes = parse::<RouteList>(text)?.routes.into_iter();
        let routes = routes.map(|route| (line_of(text, route.span().start), route.into_inner()));
        Ok(Self { file: file.to_owned(), routes: routes.collect(), events: Vec::new() })
    }

    /// The `[[routes]]` and `[[events]]` of a vocabulary.
    pub fn read_vocabulary(file: &str, text: &str) -> Result<Self, SyntaxError> {
        Ok(Self { events: parse::<EventList>(text)?.events, ..Self::read(file, text)? })
    }
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, SyntaxError> {
    toml::from_str(text).map_err(|mut error: toml::de::Error| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        // Without the text it names the key instead of quoting the line.
        error.set_input(None);
        SyntaxError { line, message: error.to_string().trim_end().replace('\n', " ") }
    })
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}

impl fmt::Display for ActionName {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}
