//! `[nats]`: the NATS source, and where the services of kind `nats` are reached.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::check::Check;
use crate::config::value::{NatsUrl, Secret, duration};

/// NATS; off without a `url`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Nats {
    /// The servers of one cluster, separated by commas.
    pub url: Option<NatsUrl>,
    /// Once loaded: this key, else the user of the URL.
    pub user: Option<String>,
    /// Once loaded: this key, else the password of the URL.
    pub password: Option<Secret>,
    /// Once loaded: this key, else the token of the URL.
    pub token: Option<Secret>,
    /// A file with the JWT and the seed of a user, as `nsc` writes it. Read again for every connection.
    pub credentials_file: Option<PathBuf>,
    /// The authorities, as PEM, that a server's certificate must come from, instead of those of the system.
    pub tls_ca_file: Option<PathBuf>,
    /// First level of the source's subjects: `ws` makes `ws.conv.c1` of `conv:c1`.
    pub prefix: String,
    /// Whether what is published there is brought to the clients. Off for a gateway that only has services at NATS.
    pub source: bool,
    /// Of the nodes with one name here each message goes to one only. Not set: to every node, as each has clients of
    /// its own.
    pub queue_group: Option<String>,
    /// The stream whose messages are brought to the clients, also those of a time in which NATS was not reached.
    pub jetstream: Option<String>,
    /// This node's place in the stream. `ringway-` and `server.id` if not set.
    pub jetstream_durable: Option<String>,
    /// Whether a stream that is not there is made.
    pub jetstream_create: bool,
    /// How long a stream that is made here keeps a message.
    #[serde(with = "duration")]
    pub jetstream_age: Duration,
    /// Bytes that a stream which is made here keeps; older messages go.
    pub jetstream_bytes: usize,
}

impl Default for Nats {
    fn default() -> Self {
        Self {
            url: None,
            user: None,
            password: None,
            token: None,
            credentials_file: None,
            tls_ca_file: None,
            prefix: "ws".into(),
            source: true,
            queue_group: None,
            jetstream: None,
            jetstream_durable: None,
            jetstream_create: false,
            jetstream_age: Duration::from_secs(3600),
            jetstream_bytes: 256 << 20,
        }
    }
}

impl Nats {
    pub(super) fn check(&self, check: &mut Check<'_>) {
        if !is_subject(&self.prefix) {
            check.problem("prefix", format_args!("`{}` is no prefix such as `ws`", self.prefix));
        }
        check.time("jetstream_age", self.jetstream_age);
        check.readable("tls_ca_file", self.tls_ca_file.as_deref());
        check.number("jetstream_bytes", self.jetstream_bytes, 1 << 20..=1 << 40);
        let names = [("jetstream", &self.jetstream), ("jetstream_durable", &self.jetstream_durable)];
        for (key, name) in names.into_iter().chain([("queue_group", &self.queue_group)]) {
            if let Some(name) = name.as_ref().filter(|name| !is_name(name)) {
                check.problem(key, format_args!("`{name}` is no name such as `ringway`"));
            }
        }
        match &self.url {
            Some(_) => self.check_connection(check),
            None if check.is_refused("url") => {}
            None => self.warn_of_what_has_no_effect(check),
        }
    }

    fn check_connection(&self, check: &mut Check<'_>) {
        if cfg!(not(feature = "nats")) {
            check.problem("url", "must not be set: this ringway was built without the feature `nats`");
        }
        if self.user.is_some() != self.password.is_some() {
            let (key, other) = if self.user.is_some() { ("user", "password") } else { ("password", "user") };
            check.problem(key, format_args!("needs nats.{other}"));
        }
        let ways = [self.user.is_some(), self.token.is_some(), self.credentials_file.is_some()];
        if ways.into_iter().filter(|way| *way).count() > 1 {
            check.problem("url", "who connects is said once: a user and password, a token, or nats.credentials_file");
        }
        if self.jetstream.is_some() && self.queue_group.is_some() {
            check.problem(
                "queue_group",
                "must not be set with nats.jetstream: nodes share a place in the stream instead",
            );
        }
    }

    fn warn_of_what_has_no_effect(&self, check: &mut Check<'_>) {
        let secrets = [("password", self.password.is_some()), ("token", self.token.is_some())];
        for (key, _) in secrets.into_iter().filter(|(_, is_set)| *is_set) {
            check.warning(key, "has no effect: nats.url is not set");
        }
    }
}

/// Whether it names levels of subjects, and nothing but.
pub fn is_subject(text: &str) -> bool {
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace() && c != '*' && c != '>';
    text.split('.').all(|level| !level.is_empty() && level.chars().all(is_plain))
}

/// Of a stream, a durable or a queue group. A server makes patterns of some, in which `%` would have a meaning.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && !".*>/\\%".contains(c))
}
