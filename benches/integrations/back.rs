//! How soon a server is used again that was gone: it is killed, stays away for a while in which clients go on, and is
//! started anew. What is measured begins when it answers whoever asks it, and ends with the first message that goes to
//! it through the gateway, or comes from it.

use std::thread;
use std::time::{Duration, Instant};

use toml::Value;

use crate::clients::Clients;
use crate::quiet;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::grpc::Backend as GrpcBackend;
use crate::support::http_backend::HttpBackend;
use crate::support::nats::{Nats, Peer as NatsPeer};
use crate::support::postgres::Postgres;
use crate::support::rabbitmq::{Peer as RabbitMqPeer, RabbitMq};
use crate::support::raw::{TEXT, frame};
use crate::support::redis::Redis;

/// Longer than the longest pause between two tries.
const AWAY: Duration = Duration::from_secs(5);

const ASK_EVERY: Duration = Duration::from_millis(10);

/// How what is awaited begins: a call's reply, a join's, a message's of a source.
const SIGNS: [&str; 3] = [r#"{"type":"said""#, r#"{"type":"subscribed""#, r#"{"type":"published""#];

const PUBLISHED: &str = r#"{"type":"published"}"#;

const ROUTE: &str = "[[routes]]\ntype = 'say'\naction = 'forward'\nservice = 'desk'\nreply = '{\"type\":\"said\"}'\n";

pub struct Kind {
    pub name: &'static str,
    start: fn() -> Box<dyn Server>,
}

pub const KINDS: [Kind; 9] = [
    Kind { name: "back: redis, to it", start: || Box::new(To(Redis::start())) },
    Kind { name: "back: redis, from it", start: || Box::new(Redis::start()) },
    Kind { name: "back: nats, to it", start: || Box::new(To(Nats::start())) },
    Kind { name: "back: nats, from it", start: || Box::new(FromNats(Nats::start(), None)) },
    Kind { name: "back: rabbitmq, to it", start: || Box::new(To(RabbitMq::start())) },
    Kind { name: "back: rabbitmq, from it", start: || Box::new(FromRabbitMq(RabbitMq::start(), None)) },
    Kind { name: "back: postgresql, a join", start: || Box::new(Joined { postgres: Postgres::start(), joins: 0 }) },
    Kind { name: "back: grpc, to it", start: || Box::new(To(GrpcBackend::start())) },
    Kind { name: "back: http, to it", start: || Box::new(To(HttpBackend::start())) },
];

/// What is gone for a while.
trait Server {
    fn config(&self, config: Config) -> Config;

    fn kill(&mut self);

    /// Returns when it answers.
    fn restart(&mut self);

    /// Has something happen of which the client hears. `is_there`: it has been started again.
    fn ask(&mut self, client: &mut Clients, is_there: bool);
}

pub struct Running<'a> {
    kind: &'a Kind,
    server: Box<dyn Server>,
}

impl<'a> Running<'a> {
    pub fn start(kind: &'a Kind) -> Running<'a> {
        Running { kind, server: (kind.start)() }
    }

    pub fn name(&self) -> &'static str {
        self.kind.name
    }

    /// In milliseconds.
    pub fn measure(&mut self) -> f64 {
        let gateway = Gateway::start(self.server.config(quiet()));
        let mut client = Clients::subscribe(&gateway, 1, &["news:1".to_owned()]);
        self.until_heard(&mut client);
        self.server.kill();
        let back = Instant::now() + AWAY;
        while Instant::now() < back {
            self.server.ask(&mut client, false);
            thread::sleep(ASK_EVERY);
            client.hear_within(Duration::ZERO, |_, _| {});
        }
        self.server.restart();
        let began = Instant::now();
        self.until_heard(&mut client);
        began.elapsed().as_secs_f64() * 1e3
    }

    fn until_heard(&mut self, client: &mut Clients) {
        let mut is_heard = false;
        while !is_heard {
            self.server.ask(client, true);
            let next = Instant::now() + ASK_EVERY;
            while !is_heard && Instant::now() < next {
                client.hear_within(next - Instant::now(), |_, payload| {
                    is_heard |= SIGNS.iter().any(|sign| payload.starts_with(sign.as_bytes()));
                });
            }
        }
    }
}

/// Where a service has its backend.
trait Backend {
    fn keys(&self) -> Vec<(&'static str, Value)>;
    fn config(&self, config: Config) -> Config {
        config
    }
    fn kill(&mut self);
    fn restart(&mut self);
}

/// A server to which clients say something.
struct To<B>(B);

impl<B: Backend> Server for To<B> {
    fn config(&self, config: Config) -> Config {
        let keys = [&[("name", "desk".into())], &self.0.keys()[..]].concat();
        self.0.config(config.with(ROUTE)).service(&keys)
    }

