//! A private Redis: a free port, a folder of its own, nothing kept. It can be killed and started again on its port. And
//! what Redis may consist of beside: TLS, sentinels, a cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use redis::{Client, Connection, ToRedisArgs};
use tempfile::TempDir;

use super::ports;
use super::process::{Process, run};
use super::wait::{eventually, eventually_some};

pub struct Redis {
    process: Process,
    folder: TempDir,
    address: SocketAddr,
    connection: Connection,
    /// What it was started with beside that.
    arguments: Vec<String>,
    tls: Option<SocketAddr>,
}

/// Watches servers, and makes another one the master when it has gone. All have one id, so that one hears no other.
pub struct Sentinel {
    _process: Process,
    _folder: TempDir,
    address: SocketAddr,
}

impl Redis {
    /// Starts a Redis and returns once it answers.
    #[track_caller]
    pub fn start() -> Redis {
        Self::start_in(tempfile::tempdir().expect("a temp dir"), vec![])
    }

    /// One that has on disk what it has confirmed: it is there when it was killed and is started again.
    #[track_caller]
    pub fn start_that_keeps() -> Redis {
        let keeps = ["--appendonly", "yes", "--appendfsync", "always"].map(str::to_owned);
        Self::start_in(tempfile::tempdir().expect("a temp dir"), keeps.to_vec())
    }

    /// One that sentinels cannot make a replica of another one: whatever they name, it goes on as before.
    #[track_caller]
    pub fn start_that_stays_master() -> Redis {
        let renamed = ["--rename-command", "REPLICAOF", "NO-REPLICAOF", "--rename-command", "SLAVEOF", "NO-SLAVEOF"];
        Self::start_in(tempfile::tempdir().expect("a temp dir"), renamed.map(str::to_owned).to_vec())
    }

    #[track_caller]
    fn start_in(folder: TempDir, arguments: Vec<String>) -> Redis {
        let address = ports::free();
        let (process, connection) = launch(&folder, address, &arguments);
        Redis { process, folder, address, connection, arguments, tls: None }
    }

