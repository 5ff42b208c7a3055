//! What must hold between values, and the bounds of single ones.
//!
//! Called by `load` last. Every rule looks at the whole configuration and reports on its own, so that one run names
//! all that is wrong. Invariant: rules only read; what passes is used as it stands.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::auth::{Grants, Origins};
use crate::ws::handshake::proxies::Proxies;

use super::finding::Findings;
use super::{Config, DEVELOPMENT_SECRET, Key, Secret, Sources, UserTypeFrom};

/// RFC 7518, section 3.2: a key as long as the hash is the least for HS256. Shorter ones can be guessed from one token.
const SECRET_BYTES_MIN: usize = 32;
/// The largest message (PROTOCOL.md, section 7).
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The kernel's backlog is a signed 32-bit number.
const BACKLOG_MAX: usize = i32::MAX as usize;
/// Descriptors are kept aside for all of them, and each may hold a request's head.
const ADMIN_CONNECTIONS_MAX: usize = 4096;
/// More shards than this share few cores among many rings, which only costs.
const SHARDS_MAX: usize = 128;
/// Below, timers would fire at every turn of the loop; above, it is a slip of the unit.
const TIMES: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(24 * 60 * 60);

pub fn check(config: &Config, sources: &Sources, findings: &mut Findings) {
    let mut check = Check { sources, findings };
    numbers(config, &mut check);
    times(config, &mut check);
    server(config, &mut check);
    reach(config, &mut check);
    secrets(config, &mut check);
    auth(config, &mut check);
    redis(config, &mut check);
    debug(config, &mut check);
}

struct Check<'a> {
    sources: &'a Sources,
    findings: &'a mut Findings,
}

impl Check<'_> {
    fn problem(&mut self, section: &'static str, name: &'static str, message: impl std::fmt::Display) {
        let key = Key::of(section, name);
        self.findings.problem_at(key, self.sources.of(key), message);
    }

    fn warning(&mut self, section: &'static str, name: &'static str, message: impl std::fmt::Display) {
        let key = Key::of(section, name);
        self.findings.warning_at(key, self.sources.of(key), message);
    }

    fn note(&mut self, section: &'static str, name: &'static str, message: impl std::fmt::Display) {
        let key = Key::of(section, name);
        self.findings.note_at(key, self.sources.of(key), message);
    }
}

fn numbers(config: &Config, check: &mut Check<'_>) {
    let limits = &config.limits;
    for (section, name, value, bounds) in [
        ("server", "shards", config.server.shards, 0..=SHARDS_MAX),
        ("server", "backlog", config.server.backlog as usize, 1..=BACKLOG_MAX),
        ("admin", "connections", config.admin.connections, 1..=ADMIN_CONNECTIONS_MAX),
        ("server", "unsent_bytes", config.server.unsent_bytes as usize, 0..=i32::MAX as usize),
        ("limits", "message_bytes", limits.message_bytes, 1..=MESSAGE_BYTES_MAX),
        ("limits", "outbox_bytes", limits.outbox_bytes, 1..=u32::MAX as usize),
        ("limits", "channels_per_connection", limits.channels_per_connection, 1..=u16::MAX as usize),
        ("limits", "channel_name_bytes", limits.channel_name_bytes, 1..=u8::MAX as usize),
        ("debug", "echo_message_bytes", config.debug.echo_message_bytes, 1..=MESSAGE_BYTES_MAX),
        ("limits", "handshakes", limits.handshakes, 1..=u16::MAX as usize),
        ("limits", "handshakes_per_address", limits.handshakes_per_address, 0..=u16::MAX as usize),
    ] {
        if !bounds.contains(&value) {
            check.problem(
                section,
                name,
                format_args!("{value} is not between {} and {}", bounds.start(), bounds.end()),
            );
        }
    }
    if limits.outbox_bytes < limits.message_bytes {
        let message = "is less than limits.message_bytes: a client that is behind cannot be sent the largest messages";
        check.warning("limits", "outbox_bytes", message);
    }
}

