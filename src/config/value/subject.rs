//! Where a message goes at a broker or backend: a subject, channel, stream, routing key or path, in which values of the
//! message stand in braces: `ws:{channel}`, `orders.{key}`.

use std::fmt;
use std::str::FromStr;

use crate::lane::Content;

/// A template of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Value(Value),
}

/// What may stand in braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// The message's `type`.
    Type,
    /// What the route's `key` makes of the message.
    Key,
    /// The channel that the message is for.
    Channel,
    UserId,
    SessionId,
    UserType,
}

impl Value {
    const ALL: [Self; 6] = [Self::Type, Self::Key, Self::Channel, Self::UserId, Self::SessionId, Self::UserType];

    fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Key => "key",
            Self::Channel => "channel",
            Self::UserId => "user_id",
            Self::SessionId => "session_id",
            Self::UserType => "user_type",
        }
    }

    fn of(self, content: &Content) -> Option<&str> {
        match self {
            Self::Type => Some(&content.kind),
            Self::Key => content.key.as_deref(),
            Self::Channel => content.channel.as_deref(),
            Self::UserId => Some(&content.user_id),
            Self::SessionId => Some(&content.session_id),
            Self::UserType => content.user_type.as_deref(),
        }
    }
}

impl Subject {
    /// The name for a message. `write` appends a value, whose characters may be a client's choice, as the broker can
    /// take it; `None` when the message has no such value.
    pub fn fill(&self, content: &Content, write: impl Fn(&mut String, Value, &str)) -> Option<String> {
        let mut name = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => name.push_str(text),
                Piece::Value(value) => write(&mut name, *value, value.of(content)?),
            }
        }
        Some(name)
    }

    /// The parts that are the same for every message, for whoever checks what may stand in them.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(&**text),
            Piece::Value(_) => None,
        })
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err("must not be empty".into());
        }
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some((before, behind)) = rest.split_once('{') {
            let (name, after) = behind.split_once('}').ok_or("has a brace that is not closed")?;
            let value = Value::ALL.into_iter().find(|value| value.name() == name);
            let known = || Value::ALL.map(|value| format!("{{{}}}", value.name())).join(", ");
            let value = value.ok_or_else(|| format!("there is no {{{name}}} here; there are {}", known()))?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            pieces.push(Piece::Value(value));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Self(pieces))
    }
}

impl fmt::Display for Subject {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Value(value) => write!(f, "{{{}}}", value.name()),
        })
    }
}

impl serde::Serialize for Subject {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Subject {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Content {
        Content {
            kind: "chat".into(),
            user_id: "ana".into(),
            session_id: "s1".into(),
            body: "{}".into(),
            channel: Some("clan:k1".into()),
            key: Some("{type}".into()),
            ..Content::default()
        }
    }

    fn filled(text: &str) -> Option<String> {
        text.parse::<Subject>().expect(text).fill(&content(), |name, _, value| name.push_str(value))
    }

    #[test]
    fn values_stand_where_their_names_stood() {
        assert_eq!(filled("ws:{channel}").as_deref(), Some("ws:clan:k1"));
        assert_eq!(filled("{user_id}").as_deref(), Some("ana"));
        assert_eq!(filled("plain").as_deref(), Some("plain"));
    }

    #[test]
    fn what_a_client_says_is_no_template() {
        assert_eq!(filled("a.{key}.b").as_deref(), Some("a.{type}.b"));
    }

    #[test]
    fn a_message_without_the_value_has_no_name() {
        assert_eq!(filled("of.{user_type}"), None);
    }

    #[test]
    fn what_is_no_template_is_named() {
        for (text, error) in [("", "empty"), ("a{b", "not closed"), ("a{b}", "no {b} here"), ("{", "not closed")] {
            assert!(text.parse::<Subject>().expect_err(text).contains(error), "{text}");
        }
    }

    #[test]
    fn it_is_printed_as_it_is_written() {
        for text in ["ws:{channel}", "{key}{type}", "plain"] {
            assert_eq!(text.parse::<Subject>().expect(text).to_string(), text);
        }
    }
}
