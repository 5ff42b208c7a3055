//! A client's message, read lazily: its `type`, its `id`, and the fields a route names. The session parses each text
//! message with it, once.
//!
//! Invariant: a `Request` borrows from a message that is one complete, valid JSON object. Values stay the text that
//! came in, so that they can be passed on without being parsed. A field may stand in `payload` or beside `type`; the
//! one in `payload` wins. Where an object names a field twice, the last one wins, as in the JSON of browsers.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr2_iter;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

/// Longest `id` that is returned, in bytes of JSON. A longer one is ignored.
const ID_BYTES_MAX: usize = 128;

/// Deepest nesting, the message itself counted: a bound for whoever reads what is passed on, far above what is needed.
const DEPTH_MAX: usize = 64;

/// One message of a client.
pub struct Request<'a> {
    /// All of it, as it came.
    pub text: &'a str,
    /// The `type`. Not empty.
    pub kind: Cow<'a, str>,
    /// The `id`, when it is a string or a number of at most 128 bytes: to be returned as it came.
    pub id: Option<&'a RawValue>,
    /// Beside `payload`.
    outer: Fields<'a, 4>,
    /// In `payload`, when that is an object.
    inner: Fields<'a, 8>,
}

/// The fields of one object, as they came: name and value.
type Fields<'a, const INLINE: usize> = SmallVec<[(Cow<'a, str>, &'a RawValue); INLINE]>;

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What is wrong with a message. The connection stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestError {
    /// Not JSON, cut short, followed by something, nested too deep, or with a field whose name is no text.
    BadJson,
    /// JSON, but no object.
    NotAnObject,
    /// There is no `type`, or it is not a string, or empty.
    NoType,
    /// No route for this `type`. Found by the caller.
    UnknownType,
    MissingField(&'static str),
    /// The field is there and has the wrong type or size.
    BadField(&'static str),
}

impl<'a> Request<'a> {
    /// Parses a text message.
    pub fn parse(message: &'a str) -> Result<Request<'a>, RequestError> {
        let (mut outer, mut inner, mut unread) = (Fields::new(), Fields::new(), None);
        let mut json = serde_json::Deserializer::from_str(message);
        json.deserialize_map(Outline { message, outer: &mut outer, inner: &mut inner, unread: &mut unread })?;
        json.end()?;
        if let Some(payload) = unread.filter(|payload| payload.get().starts_with('{')) {
            Payload(&mut inner).deserialize(&mut serde_json::Deserializer::from_str(payload.get()))?;
        }
        if is_too_deep(message) {
            return Err(RequestError::BadJson);
        }
        let kind = find(&outer, "type").and_then(text_of).filter(|kind| !kind.is_empty());
        let id = find(&outer, "id").filter(|id| is_id(id.get()));
        Ok(Request { text: message, kind: kind.ok_or(RequestError::NoType)?, id, outer, inner })
    }

    /// The value of a field as JSON text: looked for in `payload`, when that is an object, then beside `type`. `null`
    /// counts as not there.
    pub fn field(&self, name: &str) -> Option<&'a RawValue> {
        let found = find(&self.inner, name).or_else(|| find(&self.outer, name));
        found.filter(|value| value.get() != "null")
    }

    /// A required string.
    pub fn string(&self, name: &'static str) -> Result<Cow<'a, str>, RequestError> {
        let value = self.field(name).ok_or(RequestError::MissingField(name))?;
        text_of(value).ok_or(RequestError::BadField(name))
    }

    /// A required array of at most `max` strings.
    pub fn strings(&self, name: &'static str, max: usize) -> Result<Vec<Cow<'a, str>>, RequestError> {
        let value = self.field(name).ok_or(RequestError::MissingField(name))?;
        let mut json = serde_json::Deserializer::from_str(value.get());
        json.deserialize_seq(Texts { max }).map_err(|_| RequestError::BadField(name))
    }
}

impl RequestError {
    /// The word for `error` messages and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            RequestError::BadJson | RequestError::NotAnObject => "bad_json",
            RequestError::NoType => "missing_type",
            RequestError::UnknownType => "unknown_type",
            RequestError::MissingField(_) => "missing_field",
            RequestError::BadField(_) => "bad_field",
        }
    }
}

/// The sentence for people.
impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::BadJson => f.write_str("the message is not valid JSON"),
            RequestError::NotAnObject => f.write_str("the message is not a JSON object"),
            RequestError::NoType => f.write_str("the message has no type: a string that is not empty is expected"),
            RequestError::UnknownType => f.write_str("the type of the message is not known here"),
            RequestError::MissingField(name) => write!(f, "the field {name} is missing"),
            RequestError::BadField(name) => write!(f, "the field {name} has the wrong type or size"),
        }
    }
}