fn times(config: &Config, check: &mut Check<'_>) {
    let Config { server, admin, auth, limits, heartbeat, .. } = config;
    let zero_is_off = |time: Duration| time.is_zero();
    for (section, name, time, off) in [
        ("server", "tcp_user_timeout", server.tcp_user_timeout, zero_is_off(server.tcp_user_timeout)),
        ("server", "drain", server.drain, zero_is_off(server.drain)),
        ("server", "lane_patience", server.lane_patience, false),
        ("admin", "ready_stall", admin.ready_stall, false),
        ("admin", "live_stall", admin.live_stall, false),
        ("admin", "head_deadline", admin.head_deadline, false),
        ("admin", "transfer_deadline", admin.transfer_deadline, false),
        ("auth", "deadline", auth.deadline, false),
        ("auth", "expiry_warning", auth.expiry_warning, zero_is_off(auth.expiry_warning)),
        ("auth", "leeway", auth.leeway, zero_is_off(auth.leeway)),
        ("limits", "messages_window", limits.messages_window, false),
        ("limits", "message_deadline", limits.message_deadline, false),
        ("limits", "handshake_deadline", limits.handshake_deadline, false),
        ("limits", "first_byte_deadline", limits.first_byte_deadline, false),
        ("limits", "connects_window", limits.connects_window, false),
        ("limits", "close_deadline", limits.close_deadline, false),
        ("heartbeat", "interval", heartbeat.interval, false),
        ("heartbeat", "idle_timeout", heartbeat.idle_timeout, false),
    ] {
        if !off && !TIMES.contains(&time) {
            check.problem(section, name, format_args!("{time:?} is not between 10ms and 24h"));
        }
    }
    if admin.live_stall < admin.ready_stall {
        let message =
            "is shorter than admin.ready_stall: the process would be killed before clients are sent elsewhere";
        check.warning("admin", "live_stall", message);
    }
    if !server.tcp_user_timeout.is_zero() && server.tcp_user_timeout < heartbeat.idle_timeout {
        let message = "is shorter than heartbeat.idle_timeout: the kernel ends connections that may still be alive";
        check.warning("server", "tcp_user_timeout", message);
    }
    if heartbeat.idle_timeout <= heartbeat.interval {
        let message = "must be longer than heartbeat.interval, or quiet clients are closed before they can answer";
        check.problem("heartbeat", "idle_timeout", message);
    }
}

fn server(config: &Config, check: &mut Check<'_>) {
    let server = &config.server;
    if !is_path(&server.path) {
        check.problem("server", "path", format_args!("`{}` is no path such as `/ws`", server.path));
    }
    if ["/", "/health"].contains(&server.path.as_str()) {
        check.problem("server", "path", format_args!("`{}` answers health checks; choose another", server.path));
    }
    if server.id.len() > 64 || !server.id.chars().all(|c| c.is_ascii_graphic()) {
        check.problem("server", "id", "expected at most 64 letters, digits and signs, without blanks");
    }
    if let Err(error) = Proxies::new(&server.trusted_proxies, server.forwarded_header, server.proxy_protocol) {
        check.problem("server", "trusted_proxies", error);
    }
    if server.proxy_protocol && server.trusted_proxies.is_empty() {
        check.problem("server", "proxy_protocol", "needs server.trusted_proxies: from anybody else it is not believed");
    }
    if overlap(server.listen, config.admin.listen) {
        let message = format_args!("{} is the public port already (server.listen)", config.admin.listen);
        check.problem("admin", "listen", message);
    }
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic() && !"?#\"<>\\^`{|}".contains(c))
}

/// Port 0 is a free port, never the same one twice.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_address = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && same_address
}

