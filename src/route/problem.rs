//! What can be wrong with a route as it is written, and the sentence that says what would be right. Found by
//! [`compile`](super::compile) and [`reach`](super::reach), at start; whoever reads it is given the line beside it.

use std::fmt;

use super::compile::{CLAIMS_MAX, FIELDS_MAX, SERVICES};
use super::field::FieldError;
use super::template::TemplateError;

/// Why a route cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The action needs this key.
    Missing(&'static str),
    /// The action has no use for this key.
    Unused(&'static str),
    /// A message without a type is answered before it is looked for a route.
    NoType,
    /// `roles` is empty.
    NoRole,
    /// The key names a field, and its name is empty.
    NoFieldName(&'static str),
    /// The key names the field `payload`.
    Payload(&'static str),
    /// `channel` does not name the field.
    ChannelWithoutField,
    /// `channel` can be no channel's name, of which the longest has so many bytes.
    NoChannelName(usize),
    /// `channel` follows from who somebody is, and the action is joining it, leaving it or listing who is there.
    ImplicitChannel,
    /// A key that names a field names none of the route, or one of the wrong type.
    NoSuchField(&'static str, String),
    Field(String, FieldError),
    TooManyFields,
    /// The action needs to know who speaks.
    BeforeAuth,
    /// `claim` has no name.
    NoClaim,
    /// All routes together ask for too many claims.
    TooManyClaims,
    Template(&'static str, TemplateError),
    UnknownService(String),
    /// The example does not take this route.
    Example(String),
    /// The earlier route of this line takes the same messages.
    Conflict(usize),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Missing(key) => write!(f, "the action needs the key {key}"),
            Problem::Unused(key) => write!(f, "the action has no use for the key {key}"),
            Problem::NoType => f.write_str("type: a message's type is not empty"),
            Problem::NoRole => {
                f.write_str("roles: it names nobody; for everybody leave it out, for nobody the action is refuse")
            }
            Problem::NoFieldName(key) => write!(f, "{key}: a field's name is not empty"),
            Problem::Payload(key) => {
                write!(f, "{key}: the fields of a message stand in payload or beside it: name the field that is meant")
            }
            Problem::ChannelWithoutField => f.write_str("the channel does not name the field in braces"),
            Problem::NoChannelName(max) => {
                write!(
                    f,
                    "channel: it can be no channel's name: 1 to {max} bytes without blanks (limits.channel_name_bytes)"
                )
            }
            Problem::ImplicitChannel => f.write_str(
                "channel: all, user:, type: and cell: follow from who somebody is: nobody joins, leaves or lists it by \
                 himself",
            ),
            Problem::NoSuchField(key, name) => {
                write!(f, "{key}: there is no required field {name} of a type that the action can use")
            }
            Problem::Field(name, error) => write!(f, "the field {name} {error}"),
            Problem::TooManyFields => write!(f, "there are more than {FIELDS_MAX} fields"),
            Problem::BeforeAuth => f.write_str("before_auth: the action needs to know who speaks"),
            Problem::NoClaim => f.write_str("claim: it has no name"),
            Problem::TooManyClaims => write!(f, "all routes together ask for more than {CLAIMS_MAX} claims"),
            Problem::Template(key, error) => write!(f, "{key}: {error}"),
            Problem::UnknownService(name) => {
                write!(f, "there is no service {name}: neither one of [[services]] nor {}", SERVICES.join(", "))
            }
            Problem::Example(why) => write!(f, "the example does not take this route: {why}"),
            Problem::Conflict(line) => write!(f, "its messages go to the route of line {line}"),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldError::Unused(key) => write!(f, "is of a type that has no use for {key}"),
            FieldError::EmptyRange => f.write_str("has a range in which there is nothing"),
            FieldError::NoText => f.write_str("has a one_of that is empty"),
            FieldError::Twice => f.write_str("is in fields and in optional: one of them is meant"),
            FieldError::BadDefault => f.write_str("has a default that it cannot have"),
        }
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TemplateError::NotAMessage => {
                f.write_str("not a JSON object with a type, or a name in braces that is no value")
            }
            TemplateError::UnknownPlace(name) => write!(f, "there is no {{{name}}} here"),
            TemplateError::NotOptional(name) => {
                write!(f, "{{{name}}} may be missing, and must be a member of an object behind another one")
            }
            TemplateError::NotAName(name) => write!(f, "{{{name}}} is no text, or may be missing"),
            TemplateError::OwnId => f.write_str("it has an id of its own, and gets that of the message it answers"),
        }
    }
}