    fn kill(&mut self) {
        self.0.kill();
    }

    fn restart(&mut self) {
        self.0.restart();
    }

    fn ask(&mut self, client: &mut Clients, _: bool) {
        client.list[0].write(&frame(TEXT, br#"{"type":"say","text":"are you back?"}"#));
    }
}

/// With inherent functions of these names.
macro_rules! is_killed_and_restarted {
    ($server:ty) => {
        fn kill(&mut self) {
            <$server>::kill(self);
        }

        fn restart(&mut self) {
            <$server>::restart(self);
        }
    };
}

impl Backend for Redis {
    fn keys(&self) -> Vec<(&'static str, Value)> {
        vec![("kind", "redis".into()), ("publish", "bench:{user_id}".into())]
    }

    fn config(&self, config: Config) -> Config {
        config.set("redis.url", self.url()).set("redis.source", false)
    }

    is_killed_and_restarted!(Redis);
}

impl Backend for Nats {
    fn keys(&self) -> Vec<(&'static str, Value)> {
        vec![("kind", "nats".into()), ("subject", "bench.{user_id}".into())]
    }

    fn config(&self, config: Config) -> Config {
        config.set("nats.url", self.url()).set("nats.source", false)
    }

    is_killed_and_restarted!(Nats);
}

impl Backend for RabbitMq {
    fn keys(&self) -> Vec<(&'static str, Value)> {
        vec![("kind", "rabbitmq".into()), ("exchange", "bench".into()), ("routing_key", "of.{user_id}".into())]
    }

    fn config(&self, config: Config) -> Config {
        config.set("rabbitmq.url", self.url()).set("rabbitmq.source", false)
    }

    is_killed_and_restarted!(RabbitMq);
}

impl Backend for GrpcBackend {
    fn keys(&self) -> Vec<(&'static str, Value)> {
        vec![("kind", "grpc".into()), ("address", self.address.to_string().into())]
    }

    is_killed_and_restarted!(GrpcBackend);
}

impl Backend for HttpBackend {
    fn keys(&self) -> Vec<(&'static str, Value)> {
        vec![("kind", "http".into()), ("url", self.url("/").into())]
    }

    is_killed_and_restarted!(HttpBackend);
}

impl Server for Redis {
    fn config(&self, config: Config) -> Config {
        config.set("redis.url", self.url())
    }

    is_killed_and_restarted!(Redis);

    fn ask(&mut self, _: &mut Clients, is_there: bool) {
        if is_there {
            self.publish("ws:news:1", PUBLISHED);
        }
    }
}

/// With who publishes there since it runs.
struct FromNats(Nats, Option<NatsPeer>);

impl Server for FromNats {
    fn config(&self, config: Config) -> Config {
        config.set("nats.url", self.0.url())
    }

    fn kill(&mut self) {
        self.1 = None;
        self.0.kill();
    }

    fn restart(&mut self) {
        self.0.restart();
    }

    fn ask(&mut self, _: &mut Clients, is_there: bool) {
        if is_there {
            self.1.get_or_insert_with(|| self.0.peer()).publish("ws.news.1", PUBLISHED);
        }
    }
}

/// The same.
struct FromRabbitMq(RabbitMq, Option<RabbitMqPeer>);

impl Server for FromRabbitMq {
    fn config(&self, config: Config) -> Config {
        config.set("rabbitmq.url", self.0.url())
    }

    fn kill(&mut self) {
        self.1 = None;
        self.0.kill();
    }

    fn restart(&mut self) {
        self.0.restart();
    }

    fn ask(&mut self, _: &mut Clients, is_there: bool) {
        if is_there {
            self.1.get_or_insert_with(|| self.0.client()).publish("ws", "ws.news.1", &[], PUBLISHED);
        }
    }
}

/// Where PostgreSQL is asked who may join; each channel once, so that nothing is known of it before.
struct Joined {
    postgres: Postgres,
    joins: usize,
}

impl Server for Joined {
    fn config(&self, config: Config) -> Config {
        let config = config.set("postgres.dsn", self.postgres.dsn()).set("limits.channels_per_connection", 65_535);
        config.set("authorize.sql", "SELECT $1::text <> $2::text").set("authorize.channels", vec!["room:*"])
    }

    fn kill(&mut self) {
        self.postgres.crash();
    }

    fn restart(&mut self) {
        self.postgres.restart();
    }

    fn ask(&mut self, client: &mut Clients, _: bool) {
        self.joins += 1;
        let subscribe = format!(r#"{{"type":"subscribe","channels":["room:{}"]}}"#, self.joins);
        client.list[0].write(&frame(TEXT, subscribe.as_bytes()));
    }
}
