//! What became of the messages of one request to `POST /publish`: made by [`super::batch`], and kept under the key of
//! the request by [`super::idempotency`].

use serde::Serialize;

#[derive(Clone, Default, Serialize)]
pub struct Published {
    /// In the order of the messages.
    pub results: Vec<Delivered>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What became of one message.
#[derive(Clone, Default, Serialize)]
pub struct Delivered {
    /// Connections of this node, of all channels of the message together.
    pub delivered: usize,
    /// Of a notification with an `id`: whether it is kept for every user that it is for, until it is confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<bool>,
}
