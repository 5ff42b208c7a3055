//! From each source to subscribers of one channel: somebody publishes as fast as his system takes it, and it is over
//! when every subscriber has had every message.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use futures_util::{StreamExt, stream};
use ringway::proto::admin::v1::PublishRequest;
use ringway::proto::admin::v1::admin_service_client::AdminServiceClient;
use tonic::transport::Endpoint;

use crate::clients::Clients;
use crate::figures::{Figures, Measuring};
use crate::quiet;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::nats::Nats;
use crate::support::ports;
use crate::support::rabbitmq::RabbitMq;
use crate::support::redis::Redis;

const CHANNEL: &str = "conv:c1";

const PAYLOAD_BYTES: usize = 64;

/// Messages that go to a thousand.
const TO_MANY: usize = 4_000;

pub struct Kind {
    pub name: &'static str,
    start: fn() -> Box<dyn Source>,
    /// Messages that go to one.
    to_one: usize,
}

pub const KINDS: [Kind; 7] = [
    Kind { name: "redis", start: || Box::new(Redis::start()), to_one: 200_000 },
    Kind { name: "nats", start: || Box::new(Nats::start()), to_one: 200_000 },
    Kind { name: "nats jetstream", start: || Box::new(Stream(Nats::start())), to_one: 100_000 },
    Kind { name: "rabbitmq", start: || Box::new(RabbitMq::start()), to_one: 100_000 },
    Kind { name: "grpc PublishMany", start: || Box::new(Grpc(ports::free().to_string())), to_one: 100_000 },
    Kind { name: "http, a message per request", start: || Box::new(Http { at_once: 1 }), to_one: 20_000 },
    Kind { name: "http, 100 per request", start: || Box::new(Http { at_once: 100 }), to_one: 200_000 },
];

/// Where messages come from.
pub trait Source: Send {
    /// With the settings that reach it.
    fn config(&self, config: Config) -> Config;

    /// So many into [`CHANNEL`].
    fn publish(&mut self, gateway: &Gateway, messages: usize);
}

pub struct Running<'a> {
    kind: &'a Kind,
    source: Box<dyn Source>,
}

impl<'a> Running<'a> {
    pub fn start(kind: &'a Kind) -> Running<'a> {
        Running { kind, source: (kind.start)() }
    }

    pub fn name(&self) -> &'static str {
        self.kind.name
    }

    pub fn measure(&mut self, subscribers: usize) -> Figures {
        let messages = if subscribers == 1 { self.kind.to_one } else { TO_MANY };
        let mut gateway = Gateway::start(self.source.config(quiet()));
        let mut clients = Clients::subscribe(&gateway, subscribers, &[CHANNEL.to_owned()]);
        let measuring = Measuring::start(&mut gateway);
        let mut had = vec![0; subscribers];
        thread::scope(|scope| {
            scope.spawn(|| self.source.publish(&gateway, messages));
            let mut left = subscribers * messages;
            while left > 0 {
                clients.hear(|n, payload| {
                    assert_eq!(payload.len(), PAYLOAD_BYTES);
                    had[n] += 1;
                    left -= 1;
                });
            }
        });
        let figures = measuring.end(messages);
        assert!(had.iter().all(|had| *had == messages), "some had more than others");
        figures
    }
}

fn payload() -> String {
    // JSON, as a list of messages wants it.
    format!("\"{}\"", "x".repeat(PAYLOAD_BYTES - 2))
}

impl Source for Redis {
    fn config(&self, config: Config) -> Config {
        config.set("redis.url", self.url())
    }

    fn publish(&mut self, _: &Gateway, messages: usize) {
        const AT_ONCE: usize = 1_000;
        for _ in 0..messages / AT_ONCE {
            self.publish_all("ws:conv:c1", std::iter::repeat_n(payload(), AT_ONCE));
        }
    }
}

impl Source for Nats {
    fn config(&self, config: Config) -> Config {
        config.set("nats.url", self.url())
    }

    fn publish(&mut self, _: &Gateway, messages: usize) {
        let mut peer = self.peer();
        peer.write_bytes(format!("PUB ws.conv.c1 {PAYLOAD_BYTES}\r\n{}\r\n", payload()).repeat(messages).as_bytes());
        peer.done();
    }
}

/// A stream that is followed.
struct Stream(Nats);

impl Source for Stream {
    fn config(&self, config: Config) -> Config {
        // A place that nobody has had begins at the stream's end.
        static PLACES: AtomicUsize = AtomicUsize::new(0);
        let place = format!("bench-{}", PLACES.fetch_add(1, Relaxed));
        let config = self.0.config(config).set("nats.jetstream", "WS").set("nats.jetstream_durable", place);
        config.set("nats.jetstream_create", true)
    }

    fn publish(&mut self, gateway: &Gateway, messages: usize) {
        self.0.publish(gateway, messages);
    }
}

impl Source for RabbitMq {
    fn config(&self, config: Config) -> Config {
        config.set("rabbitmq.url", self.url())
    }

    fn publish(&mut self, _: &Gateway, messages: usize) {
        self.client().publish_all("ws", "ws.conv.c1", std::iter::repeat_n(payload(), messages));
    }
}

/// The admin port over gRPC, which listens there; each message has its answer.
struct Grpc(String);

impl Source for Grpc {
    fn config(&self, config: Config) -> Config {
        config.set("admin.grpc_listen", self.0.as_str())
    }

    fn publish(&mut self, _: &Gateway, messages: usize) {
        let request =
            PublishRequest { channels: vec![CHANNEL.into()], message: payload(), ..PublishRequest::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let answers = runtime.block_on(async {
            let endpoint = Endpoint::from_shared(format!("http://{}", self.0)).expect("an address");
            let mut admin = AdminServiceClient::new(endpoint.connect().await.expect("it listens"));
            let requests = stream::repeat(request).take(messages);
            let answers = admin.publish_many(requests).await.expect("a stream").into_inner();
            answers.filter(|answer| std::future::ready(answer.is_ok())).count().await
        });
        assert_eq!(answers, messages);
    }
}

/// The admin port over HTTP, from some connections at once.
struct Http {
    at_once: usize,
}

impl Source for Http {
    fn config(&self, config: Config) -> Config {
        config
    }

    fn publish(&mut self, gateway: &Gateway, messages: usize) {
        const CONNECTIONS: usize = 4;
        let address = gateway.admin().address;
        let (path, body) = match self.at_once {
            1 => (format!("/broadcast/channel/{CHANNEL}"), payload()),
            several => {
                let one = format!(r#"{{"channel":"{CHANNEL}","message":{}}}"#, payload());
                ("/publish".to_owned(), format!(r#"{{"messages":[{}]}}"#, vec![one; several].join(",")))
            }
        };
        let requests = messages / self.at_once / CONNECTIONS;
        thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| {
                    let agent = ureq::agent();
                    for _ in 0..requests {
                        let request = agent.post(format!("http://{address}{path}"));
                        let mut answer = request.send(&body).expect("it is published");
                        answer.body_mut().read_to_string().expect("an answer");
                    }
                });
            }
        });
    }
}
