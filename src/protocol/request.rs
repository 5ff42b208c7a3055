//! A client's message, read lazily: its `type`, its `id`, and the fields a route names. The shard parses each text
//! message with it, once.
//!
//! Invariant: a `Request` borrows from a message that is one complete, valid JSON object. Values stay the text that came
//! in, so that they can be passed on without being parsed. A field may stand in `payload` or beside `type`; the one in
//! `payload` wins. Where an object names a field twice, the last one wins, as in the JSON of browsers.

use std::{borrow::Cow, cell::OnceCell, fmt};

use smallvec::SmallVec;
use sonic_rs::to_object_iter;

use super::shape;

/// Longest `id` that is returned, in bytes of JSON. A longer one is ignored.
const ID_BYTES_MAX: usize = 128;

/// The fields of one object: name, and value as JSON text. Inline up to what the vocabularies use.
type Fields<'a> = SmallVec<[(Cow<'a, str>, &'a str); 8]>;

/// One message of a client.
pub struct Request<'a> {
    /// The `type`. Not empty.
    pub kind: Cow<'a, str>,
    /// JSON text of the `id`, when it is a string or a number of at most 128 bytes: to be returned as it came.
    pub id: Option<&'a str>,
    /// Beside `type`, `id` and `payload`.
    fields: Fields<'a>,
    payload: Option<&'a str>,
    /// Read when the first field is asked for: a message that is passed on whole never pays for it.
    payload_fields: OnceCell<Fields<'a>>,
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
    /// Parses the payload of a text message.
    pub fn parse(message: &'a [u8]) -> Result<Request<'a>, RequestError> {
        std::str::from_utf8(message).map_err(|_| RequestError::BadJson).and_then(Request::parse_str)
    }

    /// As `parse`, for what is known to be UTF-8.
    pub fn parse_str(message: &'a str) -> Result<Request<'a>, RequestError> {
        if !shape::is_safe(message.as_bytes()) {
            return Err(RequestError::BadJson);
        }
        let mut fields = fields_of(message)?;
        let kind = take(&mut fields, "type").and_then(string_of).filter(|kind| !kind.is_empty());
        let kind = kind.ok_or(RequestError::NoType)?;
        let id = take(&mut fields, "id").filter(|id| is_id(id));
        let payload = take(&mut fields, "payload");
        Ok(Request { kind, id, fields, payload, payload_fields: OnceCell::new() })
    }

    /// The value of a field as JSON text: looked for in `payload`, when that is an object, then beside `type`.
    pub fn field(&self, name: &str) -> Option<&'a str> {
        find(self.payload_fields(), name).or_else(|| find(&self.fields, name))
    }

    /// JSON text of `payload` itself, of whatever type it is.
    pub fn payload(&self) -> Option<&'a str> {
        self.payload
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

    fn payload_fields(&self) -> &Fields<'a> {
        self.payload_fields.get_or_init(|| match self.payload {
            // What lies inside a valid message is valid: an error here means that it is no object.
            Some(payload) if payload.starts_with('{') => fields_of(payload).unwrap_or_default(),
            _ => Fields::new(),
        })
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

/// The fields of an object that makes up the whole of `json`, white space around it aside.
fn fields_of(json: &str) -> Result<Fields<'_>, RequestError> {
    let object = json.trim_matches(is_white_space);
    match object.as_bytes() {
        [b'{', .., b'}'] => {}
        [b'{', ..] | [] => return Err(RequestError::BadJson),
        _ => return Err(RequestError::NotAnObject),
    }
    let mut fields = Fields::new();
    let mut end = "{".len();
    for entry in to_object_iter(object) {
        let (name, value) = entry.map_err(|_| RequestError::BadJson)?;
        // Borrowed, because the input is a `str`.
        let Cow::Borrowed(value) = value.as_raw_cow() else { return Err(RequestError::BadJson) };
        end = value.as_ptr() as usize + value.len() - object.as_ptr() as usize;
        fields.push((name, value));
    }
    // The library stops at the brace that closes the object. Between the last value and the end there is nothing else.
    match object[end..].trim_start_matches(is_white_space) {
        "}" => Ok(fields),
        _ => Err(RequestError::BadJson),
    }
}

/// White space of RFC 8259 section 2, which is less than Rust's.
fn is_white_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn find<'a>(fields: &Fields<'a>, name: &str) -> Option<&'a str> {
    fields.iter().rfind(|(field, _)| field == name).map(|(_, value)| *value)
}

