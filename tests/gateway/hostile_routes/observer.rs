//! What others may get of what a client sends: messages of the routes' templates, with exactly their fields, from who
//! sent them, in the channel that they are in.

use std::collections::BTreeSet;

use ringway::route::{Route, Routes};
use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

use super::messages;
use crate::support::client::{Client, Event};
use crate::support::wire;

/// A message that a route makes for others.
struct Made {
    template: Value,
    route: &'static Route,
    example: Value,
}

/// Everything that reaches others, as the shipped routes make it.
pub struct Templates(Vec<Made>);

impl Templates {
    pub fn shipped() -> Templates {
        let made = Routes::shipped().all().iter().flat_map(|route| {
            let texts = [&route.definition.message, &route.definition.start, &route.definition.stop];
            let example = route.definition.example.as_deref().map(wire::json).unwrap_or_default();
            texts.into_iter().flatten().map(move |text| Made {
                template: wire::json(text),
                route,
                example: example.clone(),
            })
        });
        Templates(made.collect())
    }

    /// What is wrong with a message that somebody got from `sender`; nothing, if a route may have made it.
    #[track_caller]
    pub fn assert_made(&self, text: &str, sender: &str) {
        let message = wire::json(text);
        serde_json::from_str::<serde_json::Value>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_no_name_twice(&message, text);
        if wire::kind(&message) == "presence.update" {
            return;
        }
        assert!(self.0.iter().any(|made| made.fits(&made.template, &message, sender)), "no route makes {text}");
    }
}

impl Made {
    fn fits(&self, template: &Value, message: &Value, sender: &str) -> bool {
        if let (Some(template), Some(object)) = (template.as_object(), message.as_object()) {
            let is_known = object.iter().all(|(name, _)| template.get(&name).is_some());
            return is_known
                && template.iter().all(|(name, place)| match object.get(&name) {
                    Some(value) => self.fits(place, value, sender),
                    None => self.may_be_missing(place),
                });
        }
        match place(template) {
            Some("user_id") => message.as_str() == Some(sender),
            // Who gets it is in the channel that the example names, and in no other.
            Some(name) if self.is_of_channel(name) => messages::field_of(&self.example, name).as_ref() == Some(message),
            Some(_) => !message.is_object() && !message.is_array(),
            None => template == message,
        }
    }

    fn may_be_missing(&self, template: &Value) -> bool {
        place(template).is_some_and(|name| self.route.definition.optional.contains_key(name))
    }

    fn is_of_channel(&self, name: &str) -> bool {
        self.route.definition.channel.as_deref().is_some_and(|channel| channel.contains(&format!("{{{name}}}")))
    }
}

/// The name in `"{name}"`.
fn place(template: &Value) -> Option<&str> {
    template.as_str()?.strip_prefix('{')?.strip_suffix('}')
}

#[track_caller]
fn assert_no_name_twice(value: &Value, text: &str) {
    if let Some(object) = value.as_object() {
        let names: BTreeSet<&str> = object.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), object.len(), "a name is there twice: {text}");
        object.iter().for_each(|(_, value)| assert_no_name_twice(value, text));
    }
    if let Some(list) = value.as_array() {
        list.iter().for_each(|value| assert_no_name_twice(value, text));
    }
}

/// The texts that have come and are not read yet.
#[track_caller]
pub fn read_what_is_there(client: &mut Client) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(event) = client.poll() {
        match event {
            Event::Text(text) => texts.push(text),
            Event::Ping | Event::Pong => {}
            ended => panic!("somebody else's connection ended: {ended:?}"),
        }
    }
    texts
}
