//! A client's message, read lazily: its `type`, its `id`, and the fields a route names. The shard parses each text
//! message with it, once.
//!
//! Invariant: a `Request` borrows from a message that is one complete, valid JSON object. Values stay the text that
//! came in, so that they can be passed on without being parsed. A field may stand in `payload` or beside `type`; the
//! one in `payload` wins. Where an object names a field twice, the last one wins, as in the JSON of browsers.

use std::{borrow::Cow, fmt};

use smallvec::SmallVec;

use super::scan::{self, Field, ScanError};

/// Longest `id` that is returned, in bytes of JSON. A longer one is ignored.
const ID_BYTES_MAX: usize = 128;

/// The fields of one object: name without its quotes, escapes as they came, and value as JSON text.
type Fields<'a, const INLINE: usize> = SmallVec<[(&'a str, &'a str); INLINE]>;

/// One message of a client.
pub struct Request<'a> {
    /// The `type`. Not empty.
    pub kind: Cow<'a, str>,
    /// JSON text of the `id`, when it is a string or a number of at most 128 bytes: to be returned as it came.
    pub id: Option<&'a str>,
    /// JSON text of the `payload`, of whatever type it is.
    pub payload: Option<&'a str>,
    /// Beside `type`, `id` and `payload`.
    outer: Fields<'a, 4>,
    /// In `payload`.
    inner: Fields<'a, 8>,
}

/// What is wrong with a message. The connection stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestError {
    /// Not JSON, cut short, followed by something, or nested too deep.
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
        let (mut kind, mut id, mut payload) = (None, None, None);
        let (mut outer, mut inner) = (Fields::new(), Fields::new());
        let mut inner_of_this_payload = 0;
        let is_payload = |name: &str| &*unescaped(name) == "payload";
        scan::object(message, is_payload, |field| match field {
            Field::Inner(name, value) => inner.push((name, value)),
            Field::Outer(name, value) => match &*unescaped(name) {
                "type" => kind = Some(value),
                "id" => id = Some(value),
                "payload" => {
                    payload = Some(value);
                    inner.drain(..inner_of_this_payload);
                    inner_of_this_payload = inner.len();
                }
                _ => outer.push((name, value)),
            },
        })?;
        let kind = kind.and_then(string_of).filter(|kind| !kind.is_empty()).ok_or(RequestError::NoType)?;
        Ok(Request { kind, id: id.filter(|id| is_id(id)), payload, outer, inner })
    }

    /// The value of a field as JSON text: looked for in `payload`, when that is an object, then beside `type`.
    pub fn field(&self, name: &str) -> Option<&'a str> {
        find(&self.inner, name).or_else(|| find(&self.outer, name))
    }

    /// A required string.
    pub fn string(&self, name: &'static str) -> Result<Cow<'a, str>, RequestError> {
        let value = self.field(name).ok_or(RequestError::MissingField(name))?;
        string_of(value).ok_or(RequestError::BadField(name))
    }

    /// A required array of at most `max` strings.
    pub fn strings(&self, name: &'static str, max: usize) -> Result<Vec<Cow<'a, str>>, RequestError> {
        let value = self.field(name).ok_or(RequestError::MissingField(name))?;
        strings_of(value, max).ok_or(RequestError::BadField(name))
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

impl From<ScanError> for RequestError {
    fn from(error: ScanError) -> RequestError {
        match error {
            ScanError::Invalid => RequestError::BadJson,
            ScanError::OtherType => RequestError::NotAnObject,
        }
    }
}

fn find<'a>(fields: &[(&'a str, &'a str)], name: &str) -> Option<&'a str> {
    fields.iter().rfind(|(field, _)| unescaped(field) == name).map(|(_, value)| *value)
}

/// A field's name without its escapes. Escapes count: a backend that the message is passed on to reads them too.
fn unescaped(name: &str) -> Cow<'_, str> {
    if name.contains('\\') {
        // Half a surrogate pair is no text, so it stays as it came and is nobody's name.
        sonic_rs::from_str(&format!("\"{name}\"")).map_or(Cow::Borrowed(name), Cow::Owned)
    } else {
        Cow::Borrowed(name)
    }
}

fn is_id(json: &str) -> bool {
    json.len() <= ID_BYTES_MAX && json.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
}

/// A JSON string without its quotes and escapes. `None` for any other value, and for half a surrogate pair.
fn string_of(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { sonic_rs::from_str(json).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

fn strings_of(json: &str, max: usize) -> Option<Vec<Cow<'_, str>>> {
    let mut list = Vec::new();
    let mut is_good = true;
    scan::array(json, |item| match string_of(item) {
        Some(text) if list.len() < max => list.push(text),
        _ => is_good = false,
    })
    .ok()?;
    is_good.then_some(list)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        assert_eq!(request.field("a"), Some(r#"{"b": [1, 2.50,"\u00e9"]}"#));
        assert_eq!(request.field("n"), Some("-0.5e+3"));
        assert_eq!(request.field("z"), Some("null"));
        assert_eq!(request.field("p"), Some("true"));
        assert_eq!(request.payload, Some(r#"{"p":true}"#));
        assert_eq!(request.field("b"), None);
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
        assert_eq!((&*request.kind, request.id), ("b", Some("2")));
        assert_eq!(request.string("x").unwrap(), "2");
        assert_eq!(request.string("y").unwrap(), "4");
        let request =
            Request::parse(r#"{"type":"t","payload":{"x":1,"y":2},"payload":{"x":3},"payload":{"x":4,"z":5}}"#)
                .unwrap();
        assert_eq!((request.field("x"), request.field("y"), request.field("z")), (Some("4"), None, Some("5")));
        assert_eq!(Request::parse(r#"{"type":"t","payload":{"x":1},"payload":7}"#).unwrap().field("x"), None);
    }

    #[test]
    fn an_id_is_a_short_string_or_number() {
        let longest = format!("\"{}\"", "x".repeat(126));
        for id in ["1", "-1.5e3", r#""a""#, r#""a\"b\u00e9""#, r#""""#, &longest] {
            assert_eq!(Request::parse(&format!(r#"{{"type":"t","id":{id}}}"#)).unwrap().id, Some(id));
        }
        let too_long = format!("\"{}\"", "x".repeat(127));
        for id in ["null", "true", "[1]", r#"{"a":1}"#, &too_long] {
            assert_eq!(Request::parse(&format!(r#"{{"type":"t","id":{id}}}"#)).unwrap().id, None);
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
        for message in ["[]", "1", "null", r#""type""#, r#"[{"type":"t"}]"#, "x", "\u{a0}{}"] {
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
                let valid = sonic_rs::from_str::<sonic_rs::Value>(&message).is_ok();
                if Request::parse(&message).is_ok() {
                    prop_assert!(valid, "{}", message);
                }
                prop_assert!(!valid || !matches!(Request::parse(&message).err(), Some(RequestError::BadJson)), "{}", message);
                read_everything(&message);
            }
        }
    }
}
