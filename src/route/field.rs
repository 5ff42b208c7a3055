//! The fields of a message as a route describes them: type, range, length. Checked before anything is done with it.
//!
//! Values stay the JSON they came as. Invariant: what has passed [`Field::accepts`] can be copied into another's
//! message as it is: it is complete JSON of the described type, and its strings are text that every reader can decode.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::protocol::request::{Request, RequestError, text_of};

/// Longest id, in bytes of text: a part of a channel's name.
const ID_BYTES_MAX: usize = 128;

/// The values of a route's fields in one message, in the order of the route; `None` for those that are not there.
pub type Values<'a> = SmallVec<[Option<&'a RawValue>; 8]>;

/// A field as it is written: its type, or a table with more.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Description {
    Kind(KindName),
    Details(Details),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Details {
    #[serde(rename = "type")]
    pub kind: KindName,
    /// Of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Of texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<usize>,
    /// The only texts it may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<String>>,
    /// What an optional one is when it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KindName {
    /// A string of 1 to 128 bytes without blanks, or an integer: it can be a part of a channel's name.
    Id,
    Text,
    Boolean,
    Number,
    Integer,
    Object,
    List,
    Any,
}

/// A field, checked and ready to check others.
#[derive(Debug)]
pub struct Field {
    pub name: Box<str>,
    pub is_required: bool,
    kind: Kind,
    default: Option<Box<RawValue>>,
}

#[derive(Debug)]
enum Kind {
    Id,
    Text { bytes_max: usize },
    OneOf(Box<[Box<str>]>),
    Boolean,
    Number(RangeInclusive<f64>),
    Integer(RangeInclusive<f64>),
    Object,
    List,
    Any,
}

/// What is wrong with a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldError {
    /// The type has no use for this key.
    Unused(&'static str),
    /// `min` is above `max`, or one of them is no number, or there is no integer between them.
    EmptyRange,
    /// `one_of` has nothing in it.
    NoText,
    /// It is described as required, and as optional.
    Twice,
    /// A required field has a default, or the default is not of the field's type.
    BadDefault,
}

/// What is wrong with a field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    Missing,
    Bad,
}

impl Field {
    pub fn compile(name: &str, is_required: bool, description: &Description) -> Result<Self, FieldError> {
        let details = match description {
            Description::Kind(kind) => &Details::of(*kind),
            Description::Details(details) => details,
        };
        let kind = details.kind()?;
        let mut field = Self { name: name.into(), is_required, kind, default: None };
        if let Some(default) = &details.default {
            let json = serde_json::value::to_raw_value(default).map_err(|_| FieldError::BadDefault)?;
            if is_required || !field.accepts(&json) {
                return Err(FieldError::BadDefault);
            }
            field.default = Some(json);
        }
        Ok(field)
    }

    /// The value of an optional field without a default may be missing.
    pub fn may_be_missing(&self) -> bool {
        !self.is_required && self.default.is_none()
    }

    /// Whether its text can be a part of a channel's name.
    pub fn has_text(&self) -> bool {
        matches!(self.kind, Kind::Id | Kind::Text { .. } | Kind::OneOf(_) | Kind::Integer(_))
    }

    pub fn is_boolean(&self) -> bool {
        matches!(self.kind, Kind::Boolean)
    }

    pub fn is_number(&self) -> bool {
        matches!(self.kind, Kind::Number(_) | Kind::Integer(_))
    }

    /// Finds and checks the field in a message.
    fn read<'a>(&'static self, request: &Request<'a>) -> Result<Option<&'a RawValue>, RequestError> {
        match self.find(request) {
            Ok(found) => Ok(found.or(self.default.as_deref())),
            Err(Wrong::Bad) => Err(RequestError::BadField(&self.name)),
            Err(Wrong::Missing) => Err(RequestError::MissingField(&self.name)),
        }
    }

