//! The words of vocabularies that the typed contracts know: what clients call a thing, and what they are told. The one
//! place of this folder that knows any; what they stand for is said to backends in the `.proto` files. Read by
//! [`super::contract`] alone.
//!
//! They are no settings: a backend that has other words writes its answers itself, and a message with other fields goes
//! by the contract `relay`, which knows no names.

/// Fields by all names that vocabularies have for them. The first that is there counts, and is the one that is missed.
pub const CONVERSATION_ID: &[&str] = &["conversation_id", "conversationId", "clanId"];
pub const CONTENT: &[&str] = &["content"];
pub const MESSAGE_ID: &[&str] = &["message_id", "messageId"];
pub const MESSAGE_TYPE: &[&str] = &["message_type", "messageType"];
pub const NOTIFICATION_ID: &[&str] = &["notification_id", "notificationId"];
pub const WATCHED_USER_ID: &[&str] = &["user_id", "userId", "vendorId", "driverId"];
pub const BEFORE: &[&str] = &["before"];
pub const IS_AVAILABLE: &str = "isAvailable";

/// The one message about a notification that says more than that it has come.
pub const READ: &str = "notification.read";

/// The `type` of what typed answers become.
pub const POSITION: &str = "location.position";
pub const CHAT_MESSAGE: &str = "chat.message";
pub const NOTIFICATION: &str = "notification";

/// How a client hears the id that its message has, by the `type` of the message.
pub struct Accepted {
    pub kind: &'static str,
    /// Of the field with the id.
    pub id: &'static str,
    /// Whether that stands in `payload`, and not beside `type`.
    pub in_payload: bool,
}

/// Clans have words of their own.
pub fn accepted(kind: &str) -> Accepted {
    match kind {
        "chat" => Accepted { kind: "message_sent", id: "messageId", in_payload: false },
        _ => Accepted { kind: "chat.accepted", id: "message_id", in_payload: true },
    }
}
