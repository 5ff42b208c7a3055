//! `[debug]`: what helps to examine a gateway and has no place in front of clients.

use serde::{Deserialize, Serialize};

use crate::config::check::Check;
use crate::ws::frame::MESSAGE_BYTES_MAX;

/// What helps to examine a gateway and has no place in front of clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Debug {
    /// A path whose connections get every message back, text and binary, without a token: for conformance suites.
    /// Only while the public port is on loopback, since it lets anybody make the gateway work.
    pub echo_path: Option<String>,
    /// Bytes of one message there; what suites send is larger than what `limits.message_bytes` should allow to all.
    pub echo_message_bytes: usize,
}

impl Default for Debug {
    fn default() -> Debug {
        Debug { echo_path: None, echo_message_bytes: MESSAGE_BYTES_MAX }
    }
}

impl Debug {
    pub(super) fn check(&self, check: &mut Check<'_>) {
        check.number("echo_message_bytes", self.echo_message_bytes, 1..=MESSAGE_BYTES_MAX);
        if let Some(path) = &self.echo_path {
            check.path("echo_path", path, "/echo");
        }
    }
}
