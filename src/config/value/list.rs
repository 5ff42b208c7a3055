//! How a list of values that have a text form is written in the configuration: `["10.0.0.0/8", "::1"]`. Used by the
//! sections as a serde `with` module.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serializer, de};

pub fn serialize<T: Display, S: Serializer>(list: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(T::to_string))
}

/// The error names every entry that is wrong.
pub fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for text in Vec::<String>::deserialize(deserializer)? {
        match text.parse::<T>() {
            Ok(value) => values.push(value),
            Err(error) => errors.push(error.to_string()),
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(de::Error::custom(errors.join("; "))) }
}
