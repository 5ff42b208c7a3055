//! What becomes of the messages of a channel where a subscriber reads so slowly that they find no room.

use serde::{Deserialize, Serialize};

/// Chosen by channel. It holds for what waits: what is under way in the kernel stays, and so do control frames and
/// answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// Nothing is left out: a subscriber that has no room for a message is closed with 4002.
    #[default]
    Disconnect,
    /// The oldest messages that wait make room.
    DropOldest,
    /// The message that finds no room is dropped.
    DropNewest,
    /// Of each channel only the newest message waits, in the place of the one before it.
    Latest,
}

impl Overflow {
    pub const ALL: [Self; 4] = [Self::Disconnect, Self::DropOldest, Self::DropNewest, Self::Latest];

    /// As in the configuration, and as label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disconnect => "disconnect",
            Self::DropOldest => "drop_oldest",
            Self::DropNewest => "drop_newest",
            Self::Latest => "latest",
        }
    }
}
