//! Messages through gRPC: from clients through a route to a backend that answers once, or by a stream, and from a backend
//! through the admin port to a subscriber: `cargo bench --profile quick --bench grpc`. It needs `ulimit -n 20000`.
//!
//! Backend, gateway and clients share the machine, and the backend and the clients a process, so the rate is that of all
//! three; what the gateway itself costs is its CPU time.

#[path = "../tests/support/mod.rs"]
#[allow(dead_code, reason = "the tests need more of it")]
mod support;

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use ringway::proto::admin::v1::PublishRequest;
use ringway::proto::admin::v1::admin_service_client::AdminServiceClient;
use tonic::transport::Endpoint;

use support::config::Config;
use support::gateway::Gateway;
use support::grpc::Backend;
use support::ports;
use support::raw::{Raw, TEXT, frame};
use support::tokens::token;
use support::wait::eventually;

/// What each client says before it waits for the answers.
const AT_ONCE: usize = 25;

const REPORT: &str = r#"{"type":"location.report","payload":{"latitude":48.2082,"longitude":16.3738}}"#;

const ASK: &str = "
[[routes]]
type = 'ask'
action = 'forward'
service = 'desk'
";

fn main() {
    println!("what | messages/s | gateway CPU µs per message");
    let backend = Backend::start();
    for _ in 0..3 {
        once(&backend, 64, 40);
        once(&backend, 1, 200);
        by_streams(&backend, 64, 1_000);
        by_streams(&backend, 1, 20_000);
        through_the_admin_port(100_000);
    }
}

fn service(backend: &Backend, name: &str, more: &str) -> String {
    format!("[[services]]\nname = '{name}'\nkind = 'grpc'\naddress = '{}'\n{more}\n", backend.address)
}

fn started(config: Config) -> Gateway {
    // Nothing comes to clients but what is measured.
    let quiet = config.set("heartbeat.interval", "1h").set("heartbeat.idle_timeout", "2h");
    let gateway = Gateway::start(quiet);
    eventually("the service is connected", || !gateway.admin().get("/readyz").body.contains("connecting"));
    gateway
}

fn clients(gateway: &Gateway, count: usize) -> Vec<Raw> {
    (0..count).map(|n| Raw::connect(gateway, "/ws", &token(&format!("u{n}")))).collect()
}

/// Clients say something, each as much as may wait, and wait for all answers.
fn once(backend: &Backend, count: usize, rounds: usize) {
    let mut gateway = started(Config::new().and(&service(backend, "location", "contract = 'location'")));
    let mut clients = clients(&gateway, count);
    let said = frame(TEXT, REPORT.as_bytes()).repeat(AT_ONCE);
    let measured = Measured::start(&mut gateway);
    for _ in 0..rounds {
        clients.iter_mut().for_each(|client| client.write(&said));
        for client in &mut clients {
            (0..AT_ONCE).for_each(|_| assert_eq!(client.next_text(), r#"{"type":"location.accepted"}"#));
        }
    }
    measured.print(&mut gateway, &format!("{count} clients, one answer each"), rounds * count * AT_ONCE);
}

/// Clients ask for a stream each, and read it.
fn by_streams(backend: &Backend, count: usize, parts: usize) {
    let mut gateway = started(Config::new().and(ASK).and(&service(backend, "desk", "streaming = true")));
    let clients = clients(&gateway, count);
    let measured = Measured::start(&mut gateway);
    std::thread::scope(|scope| {
        for mut client in clients {
            scope.spawn(move || {
                let ask = format!(r#"{{"type":"ask","do":"stream:{parts}","size":20}}"#);
                client.write(&frame(TEXT, ask.as_bytes()));
                (0..parts).for_each(|_| assert!(client.next_text().starts_with(r#"{"type":"part""#)));
            });
        }
    });
    measured.print(&mut gateway, &format!("{count} streams, parts"), count * parts);
}

/// A backend publishes, with an answer to each message.
fn through_the_admin_port(messages: usize) {
    let address = ports::free();
    let mut gateway = started(Config::new().set("admin.grpc_listen", address.to_string()));
    let mut subscriber = Raw::connect(&gateway, "/ws", &token("ana"));
    let message = "x".repeat(64);
    let request = PublishRequest { channels: vec!["user:ana".into()], message, ..PublishRequest::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let measured = Measured::start(&mut gateway);
    let reading = std::thread::spawn(move || (0..messages).for_each(|_| assert_eq!(subscriber.next_text().len(), 64)));
    let delivered = runtime.block_on(async {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        let mut admin = AdminServiceClient::new(endpoint.connect().await.expect("it listens"));
        let requests = stream::repeat(request).take(messages);
        let answers = admin.publish_many(requests).await.expect("a stream").into_inner();
        answers.fold(0, async |sum, answer| sum + answer.expect("an answer").delivered).await
    });
    reading.join().expect("all have come");
    assert_eq!(delivered, messages as u64);
    measured.print(&mut gateway, "PublishMany to one subscriber", messages);
}

/// Time and CPU from here on.
struct Measured {
    began: Instant,
    cpu: Duration,
}

impl Measured {
    fn start(gateway: &mut Gateway) -> Measured {
        Measured { cpu: cpu_time(gateway), began: Instant::now() }
    }

    fn print(self, gateway: &mut Gateway, what: &str, messages: usize) {
        let (time, cpu) = (self.began.elapsed(), cpu_time(gateway) - self.cpu);
        let rate = messages as f64 / time.as_secs_f64();
        println!("{what} | {rate:.0} | {:.1}", cpu.as_secs_f64() * 1e6 / messages as f64);
    }
}

/// User and system time of the gateway so far, in steps of 10 ms.
fn cpu_time(gateway: &mut Gateway) -> Duration {
    let path = format!("/proc/{}/stat", gateway.process().pid());
    let text = std::fs::read_to_string(path).expect("it is alive");
    // Behind the name, which stands in brackets: fields 14 and 15 of the whole.
    let fields = text.rsplit(')').next().expect("a last part").split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}
