//! What is said about who is online: the list in an answer, and the news of one change.
//!
//! A channel of a conversation is named by the conversation's id, any other by its name.

use serde::Serialize;

/// Before the id of a conversation, in the name of its channel.
const CONVERSATION_PREFIX: &str = "conv:";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Online,
    Offline,
}

/// One user as lists have him.
#[derive(Serialize)]
pub struct User<'a> {
    pub user_id: &'a str,
    pub status: Status,
}

/// What has changed in a channel.
#[derive(Serialize)]
struct Update<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    payload: News<'a>,
}

#[derive(Serialize)]
struct News<'a> {
    #[serde(flatten)]
    place: Place<'a>,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Serialize)]
enum Place<'a> {
    #[serde(rename = "conversation_id")]
    Conversation(&'a str),
    #[serde(rename = "channel")]
    Channel(&'a str),
}

#[derive(Serialize)]
#[serde(untagged)]
pub enum What<'a> {
    One(User<'a>),
    /// So many users are online.
    Count {
        count: usize,
    },
}

/// Users who are online, as a list in JSON.
pub fn users_json<'a>(users: impl Iterator<Item = &'a str>) -> String {
    let list: Vec<User<'_>> = users.map(|user_id| User { user_id, status: Status::Online }).collect();
    sonic_rs::to_string(&list).expect("plain data")
}

/// The message that tells a channel what has changed in it.
pub fn update_json(channel: &str, what: What<'_>) -> String {
    let place = channel.strip_prefix(CONVERSATION_PREFIX).map_or(Place::Channel(channel), Place::Conversation);
    sonic_rs::to_string(&Update { kind: "presence.update", payload: News { place, what } }).expect("plain data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_name_a_conversation_by_its_id_and_any_other_channel_by_its_name() {
        let one = What::One(User { user_id: "a\"b", status: Status::Offline });
        assert_eq!(
            update_json("conv:c1", one),
            r#"{"type":"presence.update","payload":{"conversation_id":"c1","user_id":"a\"b","status":"offline"}}"#
        );
        assert_eq!(
            update_json("clan:k\\", What::Count { count: 500 }),
            r#"{"type":"presence.update","payload":{"channel":"clan:k\\","count":500}}"#
        );
    }

    #[test]
    fn a_list_names_each_user_with_his_status() {
        assert_eq!(users_json([].into_iter()), "[]");
        let users = ["u1", "\"},{\"", "\u{0}"];
        assert_eq!(
            users_json(users.into_iter()),
            r#"[{"user_id":"u1","status":"online"},{"user_id":"\"},{\"","status":"online"},{"user_id":"\u0000","status":"online"}]"#
        );
    }
}
