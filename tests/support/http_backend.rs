//! A web service in the test: a real HTTP server on a port of its own. It writes down what it gets, in the order in
//! which it has the whole of a request, and answers as the test says. It can be killed and started again on its port.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

use super::ports;

/// One request.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    /// Path and query, as they came.
    pub target: String,
    headers: Vec<(String, String)>,
    pub body: String,
    /// The connection that it came on, counted from 0.
    pub connection: usize,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// How many headers it has.
    pub fn header_names(&self) -> Vec<&str> {
        self.headers.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A status, header lines and a body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Nothing, ever.
    Hang,
    /// The connection ends.
    Drop,
}

impl Reply {
    pub fn status(status: u16) -> Reply {
        Reply::Answer(status, vec![], String::new())
    }

    pub fn json(body: impl Into<String>) -> Reply {
        Reply::Answer(200, vec![], body.into())
    }
}

type Behaviour = Arc<dyn Fn(&Received) -> Reply + Send + Sync>;

/// What all connections share, and what outlives a crash.
struct State {
    behaviour: Mutex<Behaviour>,
    received: Mutex<Vec<Received>>,
    connections: AtomicUsize,
}

pub struct HttpBackend {
    pub address: SocketAddr,
    state: Arc<State>,
    tls: Option<TlsAcceptor>,
    running: Option<Running>,
}

struct Running {
    _stop: oneshot::Sender<Infallible>,
    thread: JoinHandle<()>,
}

impl HttpBackend {
    /// Starts one that answers every request with 204.
    pub fn start() -> HttpBackend {
        HttpBackend::start_with(None)
    }

    /// The same over TLS, with the certificate in `cert.pem` and the key in `key.pem`.
    pub fn start_tls(folder: &Path) -> HttpBackend {
        let certificates = CertificateDer::pem_file_iter(folder.join("cert.pem")).expect("a file of certificates");
        let certificates = certificates.collect::<Result<_, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("a key");
        let builder = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
        let config = builder.with_single_cert(certificates, key).expect("a certificate with its key");
        HttpBackend::start_with(Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn start_with(tls: Option<TlsAcceptor>) -> HttpBackend {
        let state = Arc::new(State {
            behaviour: Mutex::new(Arc::new(|_: &Received| Reply::status(204))),
            received: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let mut backend = HttpBackend { address: ports::free(), state, tls, running: None };
        backend.restart();
        backend
    }

    /// From now on requests are answered like this.
    pub fn answers(&self, behaviour: impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        *self.state.behaviour.lock().expect("no panic") = Arc::new(behaviour);
    }

    /// From now on all requests are answered like this.
    pub fn always(&self, reply: Reply) {
        self.answers(move |_| reply.clone());
    }

    /// What has come so far, also before a crash.
    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().expect("no panic").clone()
    }

    /// How many that are.
    pub fn count(&self) -> usize {
        self.state.received.lock().expect("no panic").len()
    }

    /// For the key `url`.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// Ends it without a word, as a crash would: connections are closed, and requests that are not answered stay so.
    pub fn kill(&mut self) {
        if let Some(Running { _stop, thread }) = self.running.take() {
            drop(_stop);
            thread.join().expect("it has not panicked");
        }
    }

    /// Starts it again on the same port, after `kill`.
    #[track_caller]
    pub fn restart(&mut self) {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let (address, state, tls) = (self.address, self.state.clone(), self.tls.clone());
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::bind(address).await.expect("the port is free");
                tell.send(()).expect("the test waits");
                tokio::select! {
                    () = accept(listener, state, tls) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        told.recv().expect("it listens");
        self.running = Some(Running { _stop: stop, thread });
    }
}

impl Drop for HttpBackend {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>, tls: Option<TlsAcceptor>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        stream.set_nodelay(true).expect("a TCP socket");
        let (state, tls) = (state.clone(), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => serve(stream, state).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, state).await;
                    }
                }
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, state: Arc<State>) {
    let connection = state.connections.fetch_add(1, SeqCst);
    let service = service_fn(|request| respond(request, state.clone(), connection));
    // An error is the end of a connection.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(
    request: Request<Incoming>,
    state: Arc<State>,
    connection: usize,
) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let received = Received {
        method: head.method.to_string(),
        target: head.uri.to_string(),
        headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: String::from_utf8(body.into()).expect("the gateway sends text"),
        connection,
    };
    let behaviour = state.behaviour.lock().expect("no panic").clone();
    state.received.lock().expect("no panic").push(received.clone());
    match behaviour(&received) {
        Reply::Answer(status, headers, body) => {
            let mut response = Response::new(Full::new(body.into()));
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().expect("a header's value"));
            }
            Ok(response)
        }
        Reply::Hang => std::future::pending().await,
        Reply::Drop => Err(io::Error::other("as the test says")),
    }
}
