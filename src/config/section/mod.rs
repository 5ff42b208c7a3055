//! Every setting: one file per section, with its keys, their units, defaults and reasons, and what must hold of them.
//!
//! The names of sections and fields *are* the keys of the file, and the environment variables are made from them
//! (`key`), so a field added in its section can be set everywhere at once; `docs/OPERATIONS.md` lists them and a test
//! compares. What has to fit between sections is in `crossing`.

mod admin;
mod auth;
mod authorize;
pub mod channels;
mod crossing;
mod debug;
mod entry;
mod events;
mod grpc;
mod heartbeat;
mod limits;
mod log;
mod nats;
mod notifications;
mod postgres;
mod presence;
pub mod rabbitmq;
mod redis;
pub mod routes;
mod server;
pub mod services;
mod typing;
mod vocabularies;

use serde::{Deserialize, Serialize};

pub use admin::Admin;
pub use auth::{Auth, DEVELOPMENT_SECRET, UserTypeFrom};
pub use authorize::Authorize;
pub use channels::ChannelRule;
pub use debug::Debug;
pub use events::Events;
pub use grpc::Grpc;
pub use heartbeat::Heartbeat;
pub use limits::Limits;
pub use log::{Level, Log, LogFormat};
pub use nats::Nats;
pub use notifications::Notifications;
pub use postgres::Postgres;
pub use presence::Presence;
pub use rabbitmq::RabbitMq;
pub use redis::{Redis, RedisMode};
pub use server::Server;
pub use services::{
    AUTHORIZE, Backend, Body, Contract, GrpcService, HttpService, NatsService, RabbitMqService, RedisService,
    ServiceRule,
};
pub use typing::Typing;
pub use vocabularies::Vocabularies;

use super::check::Checks;
use crate::route::Definitions;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub admin: Admin,
    pub auth: Auth,
    pub authorize: Authorize,
    pub limits: Limits,
    pub heartbeat: Heartbeat,
    pub presence: Presence,
    pub notifications: Notifications,
    pub typing: Typing,
    pub events: Events,
    pub redis: Redis,
    pub postgres: Postgres,
    pub nats: Nats,
    pub rabbitmq: RabbitMq,
    pub grpc: Grpc,
    pub vocabularies: Vocabularies,
    pub log: Log,
    pub debug: Debug,
    /// What holds for the channels of a pattern. A list and therefore not a key: read by `channels`, from a file alone.
    #[serde(skip)]
    pub channels: Vec<ChannelRule>,
    /// Who takes the messages of clients. A list and therefore not a key: read by `services`, from a file alone.
    #[serde(skip)]
    pub services: Vec<ServiceRule>,
    /// Routes beside those of the vocabularies. A list and therefore not a key: read by `routes`, from a file alone.
    #[serde(skip)]
    pub routes: Definitions,
    /// True exactly when tokens are signed with `DEVELOPMENT_SECRET`, because nothing sets `auth.secret`,
    /// `auth.public_keys` or `auth.jwks_url` (or something sets the first to that very text). Then every port is on
    /// loopback. Not a key: it follows from the others.
    #[serde(skip)]
    pub development: bool,
}

impl Config {
    /// Who takes the messages of clients: the entries of the list, and what the sections of backends make.
    pub fn all_services(&self) -> Vec<ServiceRule> {
        self.services.iter().cloned().chain(self.grpc.services(&self.services)).collect()
    }

    /// Every rule looks at what it needs and reports on its own, so that one run names all that is wrong.
    pub(super) fn check(&self, checks: &mut Checks<'_>) {
        self.server.check(&mut checks.of("server"));
        self.admin.check(&mut checks.of("admin"));
        self.auth.check(&mut checks.of("auth"));
        self.authorize.check(&mut checks.of("authorize"));
        self.limits.check(&mut checks.of("limits"));
        self.heartbeat.check(&mut checks.of("heartbeat"));
        self.presence.check(&mut checks.of("presence"));
        self.notifications.check(&mut checks.of("notifications"));
        self.typing.check(&mut checks.of("typing"));
        self.events.check(&mut checks.of("events"));
        self.redis.check(&mut checks.of("redis"));
        self.postgres.check(&mut checks.of("postgres"));
        self.nats.check(&mut checks.of("nats"));
        self.rabbitmq.check(&mut checks.of("rabbitmq"));
        self.grpc.check(&self.services, &mut checks.of("grpc"));
        self.debug.check(&mut checks.of("debug"));
        crossing::check(self, checks);
    }
}