    /// As it stands in a message.
    pub fn find<'a>(&self, request: &Request<'a>) -> Result<Option<&'a RawValue>, Wrong> {
        match request.field(&self.name) {
            Some(value) if self.accepts(value) => Ok(Some(value)),
            Some(_) => Err(Wrong::Bad),
            None if self.is_required => Err(Wrong::Missing),
            None => Ok(None),
        }
    }

    fn accepts(&self, value: &RawValue) -> bool {
        let json = value.get();
        match &self.kind {
            Kind::Id => id_text(value).is_some(),
            Kind::Text { bytes_max } => text_of(value).is_some_and(|text| text.len() <= *bytes_max),
            Kind::OneOf(texts) => text_of(value).is_some_and(|text| texts.iter().any(|known| **known == *text)),
            Kind::Boolean => matches!(json, "true" | "false"),
            Kind::Number(range) => number_of(value).is_some_and(|number| range.contains(&number)),
            Kind::Integer(range) => is_integer(json) && number_of(value).is_some_and(|number| range.contains(&number)),
            Kind::Object => json.starts_with('{') && is_decodable(json),
            Kind::List => json.starts_with('[') && is_decodable(json),
            Kind::Any => is_decodable(json),
        }
    }
}

/// The values of all fields of a route in one message; the first that is missing or wrong is the error.
pub fn read<'a>(fields: &'static [Field], request: &Request<'a>) -> Result<Values<'a>, RequestError> {
    fields.iter().map(|field| field.read(request)).collect()
}

/// By hand: the library would only say that it is neither.
impl<'de> Deserialize<'de> for Description {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Described)
    }
}

struct Described;

impl<'de> Visitor<'de> for Described {
    type Value = Description;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a type, or a table with it")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Description, E> {
        KindName::deserialize(name.into_deserializer()).map(Description::Kind)
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Description, M::Error> {
        Details::deserialize(MapAccessDeserializer::new(map)).map(Description::Details)
    }
}

impl Details {
    fn of(kind: KindName) -> Self {
        Self { kind, min: None, max: None, bytes_max: None, one_of: None, default: None }
    }

    fn kind(&self) -> Result<Kind, FieldError> {
        let is_number = matches!(self.kind, KindName::Number | KindName::Integer);
        let is_text = self.kind == KindName::Text;
        for (key, is_set, is_of_use) in [
            ("min", self.min.is_some(), is_number),
            ("max", self.max.is_some(), is_number),
            ("bytes_max", self.bytes_max.is_some(), is_text && self.one_of.is_none()),
            ("one_of", self.one_of.is_some(), is_text),
        ] {
            if is_set && !is_of_use {
                return Err(FieldError::Unused(key));
            }
        }
        let range = self.min.unwrap_or(f64::MIN)..=self.max.unwrap_or(f64::MAX);
        let is_without_integer = self.kind == KindName::Integer && range.start().ceil() > range.end().floor();
        if range.is_empty() || is_without_integer {
            return Err(FieldError::EmptyRange);
        }
        if self.one_of.as_ref().is_some_and(Vec::is_empty) {
            return Err(FieldError::NoText);
        }
        Ok(match self.kind {
            KindName::Id => Kind::Id,
            KindName::Text => match &self.one_of {
                Some(texts) => Kind::OneOf(texts.iter().map(|text| text.as_str().into()).collect()),
                None => Kind::Text { bytes_max: self.bytes_max.unwrap_or(usize::MAX) },
            },
            KindName::Boolean => Kind::Boolean,
            KindName::Number => Kind::Number(range),
            KindName::Integer => Kind::Integer(range),
            KindName::Object => Kind::Object,
            KindName::List => Kind::List,
            KindName::Any => Kind::Any,
        })
    }
}

/// The text of an id, whether it came as a string or as an integer: `7` and `"7"` are the same. `None` for what is no
/// id.
pub fn id_text(value: &RawValue) -> Option<Cow<'_, str>> {
    let is_word = |text: &str| {
        (1..=ID_BYTES_MAX).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c.is_whitespace())
    };
    match text_of(value) {
        Some(text) => Some(text).filter(|text| is_word(text)),
        None => Some(value.get()).filter(|json| is_integer(json) && json.len() <= ID_BYTES_MAX).map(Cow::Borrowed),
    }
}

