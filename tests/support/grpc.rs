//! A backend that speaks gRPC: all contracts of src/proto, on a thread of its own in the test's process, by tonic's own
//! server. It does what the messages ask for, writes down what it was asked, and can be killed, restarted and frozen.

mod typed;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use futures_util::{FutureExt, Stream};
use ringway::proto::chat::v1 as chat;
use ringway::proto::location::v1 as location;
use ringway::proto::notification::v1 as notification;
use ringway::proto::relay::v1 as relay;
use ringway::proto::v1::Identity;
use sonic_rs::{JsonValueTrait, Value};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

use super::ports;
use super::wait::eventually_some;
use super::wire;

/// What it was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Such as `Forward`.
    pub method: &'static str,
    pub identity: Identity,
    pub kind: String,
    /// The request, as Rust prints it; of a relayed message its body.
    pub text: String,
    /// The header `grpc-timeout`.
    pub timeout: String,
    /// The metadata `x-api-key`.
    pub api_key: String,
}

pub struct Backend {
    pub address: SocketAddr,
    book: Arc<Book>,
    running: Option<Running>,
    /// Those that have another one in their place.
    retired: Vec<Running>,
}

/// What it answers to a question of the gateway itself.
type Decides = fn(&Value) -> &'static str;

/// What is known of it outside.
#[derive(Default)]
pub struct Book {
    asked: Mutex<Vec<Asked>>,
    /// How questions of the gateway itself are answered.
    decides: Mutex<Option<Decides>>,
    /// Messages of streams that were taken from it.
    pub streamed: AtomicUsize,
    /// Calls that were given up before they had been answered whole.
    pub cancelled: AtomicUsize,
    /// Connections of gateways.
    pub accepted: AtomicUsize,
}

struct Running {
    /// Dropped: it accepts nobody any more and ends when all is answered.
    retire: Option<oneshot::Sender<Infallible>>,
    /// Dropped: it ends.
    end: oneshot::Sender<Infallible>,
    handle: tokio::runtime::Handle,
    thread: JoinHandle<()>,
}

/// Certificates, as PEM.
pub struct Certified {
    pub certificate: String,
    pub key: String,
}

impl Backend {
    #[track_caller]
    pub fn start() -> Backend {
        Backend::start_with(None)
    }

    #[track_caller]
    pub fn start_with(tls: Option<&Certified>) -> Backend {
        let mut backend = Backend { address: ports::free(), book: Arc::default(), running: None, retired: vec![] };
        backend.launch(tls);
        backend
    }

