//! From `[redis]` to the server that is to be spoken with: one, the one that sentinels name at the moment, or one of a
//! cluster. And to all of a cluster, for who sends to each what is its own ([`cluster`]).

pub mod cluster;
mod members;
mod sentinels;

use std::future::pending;
use std::io;

use redis::aio::MultiplexedConnection;
use redis::{
    Arg, AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisError, RedisResult, Role, TlsCertificates, Value,
};

use crate::config::{Redis, RedisMode};

use self::members::Members;
use self::sentinels::Sentinels;

/// How Redis is reached.
pub struct Server {
    kind: Kind,
    opening: Opening,
    /// For the log: without the password.
    pub address: String,
}

enum Kind {
    One(Client),
    /// Any of a cluster: each passes on what is published to all.
    Members(Members),
    Sentinels(Sentinels),
}

/// From a server's place to a client of it.
struct Opening {
    settings: Redis,
    certificates: Option<TlsCertificates>,
}

/// A connection for commands. Its clones are one connection.
#[derive(Clone)]
pub struct Connection {
    to: MultiplexedConnection,
    /// Bytes of the largest argument that the server takes, where it says so. A larger one ends the connection.
    argument_max: usize,
}

impl Server {
    /// From the settings. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// When the settings name no server, or the certificates cannot be read.
    pub fn of(settings: &Redis) -> io::Result<Self> {
        let (address, opening) = (address(settings)?, Opening::of(settings)?);
        let addresses = settings.addresses();
        let kind = match settings.mode {
            RedisMode::Single => opening.server(&addresses[0]).map(Kind::One),
            RedisMode::Cluster => opening.members(&addresses).map(Kind::Members),
            RedisMode::Sentinel => opening.sentinels(&addresses).map(Kind::Sentinels),
        };
        Ok(Self { kind: kind.map_err(io::Error::other)?, opening, address })
    }

    /// A client of the server that is to be tried now. Of a cluster the next one, each time.
    ///
    /// # Errors
    ///
    /// When no sentinel knows one, or the one that they name does not take itself for the master; when the one of a
    /// cluster is cut off from it.
    pub async fn client(&mut self) -> RedisResult<Client> {
        let sentinels = match &mut self.kind {
            Kind::One(client) => return Ok(client.clone()),
            Kind::Members(members) => return members.next().await,
            Kind::Sentinels(sentinels) => sentinels,
        };
        let client = self.opening.server(&sentinels.look().await?)?;
        let asking = async {
            let mut connection =
                client.get_multiplexed_async_connection_with_config(&self.opening.connection()).await?;
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
    /// are any, name no other, and a cluster has it: then it is broken off.
    ///
    /// # Errors
    ///
    /// When they do, or it is cut off.
    pub async fn while_named<T>(&mut self, work: impl Future<Output = T>) -> RedisResult<T> {
        let left = async {
            match &mut self.kind {
                Kind::One(_) => pending().await,
                Kind::Members(members) => members.lose_it().await,
                Kind::Sentinels(sentinels) => sentinels.name_another().await,
            }
        };
        tokio::select! {
            done = work => Ok(done),
            why = left => Err(why),
        }
    }

    /// Connects for commands, to a server that answers. One that is still reading its data, say, lets in and does
    /// nothing.
    ///
    /// # Errors
    ///
    /// As [`client`](Self::client), and when it does not let in.
    pub async fn connect(&mut self) -> RedisResult<Connection> {
        let (client, config) = (self.client().await?, self.opening.connection());
        self.while_named(Connection::open(&client, &config)).await?
    }
}

impl Opening {
    fn of(settings: &Redis) -> io::Result<Self> {
        Ok(Self { settings: settings.clone(), certificates: certificates(settings)? })
    }

    /// How long is waited for what.
    fn connection(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.settings.connect_timeout))
            .set_response_timeout(Some(self.settings.response_timeout))
    }

    fn members(&self, addresses: &[(String, u16)]) -> RedisResult<Members> {
        let clients = addresses.iter().map(|address| self.server(address)).collect::<RedisResult<_>>()?;
        let patience = self.settings.connect_timeout + self.settings.response_timeout;
        Ok(Members::new(clients, self.connection(), patience))
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

impl Connection {
    async fn open(client: &Client, config: &AsyncConnectionConfig) -> RedisResult<Self> {
        let to = client.get_multiplexed_async_connection_with_config(config).await?;
        let mut connection = Self { to, argument_max: usize::MAX };
        connection.ping().await?;
        let asking = redis::cmd("CONFIG").arg("GET").arg("proto-max-bulk-len").to_owned();
        // Most may not ask that.
        if let Ok(Some((_, max))) = asking.query_async::<Option<(String, usize)>>(&mut connection.to).await {
            connection.argument_max = max;
        }
        Ok(connection)
    }

    /// Whether the server takes a command of such a size. One that is too large would cost all others theirs.
    pub fn takes(&self, command: &Cmd) -> bool {
        command.args_iter().all(|argument| match argument {
            Arg::Simple(bytes) => bytes.len() <= self.argument_max,
            _ => true,
        })
    }

    /// Whether somebody answers who may do something. One that is full need not say PONG.
    ///
    /// # Errors
    ///
    /// When nobody does.
    pub async fn ping(&mut self) -> RedisResult<()> {
        let answer = redis::cmd("PING").exec_async(&mut self.to).await;
        answer.or_else(|error| if is_full(&error) { Ok(()) } else { Err(error) })
    }

    /// Sends commands, in their order; an answer for each.
    ///
    /// # Errors
    ///
    /// When the connection is lost.
    pub async fn send(&mut self, mut commands: Pipeline) -> RedisResult<Vec<RedisResult<Value>>> {
        commands.ignore_errors().query_async(&mut self.to).await
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

/// Whether an error says that the cluster of the server has no master for the slot.
pub fn is_cluster_down(error: &RedisError) -> bool {
    is_one_of(error, &["CLUSTERDOWN"])
}

fn is_one_of(error: &RedisError, codes: &[&str]) -> bool {
    error.code().is_some_and(|code| codes.contains(&code))
}

/// For the log.
fn address(settings: &Redis) -> io::Result<String> {
    settings.url.as_ref().map(ToString::to_string).ok_or_else(|| io::Error::other("redis.url is not set"))
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