    /// One that speaks TLS on another port, with a certificate of its own for 127.0.0.1.
    #[track_caller]
    pub fn start_with_tls() -> Redis {
        let folder = tempfile::tempdir().expect("a temp dir");
        let [key, certificate] = ["key.pem", "cert.pem"].map(|name| folder.path().join(name).display().to_string());
        let mut openssl = Command::new("openssl");
        openssl.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ]);
        openssl.args(["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
        let made = run(openssl.args(["-keyout", &key, "-out", &certificate]));
        assert_eq!(made.code, Some(0), "{made:?}");
        let tls = ports::free();
        let files = [("cert", &certificate), ("key", &key), ("ca-cert", &certificate)];
        let files = files.into_iter().flat_map(|(name, file)| [format!("--tls-{name}-file"), file.clone()]);
        let port = ["--tls-port".into(), tls.port().to_string(), "--tls-auth-clients".into(), "no".into()];
        let arguments = port.into_iter().chain(files).collect();
        Redis { tls: Some(tls), ..Self::start_in(folder, arguments) }
    }

    /// Three servers that share all slots. They serve on while one is away.
    #[track_caller]
    pub fn start_cluster() -> Vec<Redis> {
        let mut servers: Vec<Redis> = (0..3).map(|_| Self::start_for_cluster()).collect();
        let hosts: Vec<String> = servers.iter().map(Redis::host).collect();
        let mut create = Command::new("redis-cli");
        let made =
            run(create.args(["--cluster", "create"]).args(&hosts).args(["--cluster-replicas", "0", "--cluster-yes"]));
        assert_eq!(made.code, Some(0), "{made:?}");
        for server in &mut servers {
            eventually("the cluster is there", || {
                server.query::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
            });
        }
        servers
    }

    #[track_caller]
    fn start_for_cluster() -> Redis {
        // The cluster's own port is 10,000 higher, unless it is said.
        let bus = ports::free().port().to_string();
        let settings = [("enabled", "yes"), ("port", &bus), ("require-full-coverage", "no"), ("node-timeout", "60000")];
        let arguments = settings.into_iter().flat_map(|(name, value)| [format!("--cluster-{name}"), value.to_owned()]);
        Self::start_in(tempfile::tempdir().expect("a temp dir"), arguments.collect())
    }

    /// One more, without slots, that all of them know.
    #[track_caller]
    pub fn join_cluster(servers: &mut [Redis]) -> Redis {
        let mut joining = Self::start_for_cluster();
        let (port, bus) = (joining.address.port().to_string(), joining.arguments[3].clone());
        servers[0].query::<()>(&["CLUSTER", "MEET", &joining.address.ip().to_string(), &port, &bus]);
        let known = format!("cluster_known_nodes:{}", servers.len() + 1);
        for server in servers.iter_mut().chain([&mut joining]) {
            eventually("all know each other", || {
                let info = server.query::<String>(&["CLUSTER", "INFO"]);
                info.contains(&known) && info.contains("cluster_state:ok")
            });
        }
        joining
    }

    /// The slot of a key goes over from one of them to another: first the key, then something may happen, then the
    /// rest.
    #[track_caller]
    pub fn hand_over(servers: &mut [Redis], from: usize, to: usize, key: &str, meanwhile: impl FnOnce(&mut Redis)) {
        let slot = servers[from].query::<u16>(&["CLUSTER", "KEYSLOT", key]).to_string();
        let ids: Vec<String> = servers.iter_mut().map(|server| server.query(&["CLUSTER", "MYID"])).collect();
        let (host, port) = (servers[to].address.ip().to_string(), servers[to].address.port().to_string());
        servers[to].query::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[from]]);
        servers[from].query::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[to]]);
        servers[from].query::<()>(&["MIGRATE", &host, &port, key, "0", "30000"]);
        meanwhile(&mut servers[to]);
        servers[to].query::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids[to]]);
        servers.iter_mut().for_each(|server| server.query::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids[to]]));
    }

    /// Whether a key belongs to this server of a cluster.
    pub fn owns(&mut self, key: &str) -> bool {
        redis::cmd("EXISTS").arg(key).query::<usize>(&mut self.connection).is_ok()
    }

    /// With TLS, for the key `redis.url`: as this user, `name:password@`.
    pub fn tls_url(&self, user: &str) -> String {
        format!("rediss://{user}{}", self.tls.expect("it speaks TLS"))
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// Becomes the replica of another one, or a master.
    pub fn follow(&mut self, master: Option<&Redis>) {
        let (host, port) = match master {
            Some(master) => (master.address.ip().to_string(), master.address.port().to_string()),
            None => ("NO".into(), "ONE".into()),
        };
        self.query::<()>(&["REPLICAOF", &host, &port]);
    }

    /// Who becomes one ends the connections of before.
    pub fn is_master(&mut self) -> bool {
        let client = Client::open(self.url()).expect("the address is one");
        let Ok(mut connection) = client.get_connection() else { return false };
        let info: Result<String, _> = redis::cmd("INFO").arg("replication").query(&mut connection);
        self.connection = connection;
        info.is_ok_and(|info| info.contains("role:master"))
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

    /// Lets it stand still, or go on.
    pub fn freeze(&self, is_frozen: bool) {
        self.process.signal(if is_frozen { "STOP" } else { "CONT" });
    }

    /// Ends it without a word, as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port, after `kill`.
    #[track_caller]
    pub fn restart(&mut self) {
        (self.process, self.connection) = launch(&self.folder, self.address, &self.arguments);
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

impl Sentinel {
    /// Watches this server under a name; a single sentinel decides by itself.
    #[track_caller]
    pub fn watch(master: &Redis, name: &str) -> Sentinel {
        let folder = tempfile::tempdir().expect("a temp dir");
        let address = ports::free();
        let (host, port) = (master.address.ip(), master.address.port());
        let text = format!(
            "bind {}\nport {}\ndir {}\nsentinel myid {}\nsentinel monitor {name} {host} {port} 1\n\
             sentinel down-after-milliseconds {name} 500\nsentinel failover-timeout {name} 5000\n",
            address.ip(),
            address.port(),
            folder.path().display(),
            "7".repeat(40)
        );
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, text).expect("the temp dir is writable");
        let mut command = Command::new("redis-server");
        let process = Process::start(command.arg(&file).arg("--sentinel"), &folder.path().join("sentinel.log"));
        let sentinel = Sentinel { _process: process, _folder: folder, address };
        eventually("the sentinel answers", || sentinel.ask(&["PING"]).is_some_and(|answer| answer.contains("PONG")));
        sentinel
    }

    /// For the key `redis.url`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// As `host:port`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Commands that it has executed, this one left out.
    pub fn executed(&self) -> usize {
        let stats = self.ask(&["INFO", "stats"]).unwrap_or_default();
        let count = stats.lines().find_map(|line| line.trim().strip_prefix("total_commands_processed:"));
        count.and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// Promotes a replica of a master that is well.
    #[track_caller]
    pub fn fail_over(&self, name: &str) {
        let fail_over = || self.ask(&["SENTINEL", "FAILOVER", name]).is_some_and(|answer| answer.trim() == "OK");
        eventually("the sentinel has a replica to promote", fail_over);
    }

    /// How many replicas it knows of this master.
    pub fn replicas(&self, name: &str) -> usize {
        let master = self.ask(&["SENTINEL", "MASTER", name]).unwrap_or_default();
        let mut lines = master.lines().skip_while(|line| *line != "num-slaves").skip(1);
        lines.next().and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// Whether this is the master for it.
    pub fn names(&self, server: &Redis, name: &str) -> bool {
        let named = self.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name]).unwrap_or_default();
        named.lines().eq([server.address.ip().to_string(), server.address.port().to_string()])
    }

    fn ask(&self, command: &[&str]) -> Option<String> {
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        let finished = run(Command::new("redis-cli").args(["-h", &host, "-p", &port]).args(command));
        (finished.code == Some(0)).then_some(finished.stdout)
    }
}

fn launch(folder: &TempDir, address: SocketAddr, arguments: &[String]) -> (Process, Connection) {
    let mut command = Command::new("redis-server");
    command.args(["--bind", &address.ip().to_string(), "--port", &address.port().to_string()]);
    command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(folder.path()).args(arguments);
    let process = Process::start(&mut command, &folder.path().join("redis.log"));
    let client = Client::open(format!("redis://{address}")).expect("the address is one");
    let connection = eventually_some("Redis answers", || {
        let mut connection = client.get_connection().ok()?;
        let answer: String = redis::cmd("PING").query(&mut connection).ok()?;
        (answer == "PONG").then_some(connection)
    });
    (process, connection)
}