    /// `http://…`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn book(&self) -> &Book {
        &self.book
    }

    /// From now on a relayed `authorize` is answered like this.
    pub fn answers_questions(&self, decides: Decides) {
        *self.book.decides.lock().expect("nothing panics over it") = Some(decides);
    }

    /// All that it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.book.asked.lock().expect("nothing panics over it").clone()
    }

    /// Ends it without a word, as a crash would: its connections are gone.
    pub fn kill(&mut self) {
        for Running { end, thread, .. } in self.running.take().into_iter().chain(self.retired.drain(..)) {
            drop(end);
            thread.join().expect("it does not panic");
        }
    }

    /// Starts another one in its place, while it finishes what it was asked and closes its connections in good order.
    #[track_caller]
    pub fn replace(&mut self) {
        let mut running = self.running.take().expect("it runs");
        running.retire = None;
        self.retired.push(running);
        // As soon as the old one has let go of the port.
        self.launch(None);
    }

    /// Starts it again on the same port, after `kill`.
    #[track_caller]
    pub fn restart(&mut self) {
        self.launch(None);
    }

    /// It stands still, with all of its connections, until the sender is dropped.
    #[must_use]
    pub fn freeze(&self) -> mpsc::Sender<Infallible> {
        let (thaw, frozen) = mpsc::channel::<Infallible>();
        let reached = Arc::new(Barrier::new(2));
        let there = reached.clone();
        let running = self.running.as_ref().expect("it runs");
        running.handle.spawn(async move {
            there.wait();
            let _ = frozen.recv();
        });
        reached.wait();
        thaw
    }

    #[track_caller]
    fn launch(&mut self, tls: Option<&Certified>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let incoming = eventually_some("the port is free", || {
            let _inside = runtime.enter();
            TcpIncoming::bind(self.address).ok()
        });
        let (book, handle) = (self.book.clone(), runtime.handle().clone());
        let (end, ended) = oneshot::channel::<Infallible>();
        let (retire, retired) = oneshot::channel::<Infallible>();
        let mut server = Server::builder();
        if let Some(Certified { certificate, key }) = tls {
            let identity = tonic::transport::Identity::from_pem(certificate, key);
            let tls = tonic::transport::ServerTlsConfig::new().identity(identity);
            server = server.tls_config(tls).expect("a certificate");
        }
        let does = Does(book.clone());
        let router = server
            .add_service(relay::relay_service_server::RelayServiceServer::new(does.clone()))
            .add_service(location::location_service_server::LocationServiceServer::new(does.clone()))
            .add_service(chat::chat_service_server::ChatServiceServer::new(does.clone()))
            .add_service(notification::notification_service_server::NotificationServiceServer::new(does));
        let thread = thread::spawn(move || {
            let counted = incoming.with_nodelay(Some(true)).inspect(move |_| _ = book.accepted.fetch_add(1, SeqCst));
            let serving = router.serve_with_incoming_shutdown(counted, retired.map(drop));
            runtime.block_on(async {
                tokio::select! {
                    served = serving => served.expect("it serves"),
                    _ = ended => {}
                }
            });
            runtime.shutdown_timeout(Duration::from_millis(100));
        });
        self.running = Some(Running { retire: Some(retire), end, handle, thread });
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What the backend does.
#[derive(Clone)]
struct Does(Arc<Book>);

/// Counts a call as cancelled when it is dropped before it is answered whole.
struct UnderWay(Option<Arc<Book>>);

impl UnderWay {
    fn is_done(&mut self) {
        self.0 = None;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(book) = &self.0 {
            book.cancelled.fetch_add(1, SeqCst);
        }
    }
}

type Parts<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Does {
    fn note<T>(
        &self,
        method: &'static str,
        request: &Request<T>,
        identity: Option<&Identity>,
        kind: &str,
        text: String,
    ) {
        let header = |name| request.metadata().get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        let identity = identity.cloned().expect("every request says who");
        let (timeout, api_key) = (header("grpc-timeout"), header("x-api-key"));
        let asked = Asked { method, identity, kind: kind.to_owned(), text, timeout, api_key };
        self.0.asked.lock().expect("nothing panics over it").push(asked);
    }
}

impl Book {
    /// The answer to what the gateway itself asks; `None`: a client has said it.
    fn decided(&self, ask: &relay::ForwardRequest) -> Option<&'static str> {
        let decides = *self.decides.lock().expect("nothing panics over it");
        decides.filter(|_| ask.r#type == "authorize").map(|decides| decides(&wire::json(&ask.body)))
    }
}

/// `7` of `refuse:7`.
fn number(text: &str) -> usize {
    text.split_once(':').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

fn said(message: String) -> relay::ForwardReply {
    relay::ForwardReply { message }
}

/// Does what the field `do` of the message says.
#[tonic::async_trait]
impl relay::relay_service_server::RelayService for Does {
    async fn forward(&self, request: Request<relay::ForwardRequest>) -> Result<Response<relay::ForwardReply>, Status> {
        let ask = request.get_ref();
        self.note("Forward", &request, ask.identity.as_ref(), &ask.r#type, ask.body.clone());
        if let Some(answer) = self.0.decided(ask) {
            return Ok(Response::new(said(answer.into())));
        }
        let body = wire::json(&ask.body);
        let what = body.get("do").and_then(|what| what.as_str()).unwrap_or("");
        let mut under_way = UnderWay(Some(self.0.clone()));
        let message = match what {
            "say" => format!(r#"{{"type":"said","n":{}}}"#, wire::number(&body, &["n"]).unwrap_or(0)),
            "babble" => "this is no message".into(),
            "shout" => format!(r#"{{"type":"said","text":"{}"}}"#, "x".repeat(number("x:3000000"))),
            "hang" => std::future::pending().await,
            what if what.starts_with("refuse:") => {
                under_way.is_done();
                return Err(Status::new(Code::from_i32(number(what) as i32), "as asked"));
            }
            _ => String::new(),
        };
        under_way.is_done();
        Ok(Response::new(said(message)))
    }

    type ForwardStreamStream = Parts<relay::ForwardReply>;

    async fn forward_stream(
        &self,
        request: Request<relay::ForwardRequest>,
    ) -> Result<Response<Self::ForwardStreamStream>, Status> {
        let ask = request.get_ref();
        self.note("ForwardStream", &request, ask.identity.as_ref(), &ask.r#type, ask.body.clone());
        if let Some(answer) = self.0.decided(ask) {
            return Ok(Response::new(stream::iter([Ok(said(answer.into()))]).boxed()));
        }
        let body = wire::json(&ask.body);
        let what = body.get("do").and_then(|what| what.as_str()).unwrap_or("").to_owned();
        let size = wire::number(&body, &["size"]).unwrap_or(0) as usize;
        let count = number(&what);
        let part = move |n| said(format!(r#"{{"type":"part","n":{n},"text":"{}"}}"#, "x".repeat(size)));
        let book = self.0.clone();
        let is_crumbs = what.starts_with("crumbs");
        let parts = stream::iter(0..count).then(move |n| {
            book.streamed.fetch_add(1, SeqCst);
            let part = part(n);
            async move {
                // What is not there yet does not share a frame with what is.
                if is_crumbs {
                    yield_now().await;
                }
                Ok(part)
            }
        });
        let rest: Parts<relay::ForwardReply> = match what.split(':').next().unwrap_or("") {
            "hang" => stream::pending().boxed(),
            "fail" => stream::iter([Err(Status::internal("as asked"))]).boxed(),
            "empty" => stream::iter([Ok(said(String::new()))]).boxed(),
            "babble" => stream::iter([Ok(said("{}".into()))]).boxed(),
            _ => stream::empty().boxed(),
        };
        let mut under_way = UnderWay(Some(self.0.clone()));
        let end = stream::poll_fn(move |_| {
            under_way.is_done();
            std::task::Poll::Ready(None)
        });
        Ok(Response::new(parts.chain(rest).chain(end).boxed()))
    }
}
