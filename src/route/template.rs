//! An answer as a template: a JSON object with places for values.
//!
//! A template is itself valid JSON; a string in it that is nothing but a name in braces is a place. What comes there is
//! one whole value, written by the JSON library. Invariant: whatever users, channels and ids are made of, the answer is
//! one JSON object with the template's fields, and nobody's text ends a string or begins a field.

use std::io::{self, Write};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::protocol::reply::{Timestamp, end};

/// Room for the values of a usual answer, so that it is written without growing the buffer.
const VALUES_BYTES: usize = 96;

/// The places that the templates of one action may have, by the names they have there.
pub trait Places: Copy + 'static {
    const ALL: &'static [(&'static str, Self)];
}

/// A template whose places are of `P`.
pub struct Template<P> {
    /// Without the brace at the end.
    parts: Box<[Part<P>]>,
    text_bytes: usize,
}

enum Part<P> {
    Text(Box<str>),
    Place(P),
}

/// What comes in a place.
pub enum Value<'a> {
    Text(&'a str),
    List(&'a [&'a str]),
    Time(Timestamp),
}

#[derive(Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// Not a JSON object with a `type`, or a place that is no value.
    NotAMessage,
    /// The action has no such value.
    UnknownPlace(String),
}

impl<P: Places> Template<P> {
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut rest = text.trim_end().strip_suffix('}').ok_or(TemplateError::NotAMessage)?;
        let (mut parts, mut with_nulls) = (Vec::new(), String::new());
        while let Some((before, name, after)) = next_place(rest) {
            let place = P::ALL.iter().find(|(known, _)| *known == name);
            let (_, place) = place.ok_or_else(|| TemplateError::UnknownPlace(name.to_owned()))?;
            parts.extend([Part::Text(before.into()), Part::Place(*place)]);
            with_nulls.extend([before, "null"]);
            rest = after;
        }
        parts.push(Part::Text(rest.into()));
        with_nulls.extend([rest, "}"]);
        // A name of a field, or a part of a string, cannot be a place: there is no JSON with null there.
        serde_json::from_str::<Message>(&with_nulls).map_err(|_| TemplateError::NotAMessage)?;
        Ok(Self { parts: parts.into(), text_bytes: text.len() })
    }

    /// The answer, with the `id` of the message that is answered behind the other fields.
    pub fn fill<'v>(&self, id: Option<&RawValue>, value: impl Fn(P) -> Value<'v>) -> String {
        let id_bytes = id.map_or(0, |id| r#","id":"#.len() + id.get().len());
        let mut json = Vec::with_capacity(self.text_bytes + id_bytes + VALUES_BYTES);
        for part in &self.parts {
            match part {
                Part::Text(text) => json.extend_from_slice(text.as_bytes()),
                Part::Place(place) => value(*place).write(&mut json).expect("a vector takes every byte"),
            }
        }
        end(json, id)
    }
}

impl Value<'_> {
    /// As JSON.
    fn write(&self, json: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Value::Text(text) => sonic_rs::to_writer(json, text).map_err(io::Error::other)?,
            Value::List(list) => sonic_rs::to_writer(json, list).map_err(io::Error::other)?,
            // Digits and signs, nothing that JSON escapes.
            Value::Time(time) => write!(json, "\"{time}\"")?,
        }
        Ok(())
    }
}

/// Everything that may stand in a template, as far as it is looked at.
#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type")]
    _kind: String,
}

/// What stands before the next place, its name, and what stands behind it.
fn next_place(text: &str) -> Option<(&str, &str, &str)> {
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase());
    text.match_indices("\"{").find_map(|(at, opening)| {
        let (name, after) = text[at + opening.len()..].split_once("}\"")?;
        is_name(name).then_some((&text[..at], name, after))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy)]
    enum Two {
        User,
        List,
    }

    impl Places for Two {
        const ALL: &'static [(&'static str, Self)] = &[("user_id", Two::User), ("list", Two::List)];
    }

    fn template(text: &str) -> Result<Template<Two>, TemplateError> {
        Template::parse(text)
    }

    fn error_of(text: &str) -> TemplateError {
        template(text).err().unwrap_or_else(|| panic!("{text} is a template"))
    }

    fn fill(text: &str, user: &str, list: &[&str], id: Option<&str>) -> String {
        let id = id.map(|id| serde_json::from_str(id).unwrap());
        template(text).unwrap().fill(id, |place| match place {
            Two::User => Value::Text(user),
            Two::List => Value::List(list),
        })
    }

    #[test]
    fn values_come_where_their_names_stand_and_the_id_last() {
        let text = r#" {"type":"t","a":["{user_id}",{"b":"{list}"},{},"{}","{A}","{user_id} is x"]} "#;
        assert_eq!(
            fill(text, "U", &["a", "b"], Some(r#""i\"d""#)),
            r#" {"type":"t","a":["U",{"b":["a","b"]},{},"{}","{A}","{user_id} is x"],"id":"i\"d"}"#
        );
        assert_eq!(fill(r#"{"type":"t"}"#, "U", &[], None), r#"{"type":"t"}"#);
        assert_eq!(fill(r#"{"type":"t","l":"{list}"}"#, "U", &[], Some("7")), r#"{"type":"t","l":[],"id":7}"#);
    }

    #[test]
    fn what_is_no_message_is_no_template() {
        for text in [
            "",
            "}",
            "{}",
            "[]",
            r#"{"type":1}"#,
            r#"{"type":"t""#,
            r#"{"type":"t",}"#,
            r#"{"type":"{user_id}"}"#,
            r#"{"type":"t","{user_id}":1}"#,
            r#"{"type":"t","a":"\"{user_id}"}"#,
            r#"{"type":"t"} x"#,
        ] {
            assert_eq!(error_of(text), TemplateError::NotAMessage, "{text}");
        }
        assert_eq!(error_of(r#"{"type":"t","a":"{token}"}"#), TemplateError::UnknownPlace("token".into()));
    }

    proptest! {
        #[test]
        fn every_text_comes_back_as_it_was(user in any::<String>(), item in any::<String>()) {
            let json = fill(r#"{"type":"t","u":"{user_id}","l":"{list}"}"#, &user, &[&item, "b"], None);
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read, serde_json::json!({ "type": "t", "u": user, "l": [item, "b"] }));
        }
    }
}
