//! From clients through a route to each kind of service, and back: each says as much as may wait, and more when it has
//! its answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use toml::Value;

use crate::clients::Clients;
use crate::figures::{Figures, Measuring};
use crate::quiet;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::grpc::Backend as GrpcBackend;
use crate::support::http_backend::HttpBackend;
use crate::support::nats::{Nats, Peer};
use crate::support::rabbitmq::RabbitMq;
use crate::support::raw::{TEXT, frame};
use crate::support::redis::Redis;
use crate::support::wait::eventually;

const CLIENTS: usize = 64;

/// What each client says before it waits for the answers: less than may wait.
const AT_ONCE: usize = 25;

/// Messages of one stream.
const PARTS: usize = 1_000;

/// For how long they go on.
const TIME: Duration = Duration::from_secs(3);

const SAY: &str = r#"{"type":"say","text":"sixty-four bytes, as what comes from sources has them"}"#;
const SAID: &str = r#"{"type":"said""#;

/// What clients say in one kind of run, and what they hear.
pub struct Talk {
    /// Keys of the route.
    route: &'static str,
    /// Said at once by a client.
    say: Vec<u8>,
    /// What it hears then, and how each begins.
    answers: usize,
    answer: &'static str,
}

/// To a service, and back when it is taken.
const FORWARDED: &str = r#"service = "desk"
reply = '{"type":"said"}'"#;

/// Into the channel of who says it.
const FANNED_OUT: &str = r#"channel = "user:{user_id}"
message = '{"type":"said","text":"{text}"}'"#;

/// To a service, which says what comes back.
const ASKED: &str = r#"service = "desk""#;

pub struct Kind {
    pub name: &'static str,
    start: fn() -> Box<dyn Backend>,
}

pub const KINDS: [Kind; 10] = [
    Kind { name: "local: a fan-out to one", start: || Box::new(Local) },
    Kind { name: "redis publish", start: || Box::new(Redis::start()) },
    Kind { name: "redis stream", start: || Box::new(redis_stream()) },
    Kind { name: "nats publish", start: || Box::new(Nats::start()) },
    Kind { name: "nats request", start: || Box::new(Asked::start()) },
    Kind { name: "nats jetstream", start: || Box::new(jetstream()) },
    Kind { name: "rabbitmq, confirmed by a durable queue", start: || Box::new(RabbitMq::start()) },
    Kind { name: "grpc unary", start: || Box::new(GrpcBackend::start()) },
    Kind { name: "grpc stream, its messages", start: || Box::new(Streaming(GrpcBackend::start())) },
    Kind { name: "http POST", start: || Box::new(HttpBackend::start()) },
];

/// Who takes what clients say.
pub trait Backend {
    /// Keys of the service beside its name; none when the gateway itself takes it.
    fn service(&self) -> Vec<(&'static str, Value)>;

    /// With the settings that reach it.
    fn config(&self, config: Config) -> Config {
        config
    }

    /// The gateway has reached it.
    fn reached(&mut self) {}

    /// The run is over.
    fn clean_up(&mut self) {}

    fn talk(&self) -> Talk {
        Talk { route: FORWARDED, say: frame(TEXT, SAY.as_bytes()).repeat(AT_ONCE), answers: AT_ONCE, answer: SAID }
    }
}

pub struct Running<'a> {
    kind: &'a Kind,
    backend: Box<dyn Backend>,
}

impl<'a> Running<'a> {
    pub fn start(kind: &'a Kind) -> Running<'a> {
        Running { kind, backend: (kind.start)() }
    }

    pub fn name(&self) -> &'static str {
        self.kind.name
    }

    pub fn measure(&mut self) -> Figures {
        let mut gateway = self.gateway();
        let mut clients = Clients::connect(&gateway, CLIENTS);
        let Talk { say, answers, answer, .. } = self.backend.talk();
        let (mut left, mut heard) = ([answers; CLIENTS], 0);
        let measuring = Measuring::start(&mut gateway);
        let over = Instant::now() + TIME;
        clients.list.iter_mut().for_each(|client| client.write(&say));
        while left.iter().any(|left| *left > 0) {
            clients.hear(|n, payload| {
                assert!(payload.starts_with(answer.as_bytes()), "{}", String::from_utf8_lossy(payload));
                left[n] -= 1;
                heard += 1;
            });
            if Instant::now() > over {
                continue;
            }
            for (client, left) in clients.list.iter_mut().zip(&mut left).filter(|(_, left)| **left == 0) {
                client.write(&say);
                *left = answers;
            }
        }
        let figures = measuring.end(heard);
        drop(gateway);
        self.backend.clean_up();
        figures
    }

    fn gateway(&mut self) -> Gateway {
        let keys = self.backend.service();
        let route = self.backend.talk().route;
        let route = format!("[[routes]]\ntype = 'say'\naction = 'forward'\nfields = {{ text = 'text' }}\n{route}\n");
        let config = self.backend.config(quiet().with(&route));
        if keys.is_empty() {
            return Gateway::start(config);
        }
        // Whoever is slow is measured all the same.
        let keys = [&[("name", "desk".into()), ("timeout", "60s".into())], &keys[..]].concat();
        let gateway = Gateway::start(config.service(&keys));
        eventually("the service is connected", || {
            gateway.admin().get("/metrics").body.contains("ringway_service_connected{service=\"desk\"} 1")
        });
        self.backend.reached();
        gateway
    }
}

