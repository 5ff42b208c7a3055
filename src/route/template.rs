//! What is written with the values of one message: JSON objects and names of channels, as templates.
//!
//! A JSON template is itself valid JSON; a string in it that is nothing but a name in braces is a place. What comes
//! there is one whole value: text that the JSON library writes, or a field's JSON as it came. A place for a field that
//! may be missing takes its member of the object with it. Invariant: whatever users, channels and fields are made of,
//! the result is one JSON object with the template's fields, and nobody's text ends a string or begins a field.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};

use serde::Deserialize;
use serde_json::Map;
use serde_json::value::RawValue;

use crate::channel::name;
use crate::protocol::request::text_of;

use super::field::Field;

/// What can stand in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    UserId,
    SessionId,
    /// `null` for a session without one.
    UserType,
    /// Now, in UTC, by RFC 3339 with milliseconds.
    Timestamp,
    /// Now, in unix milliseconds.
    TimestampMs,
    /// A new id for this message.
    MessageId,
    /// Those items of the list that hold now.
    List,
    /// The channel that the message is about.
    Channel,
    /// Who is present, and how many are.
    Users,
    Count,
    /// By its position in the route.
    Field(usize),
}

/// The names of places that are no fields.
const NAMES: [(&str, Place); 10] = [
    ("user_id", Place::UserId),
    ("session_id", Place::SessionId),
    ("user_type", Place::UserType),
    ("timestamp", Place::Timestamp),
    ("timestamp_ms", Place::TimestampMs),
    ("message_id", Place::MessageId),
    ("list", Place::List),
    ("channel", Place::Channel),
    ("users", Place::Users),
    ("count", Place::Count),
];

/// What every message of a session can be written with.
pub const OF_SESSION: &[Place] =
    &[Place::UserId, Place::SessionId, Place::UserType, Place::Timestamp, Place::TimestampMs];
pub const OF_TIME: &[Place] = &[Place::Timestamp, Place::TimestampMs];

/// What the templates of a route may name: its fields, and what its action knows.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    pub fields: &'a [Field],
    pub places: &'a [&'a [Place]],
}

/// What comes in a place.
pub enum Value<'a> {
    Text(&'a str),
    List(&'a [&'a str]),
    /// What is written in letters, digits and signs that JSON does not escape.
    Shown(&'a dyn Display),
    Number(u64),
    /// JSON.
    Json(&'a str),
    /// Nothing: the member of the object goes with it.
    Missing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// Not a JSON object with a `type`, or a place that is no value.
    NotAMessage,
    /// The route has no such value.
    UnknownPlace(String),
    /// A field that may be missing is not a member of an object, or the first one.
    NotOptional(String),
    /// The field's text cannot be a part of a name.
    NotAName(String),
    /// An answer has a field `id`, which is to be that of the message.
    OwnId,
}

/// A message as a template.
#[derive(Debug)]
pub struct Template {
    /// Without the brace at the end.
    parts: Box<[Part]>,
}

#[derive(Debug)]
enum Part {
    Text(Box<str>),
    Place(Place),
    /// A member of an object with its comma and its name, which is not written when there is no value.
    Member(Box<str>, Place),
}

impl Scope<'_> {
    fn find(&self, name: &str) -> Result<(Place, Option<&Field>), TemplateError> {
        // A field hides what has the same name and would be there anyway.
        if let Some(at) = self.fields.iter().position(|field| *field.name == *name) {
            return Ok((Place::Field(at), Some(&self.fields[at])));
        }
        let known = NAMES.iter().find(|(known, _)| *known == name).map(|(_, place)| *place);
        let known = known.filter(|place| self.places.iter().any(|places| places.contains(place)));
        known.map(|place| (place, None)).ok_or_else(|| TemplateError::UnknownPlace(name.to_owned()))
    }
}

impl Template {
    pub fn parse(text: &str, scope: Scope<'_>) -> Result<Self, TemplateError> {
        let mut rest = text.trim_end().strip_suffix('}').ok_or(TemplateError::NotAMessage)?;
        let (mut parts, mut with_nulls) = (Vec::new(), String::new());
        while let Some((before, name, after)) = next_place(rest) {
            let (place, field) = scope.find(name)?;
            if field.is_some_and(Field::may_be_missing) {
                let at = member_begin(before).ok_or_else(|| TemplateError::NotOptional(name.to_owned()))?;
                parts.extend([Part::Text(before[..at].into()), Part::Member(before[at..].into(), place)]);
            } else {
                parts.extend([Part::Text(before.into()), Part::Place(place)]);
            }
            with_nulls.extend([before, "null"]);
            rest = after;
        }
        parts.push(Part::Text(rest.into()));
        with_nulls.extend([rest, "}"]);
        // A name of a field, or a part of a string, cannot be a place: there is no JSON with null there.
        serde_json::from_str::<Message>(&with_nulls).map_err(|_| TemplateError::NotAMessage)?;
        Ok(Self { parts: parts.into() })
    }

