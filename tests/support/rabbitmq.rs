//! A private RabbitMQ: free ports, a folder of its own for everything it keeps, and an epmd of its own, which knows
//! where Erlang's programs are. It can be killed and started again on its ports, with what it has on disk.
//!
//! It takes seconds to start, so tests that do not harm it [share one](shared), each with an exchange of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::ports;
use super::process::{Process, run};
use super::programs::program_in;
use super::wait::PAUSE;

/// Where Debian has its programs; the ones on the PATH insist on its own user and folders.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

/// It takes its time, and shares the machine with other tests.
const START_DEADLINE: Duration = Duration::from_secs(120);

static SHARED: Mutex<Weak<RabbitMq>> = Mutex::new(Weak::new());

/// The broker of all tests that only use it. It ends with the last of those that run.
#[track_caller]
pub fn shared() -> Arc<RabbitMq> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let broker = Arc::new(RabbitMq::start());
        *shared = Arc::downgrade(&broker);
        broker
    })
}

pub struct RabbitMq {
    /// Before epmd, so that it ends first.
    process: Process,
    _epmd: Process,
    folder: TempDir,
    variables: Vec<(&'static str, String)>,
    address: SocketAddr,
    tls_address: SocketAddr,
}

impl RabbitMq {
    /// Starts a RabbitMQ and returns once it lets clients in.
    #[track_caller]
    pub fn start() -> RabbitMq {
        let folder = tempfile::tempdir().expect("a temp dir");
        let [address, tls_address, names, erlang] = [(); 4].map(|()| ports::free());
        write_settings(folder.path(), address, tls_address);
        let variables = variables(folder.path(), names, erlang);
        let mut epmd = Command::new("epmd");
        epmd.args(["-address", "127.0.0.1", "-port", &names.port().to_string()]);
        let epmd = Process::start(&mut epmd, &folder.path().join("epmd.log"));
        let process = launch(folder.path(), &variables, address);
        RabbitMq { process, _epmd: epmd, folder, variables, address, tls_address }
    }

    /// For the key `rabbitmq.url`.
    pub fn url(&self) -> String {
        format!("amqp://{}", self.address)
    }

    /// The same over TLS.
    pub fn tls_url(&self) -> String {
        format!("amqps://{}", self.tls_address)
    }

    /// The file with the certificate that it shows there.
    pub fn certificate(&self) -> String {
        self.folder.path().join("cert.pem").display().to_string()
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Ends it without a word, as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same ports, after `kill`.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process = launch(self.folder.path(), &self.variables, self.address);
    }

    /// `rabbitmqctl` with these arguments.
    #[track_caller]
    pub fn control(&self, arguments: &[&str]) {
        let done = run(&mut self.program("rabbitmqctl", arguments));
        assert_eq!(done.code, Some(0), "{done:?}");
    }

    /// The process of a queue stands still from here on (`suspend`), or goes on (`resume`).
    #[track_caller]
    pub fn queue_process(&self, queue: &str, does: &str) {
        let found = format!("{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<\"{queue}\">>))");
        self.control(&["eval", &format!("{found}, ok = sys:{does}(amqqueue:get_pid(Q)).")]);
    }

    /// A connection of the test's own.
    #[track_caller]
    pub fn client(&self) -> Peer {
        Peer::connect(&self.url()).unwrap_or_else(|error| panic!("{}: {error}", self.url()))
    }

