//! What a route leads to, with what the route says about it. The session executes it.

use std::borrow::Cow;

use super::template::{Places, Template};

/// What is done with a message.
pub enum Action {
    /// Verifies the token in the field: the session begins, or goes on with the fresh token.
    Authenticate { field: Box<str>, reply: Template<OfSession> },
    /// Answers with the gateway's time.
    Ping { reply: Template<OfTime> },
    /// Joins the channels that are named, as far as that is allowed.
    Subscribe(ChannelList),
    /// Leaves the channels that are named.
    Unsubscribe(ChannelList),
    /// Nothing: that it came is what counts.
    HeartbeatAck,
}

impl Action {
    /// The field that it reads.
    pub fn field(&self) -> Option<&str> {
        match self {
            Action::Authenticate { field, .. } => Some(field),
            Action::Subscribe(list) | Action::Unsubscribe(list) => Some(&list.field),
            Action::Ping { .. } | Action::HeartbeatAck => None,
        }
    }
}

/// A list of channels in a message.
pub struct ChannelList {
    /// The field that holds it.
    pub field: Box<str>,
    pub channel: ChannelName,
    pub reply: Template<OfList>,
}

/// How an item of a list names a channel: what stands before it and behind it.
pub struct ChannelName {
    before: Box<str>,
    after: Box<str>,
}

impl ChannelName {
    /// From `conv:{field}`. `None` when the field is not named in it.
    pub fn parse(text: &str, field: &str) -> Option<ChannelName> {
        let (before, after) = text.split_once(&format!("{{{field}}}"))?;
        Some(ChannelName { before: before.into(), after: after.into() })
    }

    /// The channel of an item.
    pub fn of<'a>(&self, item: &'a str) -> Cow<'a, str> {
        match (&*self.before, &*self.after) {
            ("", "") => Cow::Borrowed(item),
            (before, after) => Cow::Owned([before, item, after].concat()),
        }
    }
}

#[derive(Clone, Copy)]
pub enum OfSession {
    UserId,
    SessionId,
}

#[derive(Clone, Copy)]
pub enum OfTime {
    /// Now, in UTC, by RFC 3339 with milliseconds.
    Timestamp,
}

#[derive(Clone, Copy)]
pub enum OfList {
    /// Those items of the list that hold now.
    List,
}

impl Places for OfSession {
    const ALL: &'static [(&'static str, Self)] = &[("user_id", Self::UserId), ("session_id", Self::SessionId)];
}

impl Places for OfTime {
    const ALL: &'static [(&'static str, Self)] = &[("timestamp", Self::Timestamp)];
}

impl Places for OfList {
    const ALL: &'static [(&'static str, Self)] = &[("list", Self::List)];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_names_a_channel() {
        let conversation = ChannelName::parse("conv:{ids}", "ids").unwrap();
        assert_eq!(conversation.of("c1"), "conv:c1");
        let itself = ChannelName::parse("{ids}", "ids").unwrap();
        assert!(matches!(itself.of("news"), Cow::Borrowed("news")));
        assert_eq!(ChannelName::parse("a{x}b", "x").unwrap().of("{x}"), "a{x}b");
        assert!(ChannelName::parse("conv:{id}", "ids").is_none());
    }
}
