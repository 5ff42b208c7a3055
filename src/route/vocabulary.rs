//! A vocabulary: the routes of one TOML file, read and checked. What is wrong is told with file and line.

use std::fmt;

use serde::Deserialize;
use toml::Spanned;

use super::action::{Action, ChannelList, ChannelName};
use super::table::Route;
use super::template::{Places, Template, TemplateError};

/// The file as it is written. Its keys are described at the top of `vocabularies/core.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    routes: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    action: ActionName,
    #[serde(default)]
    before_auth: bool,
    field: Option<String>,
    channel: Option<String>,
    reply: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActionName {
    Authenticate,
    Ping,
    Subscribe,
    Unsubscribe,
    HeartbeatAck,
}

/// Why a vocabulary cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct VocabularyError {
    pub file: String,
    pub line: usize,
    pub problem: Problem,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Problem {
    /// No TOML, or not what a vocabulary is made of.
    Syntax(String),
    /// The action needs this key.
    Missing(&'static str),
    /// The action has no use for this key.
    Unused(&'static str),
    /// `channel` does not name the field.
    ChannelWithoutField,
    Reply(TemplateError),
    /// An earlier route of this type takes the same messages.
    Conflict(String),
}

/// The routes of a file, each with the line it begins in.
pub fn read(file: &str, text: &str) -> Result<Vec<(usize, Route)>, VocabularyError> {
    let error = |at: usize, problem| VocabularyError { file: file.to_owned(), line: line_of(text, at), problem };
    let entries = toml::from_str::<File>(text).map_err(|problem| {
        error(problem.span().map_or(0, |span| span.start), Problem::Syntax(problem.message().to_owned()))
    })?;
    let routes = entries.routes.into_iter().map(|entry| {
        let at = entry.span().start;
        let route = entry.into_inner().compile().map_err(|problem| error(at, problem))?;
        Ok((line_of(text, at), route))
    });
    routes.collect()
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text[..at].matches('\n').count()
}

impl Entry {
    fn compile(mut self) -> Result<Route, Problem> {
        let action = match self.action {
            ActionName::Authenticate => Action::Authenticate { field: self.take_field()?, reply: self.take_reply()? },
            ActionName::Ping => Action::Ping { reply: self.take_reply()? },
            ActionName::Subscribe => Action::Subscribe(self.take_list()?),
            ActionName::Unsubscribe => Action::Unsubscribe(self.take_list()?),
            ActionName::HeartbeatAck => Action::HeartbeatAck,
        };
        for (key, left) in [("field", &self.field), ("channel", &self.channel), ("reply", &self.reply)] {
            if left.is_some() {
                return Err(Problem::Unused(key));
            }
        }
        Ok(Route { kind: self.kind.into(), before_auth: self.before_auth, action })
    }

    fn take_field(&mut self) -> Result<Box<str>, Problem> {
        self.field.take().map(Into::into).ok_or(Problem::Missing("field"))
    }

    fn take_reply<P: Places>(&mut self) -> Result<Template<P>, Problem> {
        let reply = self.reply.take().ok_or(Problem::Missing("reply"))?;
        Template::parse(&reply).map_err(Problem::Reply)
    }

    fn take_list(&mut self) -> Result<ChannelList, Problem> {
        let field = self.take_field()?;
        let channel = self.channel.take().ok_or(Problem::Missing("channel"))?;
        let channel = ChannelName::parse(&channel, &field).ok_or(Problem::ChannelWithoutField)?;
        Ok(ChannelList { field, channel, reply: self.take_reply()? })
    }
}

impl fmt::Display for VocabularyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}: ", self.file, self.line)?;
        match &self.problem {
            Problem::Syntax(message) => f.write_str(message),
            Problem::Missing(key) => write!(f, "the action needs the key {key}"),
            Problem::Unused(key) => write!(f, "the action has no use for the key {key}"),
            Problem::ChannelWithoutField => f.write_str("the channel does not name the field in braces"),
            Problem::Reply(TemplateError::NotAMessage) => {
                f.write_str("the reply is not a JSON object with a type, or has a name in braces that is no value")
            }
            Problem::Reply(TemplateError::UnknownPlace(name)) => {
                write!(f, "the reply names {{{name}}}, which the action does not have")
            }
            Problem::Conflict(kind) => write!(f, "there is another route for the same messages of type {kind}"),
        }
    }
}

impl std::error::Error for VocabularyError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> VocabularyError {
        read("test.toml", text).err().unwrap_or_else(|| panic!("{text} is a vocabulary"))
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let good = "[[routes]]\ntype = \"a\"\naction = \"heartbeat_ack\"\n\n";
        assert_eq!(read("test.toml", good).unwrap().len(), 1);
        let route = |rest: &str| format!("{good}[[routes]]\ntype = \"b\"\n{rest}");
        for (rest, line, problem) in [
            ("action = \"subscribe\"\nchannel = \"{f}\"", 5, Problem::Missing("field")),
            ("action = \"subscribe\"\nfield = \"f\"", 5, Problem::Missing("channel")),
            ("action = \"subscribe\"\nfield = \"f\"\nchannel = \"{g}\"", 5, Problem::ChannelWithoutField),
            ("action = \"ping\"", 5, Problem::Missing("reply")),
            ("action = \"ping\"\nreply = '{}'", 5, Problem::Reply(TemplateError::NotAMessage)),
            (
                "action = \"ping\"\nreply = '{\"type\":\"t\",\"a\":\"{user_id}\"}'",
                5,
                Problem::Reply(TemplateError::UnknownPlace("user_id".into())),
            ),
            ("action = \"heartbeat_ack\"\nfield = \"f\"", 5, Problem::Unused("field")),
        ] {
            let error = error_of(&route(rest));
            assert_eq!((error.line, &error.problem), (line, &problem), "{rest}");
            assert!(error.to_string().starts_with("test.toml, line 5: "), "{error}");
        }
    }

    #[test]
    fn what_a_vocabulary_does_not_know_is_named_with_its_line() {
        for (text, word) in [
            ("[[routes]]\ntype = \"a\"\naction = \"fly\"", "fly"),
            ("[[routes]]\ntype = \"a\"\nactoin = \"ping\"", "actoin"),
            ("[[routes]]\ntype = \"a\"\naction = \"ping\"\nreply = 7", "invalid type"),
            ("# nothing\n\nroute = 1", "route"),
        ] {
            let error = error_of(text);
            assert!(error.line >= 3 && error.to_string().contains(word), "{error}");
        }
    }
}
