//! A text that is used and never shown.
//!
//! Invariant: the only way to the text is `expose`; every way of printing gives `***`, and no error
//! about a secret quotes it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself. Every call is a place to look at when asking where secrets go.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

pub const MASK: &str = "***";

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        // By way of `Value`, because serde's own error for a wrong type quotes what it found.
        match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) if text.is_empty() => Err(de::Error::custom("must not be empty")),
            toml::Value::String(text) => Ok(Secret(text)),
            _ => Err(de::Error::custom("expected text in quotes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Holder {
        key: Secret,
    }

    #[test]
    fn no_way_of_printing_shows_the_text() {
        let holder = Holder { key: Secret::new("hunter2") };
        let printed =
            format!("{holder:?} {holder:#?} {} {}", holder.key, toml::to_string(&holder).expect("plain data"));
        assert!(!printed.contains("hunter2") && printed.contains(MASK), "{printed}");
        assert_eq!(holder.key.expose(), "hunter2");
    }

    #[test]
    fn errors_do_not_quote_the_text() {
        for wrong in ["key = 48151623", "key = [\"48151623\"]", "key = { a = \"48151623\" }", "key = \"\""] {
            let error = toml::from_str::<toml::Table>(wrong).expect(wrong).try_into::<Holder>().expect_err(wrong);
            assert!(!error.message().contains("48151623"), "{error}");
        }
    }
}