/// What may be reached from other machines, and with which secret.
fn reach(config: &Config, check: &mut Check<'_>) {
    let (public, admin) = (config.server.listen, config.admin.listen);
    let remedy = format!("set auth.secret (RINGWAY_AUTH_SECRET or JWT_SECRET) to {SECRET_BYTES_MIN} bytes or more");
    if config.development {
        for (section, address) in [("server", public), ("admin", admin)] {
            if !is_loopback(address) {
                let message =
                    format_args!("{address} is not loopback, and there is no secret but the published one: {remedy}");
                check.problem(section, "listen", message);
            }
        }
    }
    if !is_loopback(admin) && config.admin.token.is_none() {
        let message = format_args!("must be set, because admin.listen ({admin}) is not loopback");
        check.problem("admin", "token", message);
    }
}

/// `::ffff:127.0.0.1` is loopback too.
fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn secrets(config: &Config, check: &mut Check<'_>) {
    let auth = &config.auth;
    let exposed = !is_loopback(config.server.listen);
    let bytes = |secret: &Option<Secret>| secret.as_ref().map_or(usize::MAX, |secret| secret.expose().len());
    for (name, bytes) in [("secret", bytes(&auth.secret)), ("previous_secret", bytes(&auth.previous_secret))] {
        let message =
            format!("has {bytes} bytes and should have {SECRET_BYTES_MIN} or more: it can be guessed from a token");
        match bytes < SECRET_BYTES_MIN {
            true if exposed => check.problem("auth", name, message),
            true => check.warning("auth", name, message),
            false => {}
        }
    }
    let Some(previous) = &auth.previous_secret else { return };
    if config.development {
        check.problem("auth", "previous_secret", "is set, but auth.secret is not");
    }
    if exposed && previous.expose() == DEVELOPMENT_SECRET {
        check.problem("auth", "previous_secret", "is the published development secret");
    }
}

fn auth(config: &Config, check: &mut Check<'_>) {
    let auth = &config.auth;
    let lists =
        [("audience", &auth.audience), ("issuer", &auth.issuer), ("roles", &auth.roles), ("channels", &auth.channels)];
    for (name, list) in lists {
        if list.iter().any(String::is_empty) {
            check.problem("auth", name, "has an empty entry");
        }
    }
    // Asked of those who will use them: what passes here does not fail at start.
    for origin in &auth.origins {
        if let Err(error) = Origins::new([origin]) {
            check.problem("auth", "origins", error);
        }
    }
    if auth.user_type == UserTypeFrom::Query {
        let message = "a client whose token names no user type names its own, and is in that `type:` channel; \
                       `token` leaves it to the token (auth.roles looks at the token alone either way)";
        check.note("auth", "user_type", message);
    }
    if let Err(error) = Grants::parse(auth.channels.iter().filter(|channel| !channel.is_empty())) {
        check.problem("auth", "channels", error);
    }
}

fn redis(config: &Config, check: &mut Check<'_>) {
    let redis = &config.redis;
    // The prefix becomes part of a pattern of PSUBSCRIBE, where these signs have a meaning.
    let is_plain = |c: char| c.is_ascii_graphic() && !"*?[]\\".contains(c);
    if redis.prefix.is_empty() || redis.prefix.ends_with(':') || !redis.prefix.chars().all(is_plain) {
        check.problem("redis", "prefix", format_args!("`{}` is no prefix such as `ws`", redis.prefix));
    }
    if redis.url.is_none() && redis.password.is_some() {
        check.warning("redis", "password", "has no effect: redis.url is not set");
    }
}

fn debug(config: &Config, check: &mut Check<'_>) {
    let (Some(path), public) = (config.debug.echo_path.as_deref(), config.server.listen) else { return };
    if !is_path(path) {
        check.problem("debug", "echo_path", format_args!("`{path}` is no path such as `/echo`"));
    }
    if ["/", "/health", &config.server.path].contains(&path) {
        check.problem("debug", "echo_path", format_args!("`{path}` is taken; choose another"));
    }
    if is_loopback(public) {
        check.warning("debug", "echo_path", "serves whoever can reach this machine's loopback, without a token");
    } else {
        let message =
            format_args!("must not be set: it asks for no token, and server.listen ({public}) is not loopback");
        check.problem("debug", "echo_path", message);
    }
}
