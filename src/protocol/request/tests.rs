//! What a request promises: every form of a message that is understood, and every one that is refused.

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
fn a_payload_that_is_no_object_is_any_json() {
    for payload in ["1e999", "-1e999", r#""\ud800""#, "[1e999]", "null", "true", "0", r#""""#] {
        for name in ["payload", r"p\u0061yload"] {
            let request = format!(r#"{{"type":"ping","{name}" : {payload},"id":1}}"#);
            assert_eq!(Request::parse(&request).map(|request| request.kind).unwrap(), "ping", "{request}");
        }
    }
    for payload in ["1e", r#""\u""#, r#""\x""#, "[1,]", "nul", "", "01"] {
        assert_eq!(error_of(&format!(r#"{{"type":"ping","payload":{payload}}}"#)), RequestError::BadJson, "{payload}");
    }
}

#[test]
fn a_payload_is_found_however_its_name_is_written() {
    for before in
        [r#""payload":"#, "\"payload\" \t\r\n: \t\r\n", r#""p\u0061yload":"#, r#""payload":{"x":0},"p\u0061yload": "#]
    {
        let message = format!(r#"{{"type":"t",{before}{{"x":1,"\u0079":2}}}}"#);
        let request = Request::parse(&message).unwrap();
        assert_eq!((value_of(&request, "x"), value_of(&request, "y")), (Some("1"), Some("2")), "{message}");
    }
    let request = Request::parse(r#"{"type":"t","p\u0061yload":{"x":1},"payload":7}"#).unwrap();
    assert_eq!(value_of(&request, "x"), None);
}

#[test]
fn a_value_is_the_text_that_came_in() {
    let request =
        Request::parse(r#"{"type":"t","a":{"b": [1, 2.50,"\u00e9"]},"n":-0.5e+3,"z":null,"payload": {"p":true}}"#)
            .unwrap();
    assert_eq!(value_of(&request, "a"), Some(r#"{"b": [1, 2.50,"\u00e9"]}"#));
    assert_eq!(value_of(&request, "n"), Some("-0.5e+3"));
    assert_eq!(value_of(&request, "z"), None, "it counts as not there");
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
        Request::parse(r#"{"type":"a","id":1,"x":"1","type":"b","x":"2","id":2,"payload":{"y":"3","y":"4"}}"#).unwrap();
    assert_eq!((&*request.kind, request.id.map(RawValue::get)), ("b", Some("2")));
    assert_eq!(request.string("x").unwrap(), "2");
    assert_eq!(request.string("y").unwrap(), "4");
    let request =
        Request::parse(r#"{"type":"t","payload":{"x":1,"y":2},"payload":{"x":3},"payload":{"x":4,"z":5}}"#).unwrap();
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
        assert_eq!(Request::parse(&format!(r#"{{"type":"t","id":{id}}}"#)).unwrap().id.map(RawValue::get), Some(id));
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
    for message in ["{}", " { } ", r#"{"type":""}"#, r#"{"type":1}"#, r#"{"type":null}"#, r#"{"payload":{"type":"t"}}"#]
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
        r#"{"type":"t","p\u0061yload":{"\ud800":1}}"#,
        r#"{"type":"t","payload"{"a":1}}"#,
        r#"{"type":"t","payload"::{"a":1}}"#,
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
