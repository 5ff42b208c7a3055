//! How a value that has a text form is written in the configuration: in quotes. Used by the sections as a serde `with`
//! module.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serializer, de};

pub fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// What `parse` makes of a text that may be secret. By way of `Value`, because serde's own error for a wrong type
/// quotes what it found.
pub fn parsed<'de, T, E: Display, D: Deserializer<'de>>(
    deserializer: D,
    what: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, D::Error> {
    let value = toml::Value::deserialize(deserializer)?;
    let text = value.as_str().ok_or_else(|| de::Error::custom(format_args!("expected {what} in quotes")))?;
    parse(text).map_err(de::Error::custom)
}

pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}
