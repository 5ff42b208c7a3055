//! Why a session does not do what a message asks: every reason, and the one table of what follows from it.

use std::fmt;

use crate::auth::TokenError;
use crate::channel::typing::Full;
use crate::lane::Failure;
use crate::protocol::request::RequestError;
use crate::shard::pending;
use crate::ws::close::CloseCode;

/// Why a message is answered with an `error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionError {
    Request(RequestError),
    /// Without a token it asks for what needs one.
    NotAuthenticated,
    Token(TokenError),
    /// An open session brings another user's token.
    OtherUser,
    TooManyOfUser,
    RoleNotAllowed,
    /// The route is for other user types, or for nobody.
    Forbidden,
    /// About the one channel of the message.
    Channel(ChannelError),
    /// Nobody knows who is in the channel.
    NoPresence,
    /// A shard has no room for the message.
    Busy,
    /// As many messages of the connection wait for answers as may.
    TooManyRequests,
    /// Why its service does not do what it asks.
    Service(Failure),
    /// The connection writes in as many channels as it may.
    TypingTooMuch,
}

/// Why a channel of a list is not joined or left, while the others are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelError {
    NotAllowed,
    BadName,
    TooMany,
    NotSubscribed,
    /// Whether it is allowed cannot be told now.
    Unavailable,
}

impl SessionError {
    /// The word for `error` messages.
    pub fn code(self) -> &'static str {
        match self {
            Self::Request(error) => error.code(),
            Self::NotAuthenticated => "not_authenticated",
            Self::Token(error) => error.name(),
            Self::OtherUser => "other_user",
            Self::TooManyOfUser => "too_many_of_user",
            Self::RoleNotAllowed => "role_not_allowed",
            Self::Forbidden => "forbidden",
            Self::Channel(error) => error.code(),
            Self::NoPresence => "no_presence",
            Self::Busy => "busy",
            Self::TooManyRequests => "too_many_requests",
            Self::Service(Failure::Away | Failure::Late | Failure::Broken) => "service_unavailable",
            Self::Service(Failure::Full) => "busy",
            Self::Service(Failure::Refused) => "service_refused",
            Self::TypingTooMuch => "too_many_channels",
        }
    }

    /// How the connection is closed behind the `error`; `None`: it stays.
    pub fn close_code(self) -> Option<CloseCode> {
        match self {
            Self::Request(_) | Self::NotAuthenticated | Self::Forbidden | Self::Channel(_) => None,
            Self::NoPresence | Self::TypingTooMuch => None,
            Self::Busy | Self::TooManyRequests | Self::Service(_) => None,
            Self::Token(TokenError::KeysUnavailable) => Some(CloseCode::TRY_AGAIN_LATER),
            Self::Token(TokenError::UserSentAway) => Some(CloseCode::OPERATOR),
            Self::Token(_) | Self::OtherUser => Some(CloseCode::TOKEN_INVALID),
            Self::TooManyOfUser => Some(CloseCode::TRY_AGAIN_LATER),
            Self::RoleNotAllowed => Some(CloseCode::NOT_ALLOWED),
        }
    }
}

/// The sentence for people.
impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(error) => error.fmt(f),
            Self::NotAuthenticated => f.write_str("send an auth message first"),
            Self::Token(error) => error.fmt(f),
            Self::OtherUser => f.write_str("the token is for another user"),
            Self::TooManyOfUser => f.write_str("this user has as many connections as it may"),
            Self::RoleNotAllowed => f.write_str("this user type may not connect"),
            Self::Forbidden => f.write_str("this user type may not send this"),
            Self::Channel(error) => f.write_str(error.sentence()),
            Self::NoPresence => f.write_str("who is in this channel is not kept"),
            Self::TypingTooMuch => f.write_str("typing in as many channels as a connection may"),
            Self::Busy => f.write_str("the gateway cannot take this now: try again in a moment"),
            Self::TooManyRequests => f.write_str("too many messages of this connection wait for their answers"),
            Self::Service(Failure::Away) => f.write_str("the service for this message is not reached"),
            Self::Service(Failure::Late) => f.write_str("the service has not answered in time"),
            Self::Service(Failure::Broken) => f.write_str("the service has failed with this message"),
            Self::Service(Failure::Full) => f.write_str("the service cannot take this now: try again in a moment"),
            Self::Service(Failure::Refused) => f.write_str("the service refuses this message"),
        }
    }
}

impl From<RequestError> for SessionError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<Full> for SessionError {
    fn from(full: Full) -> Self {
        match full {
            Full::Connection => Self::TypingTooMuch,
            Full::Shard => Self::Busy,
        }
    }
}

impl From<pending::Full> for SessionError {
    fn from(full: pending::Full) -> Self {
        match full {
            pending::Full::Connection => Self::TooManyRequests,
            pending::Full::Shard => Self::Busy,
        }
    }
}

impl From<TokenError> for SessionError {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}

impl ChannelError {
    /// In the order in which a client is told of them.
    pub const ALL: [Self; 5] = [Self::NotAllowed, Self::BadName, Self::TooMany, Self::NotSubscribed, Self::Unavailable];

    /// The word for `error` messages.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotAllowed => "not_allowed",
            Self::BadName => "bad_channel",
            Self::TooMany => "too_many_channels",
            Self::NotSubscribed => "not_subscribed",
            Self::Unavailable => "service_unavailable",
        }
    }

    /// The sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NotAllowed => "not allowed to subscribe to these channels",
            Self::BadName => "these are not channel names",
            Self::TooMany => "subscribed to as many channels as a connection may",
            Self::NotSubscribed => "not subscribed to these channels",
            Self::Unavailable => "whether these channels are allowed cannot be told now: try again",
        }
    }
}
