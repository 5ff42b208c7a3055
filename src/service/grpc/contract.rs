//! What a backend is asked and what it says: from a client's message to the request of a contract, and from an answer
//! to a message for the client. Nothing here waits or sends.
//!
//! A typed contract says what messages mean, which nothing else of `service` does; what clients call it stands in
//! [`super::names`]. Fields that have one name have the same one in the contract.
//!
//! Invariant: what goes to a client is a message, one JSON object with a `type`, or it does not go.

use serde::Serialize;
use serde_json::json;

use crate::config::Contract;
use crate::lane::Content;
use crate::proto::v1::Identity;
use crate::proto::{chat, location, notification, relay};
use crate::service::answer::is_message;

use super::fields::{Fields, Unfit};
use super::names::{self, Accepted};

/// A request that is answered once, of one of the methods.
#[derive(Debug, PartialEq)]
pub enum Ask {
    Forward(relay::v1::ForwardRequest),
    ReportLocation(location::v1::ReportLocationRequest),
    SendChat(chat::v1::SendRequest),
    AcknowledgeNotification(notification::v1::AcknowledgeRequest),
    ReadNotification(notification::v1::ReadRequest),
}

/// A request that is answered by a stream.
#[derive(Debug, PartialEq)]
pub enum Open {
    Forward(relay::v1::ForwardRequest),
    WatchLocation(location::v1::WatchRequest),
    ChatHistory(chat::v1::HistoryRequest),
    ListNotifications(notification::v1::ListRequest),
}

/// What is made of an answer.
#[derive(Debug, PartialEq)]
pub enum Said {
    /// For the client.
    Message(String),
    /// The message has been taken.
    Nothing,
}

/// An answer that is no message.
#[derive(Debug, PartialEq, Eq)]
pub struct Garbage;

/// An answer of one of the methods.
pub trait Reply {
    /// What a client is told, who had said a message of this type.
    fn said(self, kind: &str) -> Said;
}

