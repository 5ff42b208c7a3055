//! The fields of a client's message, for contracts that have types of their own.
//!
//! They are looked for in `payload`, then beside `type`, as routes do, and then in an object `message` among them,
//! which is where messages for conversations have theirs. Of several names that a vocabulary may have for a thing the
//! first that is there counts. `null` counts as not there.

use std::collections::HashMap;

use serde_json::value::RawValue;

use crate::protocol::request::{Request, text_of};

/// A message whose fields do not fit: something is missing, or of another type.
#[derive(Debug, PartialEq, Eq)]
pub struct Unfit(pub &'static str);

pub struct Fields<'a> {
    message: Request<'a>,
    nested: HashMap<String, &'a RawValue>,
}

impl<'a> Fields<'a> {
    /// # Errors
    ///
    /// When it is no message.
    pub fn of(body: &'a str) -> Result<Self, Unfit> {
        let message = Request::parse(body).map_err(|_| Unfit("type"))?;
        let nested = message.field("message").and_then(|nested| serde_json::from_str(nested.get()).ok());
        Ok(Self { message, nested: nested.unwrap_or_default() })
    }

    /// A string, or a number as it is written.
    pub fn text(&self, names: &[&'static str]) -> Result<Option<String>, Unfit> {
        let Some((name, value)) = self.find(names) else { return Ok(None) };
        let is_number = |json: &str| json.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        match value.get() {
            json if is_number(json) => Ok(Some(json.to_owned())),
            _ => text_of(value).map(|text| Some(text.into_owned())).ok_or(Unfit(name)),
        }
    }

    /// The same for one that must be there.
    pub fn needed_text(&self, names: &[&'static str]) -> Result<String, Unfit> {
        self.text(names)?.ok_or(Unfit(names[0]))
    }

    /// A string in the object `message`.
    pub fn nested_text(&self, name: &str) -> Option<String> {
        text_of(self.nested.get(name)?).map(Into::into)
    }

    /// A number that a double can hold.
    pub fn number(&self, name: &'static str) -> Result<Option<f64>, Unfit> {
        self.read(name, |number: &f64| number.is_finite())
    }

    pub fn needed_number(&self, name: &'static str) -> Result<f64, Unfit> {
        self.number(name)?.ok_or(Unfit(name))
    }

    pub fn count(&self, name: &'static str) -> Result<Option<u32>, Unfit> {
        self.read(name, |_| true)
    }

    pub fn flag(&self, name: &'static str) -> Result<Option<bool>, Unfit> {
        self.read(name, |_| true)
    }

    fn read<T: serde::de::DeserializeOwned>(
        &self,
        name: &'static str,
        fits: impl FnOnce(&T) -> bool,
    ) -> Result<Option<T>, Unfit> {
        let Some((_, value)) = self.find(&[name]) else { return Ok(None) };
        serde_json::from_str(value.get()).ok().filter(fits).map(Some).ok_or(Unfit(name))
    }

    fn find(&self, names: &[&'static str]) -> Option<(&'static str, &'a RawValue)> {
        let is_there = |value: &&RawValue| value.get() != "null";
        names.iter().find_map(|name| {
            let value = self.message.field(name).filter(is_there).or_else(|| self.nested.get(*name).copied());
            value.filter(is_there).map(|value| (*name, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_wherever_a_vocabulary_puts_them() {
        for body in [
            r#"{"type":"t","content":"hi","n":7}"#,
            r#"{"type":"t","content":"no","payload":{"content":"hi","n":7}}"#,
            r#"{"type":"t","payload":{"n":7,"message":{"content":"hi"}}}"#,
            r#"{"type":"t","message":{"content":"hi","n":7}}"#,
        ] {
            let fields = Fields::of(body).expect(body);
            assert_eq!(fields.needed_text(&["text", "content"]).as_deref(), Ok("hi"), "{body}");
            assert_eq!(fields.text(&["n"]), Ok(Some("7".into())), "{body}");
            assert_eq!((fields.count("n"), fields.number("n")), (Ok(Some(7)), Ok(Some(7.0))), "{body}");
        }
    }

    #[test]
    fn what_is_missing_or_of_another_type_is_named() {
        let body = r#"{"type":"t","a":null,"b":{},"c":1e999,"d":"1","e":-1,"f":1.5,"message":"m","g":"\ud800"}"#;
        let fields = Fields::of(body).expect("a message");
        assert_eq!((fields.text(&["a"]), fields.number("a"), fields.flag("a")), (Ok(None), Ok(None), Ok(None)));
        assert_eq!(fields.needed_text(&["a", "z"]), Err(Unfit("a")));
        assert_eq!((fields.text(&["b"]), fields.text(&["g"])), (Err(Unfit("b")), Err(Unfit("g"))));
        assert_eq!((fields.number("c"), fields.number("d")), (Err(Unfit("c")), Err(Unfit("d"))));
        assert_eq!(
            (fields.count("e"), fields.count("f"), fields.flag("e")),
            (Err(Unfit("e")), Err(Unfit("f")), Err(Unfit("e")))
        );
        assert_eq!(fields.text(&["message"]), Ok(Some("m".into())));
        assert_eq!(Fields::of("[]").err(), Some(Unfit("type")));
    }
}
