//! What a peer can do wrong on an open WebSocket: a closed list, and the one table that maps it to the wire.
//!
//! [`decoder`](super::decoder) returns a [`Violation`]; the connection answers with its close code and reason, counts
//! it under its name, and reads nothing more.

use super::close::CloseCode;
use std::fmt;

macro_rules! violations {
    ($($violation:ident = $code:ident, $name:literal, $reason:literal;)*) => {
        /// A breach of RFC 6455, or of a limit, by the peer. It always ends the connection.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Violation {
            $($violation),*
        }

        impl Violation {
            /// Every violation, for whoever registers one counter per name.
            pub const ALL: &'static [Violation] = &[$(Violation::$violation),*];

            /// The code the connection is closed with.
            pub const fn close_code(self) -> CloseCode {
                match self {
                    $(Self::$violation => CloseCode::$code,)*
                }
            }

            /// The violation as a metric label.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$violation => $name,)*
                }
            }

            /// What the peer is told in the close frame.
            pub const fn reason(self) -> &'static str {
                match self {
                    $(Self::$violation => $reason,)*
                }
            }
        }
    };
}

violations! {
    ReservedBits             = PROTOCOL_ERROR,   "reserved_bits",                "a reserved bit is set without an extension";
    ReservedOpcode           = PROTOCOL_ERROR,   "reserved_opcode",              "reserved opcode";
    UnmaskedFrame            = PROTOCOL_ERROR,   "unmasked_frame",               "frames from a client must be masked";
    FragmentedControlFrame   = PROTOCOL_ERROR,   "fragmented_control_frame",     "control frames must not be fragmented";
    ControlFrameTooLong      = PROTOCOL_ERROR,   "control_frame_too_long",       "control frames carry at most 125 bytes";
    NonMinimalLength         = PROTOCOL_ERROR,   "non_minimal_length",           "length is not in its shortest form";
    LengthTooLarge           = PROTOCOL_ERROR,   "length_too_large",             "length has its highest bit set";
    UnexpectedContinuation   = PROTOCOL_ERROR,   "unexpected_continuation",      "continuation of no message";
    ExpectedContinuation     = PROTOCOL_ERROR,   "expected_continuation",        "new message before the last was finished";
    BinaryNotSupported       = UNSUPPORTED_DATA, "binary_not_supported",         "binary messages are not supported";
    MessageTooBig            = MESSAGE_TOO_BIG,  "message_too_big",              "message too big";
    UnfinishedMessage        = PROTOCOL_ERROR,   "unfinished_message",           "message was not finished in time";
    InvalidUtf8              = INVALID_PAYLOAD,  "invalid_utf8",                 "text is not valid UTF-8";
    BadCloseLength           = PROTOCOL_ERROR,   "bad_close_length",             "close frame with a single byte of payload";
    BadCloseCode             = PROTOCOL_ERROR,   "bad_close_code",               "close code that must not be sent";
    InvalidUtf8InCloseReason = INVALID_PAYLOAD,  "invalid_utf8_in_close_reason", "close reason is not valid UTF-8";
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_violation_has_its_own_label_and_is_listed_once() {
        let names: HashSet<_> = Violation::ALL.iter().map(|v| v.name()).collect();
        assert_eq!(names.len(), Violation::ALL.len());
        for name in names {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
        }
    }

    #[test]
    fn every_reason_fits_a_close_frame() {
        for violation in Violation::ALL {
            assert!((1..=123).contains(&violation.reason().len()), "{violation:?}");
        }
    }

    #[test]
    fn only_data_size_and_encoding_leave_the_protocol_error() {
        let others: Vec<_> = Violation::ALL.iter().filter(|v| v.close_code() != CloseCode::PROTOCOL_ERROR).collect();
        assert_eq!(
            others.iter().map(|v| (**v, v.close_code().0)).collect::<Vec<_>>(),
            [
                (Violation::BinaryNotSupported, 1003),
                (Violation::MessageTooBig, 1009),
                (Violation::InvalidUtf8, 1007),
                (Violation::InvalidUtf8InCloseReason, 1007),
            ]
        );
    }
}
