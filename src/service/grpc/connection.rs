//! One HTTP/2 connection to a backend: made, used by any number of calls at once, and told when it is lost.
//!
//! Called by [`super`]. A connection counts as one when the backend has answered a first call on it, the health check
//! of gRPC, with whatever status: who accepts and says nothing, or speaks something else, is not reached.
//!
//! Invariant: a call that is not read holds up itself alone. Each has a window of its own, which bounds what is read
//! ahead, and that of the connection is large enough for all of them ([`crate::http2`]).

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper::header::{HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::codegen::Service;
use tonic::metadata::MetadataMap;
use tonic::{Status, body::Body};
use tonic_prost::ProstCodec;

use crate::broker::causes::causes;
use crate::broker::tls;
use crate::config::{Endpoint, GrpcService};
use crate::http2::connection_window;

/// From the first packet to the answer to the first call.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a call may have read ahead. Small messages take several times as much memory.
const CALL_WINDOW_BYTES: u32 = 32 << 10;

/// For the answer to a ping.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A peer whose host has vanished is noticed by the kernel: what is sent is not acknowledged for so long, or nothing is
/// said and probes are not answered.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);
const TCP_PROBES: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(5)).with_retries(3);

const AGENT: HeaderValue = HeaderValue::from_static(concat!("ringway/", env!("CARGO_PKG_VERSION")));

/// Any base64 stands in it, and whoever reads it believes so. Nobody does here.
const DETAILS: &str = "grpc-status-details-bin";

/// How a backend is reached.
pub struct Target {
    address: Endpoint,
    pub origin: Uri,
    tls: Option<Arc<ClientConfig>>,
    settings: http2::Builder<TokioExecutor>,
    /// Of every call.
    pub metadata: MetadataMap,
}

/// A connection, and its end.
pub struct Connection {
    pub transport: Transport,
    /// Why it has ended, once it has.
    pub lost: oneshot::Receiver<String>,
}

/// Sends the calls of one connection. Clones are the same.
#[derive(Clone)]
pub struct Transport(http2::SendRequest<Body>);

impl Target {
    /// # Errors
    ///
    /// When its certificates cannot be read.
    pub fn new(service: &GrpcService) -> io::Result<Self> {
        let address = &service.address;
        let tls = address.is_secure.then(|| tls::client(service.tls_ca_file.as_deref())).transpose()?;
        let tls = tls.map(|mut config| {
            config.alpn_protocols = vec![b"h2".to_vec()];
            Arc::new(config)
        });
        let calls = u32::try_from(service.concurrency).unwrap_or(u32::MAX);
        let mut settings = http2::Builder::new(TokioExecutor::new());
        settings
            .timer(TokioTimer::new())
            .initial_stream_window_size(CALL_WINDOW_BYTES)
            .initial_connection_window_size(connection_window(CALL_WINDOW_BYTES, calls))
            .keep_alive_interval(Some(service.keep_alive).filter(|interval| !interval.is_zero()))
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        let origin = address.to_string().parse().map_err(io::Error::other)?;
        let metadata = MetadataMap::from_headers(service.headers());
        Ok(Self { address: address.clone(), origin, tls, settings, metadata })
    }

    /// # Errors
    ///
    /// Why there is no connection, or no backend that answers.
    pub async fn connect(&self, within: Duration) -> Result<Connection, String> {
        let reached = timeout(within, self.reach()).await;
        reached.unwrap_or_else(|_| Err(format!("no answer within {within:.1?}")))
    }

    async fn reach(&self) -> Result<Connection, String> {
        let Endpoint { host, port, .. } = &self.address;
        // An address of IPv6 stands in brackets in a URL.
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((name, *port)).await.map_err(|error| error.to_string())?;
        prepare(&stream).map_err(|error| error.to_string())?;
        let connection = match &self.tls {
            None => self.speak(stream).await,
            Some(config) => {
                let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
                let stream = TlsConnector::from(config.clone()).connect(name, stream).await;
                self.speak(stream.map_err(|error| error.to_string())?).await
            }
        }?;
        self.see_that_it_answers(&connection.transport).await?;
        Ok(connection)
    }

    async fn speak<S>(&self, stream: S) -> Result<Connection, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, speaking) = self.settings.handshake(TokioIo::new(stream)).await.map_err(|error| causes(&error))?;
        let (tell, lost) = oneshot::channel();
        tokio::spawn(async move {
            let why =
                speaking.await.map_or_else(|error| causes(&error), |()| "the backend closed the connection".into());
            drop(tell.send(why));
        });
        Ok(Connection { transport: Transport(sender), lost })
    }

    /// Any status is an answer, but for one that was made here, and that of a backend which says that it does not
    /// serve.
    async fn see_that_it_answers(&self, transport: &Transport) -> Result<(), String> {
        const CHECK: &str = "/grpc.health.v1.Health/Check";
        const NOT_SERVING: i32 = 2;
        let mut request = tonic::Request::new(());
        *request.metadata_mut() = self.metadata.clone();
        request.set_timeout(CONNECT_TIMEOUT);
        let mut client = tonic::client::Grpc::with_origin(transport.clone(), self.origin.clone());
        let path = http::uri::PathAndQuery::from_static(CHECK);
        match client.unary(request, path, ProstCodec::<(), Health>::default()).await {
            Ok(health) if health.get_ref().status == NOT_SERVING => {
                Err("the backend says that it does not serve".into())
            }
            // Its cause alone: in words a status has the whole of it as its programmer sees it.
            Err(status) if is_of_transport(&status) => {
                Err(status.source().map_or_else(|| status.message().to_owned(), causes))
            }
            _ => Ok(()),
        }
    }
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct Health {
    #[prost(int32, tag = "1")]
    status: i32,
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TCP_PROBES)?;
    socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT))
}

/// Whether it was not the backend who said so: the connection has failed, or what came was no HTTP/2.
pub fn is_of_transport(status: &Status) -> bool {
    status.source().is_some()
}

/// Whether the backend has not got any of the request: it can be sent on another connection.
pub fn is_unsent(status: &Status) -> bool {
    status.source().and_then(|cause| cause.downcast_ref::<Unsent>()).is_some_and(|unsent| unsent.is_whole)
}

impl Service<Request<Body>> for Transport {
    type Response = Response<Cleaned>;
    type Error = Unsent;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    /// Always: of a connection that is lost the call says so.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.headers_mut().insert(USER_AGENT, AGENT);
        let answer = self.0.try_send_request(request);
        Box::pin(async move {
            let answer = answer
                .await
                .map_err(|mut error| Unsent { is_whole: error.take_message().is_some(), error: error.into_error() })?;
            let (mut head, body) = answer.into_parts();
            head.headers.remove(DETAILS);
            Ok(Response::from_parts(head, Cleaned(body)))
        })
    }
}

/// A request without an answer.
#[derive(Debug)]
pub struct Unsent {
    /// The backend has not got any of it.
    is_whole: bool,
    error: hyper::Error,
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for Unsent {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// What a backend answers, without what it could bring down its reader with.
pub struct Cleaned(Incoming);

impl hyper::body::Body for Cleaned {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.0).poll_frame(context);
        frame.map_ok(|mut frame| {
            frame.trailers_mut().map(|trailers: &mut HeaderMap| trailers.remove(DETAILS));
            frame
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)
    }
}