    /// An answer: the `id` of the message that it answers comes beside what is written here.
    pub fn parse_reply(text: &str, scope: Scope<'_>) -> Result<Self, TemplateError> {
        let template = Self::parse(text, scope)?;
        let fields: Map<String, serde_json::Value> =
            serde_json::from_str(text).map_err(|_| TemplateError::NotAMessage)?;
        if fields.contains_key("id") { Err(TemplateError::OwnId) } else { Ok(template) }
    }

    /// Writes the message behind what `json` holds, with the `id` of the message that is answered as its last field.
    pub fn fill<'v>(&self, json: &mut String, id: Option<&RawValue>, value: impl Fn(Place) -> Value<'v>) {
        for part in &self.parts {
            match part {
                Part::Text(text) => json.push_str(text),
                Part::Place(place) => value(*place).write(json),
                Part::Member(name, place) => match value(*place) {
                    Value::Missing => {}
                    value => {
                        json.push_str(name);
                        value.write(json);
                    }
                },
            }
        }
        if let Some(id) = id {
            json.push_str(r#","id":"#);
            json.push_str(id.get());
        }
        json.push('}');
    }
}

impl Value<'_> {
    /// As JSON.
    fn write(&self, json: &mut String) {
        match self {
            Value::Text(text) => write_text(json, text),
            Value::List(list) => write_list(json, list),
            Value::Shown(shown) => write!(json, "\"{shown}\"").expect("a string takes every text"),
            Value::Number(number) => write!(json, "{number}").expect("a string takes every text"),
            Value::Json(text) => json.push_str(text),
            Value::Missing => json.push_str("null"),
        }
    }
}

/// A JSON string. Most texts have nothing to be escaped and are copied; the others the JSON library writes.
fn write_text(json: &mut String, text: &str) {
    // Looked at to the end, which the compiler does for many bytes at a time.
    let has_escapes = |found, byte| found | (byte < b' ') | (byte == b'"') | (byte == b'\\');
    if text.bytes().fold(false, has_escapes) {
        json.push_str(&sonic_rs::to_string(text).expect("text is plain data"));
    } else {
        json.push('"');
        json.push_str(text);
        json.push('"');
    }
}

fn write_list(json: &mut String, list: &[&str]) {
    json.push('[');
    for (at, text) in list.iter().enumerate() {
        if at > 0 {
            json.push(',');
        }
        write_text(json, text);
    }
    json.push(']');
}

/// Everything that may stand in a template, as far as it is looked at.
#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type")]
    _kind: String,
}

/// What stands before the next place, its name, and what stands behind it.
fn next_place(text: &str) -> Option<(&str, &str, &str)> {
    let is_name = |name: &str| name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    text.match_indices("\"{").find_map(|(at, opening)| {
        let (name, after) = text[at + opening.len()..].split_once("}\"")?;
        (!name.is_empty() && is_name(name)).then_some((&text[..at], name, after))
    })
}

/// Where the member begins whose value comes next, at its comma: `,"name":`.
fn member_begin(before: &str) -> Option<usize> {
    let named = before.trim_end().strip_suffix(':')?.trim_end().strip_suffix('"')?;
    let name_begin = named.rfind('"')?;
    before[..name_begin].trim_end().strip_suffix(',').map(str::len)
}

/// The name of a channel, or another text, as a template: `conv:{conversation_id}`.
#[derive(Debug)]
pub struct NameTemplate(Box<[NamePart]>);

#[derive(Debug)]
enum NamePart {
    Text(Box<str>),
    UserId,
    SessionId,
    /// Of the list that the message is about.
    Item,
    Field(usize),
}

/// What a name is made of, beside what is written in its template.
pub struct NameValues<'a> {
    pub user_id: &'a str,
    pub session_id: &'a dyn Display,
    pub item: &'a str,
    /// Of the route's fields.
    pub fields: &'a [Option<&'a RawValue>],
}

