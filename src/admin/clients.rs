//! Who is connected to the port, and who has to go when it is full: of those that have never sent a request the one
//! that has waited longest, then of those that have been served, and last of those whose body is still to come, or a
//! few hundred slow ones would keep probes out. Nobody is cut off whose request is complete.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Awaited {
    FirstRequest,
    NextRequest,
    Body,
}

/// One connection; out of the book when dropped.
pub struct Client {
    clients: Clients,
    turn: Mutex<Option<Turn>>,
    asked_to_go: Arc<Notify>,
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
        let client = Client { clients: self.clone(), turn: Mutex::default(), asked_to_go: Arc::default() };
        client.wait(Awaited::FirstRequest);
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

    /// A request has come, but for its body.
    pub fn awaits_body(&self) {
        self.wait(Awaited::Body);
    }

    /// A request has come: whatever was awaited is there.
    pub fn begin(&self) {
        if let Some(turn) = self.turn().take() {
            self.clients.book().waiting.remove(&turn);
        }
    }

    /// The request has its answer.
    pub fn end(&self) {
        self.wait(Awaited::NextRequest);
    }

    fn wait(&self, awaited: Awaited) {
        self.begin();
        let mut book = self.clients.book();
        book.turns += 1;
        let turn = Turn { awaited, turn: book.turns };
        book.waiting.insert(turn, self.asked_to_go.clone());
        drop(book);
        *self.turn() = Some(turn);
    }

    fn turn(&self) -> MutexGuard<'_, Option<Turn>> {
        self.turn.lock().expect("nothing panics over a number")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.begin();
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
        let [kept_alive, silent, busy] = std::array::from_fn(|_| clients.enter());
        assert!(clients.is_full());
        kept_alive.begin();
        kept_alive.end();
        busy.begin();
        assert!(clients.make_room() && goes(&silent) && !goes(&kept_alive));
        assert!(clients.make_room() && goes(&kept_alive));
        assert!(!clients.make_room() && !goes(&busy));
        busy.awaits_body();
        busy.awaits_body();
        assert!(clients.make_room() && goes(&busy), "a body that is still to come holds no place");
        assert!(!clients.make_room(), "each stands in the book once");
        drop(silent);
        assert!(!clients.is_full());
    }
}