struct Local;

impl Backend for Local {
    fn service(&self) -> Vec<(&'static str, Value)> {
        vec![]
    }

    fn talk(&self) -> Talk {
        Talk { route: FANNED_OUT, say: frame(TEXT, SAY.as_bytes()).repeat(AT_ONCE), answers: AT_ONCE, answer: SAID }
    }
}

impl Backend for Redis {
    fn service(&self) -> Vec<(&'static str, Value)> {
        vec![("kind", "redis".into()), ("publish", "bench:{user_id}".into())]
    }

    fn config(&self, config: Config) -> Config {
        config.set("redis.url", self.url()).set("redis.source", false)
    }
}

impl Backend for Nats {
    fn service(&self) -> Vec<(&'static str, Value)> {
        vec![("kind", "nats".into()), ("subject", "bench.{user_id}".into())]
    }

    fn config(&self, config: Config) -> Config {
        config.set("nats.url", self.url()).set("nats.source", false)
    }
}

/// A server whose service has these keys instead.
struct Keyed<B> {
    server: B,
    service: Vec<(&'static str, Value)>,
}

impl<B: Backend> Backend for Keyed<B> {
    fn service(&self) -> Vec<(&'static str, Value)> {
        self.service.clone()
    }

    fn config(&self, config: Config) -> Config {
        self.server.config(config)
    }
}

fn redis_stream() -> Keyed<Redis> {
    Keyed { server: Redis::start(), service: vec![("kind", "redis".into()), ("stream", "bench".into())] }
}

/// With a key more.
fn nats(key: &'static str) -> Keyed<Nats> {
    let server = Nats::start();
    let service = [&server.service()[..], &[(key, true.into())]].concat();
    Keyed { server, service }
}

fn jetstream() -> Keyed<Nats> {
    let nats = nats("jetstream");
    let stream = r#"{"name":"BENCH","subjects":["bench.>"],"storage":"file"}"#;
    nats.server.peer().request("$JS.API.STREAM.CREATE.BENCH", stream);
    nats
}

/// A NATS with somebody who replies to each message with nothing.
struct Asked {
    nats: Keyed<Nats>,
    is_over: Arc<AtomicBool>,
    replying: Option<JoinHandle<()>>,
}

impl Asked {
    fn start() -> Asked {
        let (nats, is_over) = (nats("request"), Arc::<AtomicBool>::default());
        let mut peer = nats.server.peer();
        peer.subscribe("bench.>");
        let until = is_over.clone();
        let replying = thread::spawn(move || {
            while !until.load(Relaxed) {
                reply(&mut peer);
            }
        });
        Asked { nats, is_over, replying: Some(replying) }
    }
}

fn reply(peer: &mut Peer) {
    if let Some(message) = peer.next_if_any() {
        peer.publish_bytes(&message.reply.expect("it is a request"), b"");
    }
}

impl Backend for Asked {
    fn service(&self) -> Vec<(&'static str, Value)> {
        self.nats.service()
    }

    fn config(&self, config: Config) -> Config {
        self.nats.config(config)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        self.replying.take().into_iter().for_each(|thread| thread.join().expect("no panic"));
    }
}

impl Backend for RabbitMq {
    fn service(&self) -> Vec<(&'static str, Value)> {
        vec![("kind", "rabbitmq".into()), ("exchange", "bench".into()), ("routing_key", "of.{user_id}".into())]
    }

    fn config(&self, config: Config) -> Config {
        config.set("rabbitmq.url", self.url()).set("rabbitmq.source", false)
    }

    /// The exchange is there now.
    fn reached(&mut self) {
        self.client().keep("kept", "bench", "#");
    }

    fn clean_up(&mut self) {
        self.client().remove_queue("kept");
    }
}

impl Backend for GrpcBackend {
    fn service(&self) -> Vec<(&'static str, Value)> {
        vec![("kind", "grpc".into()), ("address", self.address.to_string().into())]
    }
}

/// One that answers with many messages.
struct Streaming(GrpcBackend);

impl Backend for Streaming {
    fn service(&self) -> Vec<(&'static str, Value)> {
        [&self.0.service()[..], &[("streaming", true.into())]].concat()
    }

    fn talk(&self) -> Talk {
        let say = format!(r#"{{"type":"say","text":"","do":"stream:{PARTS}","size":20}}"#);
        Talk { route: ASKED, say: frame(TEXT, say.as_bytes()), answers: PARTS, answer: r#"{"type":"part""# }
    }
}

impl Backend for HttpBackend {
    fn service(&self) -> Vec<(&'static str, Value)> {
        vec![("kind", "http".into()), ("url", self.url("/").into())]
    }
}