/// The last field of that name, and no other of that name left behind.
fn take<'a>(fields: &mut Fields<'a>, name: &str) -> Option<&'a str> {
    let value = find(fields, name)?;
    fields.retain(|(field, _)| field != name);
    Some(value)
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
    if !json.starts_with('[') {
        return None;
    }
    let mut list = Vec::new();
    for item in sonic_rs::to_array_iter(json) {
        let Cow::Borrowed(item) = item.ok()?.as_raw_cow() else { return None };
        if list.len() == max {
            return None;
        }
        list.push(string_of(item)?);
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(message: &str) -> Result<Request<'_>, RequestError> {
        Request::parse(message.as_bytes())
    }

    fn error_of(message: &str) -> RequestError {
        parse(message).err().unwrap()
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
            let request = parse(message).unwrap();
            assert_eq!(request.kind, "auth", "{message}");
            assert_eq!(request.string("token").unwrap(), "T", "{message}");
        }
    }

    #[test]
    fn a_value_is_the_text_that_came_in() {
        let request =
            parse(r#"{"type":"t","a":{"b": [1, 2.50,"\u00e9"]},"n":-0.5e+3,"z":null,"payload": {"p":true}}"#).unwrap();
        assert_eq!(request.field("a"), Some(r#"{"b": [1, 2.50,"\u00e9"]}"#));
        assert_eq!(request.field("n"), Some("-0.5e+3"));
        assert_eq!(request.field("z"), Some("null"));
        assert_eq!(request.field("p"), Some("true"));
        assert_eq!(request.payload(), Some(r#"{"p":true}"#));
        assert_eq!(request.field("b"), None);
    }

    #[test]
    fn escaped_names_and_values_are_understood() {
        let request = parse(r#"{"\u0074ype":"p\u0069ng","payload":{"t\u006fken":"a\"\\\n\ud83d\ude00é"}}"#).unwrap();
        assert_eq!(request.kind, "ping");
        assert_eq!(request.string("token").unwrap(), "a\"\\\n😀é");
    }

    #[test]
    fn of_two_fields_of_one_name_the_last_wins() {
        let request =
            parse(r#"{"type":"a","id":1,"x":"1","type":"b","x":"2","id":2,"payload":{"y":"3","y":"4"}}"#).unwrap();
        assert_eq!((&*request.kind, request.id), ("b", Some("2")));
        assert_eq!(request.string("x").unwrap(), "2");
        assert_eq!(request.string("y").unwrap(), "4");
    }

    #[test]
    fn an_id_is_a_short_string_or_number() {
        let longest = format!("\"{}\"", "x".repeat(126));
        for id in ["1", "-1.5e3", r#""a""#, r#""a\"b\u00e9""#, r#""""#, &longest] {
            assert_eq!(parse(&format!(r#"{{"type":"t","id":{id}}}"#)).unwrap().id, Some(id));
        }
        let too_long = format!("\"{}\"", "x".repeat(127));
        for id in ["null", "true", "[1]", r#"{"a":1}"#, &too_long] {
            assert_eq!(parse(&format!(r#"{{"type":"t","id":{id}}}"#)).unwrap().id, None);
        }
    }

    #[test]
    fn a_missing_or_wrong_field_is_named() {
        let request = parse(r#"{"type":"t","n":1,"half":"\ud800","list":["a",1],"many":["a","b"],"none":[]}"#).unwrap();
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
        assert_eq!(Request::parse(b"{\"type\":\"\xff\"}").err(), Some(RequestError::BadJson));
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
            assert_eq!(error_of(&message), RequestError::BadJson);
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

    fn read_everything(message: &[u8]) -> bool {
        let Ok(request) = Request::parse(message) else { return false };
        for name in ["type", "payload", "id", "a", ""] {
            let _ = (request.field(name), request.string("a"), request.strings("a", 3));
        }
        true
    }

    proptest! {
        #[test]
        fn no_bytes_bring_it_down(message in prop::collection::vec(any::<u8>(), 0..200)) {
            read_everything(&message);
        }

        #[test]
        fn no_text_inside_an_object_brings_it_down(inside in "\\PC{0,60}") {
            read_everything(format!(r#"{{"type":"t","payload":{{"a":{inside}}}}}"#).as_bytes());
        }

        #[test]
        fn only_valid_json_is_accepted(inside in messages()) {
            for message in [format!(r#"{{"type":"t",{inside}}}"#), format!(r#"{{"type":"t","a":{inside}}}"#)] {
                let valid = sonic_rs::from_str::<sonic_rs::Value>(&message).is_ok();
                if parse(&message).is_ok() {
                    prop_assert!(valid, "{}", message);
                }
                prop_assert!(!valid || !matches!(parse(&message).err(), Some(RequestError::BadJson)), "{}", message);
                read_everything(message.as_bytes());
            }
        }
    }
}