    fn program(&self, name: &str, arguments: &[&str]) -> Command {
        program(self.folder.path(), &self.variables, name, arguments)
    }
}

fn variables(folder: &Path, names: SocketAddr, erlang: SocketAddr) -> Vec<(&'static str, String)> {
    let inside = |name: &str| folder.join(name).display().to_string();
    vec![
        // Its cookie is made there.
        ("HOME", folder.display().to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
        ("ERL_EPMD_PORT", names.port().to_string()),
        ("RABBITMQ_NODENAME", format!("ringway{}@localhost", names.port())),
        ("RABBITMQ_DIST_PORT", erlang.port().to_string()),
        ("RABBITMQ_MNESIA_BASE", inside("data")),
        ("RABBITMQ_LOG_BASE", inside("log")),
        ("RABBITMQ_PID_FILE", inside("pid")),
        ("RABBITMQ_CONFIG_FILE", inside("rabbitmq.conf")),
        ("RABBITMQ_CONF_ENV_FILE", inside("none")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", inside("enabled_plugins")),
        // The server takes the place of its shell, so that its pid is the one that we know.
        ("RABBITMQ_ALLOW_INPUT", "1".into()),
    ]
}

#[track_caller]
fn write_settings(folder: &Path, address: SocketAddr, tls_address: SocketAddr) {
    let path = folder.display();
    let settings = format!(
        "listeners.tcp.1 = {address}\nlisteners.ssl.1 = {tls_address}\nssl_options.cacertfile = {path}/cert.pem\n\
         ssl_options.certfile = {path}/cert.pem\nssl_options.keyfile = {path}/key.pem\n"
    );
    for (name, text) in [("rabbitmq.conf", settings.as_str()), ("enabled_plugins", "[].\n")] {
        std::fs::write(folder.join(name), text).expect("the temp dir is writable");
    }
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=rabbit \
         -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE -keyout key.pem -out cert.pem";
    let made = run(&mut program_in(folder, &[], "sh", &["-c", script]));
    assert_eq!(made.code, Some(0), "{made:?}");
}

fn program(folder: &Path, variables: &[(&'static str, String)], name: &str, arguments: &[&str]) -> Command {
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    program_in(folder, &variables, &format!("{PROGRAMS}/{name}"), arguments)
}

#[track_caller]
fn launch(folder: &Path, variables: &[(&'static str, String)], address: SocketAddr) -> Process {
    let log = folder.join("rabbitmq.log");
    let mut process = Process::start(&mut program(folder, variables, "rabbitmq-server", &["-noinput"]), &log);
    let deadline = Instant::now() + START_DEADLINE;
    while let Err(error) = Peer::connect(&format!("amqp://{address}")) {
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        assert!(process.ended().is_none(), "RabbitMQ has ended:\n{}", said());
        assert!(Instant::now() < deadline, "not within {START_DEADLINE:?}: {error}\n{}", said());
        std::thread::sleep(PAUSE);
    }
    process
}

/// Somebody else at the broker: a backend.
pub struct Peer {
    runtime: Runtime,
    channel: Channel,
    _connection: Connection,
}

impl Peer {
    fn connect(url: &str) -> lapin::Result<Peer> {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (connection, channel) = runtime.block_on(async {
            let connection = Connection::connect(url, ConnectionProperties::default()).await?;
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok::<_, lapin::Error>((connection, channel))
        })?;
        Ok(Peer { runtime, channel, _connection: connection })
    }

    /// A durable queue of everything that the exchange, which must be there, has for keys of this pattern.
    #[track_caller]
    pub fn keep(&self, queue: &str, exchange: &str, pattern: &str) {
        self.bind(queue, exchange, pattern, FieldTable::default());
    }

    /// The same with room for so many messages, and no more.
    #[track_caller]
    pub fn keep_at_most(&self, messages: i32, queue: &str, exchange: &str, pattern: &str) {
        let mut bounds = FieldTable::default();
        bounds.insert("x-max-length".into(), AMQPValue::LongInt(messages));
        bounds.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
        self.bind(queue, exchange, pattern, bounds);
    }

    #[track_caller]
    fn bind(&self, queue: &str, exchange: &str, pattern: &str, arguments: FieldTable) {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let binding = QueueBindOptions::default();
        let done = self.runtime.block_on(async {
            self.channel.queue_declare(queue.into(), options, arguments).await?;
            self.channel.queue_bind(queue.into(), exchange.into(), pattern.into(), binding, FieldTable::default()).await
        });
        done.unwrap_or_else(|error| panic!("{queue}: {error}"));
    }

    #[track_caller]
    pub fn unbind(&self, queue: &str, exchange: &str, pattern: &str) {
        let (of, from) = (queue.into(), exchange.into());
        let unbound = self.runtime.block_on(self.channel.queue_unbind(of, from, pattern.into(), FieldTable::default()));
        unbound.unwrap_or_else(|error| panic!("{queue}: {error}"));
    }

    #[track_caller]
    pub fn make_exchange(&self, exchange: &str) {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let made = self.channel.exchange_declare(exchange.into(), ExchangeKind::Topic, options, FieldTable::default());
        self.runtime.block_on(made).unwrap_or_else(|error| panic!("{exchange}: {error}"));
    }

    #[track_caller]
    pub fn remove_exchange(&self, exchange: &str) {
        let removed = self.runtime.block_on(self.channel.exchange_delete(exchange.into(), <_>::default()));
        removed.unwrap_or_else(|error| panic!("{exchange}: {error}"));
    }

    #[track_caller]
    pub fn remove_queue(&self, queue: &str) {
        let removed = self.runtime.block_on(self.channel.queue_delete(queue.into(), <_>::default()));
        removed.unwrap_or_else(|error| panic!("{queue}: {error}"));
    }

    /// Publishes a message and waits until the broker has it.
    #[track_caller]
    pub fn publish(&self, exchange: &str, key: &str, headers: &[(&str, AMQPValue)], payload: impl AsRef<[u8]>) {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), value.clone());
        }
        let properties = BasicProperties::default().with_headers(table).with_delivery_mode(2);
        let confirmed = self.runtime.block_on(async {
            let (exchange, key) = (exchange.into(), key.into());
            self.channel.basic_publish(exchange, key, <_>::default(), payload.as_ref(), properties).await?.await
        });
        let is_ack = confirmed.as_ref().is_ok_and(lapin::Confirmation::is_ack);
        assert!(is_ack, "{confirmed:?}");
    }

    /// Publishes these in order, and waits until the broker has all of them.
    #[track_caller]
    pub fn publish_all(&self, exchange: &str, key: &str, payloads: impl Iterator<Item = String>) {
        let done = self.runtime.block_on(async {
            for payload in payloads {
                let (exchange, key, properties) = (exchange.into(), key.into(), BasicProperties::default());
                drop(self.channel.basic_publish(exchange, key, <_>::default(), payload.as_bytes(), properties).await?);
            }
            self.channel.wait_for_confirms().await
        });
        done.unwrap_or_else(|error| panic!("{exchange}: {error}"));
    }

    /// How many messages wait in a queue and are on their way to nobody.
    #[track_caller]
    pub fn waiting(&self, queue: &str) -> usize {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let looked_at = self.runtime.block_on(self.channel.queue_declare(queue.into(), options, FieldTable::default()));
        looked_at.unwrap_or_else(|error| panic!("{queue}: {error}")).message_count() as usize
    }

    /// All that waits in a queue, in its order.
    #[track_caller]
    pub fn take_all(&self, queue: &str) -> Vec<Delivery> {
        let mut all = Vec::new();
        let done: lapin::Result<()> = self.runtime.block_on(async {
            while let Some(message) = self.channel.basic_get(queue.into(), BasicGetOptions::default()).await? {
                message.delivery.acker.ack(BasicAckOptions::default()).await?;
                all.push(message.delivery);
            }
            Ok(())
        });
        done.unwrap_or_else(|error| panic!("{queue}: {error}"));
        all
    }
}