impl NameTemplate {
    /// `list` is the field of the list whose items are named, if there is one.
    pub fn parse(text: &str, fields: &[Field], list: Option<&str>) -> Result<Self, TemplateError> {
        let scope = Scope { fields, places: &[&[Place::UserId, Place::SessionId]] };
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, opened)) = rest.split_once('{') {
            let (name, after) = opened.split_once('}').ok_or_else(|| TemplateError::UnknownPlace(opened.to_owned()))?;
            parts.push(NamePart::Text(before.into()));
            parts.push(if list == Some(name) { NamePart::Item } else { NamePart::find(name, scope)? });
            rest = after;
        }
        parts.push(NamePart::Text(rest.into()));
        parts.retain(|part| !matches!(part, NamePart::Text(text) if text.is_empty()));
        Ok(Self(parts.into()))
    }

    /// Whether a user id is a part of it, of which only the issuer of tokens says what it may be.
    pub fn has_user_id(&self) -> bool {
        self.0.iter().any(|part| matches!(part, NamePart::UserId))
    }

    /// Whether it names the items of a list.
    pub fn has_item(&self) -> bool {
        self.0.iter().any(|part| matches!(part, NamePart::Item))
    }

    /// Whether it can be a channel's name, as far as it is the same whatever the values are.
    pub fn can_be_channel(&self, bytes_max: usize) -> bool {
        let texts = self.0.iter().filter_map(|part| if let NamePart::Text(text) = part { Some(&**text) } else { None });
        let fixed: String = texts.collect();
        let has_values = self.0.iter().any(|part| !matches!(part, NamePart::Text(_)));
        name::is_valid(&fixed, bytes_max) || fixed.is_empty() && has_values
    }

    /// Whether it is an implicit channel's name whatever the values are.
    pub fn is_implicit(&self) -> bool {
        match &*self.0 {
            [NamePart::Text(text)] => name::is_implicit(text),
            [NamePart::Text(text), ..] => **text != *name::ALL && name::is_implicit(text),
            _ => false,
        }
    }

    /// # Errors
    ///
    /// When `name` has no room for it, or what a client says beside a user id has blanks, which the whole cannot be
    /// asked for then.
    pub fn fill(&self, name: &mut impl fmt::Write, values: &NameValues<'_>) -> fmt::Result {
        let has_user_id = self.has_user_id();
        let write_said = |name: &mut dyn fmt::Write, text: &str| {
            let is_foreign = has_user_id && text.chars().any(|c| c.is_control() || c.is_whitespace());
            if is_foreign { Err(fmt::Error) } else { name.write_str(text) }
        };
        self.0.iter().try_for_each(|part| match part {
            NamePart::Text(text) => name.write_str(text),
            NamePart::UserId => name.write_str(values.user_id),
            NamePart::SessionId => write!(name, "{}", values.session_id),
            NamePart::Item => write_said(name, values.item),
            NamePart::Field(at) => values.fields[*at].map_or(Ok(()), |value| write_said(name, &plain(value))),
        })
    }
}

impl NamePart {
    fn find(name: &str, scope: Scope<'_>) -> Result<Self, TemplateError> {
        let (place, field) = scope.find(name)?;
        if field.is_some_and(|field| !field.has_text() || field.may_be_missing()) {
            return Err(TemplateError::NotAName(name.to_owned()));
        }
        Ok(match place {
            Place::Field(at) => Self::Field(at),
            Place::SessionId => Self::SessionId,
            _ => Self::UserId,
        })
    }
}

