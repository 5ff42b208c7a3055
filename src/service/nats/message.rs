//! A message as NATS carries it: subject, headers, and what an answer to it means. Sans-IO.
//!
//! Invariant: what clients may choose makes no level of a subject, no header, and no end of a line.

use async_nats::{HeaderMap, HeaderName, Message, StatusCode};
use serde::Deserialize;

use crate::broker::nats::header;
use crate::broker::subject::{push_channel, push_word};
use crate::config::{NatsService, SubjectValue};
use crate::lane::{Content, Failure};
use crate::service::answer::is_message;

const TYPE: HeaderName = HeaderName::from_static("Ringway-Type");
const USER_ID: HeaderName = HeaderName::from_static("Ringway-User-Id");
const SESSION_ID: HeaderName = HeaderName::from_static("Ringway-Session-Id");
const USER_TYPE: HeaderName = HeaderName::from_static("Ringway-User-Type");
const CHANNEL: HeaderName = HeaderName::from_static("Ringway-Channel");
const KEY: HeaderName = HeaderName::from_static("Ringway-Key");

/// Set by who refuses a message: why.
const ERROR: HeaderName = HeaderName::from_static("Ringway-Error");

/// Bytes of a subject. The server ends a connection that writes a line of more than 4,096, in which an inbox stands
/// too.
const SUBJECT_BYTES_MAX: usize = 1024;

/// Where a message goes. `None` when it lacks what its subject is made of, or has too much of it.
pub fn subject(service: &NatsService, content: &Content) -> Option<String> {
    let template = service.subject.as_ref()?;
    let subject = template.fill(content, |subject, value, text| match value {
        SubjectValue::Channel => push_channel(subject, text),
        _ => push_word(subject, text),
    })?;
    let has_empty_levels = subject.split('.').any(str::is_empty);
    // Below such a level is what is the server's own.
    let names_server = subject.starts_with('$') && !template.to_string().starts_with('$');
    (!has_empty_levels && !names_server && subject.len() <= SUBJECT_BYTES_MAX).then_some(subject)
}

/// Who says it, and what.
pub fn headers(content: &Content) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(TYPE, header(&content.kind));
    headers.insert(USER_ID, header(&content.user_id));
    headers.insert(SESSION_ID, header(&content.session_id));
    let optional = [(USER_TYPE, &content.user_type), (CHANNEL, &content.channel), (KEY, &content.key)];
    for (name, value) in optional {
        if let Some(value) = value {
            headers.insert(name, header(value));
        }
    }
    headers
}

/// What an answer means for who waits.
#[derive(Debug, PartialEq, Eq)]
pub enum Settled<'a> {
    Taken,
    /// For the client.
    Answer(&'a str),
    /// And why, for the log.
    Failed(Failure, String),
}

/// What a stream says of a message.
#[derive(Deserialize)]
struct Ack {
    error: Option<AckError>,
    stream: Option<String>,
}

#[derive(Deserialize)]
struct AckError {
    code: u16,
    #[serde(default)]
    description: String,
}

/// Reads the answer to one message. Where a reply does not go to a client any text is one (`reads_all`).
pub fn settle<'a>(service: &NatsService, answer: &'a Message, reads_all: bool) -> Settled<'a> {
    if answer.status == Some(StatusCode::NO_RESPONDERS) {
        return Settled::Failed(Failure::Away, "nobody listens to the subject".into());
    }
    if service.jetstream { confirmed(&answer.payload) } else { replied(answer, reads_all) }
}

fn replied(reply: &Message, reads_all: bool) -> Settled<'_> {
    if let Some(code) = reply.headers.as_ref().and_then(|headers| headers.get(ERROR)) {
        return Settled::Failed(Failure::Refused, code.as_str().into());
    }
    if reply.payload.is_empty() {
        return Settled::Taken;
    }
    match str::from_utf8(&reply.payload).ok().filter(|text| reads_all || is_message(text)) {
        Some(text) => Settled::Answer(text),
        None => Settled::Failed(Failure::Refused, "the reply is no JSON object with a `type`".into()),
    }
}

fn confirmed(payload: &[u8]) -> Settled<'_> {
    match serde_json::from_slice(payload) {
        Ok(Ack { error: None, stream: Some(_) }) => Settled::Taken,
        Ok(Ack { error: Some(AckError { code, description }), .. }) => {
            // The stream has lost its leader, or JetStream its storage.
            let failure = if code == 503 { Failure::Away } else { Failure::Refused };
            Settled::Failed(failure, format!("{code} {description}"))
        }
        _ => Settled::Failed(Failure::Refused, "the answer is none of a stream".into()),
    }
}

