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
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

/// Longest `id` that is returned, in bytes of JSON. A longer one is ignored.
const ID_BYTES_MAX: usize = 128;

/// Deepest nesting, the message itself counted: a bound for whoever reads what is passed on, far above what is needed.
const DEPTH_MAX: usize = 64;

/// One message of a client.
pub struct Request<'a> {
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
        let (mut outer, mut inner) = (Fields::new(), Fields::new());
        let mut json = serde_json::Deserializer::from_str(message);
        json.deserialize_map(Outline { outer: &mut outer, inner: &mut inner })?;
        json.end()?;
        if is_too_deep(message) {
            return Err(RequestError::BadJson);
        }
        let kind = find(&outer, "type").and_then(text_of).filter(|kind| !kind.is_empty());
        let id = find(&outer, "id").filter(|id| is_id(id.get()));
        Ok(Request { kind: kind.ok_or(RequestError::NoType)?, id, outer, inner })
    }

    /// The value of a field as JSON text: looked for in `payload`, when that is an object, then beside `type`.
    pub fn field(&self, name: &str) -> Option<&'a RawValue> {
        find(&self.inner, name).or_else(|| find(&self.outer, name))
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
    outer: &'f mut Fields<'a, 4>,
    inner: &'f mut Fields<'a, 8>,
}

impl<'de> Visitor<'de> for Outline<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(Text(name)) = map.next_key()? {
            if name == "payload" {
                self.inner.clear();
                map.next_value_seed(Payload(&mut *self.inner))?;
            } else {
                self.outer.push((name, map.next_value()?));
            }
        }
        Ok(())
    }
}

/// Reads a `payload`: its fields, or nothing of what is no object.
struct Payload<'f, 'a>(&'f mut Fields<'a, 8>);

