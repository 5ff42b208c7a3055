//! From `[redis]` to the server that is to be spoken with: one, the one that sentinels name at the moment, or those of
//! a cluster.

mod sentinels;

use std::io;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisError, RedisResult, Role, TlsCertificates, Value,
};

use crate::config::{Redis, RedisMode};

use self::sentinels::Sentinels;

/// How Redis is reached.
pub struct Server {
    kind: Kind,
    opening: Opening,
    connection: AsyncConnectionConfig,
    /// For the log: without the password.
    pub address: String,
}

enum Kind {
    /// Servers that are all as good, one after the other: a single one, or any of a cluster, of which each passes on
    /// what is published to all.
    Any {
        clients: Vec<Client>,
        next: usize,
    },
    Sentinels(Sentinels),
}

/// From a server's place to a client of it.
struct Opening {
    settings: Redis,
    certificates: Option<TlsCertificates>,
}

/// A connection for commands.
pub enum Connection {
    One(MultiplexedConnection),
    /// Knows which server of the cluster a key belongs to.
    Cluster(ClusterConnection),
}

impl Server {
    /// From the settings. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// When the settings name no server, or the certificates cannot be read.
    pub fn of(settings: &Redis) -> io::Result<Self> {
        let address = settings.url.as_ref().ok_or_else(|| io::Error::other("redis.url is not set"))?.to_string();
        let opening = Opening { settings: settings.clone(), certificates: certificates(settings)? };
        let addresses = settings.addresses();
        let kind = match settings.mode {
            RedisMode::Single => opening.all(&addresses[..1]).map(|clients| Kind::Any { clients, next: 0 }),
            RedisMode::Cluster => opening.all(&addresses).map(|clients| Kind::Any { clients, next: 0 }),
            RedisMode::Sentinel => opening.sentinels(&addresses).map(Kind::Sentinels),
        };
        let connection = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.response_timeout));
        Ok(Self { kind: kind.map_err(io::Error::other)?, opening, connection, address })
    }

    /// A client of the server that is to be tried now. The next one, each time, where there are several.
    ///
    /// # Errors
    ///
    /// When no sentinel knows one, or the one that they name does not take itself for the master.
    pub async fn client(&mut self) -> RedisResult<Client> {
        let sentinels = match &mut self.kind {
            Kind::Any { clients, next } => {
                *next += 1;
                return Ok(clients[(*next - 1) % clients.len()].clone());
            }
            Kind::Sentinels(sentinels) => sentinels,
        };
        let client = self.opening.server(&sentinels.look().await?)?;
        let asking = async {
            let mut connection = client.get_multiplexed_async_connection_with_config(&self.connection).await?;
            redis::cmd("ROLE").query_async(&mut connection).await
        };
        tokio::select! {
            role = asking => match role? {
                Role::Primary { .. } => Ok(client),
                _ => Err(RedisError::from((redis::ErrorKind::Io, "the server that the sentinels name is no master"))),
            },
            another = sentinels.name_another() => Err(another),
        }
    }

    /// Does something with the server of the last [`client`](Self::client), for as long as the sentinels, where there
    /// are any, name no other: then it is broken off.
    ///
    /// # Errors
    ///
    /// When they do.
    pub async fn while_named<T>(&mut self, work: impl Future<Output = T>) -> RedisResult<T> {
        match &mut self.kind {
            Kind::Any { .. } => Ok(work.await),
            Kind::Sentinels(sentinels) => tokio::select! {
                done = work => Ok(done),
                another = sentinels.name_another() => Err(another),
            },
        }
    }

    /// Connects for commands.
    async fn connect(&mut self) -> RedisResult<MultiplexedConnection> {
        let (client, config) = (self.client().await?, self.connection.clone());
        self.while_named(client.get_multiplexed_async_connection_with_config(&config)).await?
    }
}

impl Opening {
    fn all(&self, addresses: &[(String, u16)]) -> RedisResult<Vec<Client>> {
        addresses.iter().map(|address| self.server(address)).collect()
    }

    fn sentinels(&self, addresses: &[(String, u16)]) -> RedisResult<Sentinels> {
        let clients: Vec<Client> =
            addresses.iter().map(|address| self.sentinel(address)).collect::<RedisResult<_>>()?;
        Ok(Sentinels::new(clients, &self.settings.sentinel_master))
    }

