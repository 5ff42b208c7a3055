//! How a message goes to RabbitMQ: its routing key, and what AMQP says beside the message itself.
//!
//! Invariant: what a client chooses is one word of the routing key and the value of one header, whatever is in it. What
//! does not fit into the fields of AMQP has no address.

use std::io;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use uuid::Builder;

use crate::broker::rabbitmq::short;
use crate::broker::subject::{push_channel, push_word};
use crate::clock::Now;
use crate::config::{RabbitMq, RabbitMqService, Subject, SubjectValue};
use crate::lane::Content;

/// As AMQP calls what is to be on disk, and what need not be.
const PERSISTENT: u8 = 2;
const TRANSIENT: u8 = 1;

/// Of a key that is not all ASCII. When RabbitMQ refuses a key it says it again, and cuts that off after some 210 bytes
/// of it, in the middle of a character if it comes so: the client library takes that for no AMQP and gives up the
/// connection.
const WIDE_KEY_BYTES_MAX: usize = 200;

/// Of the frame with the headers: everything but their values.
const HEADER_FRAME_BYTES: usize = 1024;

/// Where messages go.
pub struct Addressing {
    pub exchange: ShortString,
    routing_key: RoutingKey,
    delivery_mode: u8,
}

enum RoutingKey {
    /// `{prefix}.{channel}`
    Channel {
        prefix: String,
    },
    Template(Subject),
}

/// Where one message goes, and what goes with it.
pub struct Address {
    pub routing_key: ShortString,
    pub properties: BasicProperties,
    /// The message's own, also among the properties.
    pub id: ShortString,
}

impl Addressing {
    /// # Errors
    ///
    /// When AMQP has no exchange of this name.
    pub fn new(settings: &RabbitMq, service: RabbitMqService) -> io::Result<Self> {
        let of_the_source = || RoutingKey::Channel { prefix: format!("{}.", settings.prefix) };
        Ok(Self {
            exchange: short(service.exchange.as_deref().unwrap_or(&settings.exchange))?,
            routing_key: service.routing_key.map_or_else(of_the_source, RoutingKey::Template),
            delivery_mode: if service.persistent { PERSISTENT } else { TRANSIENT },
        })
    }

    /// `None` when it has no routing key, or the headers are more than go into a frame. A message that is sent again
    /// has its id already.
    pub fn address(&self, content: &Content, frame_max: usize, id: Option<ShortString>) -> Option<Address> {
        let routing_key = self.routing_key(content)?;
        let headers = headers(content, frame_max)?;
        let now = Now::read();
        let id = id.unwrap_or_else(|| message_id(now));
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(self.delivery_mode)
            .with_message_id(id.clone())
            .with_timestamp(now.unix_s())
            .with_headers(headers);
        Some(Address { routing_key, properties, id })
    }

    /// `None` when the message lacks what it is made of, or it is longer than AMQP allows or we do.
    pub fn routing_key(&self, content: &Content) -> Option<ShortString> {
        let key = match &self.routing_key {
            RoutingKey::Channel { prefix } => {
                let mut key = prefix.clone();
                push_channel(&mut key, content.channel.as_deref()?);
                key
            }
            RoutingKey::Template(template) => template.fill(content, |key, which, value| match which {
                SubjectValue::Channel => push_channel(key, value),
                _ => push_word(key, value),
            })?,
        };
        let is_too_wide = key.len() > WIDE_KEY_BYTES_MAX && !key.is_ascii();
        ShortString::try_new(key).ok().filter(|_| !is_too_wide)
    }
}

/// Who says it, and what about.
fn headers(content: &Content, frame_max: usize) -> Option<FieldTable> {
    let named = [
        ("ringway-type", Some(&*content.kind)),
        ("ringway-user-id", Some(&*content.user_id)),
        ("ringway-session-id", Some(&*content.session_id)),
        ("ringway-user-type", content.user_type.as_deref()),
        ("ringway-channel", content.channel.as_deref()),
        ("ringway-key", content.key.as_deref()),
    ];
    let bytes: usize = named.iter().filter_map(|(_, value)| *value).map(str::len).sum();
    // Zero is no limit.
    if frame_max > 0 && bytes + HEADER_FRAME_BYTES > frame_max {
        return None;
    }
    let mut headers = FieldTable::default();
    for (name, value) in named {
        if let Some(value) = value {
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        }
    }
    Some(headers)
}

/// In the order of time: version 7 of RFC 9562.
fn message_id(now: Now) -> ShortString {
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    Builder::from_unix_timestamp_millis(now.unix_ms, &random).into_uuid().to_string().into()
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
            channel: Some("clan:k1.x".into()),
            key: Some("a.b".into()),
            ..Content::default()
        }
    }

    fn addressing(routing_key: Option<&str>) -> Addressing {
        let routing_key = routing_key.map(|key| key.parse().expect("a template"));
        let service = RabbitMqService { routing_key, ..RabbitMqService::default() };
        Addressing::new(&RabbitMq::default(), service).expect("names that AMQP can take")
    }

    fn key(routing_key: Option<&str>, content: &Content) -> Option<String> {
        addressing(routing_key).address(content, 0, None).map(|address| address.routing_key.to_string())
    }

    #[test]
    fn the_key_is_that_of_the_channel_or_of_the_template() {
        for (template, filled) in [
            (None, "ws.clan.k1%2Ex"),
            (Some("live.{channel}"), "live.clan.k1%2Ex"),
            (Some("{type}.{key}.{user_id}"), "chat.a%2Eb.ana"),
            (Some("fixed"), "fixed"),
        ] {
            assert_eq!(key(template, &content()).as_deref(), Some(filled), "{template:?}");
        }
    }

    #[test]
    fn what_amqp_cannot_take_has_no_address() {
        let without_channel = Content { channel: None, ..content() };
        assert_eq!(key(None, &without_channel), None);
        let long = |bytes| Content { key: Some("x".repeat(bytes).into()), ..content() };
        assert!(key(Some("{key}"), &long(255)).is_some());
        assert_eq!(key(Some("{key}"), &long(256)), None);
        let wide = |letters| Content { key: Some("é".repeat(letters).into()), ..content() };
        assert!(key(Some("{key}"), &wide(100)).is_some());
        assert_eq!(key(Some("{key}"), &wide(101)), None);
        let fixed = addressing(Some("fixed"));
        assert!(fixed.address(&long(2000), 4096, None).is_some());
        assert!(fixed.address(&long(4000), 4096, None).is_none());
        assert!(fixed.address(&long(4000), 0, None).is_some());
    }

    #[test]
    fn ids_are_in_the_order_of_time_and_differ() {
        let address = || addressing(None).address(&content(), 0, None).expect("it has one");
        let (first, second) = (address(), address());
        assert!(first.id != second.id && first.id.as_str()[..8] <= second.id.as_str()[..8]);
        assert_eq!(first.properties.message_id().as_ref(), Some(&first.id));
        let again = addressing(None).address(&content(), 0, Some(first.id.clone())).expect("it has one");
        assert_eq!((again.properties.message_id().as_ref(), &again.id), (Some(&first.id), &first.id));
    }
}