/// The text of a string, or a number as it is written.
fn plain(value: &RawValue) -> Cow<'_, str> {
    text_of(value).unwrap_or(Cow::Borrowed(value.get()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::route::field::{Description, Details, KindName};

    fn fields() -> [Field; 3] {
        let field = |name, is_required, kind| Field::compile(name, is_required, &Description::Kind(kind)).unwrap();
        let with_default = Details {
            kind: KindName::Text,
            min: None,
            max: None,
            bytes_max: None,
            one_of: None,
            default: Some("D".into()),
        };
        [
            field("clanId", true, KindName::Id),
            field("speed", false, KindName::Number),
            Field::compile("kind", false, &Description::Details(with_default)).unwrap(),
        ]
    }

    fn template(text: &str) -> Result<Template, TemplateError> {
        Template::parse(text, Scope { fields: &fields(), places: &[&[Place::UserId, Place::List]] })
    }

    fn fill(text: &str, user: &str, list: &[&str], speed: Option<&str>, id: Option<&str>) -> String {
        let id = id.map(|id| serde_json::from_str(id).unwrap());
        let mut json = String::new();
        template(text).unwrap().fill(&mut json, id, |place| match place {
            Place::UserId => Value::Text(user),
            Place::List => Value::List(list),
            Place::Field(1) => speed.map_or(Value::Missing, Value::Json),
            _ => Value::Json("0"),
        });
        json
    }

    #[test]
    fn values_come_where_their_names_stand_and_the_id_last() {
        let text = r#" {"type":"t","a":["{user_id}",{"b":"{list}"},{},"{}","{A b}","{user_id} is x"]} "#;
        assert_eq!(
            fill(text, "U", &["a", "b"], None, Some(r#""i\"d""#)),
            r#" {"type":"t","a":["U",{"b":["a","b"]},{},"{}","{A b}","{user_id} is x"],"id":"i\"d"}"#
        );
        assert_eq!(fill(r#"{"type":"t"}"#, "U", &[], None, None), r#"{"type":"t"}"#);
        assert_eq!(fill(r#"{"type":"t","l":"{list}"}"#, "U", &[], None, Some("7")), r#"{"type":"t","l":[],"id":7}"#);
    }

    #[test]
    fn a_field_that_is_missing_takes_its_member_with_it() {
        let text = r#"{"type":"t","payload":{"c":"{clanId}", "v" : "{speed}","k":"{kind}"}}"#;
        assert_eq!(fill(text, "", &[], Some("1e3"), None), r#"{"type":"t","payload":{"c":0, "v" : 1e3,"k":0}}"#);
        assert_eq!(fill(text, "", &[], None, None), r#"{"type":"t","payload":{"c":0,"k":0}}"#);
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
            assert_eq!(template(text).err(), Some(TemplateError::NotAMessage), "{text}");
        }
        let unknown = TemplateError::UnknownPlace("token".into());
        assert_eq!(template(r#"{"type":"t","a":"{token}"}"#).err(), Some(unknown));
        for text in [r#"{"type":"t","a":["{speed}"]}"#, r#"{"type":"t","a":{"s":"{speed}"}}"#] {
            assert_eq!(template(text).err(), Some(TemplateError::NotOptional("speed".into())), "{text}");
        }
    }

    #[test]
    fn a_name_is_made_of_texts() {
        let name = |text: &str, value: &str| {
            let value = RawValue::from_string(value.into()).unwrap();
            let mut name = String::new();
            let fields_of_it = [Some(&*value), None, None];
            let values = NameValues { user_id: "U", session_id: &9, item: "I", fields: &fields_of_it };
            NameTemplate::parse(text, &fields(), Some("ids")).unwrap().fill(&mut name, &values).unwrap();
            name
        };
        assert_eq!(name("clan:{clanId}", r#""a{user_id}\u0062""#), "clan:a{user_id}b");
        assert_eq!(name("{user_id}:{clanId}:x", "7"), "U:7:x");
        assert_eq!(name("{ids}-{clanId}-{ids}-{session_id}", r#""{ids}""#), "I-{ids}-I-9");
        for (text, error) in [
            ("a:{b}", TemplateError::UnknownPlace("b".into())),
            ("a:{ids}", TemplateError::UnknownPlace("ids".into())),
            ("a:{clanId", TemplateError::UnknownPlace("clanId".into())),
            ("a:{speed}", TemplateError::NotAName("speed".into())),
            ("a:{timestamp}", TemplateError::UnknownPlace("timestamp".into())),
        ] {
            assert_eq!(NameTemplate::parse(text, &fields(), None).err(), Some(error), "{text}");
        }
    }

    #[test]
    fn a_name_that_begins_by_who_somebody_is_is_implicit_whatever_is_filled_in() {
        let is_implicit = |text: &str| NameTemplate::parse(text, &fields(), Some("ids")).unwrap().is_implicit();
        for text in ["all", "user:{clanId}", "user:{ids}", "type:x", "cell:{user_id}"] {
            assert!(is_implicit(text), "{text}");
        }
        for text in ["all{ids}", "all{clanId}", "{ids}", "us{ids}", "x:user:{ids}", "allies"] {
            assert!(!is_implicit(text), "{text}");
        }
    }

    #[test]
    fn what_json_escapes_is_escaped() {
        let text: String = (0..128).map(char::from).chain(['ü', '\u{2028}']).collect();
        for text in text.chars().map(String::from).chain([text.clone()]) {
            let json = fill(r#"{"type":"t","u":"{user_id}","l":"{list}"}"#, &text, &["a", &text], None, None);
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(read, serde_json::json!({ "type": "t", "u": text, "l": ["a", text] }));
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back_as_it_was(user in any::<String>(), item in any::<String>()) {
            let json = fill(r#"{"type":"t","u":"{user_id}","l":"{list}"}"#, &user, &[&item, "b"], None, None);
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read, serde_json::json!({ "type": "t", "u": user, "l": [item, "b"] }));
        }
    }
}