    /// One that commands are for.
    fn server(&self, (host, port): &(String, u16)) -> RedisResult<Client> {
        self.client(info(&self.settings, host, *port)?)
    }

    /// One of the sentinels, which have a password of their own.
    fn sentinel(&self, (host, port): &(String, u16)) -> RedisResult<Client> {
        let mut session = RedisConnectionInfo::default();
        if let Some(password) = &self.settings.sentinel_password {
            session = session.set_password(password.expose());
        }
        self.client(place(&self.settings, host, *port).into_connection_info()?.set_redis_settings(session))
    }

    fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
        match &self.certificates {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
            None => Client::open(info),
        }
    }
}

/// Who makes connections for commands.
pub struct Commands {
    server: Server,
    cluster: Option<ClusterClient>,
}

impl Commands {
    /// From the settings. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// As [`Server::of`].
    pub fn of(settings: &Redis) -> io::Result<Self> {
        let cluster = (settings.mode == RedisMode::Cluster).then(|| cluster(settings)).transpose()?;
        Ok(Self { server: Server::of(settings)?, cluster })
    }

    pub fn address(&self) -> &str {
        &self.server.address
    }

    pub async fn connect(&mut self) -> RedisResult<Connection> {
        match &self.cluster {
            Some(cluster) => cluster.get_async_connection().await.map(Connection::Cluster),
            None => self.server.connect().await.map(Connection::One),
        }
    }

    /// As [`Server::while_named`].
    ///
    /// # Errors
    ///
    /// When the sentinels name another server.
    pub async fn while_named<T>(&mut self, work: impl Future<Output = T>) -> RedisResult<T> {
        self.server.while_named(work).await
    }
}

impl Connection {
    /// Whether anybody answers who may do something. One that is full need not say PONG.
    pub async fn ping(&mut self) -> RedisResult<()> {
        let ping = redis::cmd("PING");
        let answer = match self {
            Self::One(connection) => ping.exec_async(connection).await,
            Self::Cluster(connection) => ping.exec_async(connection).await,
        };
        answer.or_else(|error| if is_full(&error) { Ok(()) } else { Err(error) })
    }

    /// Whether it is of no use any more after such an answer. In a cluster it is that of one server among others, which
    /// the library looks for anew.
    pub fn is_ended_by(&self, error: &RedisError) -> bool {
        matches!(self, Self::One(_)) && is_lost(error)
    }

    /// Sends commands, in their order as far as they are for one server; an answer for each. An error of the whole
    /// means that the connection is lost.
    ///
    /// # Errors
    ///
    /// When the connection is lost.
    pub async fn send(&mut self, commands: Vec<Cmd>) -> RedisResult<Vec<RedisResult<Value>>> {
        match self {
            Self::One(connection) => {
                let mut pipeline = Pipeline::with_capacity(commands.len());
                pipeline.ignore_errors();
                for command in commands {
                    pipeline.add_command(command);
                }
                pipeline.query_async(connection).await
            }
            Self::Cluster(connection) => {
                let sending = commands.into_iter().map(|command| {
                    let mut connection = connection.clone();
                    async move { connection.req_packed_command(&command).await }
                });
                let answers = futures_util::future::join_all(sending).await;
                // The library looks for the servers again by itself; when none was reached, so do we.
                match answers.iter().all(|answer| answer.as_ref().is_err_and(is_lost)) {
                    true => Err(answers.into_iter().find_map(Result::err).unwrap_or_else(no_answer)),
                    false => Ok(answers),
                }
            }
        }
    }
}

/// What a server says that does nothing of what it is asked, and may not come to that by itself: it is a replica now,
/// or has not read its data yet, or wants to know anew who we are. Another connection may find a better one.
const AWAY: [&str; 5] = ["READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH"];

/// What a server says that is the right one and takes nothing for now: its memory is full, its disk does not write, its
/// replicas are missing, a script holds it up.
const FULL: [&str; 4] = ["OOM", "MISCONF", "NOREPLICAS", "BUSY"];