/// The first text in quotes: that is how a server names the subject which it means, in the way of Go (`strconv.Quote`),
/// where quotes and what cannot be printed have a backslash before them.
pub fn quoted(words: &str) -> Option<String> {
    let (_, rest) = words.split_once('"')?;
    let (mut rest, mut text) = (rest.chars(), String::new());
    loop {
        match rest.next()? {
            '"' => return Some(text),
            '\\' => match rest.next()? {
                c @ ('"' | '\\') => text.push(c),
                size @ ('u' | 'U') => {
                    let digits: String = rest.by_ref().take(if size == 'u' { 4 } else { 8 }).collect();
                    text.push(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)?);
                }
                _ => return None,
            },
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(user: &str, channel: &str, key: &str) -> Content {
        Content {
            kind: "chat".into(),
            user_id: user.into(),
            session_id: "s1".into(),
            body: "{}".into(),
            channel: Some(channel.into()),
            key: Some(key.into()),
            ..Content::default()
        }
    }

    fn service(subject: &str) -> NatsService {
        NatsService { subject: Some(subject.parse().expect("a subject")), ..NatsService::default() }
    }

    fn answer(payload: &'static [u8]) -> Message {
        let (subject, payload) = ("i.1".into(), payload.into());
        Message { subject, reply: None, payload, headers: None, status: None, description: None, length: 0 }
    }

    #[test]
    fn values_stand_in_levels_of_their_own() {
        let content = content("a.b", "clan:k 1", ">");
        assert_eq!(subject(&service("ws.{channel}"), &content).as_deref(), Some("ws.clan.k%201"));
        assert_eq!(subject(&service("x.{user_id}.{key}"), &content).as_deref(), Some("x.a%2Eb.%3E"));
        assert_eq!(subject(&service("x.{user_type}"), &content), None);
        assert_eq!(subject(&service("$x.{key}"), &content).as_deref(), Some("$x.%3E"));
    }

    #[test]
    fn what_makes_no_subject_is_refused() {
        for key in ["", &".".repeat(400), &"x".repeat(8192)] {
            assert_eq!(subject(&service("x.{key}"), &content("u", "c", key)), None, "{key}");
        }
        assert_eq!(subject(&service("{key}.{user_id}"), &content("x", "c", "$SYS")), None);
        for channel in [":k1", "clan:", ":"] {
            assert_eq!(subject(&service("ws.{channel}"), &content("u", channel, "k")), None, "{channel}");
        }
    }

    #[test]
    fn headers_say_who_it_is_and_nothing_else() {
        let headers = headers(&content("ana\r\nRingway-Key: x", "clan:größe", " "));
        let value = |name| headers.get(name).map(|value| value.as_str());
        assert_eq!(value(USER_ID), Some("ana%0D%0ARingway-Key:%20x"));
        assert_eq!((value(CHANNEL), value(KEY)), (Some("clan:gr%C3%B6%C3%9Fe"), Some("%20")));
        assert_eq!((value(TYPE), value(SESSION_ID), value(USER_TYPE)), (Some("chat"), Some("s1"), None));
    }

    #[test]
    fn a_reply_is_an_answer_a_receipt_or_a_refusal() {
        let service = NatsService { request: true, ..service("x") };
        assert_eq!(settle(&service, &answer(b""), false), Settled::Taken);
        assert_eq!(settle(&service, &answer(br#"{"type":"ok"}"#), false), Settled::Answer(r#"{"type":"ok"}"#));
        let nobody = Message { status: Some(StatusCode::NO_RESPONDERS), ..answer(b"") };
        assert!(matches!(settle(&service, &nobody, false), Settled::Failed(Failure::Away, _)));
        let mut headers = HeaderMap::new();
        headers.insert(ERROR, "too_late");
        let refused = Message { headers: Some(headers), ..answer(br#"{"type":"ok"}"#) };
        assert_eq!(settle(&service, &refused, false), Settled::Failed(Failure::Refused, "too_late".into()));
        for text in ["ok", "{}"] {
            assert_eq!(settle(&service, &answer(text.as_bytes()), true), Settled::Answer(text));
        }
        assert!(matches!(settle(&service, &answer(b"\xff"), true), Settled::Failed(Failure::Refused, _)));
        for garbage in [&b"ok"[..], b"\xff", b"[]", b"{}"] {
            assert!(matches!(settle(&service, &answer(garbage), false), Settled::Failed(Failure::Refused, _)));
        }
    }

    #[test]
    fn a_stream_confirms_or_says_why_not() {
        let service = NatsService { jetstream: true, ..service("x") };
        assert_eq!(settle(&service, &answer(br#"{"stream":"WS","seq":7}"#), false), Settled::Taken);
        let failed = |payload| match settle(&service, &answer(payload), false) {
            Settled::Failed(failure, _) => failure,
            other => panic!("{other:?}"),
        };
        let full = br#"{"error":{"code":400,"description":"maximum bytes exceeded"},"stream":"WS","seq":0}"#;
        assert_eq!(failed(full), Failure::Refused);
        assert_eq!(failed(br#"{"error":{"code":503}}"#), Failure::Away);
        assert_eq!(failed(b"{}"), Failure::Refused);
        assert_eq!(failed(b""), Failure::Refused);
    }
}
