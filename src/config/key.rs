//! The names of all settings, taken from the sections themselves.
//!
//! Used by whatever reads settings to tell known names from unknown ones. Invariant: `Key::all` is exactly what the
//! sections deserialise, in their order; nothing is listed by hand twice.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IntoDeserializer, MapAccess, Visitor};
use strsim::levenshtein;
use toml::Table;

use super::Config;
use super::value::MASK;

/// `section.name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub section: &'static str,
    pub name: &'static str,
}

impl Key {
    /// For code that means one key; `Key::find` is for names from outside.
    pub(super) const fn of(section: &'static str, name: &'static str) -> Key {
        Key { section, name }
    }

    /// Every key, in the order of the sections.
    pub fn all() -> Vec<Key> {
        let mut keys = Vec::new();
        // The recorder gives no values, so every section is left at its default and nothing can fail.
        let walked = Config::deserialize(Recorder { section: None, keys: &mut keys });
        debug_assert!(walked.is_ok());
        keys
    }

    pub fn find(section: &str, name: &str) -> Option<Key> {
        Key::all().into_iter().find(|key| key.section == section && key.name == name)
    }

    /// The environment variable of this key: `RINGWAY_SECTION_NAME`.
    pub fn variable(self) -> String {
        format!("RINGWAY_{}_{}", self.section, self.name).to_ascii_uppercase()
    }

    /// Whether its value is a `Secret`: whatever stands there is shown as a mask.
    pub fn is_secret(self) -> bool {
        let section = Table::from_iter([(self.name.to_owned(), "any text".into())]);
        let config = Config::deserialize(Table::from_iter([(self.section.to_owned(), section.into())]));
        let shown = config.ok().and_then(|config| config.value(self));
        shown.is_some_and(|shown| shown.as_str() == Some(MASK))
    }
}

impl Config {
    /// The value of a key as it is written in a file; `None` where nothing is set.
    pub fn value(&self, key: Key) -> Option<toml::Value> {
        Table::try_from(self).ok()?.get(key.section)?.get(key.name).cloned()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.section, self.name)
    }
}

/// The known name that `wrong` most likely meant, if any is close.
pub fn nearest(wrong: &str, known: impl IntoIterator<Item = String>) -> Option<String> {
    // A third of the letters may differ: enough for slips, too few to turn one word into another.
    let bound = (wrong.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (levenshtein(wrong, &name), name))
        .filter(|(distance, _)| *distance <= bound)
        .min()
        .map(|(_, name)| name)
}

/// The names of the fields of a struct, as serde knows them.
pub fn field_names<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // It is given no value, so only a struct without defaults refuses; its names are written down by then.
    let _ = T::deserialize(Names(&mut names));
    names
}

/// Writes down which fields it is asked for, and offers none.
struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = de::value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        visitor.visit_map(de::value::MapDeserializer::new(std::iter::empty::<(&str, &str)>()))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("not a struct"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Stands in for a document: asked for the fields of `Config` it offers each section, asked for the fields of a
/// section it writes their names down and offers none.
struct Recorder<'a> {
    section: Option<&'static str>,
    keys: &'a mut Vec<Key>,
}

impl<'de> Deserializer<'de> for Recorder<'_> {
    type Error = de::value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        match self.section {
            None => visitor.visit_map(Sections { left: fields.iter(), section: "", keys: self.keys }),
            Some(section) => {
                self.keys.extend(fields.iter().map(|name| Key { section, name }));
                visitor.visit_map(Sections { left: [].iter(), section, keys: self.keys })
            }
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("the configuration is made of sections"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Sections<'a> {
    left: std::slice::Iter<'static, &'static str>,
    section: &'static str,
    keys: &'a mut Vec<Key>,
}

impl<'de> MapAccess<'de> for Sections<'_> {
    type Error = de::value::Error;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Self::Error> {
        let Some(section) = self.left.next() else { return Ok(None) };
        self.section = section;
        seed.deserialize(self.section.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Self::Error> {
        seed.deserialize(Recorder { section: Some(self.section), keys: self.keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_section_is_a_key() {
        let keys: Vec<String> = Key::all().iter().map(Key::to_string).collect();
        assert_eq!(keys.first().map(String::as_str), Some("server.listen"));
        assert_eq!(keys.last().map(String::as_str), Some("debug.echo_message_bytes"));
        let defaults = toml::Table::try_from(Config::default()).expect("plain data");
        for (section, table) in &defaults {
            for name in table.as_table().expect("a section").keys() {
                assert!(keys.contains(&format!("{section}.{name}")), "{section}.{name}");
            }
        }
        for optional in ["admin.token", "redis.url", "debug.echo_path"] {
            assert!(keys.contains(&optional.to_owned()), "{optional}");
        }
    }

    #[test]
    fn variables_are_unambiguous() {
        let mut variables: Vec<String> = Key::all().into_iter().map(Key::variable).collect();
        assert!(variables.contains(&"RINGWAY_AUTH_PREVIOUS_SECRET".to_owned()));
        variables.sort();
        let count = variables.len();
        variables.dedup();
        assert_eq!(variables.len(), count);
    }

    #[test]
    fn secrets_are_known_by_their_type() {
        let secrets: Vec<_> = Key::all().into_iter().filter(|key| key.is_secret()).map(|key| key.to_string()).collect();
        let (own, brokers) = secrets.split_at(4);
        assert_eq!(own, ["admin.token", "auth.secret", "auth.previous_secret", "auth.jwks_bearer"]);
        assert_eq!(
            brokers,
            [
                "redis.sentinel_password",
                "redis.password",
                "postgres.dsn",
                "nats.password",
                "nats.token",
                "rabbitmq.password"
            ]
        );
    }

    #[test]
    fn a_slip_finds_the_name_that_was_meant() {
        let known = || Key::all().into_iter().map(|key| key.name.to_owned());
        assert_eq!(nearest("lissten", known()).as_deref(), Some("listen"));
        assert_eq!(nearest("message_byte", known()).as_deref(), Some("message_bytes"));
        assert_eq!(nearest("banana_split", known()), None);
        assert_eq!(nearest("lo", ["log".into()]).as_deref(), Some("log"));
    }

    #[test]
    fn a_short_word_is_not_taken_for_another() {
        let sections = || Key::all().into_iter().map(|key| key.section.to_owned());
        for word in ["foo", "tls", "http", "dog2"] {
            assert_eq!(nearest(word, sections()), None, "{word}");
        }
    }
}