/// Whether an error says that nobody has executed the command, or that nobody knows.
pub fn is_lost(error: &RedisError) -> bool {
    let is_broken = error.is_io_error() || error.is_timeout() || error.is_connection_dropped();
    is_broken || error.is_cluster_error() || is_one_of(error, &AWAY)
}

/// Whether an error says that Redis takes nothing for now.
pub fn is_full(error: &RedisError) -> bool {
    is_one_of(error, &FULL)
}

fn is_one_of(error: &RedisError, codes: &[&str]) -> bool {
    error.code().is_some_and(|code| codes.contains(&code))
}

fn no_answer() -> RedisError {
    RedisError::from((redis::ErrorKind::Io, "no answer"))
}

fn certificates(settings: &Redis) -> io::Result<Option<TlsCertificates>> {
    let read = |file: &std::path::PathBuf| {
        std::fs::read(file).map_err(|error| io::Error::other(format!("{}: {error}", file.display())))
    };
    let pem = settings.tls_ca_file.as_ref().map(read).transpose()?;
    Ok(pem.map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem) }))
}

fn uses_tls(settings: &Redis) -> bool {
    settings.url.as_ref().is_some_and(|url| url.uses_tls)
}

fn place(settings: &Redis, host: &str, port: u16) -> ConnectionAddr {
    let host = host.to_owned();
    if uses_tls(settings) {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}

fn info(settings: &Redis, host: &str, port: u16) -> RedisResult<ConnectionInfo> {
    let mut session = RedisConnectionInfo::default().set_db(settings.database.into());
    if let Some(username) = settings.url.as_ref().and_then(|url| url.username.as_ref()) {
        session = session.set_username(username);
    }
    if let Some(password) = &settings.password {
        session = session.set_password(password.expose());
    }
    Ok(place(settings, host, port).into_connection_info()?.set_redis_settings(session))
}

fn cluster(settings: &Redis) -> io::Result<ClusterClient> {
    let nodes = settings.addresses().into_iter().map(|(host, port)| info(settings, &host, port));
    let nodes: Vec<ConnectionInfo> = nodes.collect::<RedisResult<_>>().map_err(io::Error::other)?;
    let mut builder = ClusterClientBuilder::new(nodes)
        .connection_timeout(settings.connect_timeout)
        .response_timeout(settings.response_timeout);
    if let Some(certificates) = certificates(settings)? {
        builder = builder.certs(certificates);
    }
    builder.build().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RedisUrl, Secret};

    #[test]
    fn the_password_reaches_redis_and_no_text() {
        let url = RedisUrl::parse("redis://app@127.0.0.1:6380").expect("a URL");
        let password = Some(Secret::new("hunter2"));
        let settings = Redis { url: Some(url), password, database: 3, ..Redis::default() };
        let info = info(&settings, "127.0.0.1", 6380).expect("a server");
        let session = info.redis_settings();
        assert_eq!((session.username(), session.password(), session.db()), (Some("app"), Some("hunter2"), 3));
        assert!(!format!("{info:?}").contains("hunter2"));
    }

    #[test]
    fn tls_is_for_every_node() {
        let url = Some(RedisUrl::parse("rediss://a").expect("a URL"));
        let settings = Redis { url, nodes: vec!["b:7".into(), "[::1]:8".into()], ..Redis::default() };
        assert_eq!(settings.addresses(), [("a".into(), 6379), ("b".into(), 7), ("::1".into(), 8)]);
        assert!(matches!(place(&settings, "b", 7), ConnectionAddr::TcpTls { insecure: false, .. }));
    }
    #[test]
    fn a_server_that_does_nothing_is_lost_or_full_and_a_bad_command_is_neither() {
        let answer = |line: &str| {
            let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("an answer");
            value.extract_error().expect_err("it is an error")
        };
        for (lines, expected) in [
            (
                &["READONLY You can't write", "LOADING x", "MASTERDOWN x", "CLUSTERDOWN x", "NOAUTH x"][..],
                (true, false),
            ),
            (&["OOM command not allowed", "MISCONF x", "NOREPLICAS x", "BUSY x"], (false, true)),
            (&["WRONGTYPE x", "ERR x", "NOPERM x"], (false, false)),
        ] {
            for line in lines {
                assert_eq!((is_lost(&answer(line)), is_full(&answer(line))), expected, "{line}");
            }
        }
    }
}
