//! What has to fit between sections: ports and paths that are taken, and what may be reached from other machines.

use std::net::SocketAddr;

use super::auth::SECRET_BYTES_MIN;
use super::nats::is_name;
use super::{Backend, Config, DEVELOPMENT_SECRET};
use crate::config::check::Checks;
use crate::config::value::address::is_loopback;
use crate::config::{Key, SetBy};
use crate::shard::seats::Sessions;

pub fn check(config: &Config, checks: &mut Checks<'_>) {
    ports(config, checks);
    development(config, checks);
    secrets(config, checks);
    times(config, checks);
    echo(config, checks);
    sessions(config, checks);
    brokers(config, checks);
    authorize(config, checks);
    events(config, checks);
    places(config, checks);
}

fn ports(config: &Config, checks: &mut Checks<'_>) {
    for (key, listen) in config.admin.ports() {
        if overlap(config.server.listen, listen) {
            let message = format_args!("{listen} is the public port already (server.listen)");
            checks.of("admin").problem(key, message);
        }
    }
    if let Some(listen) = config.admin.grpc_listen.filter(|listen| overlap(config.admin.listen, *listen)) {
        checks.of("admin").problem("grpc_listen", format_args!("{listen} is taken already (admin.listen)"));
    }
}

/// Port 0 is a free port, never the same one twice.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_address = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && same_address
}

fn development(config: &Config, checks: &mut Checks<'_>) {
    let remedy = format!("set auth.secret (RINGWAY_AUTH_SECRET or JWT_SECRET) to {SECRET_BYTES_MIN} bytes or more");
    let of_admin = config.admin.ports().map(|(key, address)| ("admin", key, address));
    for (section, key, address) in of_admin.chain([("server", "listen", config.server.listen)]) {
        if config.development && !is_loopback(address) {
            let message =
                format_args!("{address} is not loopback, and there is no secret but the published one: {remedy}");
            checks.of(section).problem(key, message);
        }
    }
}

/// Secrets sign for whoever reaches the public port.
fn secrets(config: &Config, checks: &mut Checks<'_>) {
    let mut check = checks.of("auth");
    let exposed = !is_loopback(config.server.listen);
    let named = [("secret", &config.auth.secret), ("previous_secret", &config.auth.previous_secret)];
    for (name, secret) in named.into_iter().filter_map(|(name, secret)| Some((name, secret.as_ref()?))) {
        let bytes = secret.expose().len();
        let message =
            format!("has {bytes} bytes and should have {SECRET_BYTES_MIN} or more: it can be guessed from a token");
        match bytes < SECRET_BYTES_MIN {
            true if exposed => check.problem(name, message),
            true => check.warning(name, message),
            false => {}
        }
    }
    let Some(previous) = &config.auth.previous_secret else { return };
    if config.development || config.auth.secret.is_none() {
        check.problem("previous_secret", "is set, but auth.secret is not");
    }
    if exposed && previous.expose() == DEVELOPMENT_SECRET {
        check.problem("previous_secret", "is the published development secret");
    }
}

fn times(config: &Config, checks: &mut Checks<'_>) {
    let (kernel, ours) = (config.server.tcp_user_timeout, config.heartbeat.idle_timeout);
    if !kernel.is_zero() && kernel < ours {
        let message = "is shorter than heartbeat.idle_timeout: the kernel ends connections that may still be alive";
        checks.of("server").warning("tcp_user_timeout", message);
    }
}

fn sessions(config: &Config, checks: &mut Checks<'_>) {
    if config.server.sessions == Sessions::Single && config.limits.connections_per_user > 0 {
        let message =
            "has no effect: with server.sessions = \"single\" the newest connection of a user is the only one";
        checks.of("limits").note("connections_per_user", message);
    }
}

/// Services of a broker need to know where it is.
fn brokers(config: &Config, checks: &mut Checks<'_>) {
    let mut must_be_set = |section, is_set: bool, needs: fn(&Backend) -> bool| {
        let service = config.services.iter().find(|service| needs(&service.backend));
        if let Some(service) = service.filter(|_| !is_set && !checks.of(section).is_refused("url")) {
            checks.of(section).problem("url", format_args!("must be set for the service {}", service.common.name));
        }
    };
    must_be_set("redis", config.redis.url.is_some(), |backend| matches!(backend, Backend::Redis(_)));
    must_be_set("nats", config.nats.url.is_some(), |backend| matches!(backend, Backend::Nats(_)));
    must_be_set("rabbitmq", config.rabbitmq.url.is_some(), |backend| matches!(backend, Backend::RabbitMq(_)));
}

/// Without a name of its own a node's place in a stream is named by `server.id`.
fn places(config: &Config, checks: &mut Checks<'_>) {
    let Config { nats, server, .. } = config;
    if nats.url.is_none() || nats.jetstream.is_none() || nats.jetstream_durable.is_some() {
        return;
    }
    if *checks.provenance.of(Key::of("server", "id")) == SetBy::Random {
        let message = "needs server.id or nats.jetstream_durable, by which this node finds its place again";
        checks.of("nats").problem("jetstream", message);
    } else if !is_name(&server.id) {
        let message = format_args!("needs nats.jetstream_durable: the server.id `{}` names no place", server.id);
        checks.of("nats").problem("jetstream", message);
    }
}

/// Who is asked must be there, and outside.
fn authorize(config: &Config, checks: &mut Checks<'_>) {
    let (wish, dsn) = (&config.authorize, &config.postgres.dsn);
    must_be_outside(config, checks, "authorize", wish.service.as_deref());
    match (&wish.sql, dsn) {
        (Some(_), None) if !checks.of("postgres").is_refused("dsn") => {
            checks.of("authorize").problem("sql", "needs postgres.dsn (POSTGRES_DSN)");
        }
        (None, Some(_)) => checks.of("postgres").warning("dsn", "has no effect: authorize.sql is not set"),
        _ => {}
    }
}

/// Events go to a service outside.
fn events(config: &Config, checks: &mut Checks<'_>) {
    must_be_outside(config, checks, "events", config.events.service.as_deref());
}

/// The service that a section names.
fn must_be_outside(config: &Config, checks: &mut Checks<'_>, section: &'static str, name: Option<&str>) {
    let Some(name) = name else { return };
    let found = config.services.iter().find(|service| service.common.name == name);
    if found.is_none_or(|service| service.backend == Backend::Local) {
        let message = format_args!("there is no service {name} outside: [[services]] must have it, and not be local");
        checks.of(section).problem("service", message);
    }
}

fn echo(config: &Config, checks: &mut Checks<'_>) {
    let (Some(path), public) = (config.debug.echo_path.as_deref(), config.server.listen) else { return };
    let mut check = checks.of("debug");
    if config.server.path == path || config.server.is_page(path) {
        check.problem("echo_path", format_args!("`{path}` is taken; choose another"));
    }
    if is_loopback(public) {
        check.warning("echo_path", "serves whoever can reach this machine's loopback, without a token");
    } else {
        let message =
            format_args!("must not be set: it asks for no token, and server.listen ({public}) is not loopback");
        check.problem("echo_path", message);
    }
}
