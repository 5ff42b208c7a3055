//! Who is connected to the port, and who has to go when it is full: of those that have never sent a request the one
//! that has waited longest, then of those that have been served, and last of those whose body is still to come, or a
//! few hundred slow ones would keep probes out. Nobody is cut off whose request is complete.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::time::Instant;

/// The connections of the port. Clones are the same.
#[derive(Clone)]
pub struct Clients(Arc<Inner>);

struct Inner {
    max: usize,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    open: usize,
    turns: u64,
    /// Those without a request under way, in the order in which they have to go.
    waiting: BTreeMap<Turn, Arc<Notify>>,
}

/// What is awaited of a connection, and since when.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    awaited: Awaited,
    turn: u64,
}

/// In the order in which they have to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Awaited {
    FirstRequest,
    NextRequest,
    Body,
}

/// One connection; out of the book when dropped.
pub struct Client {
    clients: Clients,
    standing: Mutex<Standing>,
    asked_to_go: Arc<Notify>,
}

/// Something that a connection has under way, until it is dropped: also when nobody waits for it any more.
pub struct UnderWay {
    client: Arc<Client>,
    ends: fn(&mut Standing),
}

/// How a connection stands.
struct Standing {
    /// Requests that are served: over HTTP/2 there may be several.
    requests: usize,
    /// Those among them whose body is still to come.
    bodies: usize,
    /// Of messages: their connection may be silent for as long as it likes, while nobody needs the place.
    #[cfg_attr(not(feature = "grpc"), allow(dead_code, reason = "over HTTP/1.1 there are none"))]
    streams: usize,
    /// While every request awaits its body, or there is none.
    turn: Option<Turn>,
    /// When one of these numbers has changed last.
    since: Instant,
}

impl Clients {
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Inner { max, book: Mutex::default() }))
    }

    pub fn is_full(&self) -> bool {
        self.book().open >= self.0.max
    }

    /// Asks one to go. False when all of them have a request under way.
    pub fn make_room(&self) -> bool {
        let first = self.book().waiting.pop_first();
        first.inspect(|(_, goes)| goes.notify_one()).is_some()
    }

    /// A newcomer, waiting for its first request.
    pub fn enter(&self) -> Client {
        self.book().open += 1;
        let standing = Standing { requests: 0, bodies: 0, streams: 0, turn: None, since: Instant::now() };
        let client = Client { clients: self.clone(), standing: Mutex::new(standing), asked_to_go: Arc::default() };
        client.wait(&mut client.standing(), Awaited::FirstRequest);
        client
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().expect("nothing panics over the book")
    }
}

impl Client {
    /// Returns when somebody else needs the place.
    pub async fn asked_to_go(&self) {
        self.asked_to_go.notified().await;
    }

    /// A request has come and is served.
    pub fn serve(self: &Arc<Self>) -> UnderWay {
        self.hold(|standing| standing.requests += 1, |standing| standing.requests -= 1)
    }

    /// Of a request that is served the body is still to come.
    pub fn await_body(self: &Arc<Self>) -> UnderWay {
        self.hold(|standing| standing.bodies += 1, |standing| standing.bodies -= 1)
    }

    fn hold(self: &Arc<Self>, begins: fn(&mut Standing), ends: fn(&mut Standing)) -> UnderWay {
        self.change(begins);
        UnderWay { client: self.clone(), ends }
    }

    fn change(&self, change: fn(&mut Standing)) {
        let mut standing = self.standing();
        change(&mut standing);
        standing.since = Instant::now();
        let awaited = standing.awaited();
        if awaited != standing.turn.map(|turn| turn.awaited) {
            self.leave(&mut standing);
            awaited.into_iter().for_each(|awaited| self.wait(&mut standing, awaited));
        }
    }

    fn wait(&self, standing: &mut Standing, awaited: Awaited) {
        let mut book = self.clients.book();
        book.turns += 1;
        let turn = Turn { awaited, turn: book.turns };
        book.waiting.insert(turn, self.asked_to_go.clone());
        standing.turn = Some(turn);
    }

    fn leave(&self, standing: &mut Standing) {
        if let Some(turn) = standing.turn.take() {
            self.clients.book().waiting.remove(&turn);
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().expect("nothing panics over numbers")
    }
}

/// Over HTTP/2.
#[cfg(feature = "grpc")]
impl Client {
    /// A stream of messages has begun.
    pub fn open_stream(self: &Arc<Self>) -> UnderWay {
        self.hold(|standing| standing.streams += 1, |standing| standing.streams -= 1)
    }

    /// Since when it has had neither a request, nor the head of one, nor a stream; `None` while it has.
    pub fn waits_since(&self) -> Option<Instant> {
        let standing = self.standing();
        (standing.requests == 0 && standing.streams == 0).then_some(standing.since)
    }
}

impl Standing {
    /// `None`: a request has come whole, and is served.
    fn awaited(&self) -> Option<Awaited> {
        match self.bodies {
            bodies if bodies < self.requests => None,
            0 => Some(Awaited::NextRequest),
            _ => Some(Awaited::Body),
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.client.change(self.ends);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.leave(&mut self.standing());
        self.clients.book().open -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes(client: &Client) -> bool {
        use futures_util::FutureExt;
        client.asked_to_go().now_or_never().is_some()
    }

    #[test]
    fn whoever_has_sent_nothing_goes_first_and_whoever_is_served_stays() {
        let clients = Clients::new(3);
        let [kept_alive, silent, busy] = std::array::from_fn(|_| Arc::new(clients.enter()));
        assert!(clients.is_full());
        drop(kept_alive.serve());
        let served = busy.serve();
        assert!(clients.make_room() && goes(&silent) && !goes(&kept_alive));
        assert!(clients.make_room() && goes(&kept_alive));
        assert!(!clients.make_room() && !goes(&busy));
        let awaiting = busy.await_body();
        assert!(clients.make_room() && goes(&busy), "a body that is still to come holds no place");
        assert!(!clients.make_room(), "each stands in the book once");
        drop((awaiting, served, silent));
        assert!(!clients.is_full());
    }

    #[cfg(feature = "grpc")]
    #[test]
    fn whoever_has_one_of_several_requests_under_way_stays() {
        let clients = Clients::new(1);
        let client = Arc::new(clients.enter());
        assert!(client.waits_since().is_some());
        let (whole, other) = (client.serve(), client.serve());
        let awaiting = client.await_body();
        assert!(!clients.make_room() && client.waits_since().is_none());
        // Its body has failed.
        drop((awaiting, other));
        assert!(!clients.make_room() && client.waits_since().is_none(), "the first one is served");
        let (other, awaiting) = (client.serve(), client.await_body());
        drop(whole);
        assert!(client.waits_since().is_none(), "a body has a deadline of its own");
        assert_eq!(client.standing().turn.map(|turn| turn.awaited), Some(Awaited::Body));
        drop(client.serve());
        assert!(client.waits_since().is_none(), "also when another request has been served meanwhile");
        assert_eq!(client.standing().turn.map(|turn| turn.awaited), Some(Awaited::Body));
        drop((awaiting, other));
        assert!(client.waits_since().is_some());
        let stream = client.open_stream();
        assert!(client.waits_since().is_none(), "a stream may be silent");
        assert!(clients.make_room() && goes(&client), "but holds no place");
        drop(stream);
        assert!(client.waits_since().is_some());
    }
}
