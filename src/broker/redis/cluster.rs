//! The servers of a Redis Cluster, and which of them has which slot. For streams, each of which lives on one server;
//! what is published any of them passes on.
//!
//! Who sends decides what goes where (`service/redis/cluster.rs`): the client library can do that too, but tries again
//! by itself what it could not send, behind what came later.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crc16::{State, XMODEM};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, select_ok};
use redis::{Client, ErrorKind, RedisError, RedisResult, Value, from_redis_value};
use tokio::time::timeout;

use crate::config::Redis;

use super::{Connection, Opening};

const SLOTS: u16 = 16_384;

/// More servers than a cluster is made for are none.
const SERVERS_MAX: usize = 1000;

/// So many servers are asked at once for the slots; the first answer counts.
const ASKED: usize = 2;

/// Where a server listens: host and port.
pub type Place = Arc<(String, u16)>;

/// Which server has which slot.
#[derive(Debug, Default)]
pub struct Map {
    /// In the order of the slots.
    ranges: Vec<Range>,
    /// What a server has said of a slot since.
    moved: HashMap<u16, Place>,
}

#[derive(Debug)]
struct Range {
    first: u16,
    last: u16,
    server: Place,
}

/// How servers of a cluster are reached.
pub struct Cluster {
    named: Vec<(Place, Client)>,
    opening: Opening,
    /// For a connection, and for the answer to what is asked then.
    patience: Duration,
    /// For the log: without the password.
    pub address: String,
}

/// Where a server says that a command belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// The slot has moved.
    Moved(Place),
    /// It is just moving, and this key has gone ahead: there a command is taken behind an `ASKING`.
    Asked(Place),
}

/// The slot of a key: that of what stands in its first braces, if it has any.
pub fn slot_of(key: &str) -> u16 {
    let in_braces = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    State::<XMODEM>::calculate(in_braces.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS
}

impl Map {
    /// Of an answer to `CLUSTER SLOTS` by a server on this host.
    fn read(answer: Vec<Vec<Value>>, host: &str) -> RedisResult<Self> {
        let mut servers = HashSet::new();
        let mut ranges = Vec::with_capacity(answer.len().min(usize::from(SLOTS)));
        for row in answer {
            let mut row = row.into_iter();
            let (Some(first), Some(last), Some(Value::Array(server))) = (row.next(), row.next(), row.next()) else {
                return Err(error("no table of slots"));
            };
            let (first, last) = (number(first)?, number(last)?);
            let mut server = server.into_iter();
            let (Some(name), Some(port)) = (server.next(), server.next()) else {
                return Err(error("a slot without a server"));
            };
            // Whose name is unknown cannot be spoken with: his slots are nobody's.
            let Some(name) = host_of(from_redis_value::<Option<String>>(name)?.unwrap_or_default(), host) else {
                continue;
            };
            let server = Place::new((name, number(port)?));
            let server = servers.get(&server).cloned().unwrap_or(server);
            servers.insert(server.clone());
            ranges.push(Range { first, last: last.min(SLOTS - 1), server });
        }
        if ranges.is_empty() || ranges.len() > usize::from(SLOTS) || servers.len() > SERVERS_MAX {
            return Err(error("the server is in no cluster that has slots"));
        }
        ranges.sort_by_key(|range| range.first);
        Ok(Self { ranges, moved: HashMap::new() })
    }

    /// Who has the slot.
    pub fn owner(&self, slot: u16) -> Option<&Place> {
        let range = || self.ranges.get(self.ranges.partition_point(|range| range.last < slot));
        self.moved.get(&slot).or_else(|| range().filter(|range| range.first <= slot).map(|range| &range.server))
    }

    /// Believed until the next map.
    pub fn move_slot(&mut self, slot: u16, to: Place) {
        self.moved.insert(slot, to);
    }

    /// Those that have any slots.
    pub fn servers(&self) -> HashSet<Place> {
        self.ranges.iter().map(|range| &range.server).chain(self.moved.values()).cloned().collect()
    }
}

impl Cluster {
    /// From the settings. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// As [`Server::of`](super::Server::of).
    pub fn of(settings: &Redis) -> io::Result<Self> {
        let (address, opening) = (super::address(settings)?, Opening::of(settings)?);
        let named =
            settings.addresses().into_iter().map(|place| Ok((Place::new(place.clone()), opening.server(&place)?)));
        let named = named.collect::<RedisResult<_>>().map_err(io::Error::other)?;
        Ok(Self { named, opening, patience: settings.connect_timeout + settings.response_timeout, address })
    }

    /// Connects to one of them that answers.
    pub fn connect(&self, to: &Place) -> BoxFuture<'static, RedisResult<Connection>> {
        let (client, config) = (self.opening.server(to), self.opening.connection());
        async move { Connection::open(&client?, &config).await }.boxed()
    }

    /// Which slots are whose, by one of those that are connected, or else by one that the settings name.
    pub fn look(&self, connected: Vec<(Place, Connection)>) -> BoxFuture<'static, RedisResult<Map>> {
        let config = self.opening.connection();
        let mut asked: Vec<BoxFuture<'static, RedisResult<Map>>> = Vec::new();
        let is_connected = !connected.is_empty();
        for (place, connection) in connected.into_iter().take(ASKED) {
            asked.push(ask(place, connection).boxed());
        }
        for (place, client) in self.named.iter().filter(|_| !is_connected).cloned() {
            let config = config.clone();
            asked.push(async move { ask(place, Connection::open(&client, &config).await?).await }.boxed());
        }
        let patience = self.patience;
        async move {
            let looked = timeout(patience, select_ok(asked)).await;
            looked.map_err(|_| error("no server says whose the slots are"))?.map(|(map, _)| map)
        }
        .boxed()
    }
}

