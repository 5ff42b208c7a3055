//! The names of all settings, taken from the schema itself.
//!
//! Used by every source to tell known names from unknown ones. Invariant: `Key::all` is exactly what the structs of
//! `schema` deserialise, in their order; nothing is listed by hand twice.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, IntoDeserializer, MapAccess, Visitor};

use super::Config;

/// `section.name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub section: &'static str,
    pub name: &'static str,
}

/// Keys whose value is a `Secret`; a test compares with the schema.
const SECRETS: [Key; 4] = [
    Key::of("admin", "token"),
    Key::of("auth", "secret"),
    Key::of("auth", "previous_secret"),
    Key::of("redis", "password"),
];

impl Key {
    /// For code that means one key; `Key::find` is for names from outside.
    pub(super) const fn of(section: &'static str, name: &'static str) -> Key {
        Key { section, name }
    }

    /// Every key, in the order of the schema.
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

    pub fn is_secret(self) -> bool {
        SECRETS.contains(&self)
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
    let bound = wrong.chars().count() / 3 + 1;
    known
        .into_iter()
        .map(|name| (distance(wrong, &name), name))
        .filter(|(distance, _)| *distance <= bound)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
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
    use crate::config::Secret;

    #[test]
    fn every_field_of_the_schema_is_a_key() {
        let keys: Vec<String> = Key::all().iter().map(Key::to_string).collect();
        assert_eq!(keys.first().map(String::as_str), Some("server.listen"));
        assert_eq!(keys.last().map(String::as_str), Some("debug.echo_message_bytes"));
        let defaults = toml::Table::try_from(Config::default()).expect("plain data");
        for (section, table) in &defaults {
            for name in table.as_table().expect("a section").keys() {
                assert!(keys.contains(&format!("{section}.{name}")), "{section}.{name}");
            }
        }
        for optional in SECRETS {
            assert!(keys.contains(&optional.to_string()), "{optional}");
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
    fn every_secret_of_the_schema_is_known_as_one() {
        let mut config = Config::default();
        let secret = || Some(Secret::new("hunter2"));
        (config.admin.token, config.auth.secret, config.auth.previous_secret) = (secret(), secret(), secret());
        config.redis.password = secret();
        let table = toml::Table::try_from(config).expect("plain data");
        for key in Key::all() {
            let masked = table[key.section].get(key.name).and_then(toml::Value::as_str) == Some("***");
            assert_eq!(masked, key.is_secret(), "{key}");
        }
        let source = include_str!("schema.rs");
        assert_eq!(source.matches("Option<Secret>").count(), SECRETS.len(), "a secret that this test does not set");
    }

    #[test]
    fn a_slip_finds_the_name_that_was_meant() {
        let known = || Key::all().into_iter().map(|key| key.name.to_owned());
        assert_eq!(nearest("lissten", known()).as_deref(), Some("listen"));
        assert_eq!(nearest("message_byte", known()).as_deref(), Some("message_bytes"));
        assert_eq!(nearest("banana_split", known()), None);
    }
}