/// The request for a message, of a service that answers once.
///
/// # Errors
///
/// When the message lacks what the contract needs.
pub fn ask(contract: Contract, content: &Content) -> Result<Ask, Unfit> {
    let (identity, r#type) = (Some(identity(content)), content.kind.to_string());
    Ok(match contract {
        Contract::Relay => Ask::Forward(forward(content)),
        Contract::Location => {
            let fields = Fields::of(&content.body)?;
            Ask::ReportLocation(location::v1::ReportLocationRequest {
                identity,
                r#type,
                latitude: fields.needed_number("latitude")?,
                longitude: fields.needed_number("longitude")?,
                heading: fields.number("heading")?,
                speed: fields.number("speed")?,
                accuracy: fields.number("accuracy")?,
                timestamp: fields.number("timestamp")?,
                is_available: fields.flag(names::IS_AVAILABLE)?,
            })
        }
        Contract::Chat => {
            let fields = Fields::of(&content.body)?;
            Ask::SendChat(chat::v1::SendRequest {
                identity,
                r#type,
                conversation_id: conversation(content, &fields)?,
                content: fields.needed_text(names::CONTENT)?,
                message_id: message_id(&fields)?,
                message_type: fields.text(names::MESSAGE_TYPE)?.unwrap_or_default(),
                channel: content.channel.as_deref().unwrap_or_default().to_owned(),
            })
        }
        Contract::Notification => {
            let notification_id = Fields::of(&content.body)?.needed_text(names::NOTIFICATION_ID)?;
            if r#type == names::READ {
                Ask::ReadNotification(notification::v1::ReadRequest { identity, r#type, notification_id })
            } else {
                let acknowledged = notification::v1::AcknowledgeRequest { identity, r#type, notification_id };
                Ask::AcknowledgeNotification(acknowledged)
            }
        }
    })
}

/// The same of a service that answers by a stream.
///
/// # Errors
///
/// When the message lacks what the contract needs.
pub fn open(contract: Contract, content: &Content) -> Result<Open, Unfit> {
    let (identity, r#type) = (Some(identity(content)), content.kind.to_string());
    let fields = Fields::of(&content.body)?;
    let before = || fields.text(names::BEFORE).map(Option::unwrap_or_default);
    let limit = || fields.count("limit").map(Option::unwrap_or_default);
    Ok(match contract {
        Contract::Relay => Open::Forward(forward(content)),
        Contract::Location => Open::WatchLocation(location::v1::WatchRequest {
            identity,
            r#type,
            user_id: fields.text(names::WATCHED_USER_ID)?.unwrap_or_default(),
            latitude: fields.number("latitude")?,
            longitude: fields.number("longitude")?,
            radius: fields.number("radius")?,
        }),
        Contract::Chat => {
            let conversation_id = conversation(content, &fields)?;
            Open::ChatHistory(chat::v1::HistoryRequest {
                identity,
                r#type,
                conversation_id,
                before: before()?,
                limit: limit()?,
            })
        }
        Contract::Notification => Open::ListNotifications(notification::v1::ListRequest {
            identity,
            r#type,
            before: before()?,
            limit: limit()?,
        }),
    })
}

fn conversation(content: &Content, fields: &Fields<'_>) -> Result<String, Unfit> {
    let named = fields.text(names::CONVERSATION_ID)?;
    // A message of a route's own making need not name it again.
    let rest =
        || content.channel.as_deref().and_then(|channel| channel.split_once(':')).map(|(_, rest)| rest.to_owned());
    named.or_else(rest).ok_or(Unfit(names::CONVERSATION_ID[0]))
}

/// Not the `id` beside `type`, by which the client knows the answer.
fn message_id(fields: &Fields<'_>) -> Result<String, Unfit> {
    let id = fields.text(names::MESSAGE_ID)?;
    Ok(id.or_else(|| fields.nested_text("id")).unwrap_or_default())
}

fn forward(content: &Content) -> relay::v1::ForwardRequest {
    relay::v1::ForwardRequest {
        identity: Some(identity(content)),
        r#type: content.kind.to_string(),
        channel: content.channel.as_deref().unwrap_or_default().to_owned(),
        key: content.key.as_deref().unwrap_or_default().to_owned(),
        body: content.body.to_string(),
    }
}

fn identity(content: &Content) -> Identity {
    let device = [("platform", &content.device.platform), ("device_id", &content.device.id)];
    let said = device.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.as_deref()?.to_owned())));
    Identity {
        user_id: content.user_id.to_string(),
        session_id: content.session_id.to_string(),
        user_type: content.user_type.as_deref().unwrap_or_default().to_owned(),
        attributes: said.collect(),
    }
}

impl Said {
    /// What a backend wrote itself.
    fn own(message: String) -> Self {
        if message.is_empty() { Self::Nothing } else { Self::Message(message) }
    }

    fn written<T: Serialize>(kind: &str, payload: T) -> Self {
        #[derive(Serialize)]
        struct Message<'a, T> {
            r#type: &'a str,
            payload: T,
        }
        // Texts and numbers can be written; a number that is none becomes `null`.
        serde_json::to_string(&Message { r#type: kind, payload }).map_or(Self::Nothing, Self::Message)
    }

    /// Sees that it is a message.
    pub fn checked(self) -> Result<Self, Garbage> {
        match &self {
            Self::Message(text) if !is_message(text) => Err(Garbage),
            _ => Ok(self),
        }
    }
}

/// Replies that have nothing but a message which the backend writes itself.
macro_rules! own_words {
    ($($reply:ty),*) => {$(
        impl Reply for $reply {
            fn said(self, _: &str) -> Said {
                Said::own(self.message)
            }
        }
    )*};
}

own_words!(
    relay::v1::ForwardReply,
    location::v1::ReportLocationReply,
    notification::v1::AcknowledgeReply,
    notification::v1::ReadReply
);

impl Reply for location::v1::WatchReply {
    fn said(self, _: &str) -> Said {
        #[derive(Serialize)]
        struct Position {
            user_id: String,
            latitude: f64,
            longitude: f64,
            #[serde(skip_serializing_if = "Option::is_none")]
            heading: Option<f64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            speed: Option<f64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            accuracy: Option<f64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            timestamp: Option<f64>,
        }
        let Self { user_id, latitude, longitude, heading, speed, accuracy, timestamp, message } = self;
        if !message.is_empty() || user_id.is_empty() {
            return Said::own(message);
        }
        let position = Position { user_id, latitude, longitude, heading, speed, accuracy, timestamp };
        Said::written(names::POSITION, position)
    }
}

impl Reply for chat::v1::SendReply {
    fn said(self, kind: &str) -> Said {
        let Self { message_id, message } = self;
        if !message.is_empty() || message_id.is_empty() {
            return Said::own(message);
        }
        let Accepted { kind, id, in_payload } = names::accepted(kind);
        match in_payload {
            true => Said::written(kind, json!({ id: message_id })),
            false => Said::Message(json!({ "type": kind, id: message_id }).to_string()),
        }
    }
}

impl Reply for chat::v1::HistoryReply {
    fn said(self, _: &str) -> Said {
        #[derive(Serialize)]
        struct Payload {
            conversation_id: String,
            message: Message,
        }
        #[derive(Serialize)]
        struct Message {
            id: String,
            sender_id: String,
            content: String,
            created_at: String,
        }
        let Self { conversation_id, message_id: id, sender_id, content, created_at, message } = self;
        if !message.is_empty() || id.is_empty() {
            return Said::own(message);
        }
        let message = Message { id, sender_id, content, created_at };
        Said::written(names::CHAT_MESSAGE, Payload { conversation_id, message })
    }
}

impl Reply for notification::v1::ListReply {
    fn said(self, _: &str) -> Said {
        #[derive(Serialize)]
        struct Notification {
            r#type: &'static str,
            id: String,
            payload: Payload,
        }
        #[derive(Serialize)]
        struct Payload {
            title: String,
            body: String,
            created_at: String,
            is_read: bool,
        }
        let Self { notification_id: id, title, body, created_at, is_read, message } = self;
        if !message.is_empty() || id.is_empty() {
            return Said::own(message);
        }
        let payload = Payload { title, body, created_at, is_read };
        let notification = Notification { r#type: names::NOTIFICATION, id, payload };
        serde_json::to_string(&notification).map_or(Said::Nothing, Said::Message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTRACTS: [Contract; 4] = [Contract::Relay, Contract::Location, Contract::Chat, Contract::Notification];

    fn content(kind: &str, body: &str) -> Content {
        Content {
            kind: kind.into(),
            user_id: "ana".into(),
            session_id: "s1".into(),
            body: body.into(),
            channel: Some("conv:c1".into()),
            ..Content::default()
        }
    }

    #[test]
    fn a_message_that_lacks_something_fits_no_typed_contract() {
        let content = content("x", r#"{"type":"x","latitude":"48","conversation_id":{},"limit":-1,"user_id":[]}"#);
        let refused = CONTRACTS.map(|contract| (ask(contract, &content).err(), open(contract, &content).err()));
        let unfit = |name| Some(Unfit(name));
        assert_eq!(
            refused,
            [
                (None, None),
                (unfit("latitude"), unfit("user_id")),
                (unfit("conversation_id"), unfit("conversation_id")),
                (unfit("notification_id"), unfit("limit")),
            ]
        );
    }

    #[test]
    fn the_id_by_which_a_client_knows_the_answer_is_not_the_messages() {
        for (body, id) in [
            (r#"{"type":"say","id":7,"content":"hi"}"#, ""),
            (r#"{"type":"say","id":7,"content":"hi","messageId":"m1"}"#, "m1"),
            (r#"{"type":"say","payload":{"message":{"id":"m2","content":"hi"}}}"#, "m2"),
        ] {
            let Ok(Ask::SendChat(sent)) = ask(Contract::Chat, &content("say", body)) else { panic!("{body}") };
            assert_eq!((sent.message_id.as_str(), sent.conversation_id.as_str()), (id, "c1"), "{body}");
        }
    }

    #[test]
    fn what_goes_to_a_client_is_a_message() {
        let own = |message: &str| relay::v1::ForwardReply { message: message.into() }.said("x").checked();
        assert_eq!(own(""), Ok(Said::Nothing));
        assert_eq!(own(r#"{"type":"a"} "#), Ok(Said::Message(r#"{"type":"a"} "#.into())));
        assert_eq!(own("{}"), Err(Garbage));
        let nowhere = location::v1::WatchReply { user_id: "b".into(), latitude: f64::NAN, ..Default::default() };
        let Ok(Said::Message(text)) = nowhere.said("x").checked() else { panic!("a message") };
        assert!(text.contains(r#""latitude":null"#), "{text}");
    }
}
