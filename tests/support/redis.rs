//! A private Redis: a free port, a folder of its own, nothing kept. It can be killed and started again on its port.

use std::net::SocketAddr;
use std::process::Command;

use redis::{Client, Connection, ToRedisArgs};
use tempfile::TempDir;

use super::ports;
use super::process::Process;
use super::wait::eventually_some;

pub struct Redis {
    process: Process,
    folder: TempDir,
    address: SocketAddr,
    connection: Connection,
}

impl Redis {
    /// Starts a Redis and returns once it answers.
    #[track_caller]
    pub fn start() -> Redis {
        let folder = tempfile::tempdir().expect("a temp dir");
        let address = ports::free();
        let (process, connection) = launch(&folder, address);
        Redis { process, folder, address, connection }
    }

    /// Where it listens, as `host:port`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// From here on who connects must know this password.
    pub fn require_password(&mut self, password: &str) {
        let mut command = redis::cmd("CONFIG");
        command
            .arg("SET")
            .arg("requirepass")
            .arg(password)
            .exec(&mut self.connection)
            .expect("Redis does as it is told");
    }

    /// For the key `redis.url`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Ends it without a word, as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port, after `kill`.
    #[track_caller]
    pub fn restart(&mut self) {
        (self.process, self.connection) = launch(&self.folder, self.address);
    }

    /// Publishes; returns how many subscribers Redis had for it.
    #[track_caller]
    pub fn publish(&mut self, channel: &str, payload: impl ToRedisArgs) -> usize {
        let command = redis::cmd("PUBLISH").arg(channel).arg(payload).query(&mut self.connection);
        command.unwrap_or_else(|error| panic!("cannot publish: {error}"))
    }

    /// Asks it anything.
    #[track_caller]
    pub fn query<T: redis::FromRedisValue>(&mut self, command: &[&str]) -> T {
        let (name, arguments) = command.split_first().expect("a command");
        let answer = redis::cmd(name).arg(arguments).query(&mut self.connection);
        answer.unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// Publishes these in order, in one round trip.
    #[track_caller]
    pub fn publish_all(&mut self, channel: &str, payloads: impl Iterator<Item = String>) {
        let mut pipeline = redis::pipe();
        for payload in payloads {
            pipeline.cmd("PUBLISH").arg(channel).arg(payload).ignore();
        }
        let done: redis::RedisResult<()> = pipeline.query(&mut self.connection);
        done.unwrap_or_else(|error| panic!("cannot publish: {error}"));
    }
}

fn launch(folder: &TempDir, address: SocketAddr) -> (Process, Connection) {
    let mut command = Command::new("redis-server");
    command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
    command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(folder.path());
    let process = Process::start(&mut command, &folder.path().join("redis.log"));
    let client = Client::open(format!("redis://{address}")).expect("the address is one");
    let connection = eventually_some("Redis answers", || {
        let mut connection = client.get_connection().ok()?;
        let answer: String = redis::cmd("PING").query(&mut connection).ok()?;
        (answer == "PONG").then_some(connection)
    });
    (process, connection)
}