async fn ask(place: Place, mut connection: Connection) -> RedisResult<Map> {
    let answer = redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection.to).await?;
    Map::read(answer, &place.0)
}

/// Where an answer of a server says that the command belongs.
pub fn redirect(error: &RedisError, from: &Place) -> Option<Redirect> {
    let (address, _) = error.redirect_node()?;
    let (name, port) = address.rsplit_once(':')?;
    let to = Place::new((host_of(name.to_owned(), &from.0)?, port.parse().ok()?));
    Some(if error.code() == Some("ASK") { Redirect::Asked(to) } else { Redirect::Moved(to) })
}

/// Of a slot or a port. The library would cut off what is too large.
fn number(value: Value) -> RedisResult<u16> {
    from_redis_value::<i64>(value)?.try_into().map_err(|_| error("neither a slot nor a port"))
}

/// A server that does not know its own name is where it was asked.
fn host_of(name: String, asked: &str) -> Option<String> {
    match &*name {
        "" => Some(asked.to_owned()),
        "?" => None,
        _ => Some(name),
    }
}

fn error(what: &'static str) -> RedisError {
    RedisError::from((ErrorKind::Io, what))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn place(port: u16) -> Place {
        Place::new(("a".into(), port))
    }

    /// As if a server on host `a` had answered so.
    pub fn map(ranges: &[(i64, i64, &str, i64)]) -> RedisResult<Map> {
        let row = |&(first, last, host, port): &(i64, i64, &str, i64)| {
            let server = vec![Value::BulkString(host.into()), Value::Int(port), Value::BulkString("id".into())];
            vec![Value::Int(first), Value::Int(last), Value::Array(server)]
        };
        Map::read(ranges.iter().map(row).collect(), "a")
    }

    #[test]
    fn slots_are_those_of_redis() {
        // As `CLUSTER KEYSLOT` says.
        let keys = ["123456789", "foo", "{user1000}.following", "{user1000}.followers", "foo{}{bar}", "foo{{bar}}zap"];
        assert_eq!(keys.map(slot_of), [12739, 12182, 3443, 3443, 8363, 4015]);
    }

    #[test]
    fn a_map_says_who_has_which_slot_and_a_server_may_know_better() {
        let mut map = map(&[(5000, 9999, "b", 2), (0, 4999, "", 1), (12_000, 16_383, "?", 3)]).expect("a map");
        let at = |map: &Map, slot| map.owner(slot).map(|place| (place.0.clone(), place.1));
        assert_eq!([at(&map, 0), at(&map, 4999)], [Some(("a".into(), 1)), Some(("a".into(), 1))]);
        assert_eq!([at(&map, 5000), at(&map, 9999)], [Some(("b".into(), 2)), Some(("b".into(), 2))]);
        assert_eq!([at(&map, 10_000), at(&map, 12_000)], [None, None]);
        map.move_slot(7, place(9));
        assert_eq!([at(&map, 7), at(&map, 8)], [Some(("a".into(), 9)), Some(("a".into(), 1))]);
        assert_eq!(map.servers().len(), 3);
    }

    #[test]
    fn a_server_that_knows_no_slots_is_not_believed() {
        assert!(map(&[]).is_err());
        assert!(map(&[(0, 70_000, "b", 2)]).is_err());
        let many: Vec<_> = (0..=SERVERS_MAX as i64).map(|n| (n, n, "b", n + 1)).collect();
        assert!(map(&many).is_err());
        assert!(map(&many[1..]).is_ok());
    }

    #[test]
    fn a_redirect_names_a_server() {
        let redirected = |line: &str| {
            let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("an answer");
            redirect(&value.extract_error().expect_err("it is an error"), &place(1))
        };
        assert_eq!(redirected("MOVED 7 :2"), Some(Redirect::Moved(place(2))));
        assert_eq!(redirected("ASK 7 a:3"), Some(Redirect::Asked(place(3))));
        let odd = ["MOVED 7", "MOVED 7 a", "MOVED 7 a:x", "ASK 7 ?:3", "MOVED", "ERR 7 a:1"];
        assert_eq!(odd.map(redirected), [const { None }; 6]);
    }
}