/// A JSON number without fraction and exponent.
fn is_integer(json: &str) -> bool {
    let digits = json.strip_prefix('-').unwrap_or(json);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A number that a type can hold: `1e999` is JSON, and none.
pub fn number_of(value: &RawValue) -> Option<f64> {
    let json = value.get();
    let is_number = json.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    json.parse().ok().filter(|number: &f64| is_number && number.is_finite())
}

/// Whether every string in it is text. Only escapes can be none: half a surrogate pair. Nearly nobody sends these.
fn is_decodable(json: &str) -> bool {
    memchr::memmem::find(json.as_bytes(), b"\\u").is_none() || serde_json::from_str::<serde_json::Value>(json).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(description: &str) -> Result<Field, FieldError> {
        #[derive(Deserialize)]
        struct One {
            f: Description,
        }
        let one: One = toml::from_str(&format!("f = {description}")).unwrap_or_else(|e| panic!("{description}: {e}"));
        Field::compile("f", false, &one.f)
    }

    fn accepts(description: &str, json: &str) -> bool {
        field(description).unwrap().accepts(&RawValue::from_string(json.into()).unwrap())
    }

    #[test]
    fn a_field_takes_what_its_type_says() {
        for (description, good, bad) in [
            ("\"id\"", &["\"c1\"", "7", "-7", "\"a:b{}\""][..], &["\"\"", "\"a b\"", "1.5", "1e3", "true", "[]"][..]),
            ("\"text\"", &["\"\"", "\"a b\"", r#""\u00e9""#], &["7", "null", r#""\ud800""#]),
            ("{ type = \"text\", bytes_max = 3 }", &["\"abc\"", r#""\u0061bc""#], &["\"abcd\"", "\"éé\""]),
            ("{ type = \"text\", one_of = [\"A\", \"B\"] }", &["\"A\"", r#""\u0042""#], &["\"C\"", "\"a\"", "1"]),
            ("\"boolean\"", &["true", "false"], &["\"true\"", "0", "1"]),
            ("\"number\"", &["0", "-0.0", "1e3", "1E-400"], &["1e999", "-1e999", "\"1\"", "true"]),
            ("{ type = \"number\", min = -90, max = 90 }", &["90", "-90.0", "9e1"], &["90.0000001", "-91", "\"NaN\""]),
            ("{ type = \"integer\", min = 0 }", &["0", "12345678901234567890"], &["-1", "1.0", "1e2"]),
            ("\"object\"", &["{}", r#"{"a":[1]}"#], &["[]", "1", r#"{"a":"\udc00"}"#]),
            ("\"list\"", &["[]"], &["{}", r#"["\ud800"]"#]),
            ("\"any\"", &["1", "null", "{}", r#""\ud83d\ude00""#], &[r#""\ud800""#]),
        ] {
            good.iter().for_each(|json| assert!(accepts(description, json), "{description} takes {json}"));
            bad.iter().for_each(|json| assert!(!accepts(description, json), "{description} refuses {json}"));
        }
    }

    #[test]
    fn an_id_is_no_longer_than_a_part_of_a_name() {
        let longest = "x".repeat(ID_BYTES_MAX);
        assert!(accepts("\"id\"", &format!("\"{longest}\"")) && !accepts("\"id\"", &format!("\"{longest}x\"")));
        assert!(!accepts("\"id\"", &"9".repeat(ID_BYTES_MAX + 1)));
    }

    #[test]
    fn a_description_that_means_nothing_is_refused() {
        for (description, error) in [
            ("{ type = \"text\", min = 1 }", FieldError::Unused("min")),
            ("{ type = \"boolean\", bytes_max = 1 }", FieldError::Unused("bytes_max")),
            ("{ type = \"number\", one_of = [] }", FieldError::Unused("one_of")),
            ("{ type = \"number\", min = 2, max = 1 }", FieldError::EmptyRange),
            ("{ type = \"integer\", min = 0.1, max = 0.9 }", FieldError::EmptyRange),
            ("{ type = \"text\", one_of = [] }", FieldError::NoText),
            ("{ type = \"number\", default = \"x\" }", FieldError::BadDefault),
            ("{ type = \"number\", max = 1, default = 2 }", FieldError::BadDefault),
        ] {
            assert_eq!(field(description).err(), Some(error), "{description}");
        }
    }
}
