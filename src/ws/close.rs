//! Close codes (RFC 6455 section 7.4): the ones Ringway sends, and which ones a peer may send.
//!
//! The table below is section 6 of the protocol document, row by row. Whoever closes a connection names a constant of
//! [`CloseCode`]; its reason text is what travels in the close frame, its name is the metric label.

use std::fmt;

/// The status code of a close frame. Any number can be held, since a peer may send what it likes; see
/// [`CloseCode::may_be_received`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(pub u16);

macro_rules! close_codes {
    ($($constant:ident = $code:literal, $name:literal, $reason:literal;)*) => {
        impl CloseCode {
            $(#[doc = concat!($reason, ".")] pub const $constant: CloseCode = CloseCode($code);)*

            /// Every code Ringway sends, in the order of the table.
            pub const SENT: &'static [CloseCode] = &[$(CloseCode::$constant),*];

            /// The text that travels with the code; empty for a code Ringway never sends.
            pub const fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)*
                    _ => "",
                }
            }

            /// The code as a metric label; `other` for a code Ringway never sends.
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($code => $name,)*
                    _ => "other",
                }
            }
        }
    };
}

close_codes! {
    NORMAL            = 1000, "normal",            "normal closure";
    GOING_AWAY        = 1001, "going_away",        "server is shutting down";
    PROTOCOL_ERROR    = 1002, "protocol_error",    "protocol error";
    UNSUPPORTED_DATA  = 1003, "unsupported_data",  "binary messages are not supported";
    INVALID_PAYLOAD   = 1007, "invalid_payload",   "text is not valid UTF-8";
    MESSAGE_TOO_BIG   = 1009, "message_too_big",   "message too big";
    INTERNAL_ERROR    = 1011, "internal_error",    "internal error";
    TRY_AGAIN_LATER   = 1013, "try_again_later",   "server is full, try again later";
    REPLACED          = 4000, "replaced",          "replaced by a newer connection";
    NO_SIGN_OF_LIFE   = 4001, "no_sign_of_life",   "no sign of life";
    TOO_SLOW          = 4002, "too_slow",          "client reads too slowly";
    TOO_MANY_MESSAGES = 4003, "too_many_messages", "too many messages";
    OPERATOR          = 4004, "operator",          "disconnected by the operator";
    AUTH_TIMEOUT      = 4500, "auth_timeout",      "no authentication in time";
    TOKEN_INVALID     = 4501, "token_invalid",     "token is invalid";
    TOKEN_EXPIRED     = 4502, "token_expired",     "token has expired";
    NOT_ALLOWED       = 4503, "not_allowed",       "not allowed";
}

impl CloseCode {
    /// Whether a peer may put this code into a close frame (RFC 6455 section 7.4 and its IANA registry): 1004 is
    /// reserved, 1005, 1006 and 1015 exist only as values of an API, all below 1000 and 1016-2999 is unassigned.
    pub const fn may_be_received(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> u16 {
        code.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({} {})", self.0, self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_we_send_may_be_received_by_a_peer() {
        for &code in CloseCode::SENT {
            assert!(code.may_be_received(), "{code:?}");
        }
    }

    #[test]
    fn codes_names_and_reasons_are_distinct() {
        for (i, a) in CloseCode::SENT.iter().enumerate() {
            assert!(!a.reason().is_empty());
            for b in &CloseCode::SENT[i + 1..] {
                assert!(a != b && a.name() != b.name() && a.reason() != b.reason(), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn codes_a_peer_may_send_are_those_of_the_registry() {
        let allowed = |code: u16| match code {
            1004..=1006 | 1015 => false,
            0..=999 | 1016..=2999 | 5000.. => false,
            1000..=1014 | 3000..=4999 => true,
        };
        for code in 0..=u16::MAX {
            assert_eq!(CloseCode(code).may_be_received(), allowed(code), "{code}");
        }
    }

    #[test]
    fn an_unknown_code_has_no_reason_and_a_closed_label() {
        assert_eq!((CloseCode(3123).reason(), CloseCode(3123).name()), ("", "other"));
    }
}