impl<'de> DeserializeSeed<'de> for Payload<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Payload<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(Text(name)) = map.next_key()? {
            self.0.push((name, map.next_value()?));
        }
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, items: S) -> Result<(), S::Error> {
        IgnoredAny.visit_seq(items).map(drop)
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
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

fn is_id(json: &str) -> bool {
    json.len() <= ID_BYTES_MAX && json.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
}

/// The last field of this name.
fn find<'a>(fields: &[(Cow<'a, str>, &'a RawValue)], name: &str) -> Option<&'a RawValue> {
    fields.iter().rfind(|(field, _)| field == name).map(|(_, value)| *value)
}

/// A JSON string without its quotes and escapes. `None` for any other value, and for half a surrogate pair.
fn text_of(json: &RawValue) -> Option<Cow<'_, str>> {
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value_of<'a>(request: &Request<'a>, name: &str) -> Option<&'a str> {
        request.field(name).map(RawValue::get)
    }

    fn error_of(message: &str) -> RequestError {
        Request::parse(message).err().unwrap()
    }

    #[test]
    fn a_field_is_found_in_the_payload_and_beside_the_type() {
        for message in [
            r#"{"type":"auth","payload":{"token":"T"}}"#,
            r#"{"type":"auth","token":"T"}"#,
            r#"{"token":"T","type":"auth","payload":null}"#,
            r#"{"token":"T","type":"auth","payload":[{"token":"no"}]}"#,
            r#"{"type":"auth","token":"outside","payload":{"x":{"token":"no"},"token":"T"}}"#,
            " \t\r\n{ \"type\" : \"auth\" , \"payload\" : { \"token\" : \"T\" } } \n",
        ] {
            let request = Request::parse(message).unwrap();
            assert_eq!(request.kind, "auth", "{message}");
            assert_eq!(request.string("token").unwrap(), "T", "{message}");
        }
    }

    #[test]
    fn a_value_is_the_text_that_came_in() {
        let request =
            Request::parse(r#"{"type":"t","a":{"b": [1, 2.50,"\u00e9"]},"n":-0.5e+3,"z":null,"payload": {"p":true}}"#)
                .unwrap();
        assert_eq!(value_of(&request, "a"), Some(r#"{"b": [1, 2.50,"\u00e9"]}"#));
        assert_eq!(value_of(&request, "n"), Some("-0.5e+3"));
        assert_eq!(value_of(&request, "z"), Some("null"));
        assert_eq!(value_of(&request, "p"), Some("true"));
        assert_eq!(value_of(&request, "b"), None);
    }

    #[test]
    fn escaped_names_and_values_are_understood() {
        let request =
            Request::parse(r#"{"type":"x","\u0074ype":"p\u0069ng","payload":{"t\u006fken":"a\"\\\n\ud83d\ude00é"}}"#)
                .unwrap();
        assert_eq!(request.kind, "ping");
        assert_eq!(request.string("token").unwrap(), "a\"\\\n😀é");
    }

    #[test]
    fn of_two_fields_of_one_name_the_last_wins() {
        let request =
            Request::parse(r#"{"type":"a","id":1,"x":"1","type":"b","x":"2","id":2,"payload":{"y":"3","y":"4"}}"#)
                .unwrap();
        assert_eq!((&*request.kind, request.id.map(RawValue::get)), ("b", Some("2")));
        assert_eq!(request.string("x").unwrap(), "2");
        assert_eq!(request.string("y").unwrap(), "4");
        let request =
            Request::parse(r#"{"type":"t","payload":{"x":1,"y":2},"payload":{"x":3},"payload":{"x":4,"z":5}}"#)
                .unwrap();
        assert_eq!(
            (value_of(&request, "x"), value_of(&request, "y"), value_of(&request, "z")),
            (Some("4"), None, Some("5"))
        );
        let request = Request::parse(r#"{"type":"t","payload":{"x":1},"payload":7}"#).unwrap();
        assert_eq!(value_of(&request, "x"), None);
    }

    #[test]
    fn an_id_is_a_short_string_or_number() {
        let longest = format!("\"{}\"", "x".repeat(126));
        for id in ["1", "-1.5e3", r#""a""#, r#""a\"b\u00e9""#, r#""""#, &longest] {
            assert_eq!(
                Request::parse(&format!(r#"{{"type":"t","id":{id}}}"#)).unwrap().id.map(RawValue::get),
                Some(id)
            );
        }
        let too_long = format!("\"{}\"", "x".repeat(127));
        for id in ["null", "true", "[1]", r#"{"a":1}"#, &too_long] {
            assert_eq!(Request::parse(&format!(r#"{{"type":"t","id":{id}}}"#)).unwrap().id.map(RawValue::get), None);
        }
    }

    #[test]
    fn a_missing_or_wrong_field_is_named() {
        let request =
            Request::parse(r#"{"type":"t","n":1,"half":"\ud800","list":["a",1],"many":["a","b"],"none":[]}"#).unwrap();
        assert_eq!(request.string("token"), Err(RequestError::MissingField("token")));
        assert_eq!(request.string("n"), Err(RequestError::BadField("n")));
        assert_eq!(request.string("half"), Err(RequestError::BadField("half")));
        assert_eq!(request.strings("token", 9), Err(RequestError::MissingField("token")));
        assert_eq!(request.strings("n", 9), Err(RequestError::BadField("n")));
        assert_eq!(request.strings("list", 9), Err(RequestError::BadField("list")));
        assert_eq!(request.strings("many", 1), Err(RequestError::BadField("many")));
        assert_eq!(request.strings("many", 2).unwrap(), ["a", "b"]);
        assert!(request.strings("none", 0).unwrap().is_empty());
    }

    #[test]
    fn a_message_without_a_type_is_refused() {
        for message in
            ["{}", " { } ", r#"{"type":""}"#, r#"{"type":1}"#, r#"{"type":null}"#, r#"{"payload":{"type":"t"}}"#]
        {
            assert_eq!(error_of(message), RequestError::NoType, "{message}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for message in ["[]", "[1", "1", "null", r#""type""#, r#"[{"type":"t"}]"#] {
            assert_eq!(error_of(message), RequestError::NotAnObject, "{message}");
        }
        assert_eq!(RequestError::NotAnObject.code(), RequestError::BadJson.code());
    }

    #[test]
    fn what_is_not_valid_json_is_refused() {
        for message in [
            "",
            " ",
            "{",
            "{}}",
            "{} {}",
            "{,}",
            "{type:1}",
            "{'type':'t'}",
            r#"{"type":"t"} x"#,
            r#"{"type":"t"}}"#,
            r#"{"type":"t"},{"a":1}"#,
            r#"{"type":"t",}"#,
            r#"{"type":"t" "a":1}"#,
            r#"{"type":"t","a"}"#,
            r#"{"type":"t","a":}"#,
            r#"{"type":"t","a":01}"#,
            r#"{"type":"t","a":1.}"#,
            r#"{"type":"t","a":-}"#,
            r#"{"type":"t","a":+1}"#,
            r#"{"type":"t","a":nul}"#,
            r#"{"type":"t","a":NaN}"#,
            r#"{"type":"t","a":[1,]}"#,
            r#"{"type":"t","a":[1}"#,
            r#"{"type":"t","payload":{"a":1]}"#,
            r#"{"type":"t","payload":{"a" 1}}"#,
            r#"{"type":"t","payload":{"a":[{}{}]}}"#,
            r#"{"type":"t","a":"\x"}"#,
            r#"{"type":"t","a":"\u12g4"}"#,
            r#"{"type":"t","a":"\u","b":"c"}"#,
            r#"{"type":"t","a":"\"}"#,
            "{\"type\":\"t\",\"a\":\"\n\"}",
            "{\"type\":\"t\",\"a\":\"\0\"}",
            r#"{"type":"t"/**/}"#,
            r#"{"type":"t","\ud800":1}"#,
            r#"{"type":"t","payload":{"\ud800":1}}"#,
            "x",
            "\u{a0}{}",
        ] {
            assert_eq!(error_of(message), RequestError::BadJson, "{message}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        let open = "[".repeat(100_000);
        let closed = format!("{open}{}", "]".repeat(100_000));
        let objects = r#"{"a":"#.repeat(100_000);
        for message in [
            open.clone(),
            closed.clone(),
            objects.clone(),
            format!(r#"{{"type":"t","payload":{closed}}}"#),
            format!(r#"{{"type":"t","payload":{open}}}"#),
            format!(r#"{{"type":"t","a":{objects}1{}}}"#, "}".repeat(100_000)),
        ] {
            assert_eq!(error_of(&message).code(), "bad_json");
        }
    }

    #[test]
    fn nesting_is_bounded_wherever_it_is() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        for (before, after, around) in [("", "", 1), (r#"{"x":"#, "}", 2)] {
            let message = |depth| format!(r#"{{"type":"t","payload":{before}{}{after}}}"#, nested(depth - around));
            assert!(Request::parse(&message(DEPTH_MAX)).is_ok());
            assert_eq!(error_of(&message(DEPTH_MAX + 1)), RequestError::BadJson);
        }
        // Wide is not deep, and brackets in strings are no nesting.
        let wide = format!(r#"{{"type":"t","a":[{}[]],"b":"{}\\\"["}}"#, "[[]],".repeat(1000), "[{".repeat(1000));
        assert!(Request::parse(&wide).is_ok());
    }

    /// Messages that are JSON or nearly so.
    fn messages() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"type\"",
            "\"payload\"",
            "\"id\"",
            "\"a\"",
            "\"\\u00e9\"",
            "\"\\u\"",
            "1",
            "-0.5e3",
            "01",
            "true",
            "null",
            " ",
            "\\",
            "\"",
            "é",
        ]);
        prop::collection::vec(pieces, 0..14).prop_map(|pieces| pieces.concat())
    }

    fn read_everything(message: &str) -> bool {
        let Ok(request) = Request::parse(message) else { return false };
        for name in ["type", "payload", "id", "a", ""] {
            let _ = (request.field(name), request.string("a"), request.strings("a", 3));
        }
        true
    }

    proptest! {
        #[test]
        fn no_text_brings_it_down(message in "[\\[\\]{}\",:\\\\u0-9a-f \\Pc]{0,60}") {
            read_everything(&message);
        }

        #[test]
        fn no_text_inside_an_object_brings_it_down(inside in "\\PC{0,60}") {
            read_everything(&format!(r#"{{"type":"t","payload":{{"a":{inside}}}}}"#));
        }

        #[test]
        fn only_valid_json_is_accepted(inside in messages()) {
            for message in [format!(r#"{{"type":"t",{inside}}}"#), format!(r#"{{"type":"t","a":{inside}}}"#)] {
                let valid = serde_json::from_str::<serde::de::IgnoredAny>(&message).is_ok();
                if Request::parse(&message).is_ok() {
                    prop_assert!(valid, "{}", message);
                }
                prop_assert!(!valid || !matches!(Request::parse(&message).err(), Some(RequestError::BadJson)), "{}", message);
                read_everything(&message);
            }
        }
    }
}
