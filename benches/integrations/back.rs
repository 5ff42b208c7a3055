//! How soon a server is used again that was gone: it is killed, stays away for a while in which clients go on, and is
//! started anew. What is measured begins when it answers whoever asks it, and ends with the first message that goes to
//! it through the gateway, or comes from it.

use std::thread;
use std::time::{Duration, Instant};

use crate::clients::Clients;
use crate::quiet;
use crate::services::Backend;
use crate::sources::Source;
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
    Kind { name: "back: redis, from it", start: || Box::new(from_redis()) },
    Kind { name: "back: nats, to it", start: || Box::new(To(Nats::start())) },
    Kind { name: "back: nats, from it", start: || Box::new(from_nats()) },
    Kind { name: "back: rabbitmq, to it", start: || Box::new(To(RabbitMq::start())) },
    Kind { name: "back: rabbitmq, from it", start: || Box::new(from_rabbitmq()) },
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

/// A server of the tests.
trait Restarts {
    fn kill(&mut self);
    fn restart(&mut self);
}

/// With inherent functions of these names.
macro_rules! restarts {
    ($($server:ty),*) => {$(
        impl Restarts for $server {
            fn kill(&mut self) {
                <$server>::kill(self);
            }

            fn restart(&mut self) {
                <$server>::restart(self);
            }
        }
    )*};
}

restarts!(Redis, Nats, RabbitMq, GrpcBackend, HttpBackend);

/// A server to which clients say something.
struct To<B>(B);

impl<B: Backend + Restarts> Server for To<B> {
    fn config(&self, config: Config) -> Config {
        let keys = [&[("name", "desk".into())], &self.0.service()[..]].concat();
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

/// A server from which messages come, and who publishes there since it runs.
struct From<S, P> {
    server: S,
    peer: Option<P>,
    connect: fn(&S) -> P,
    publish: fn(&mut S, &mut P),
}

impl<S, P> From<S, P> {
    fn new(server: S, connect: fn(&S) -> P, publish: fn(&mut S, &mut P)) -> Self {
        Self { server, peer: None, connect, publish }
    }
}

impl<S: Source + Restarts, P> Server for From<S, P> {
    fn config(&self, config: Config) -> Config {
        self.server.config(config)
    }

    fn kill(&mut self) {
        self.peer = None;
        self.server.kill();
    }

    fn restart(&mut self) {
        self.server.restart();
    }

    fn ask(&mut self, _: &mut Clients, is_there: bool) {
        if is_there {
            let peer = self.peer.get_or_insert_with(|| (self.connect)(&self.server));
            (self.publish)(&mut self.server, peer);
        }
    }
}

fn from_redis() -> From<Redis, ()> {
    From::new(Redis::start(), |_| (), |redis, ()| _ = redis.publish("ws:news:1", PUBLISHED))
}

fn from_nats() -> From<Nats, NatsPeer> {
    From::new(Nats::start(), Nats::peer, |_, peer| peer.publish("ws.news.1", PUBLISHED))
}

fn from_rabbitmq() -> From<RabbitMq, RabbitMqPeer> {
    From::new(RabbitMq::start(), RabbitMq::client, |_, peer| peer.publish("ws", "ws.news.1", &[], PUBLISHED))
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