impl std::error::Error for RequestError {}

impl From<serde_json::Error> for RequestError {
    fn from(error: serde_json::Error) -> RequestError {
        if error.is_data() { RequestError::NotAnObject } else { RequestError::BadJson }
    }
}

/// Reads a message.
struct Outline<'f, 'a> {
    message: &'a str,
    outer: &'f mut Fields<'a, 4>,
    inner: &'f mut Fields<'a, 8>,
    /// The `payload`, unless its fields were read in passing.
    unread: &'f mut Option<&'a RawValue>,
}

impl<'de> Visitor<'de> for Outline<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(Text(name)) = map.next_key()? {
            if name != "payload" {
                self.outer.push((name, map.next_value()?));
                continue;
            }
            self.inner.clear();
            // A name with escapes is a copy, which has no place in the message.
            if matches!(name, Cow::Borrowed(name) if is_before_object(self.message, name)) {
                *self.unread = None;
                map.next_value_seed(Payload(&mut *self.inner))?;
            } else {
                *self.unread = Some(map.next_value()?);
            }
        }
        Ok(())
    }
}

/// Reads the fields of a `payload` that is an object.
struct Payload<'f, 'a>(&'f mut Fields<'a, 8>);

impl<'de> DeserializeSeed<'de> for Payload<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Payload<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(Text(name)) = map.next_key()? {
            self.0.push((name, map.next_value()?));
        }
        Ok(())
    }
}

/// Reads an array of strings.
struct Texts {
    /// One more is an error.
    max: usize,
}

impl<'de> Visitor<'de> for Texts {
    type Value = Vec<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} strings", self.max)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<Self::Value, S::Error> {
        let mut list = Vec::new();
        while let Some(Text(item)) = items.next_element()? {
            if list.len() == self.max {
                return Err(S::Error::invalid_length(self.max + 1, &self));
            }
            list.push(item);
        }
        Ok(list)
    }
}

/// Whether an object follows this name, which stands in `message`. Looked for ahead of reading it, since a number or a
/// string that is valid JSON may be none that a type can hold.
fn is_before_object(message: &str, name: &str) -> bool {
    let name_end = name.as_ptr().addr() - message.as_ptr().addr() + name.len();
    let mut behind_quote = message[name_end..].bytes().skip(1);
    behind_quote.find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b':')) == Some(b'{')
}

fn is_id(json: &str) -> bool {
    json.len() <= ID_BYTES_MAX && json.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
}

/// The last field of this name.
fn find<'a>(fields: &[(Cow<'a, str>, &'a RawValue)], name: &str) -> Option<&'a RawValue> {
    fields.iter().rfind(|(field, _)| field == name).map(|(_, value)| *value)
}

/// A JSON string without its quotes and escapes. `None` for any other value, and for half a surrogate pair.
pub fn text_of(json: &RawValue) -> Option<Cow<'_, str>> {
    let inner = json.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(json.get()).ok().map(|Text(text)| text)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Whether valid JSON is nested deeper than [`DEPTH_MAX`]. Nearly no message has brackets enough to be looked at twice.
fn is_too_deep(json: &str) -> bool {
    memchr2_iter(b'[', b'{', json.as_bytes()).nth(DEPTH_MAX).is_some() && depth(json) > DEPTH_MAX
}

/// How deep valid JSON is nested.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string) = (0, 0, false);
    let mut bytes = json.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' => _ = bytes.next(),
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests;
