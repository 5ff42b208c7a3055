//! How a web server is reached, over HTTP or HTTPS: one client for the service that posts to it and the issuer that
//! keys are fetched from. It keeps as many connections alive as it is told to, follows no redirect, uses no proxy, and
//! reads no more of an answer than it is told to.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::causes::causes;
use super::tls;

/// From the first packet to a TCP connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection on which nothing was said for so long is not used again: many servers close it then (Node.js after
/// 5 s), and a request that meets that is lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Between two looks of the kernel whether the other end is there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Opens connections.
pub type Connector = HttpsConnector<HttpConnector>;

/// Sends requests. Clones share their connections.
pub type Client = legacy::Client<Connector, Full<Bytes>>;

/// Why there is no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// The server was not reached: it has nothing of the request.
    NotReached(String),
    /// The connection was lost: the server may have the request.
    Lost(String),
    /// It has answered with more than so many bytes.
    TooLarge(usize),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReached(why) | Self::Lost(why) => f.write_str(why),
            Self::TooLarge(bytes_max) => write!(f, "the answer is longer than {bytes_max} bytes"),
        }
    }
}

/// What opens connections to servers. Only the certificates in `ca_file` are believed, or else those of the system.
///
/// # Errors
///
/// When there is none in the file that can be read.
pub fn connector(ca_file: Option<&Path>) -> io::Result<Connector> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(KEEP_ALIVE));
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls::client(ca_file)?);
    Ok(builder.https_or_http().enable_http1().wrap_connector(tcp))
}

/// A client that keeps up to so many connections for the next requests. To be used on a tokio runtime.
pub fn client(connector: Connector, idle_max: usize) -> Client {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_TIMEOUT).pool_max_idle_per_host(idle_max);
    builder.build(connector)
}

/// Sends a request and reads the whole answer, whose body may have so many bytes. Takes as long as the server does.
///
/// # Errors
///
/// When there is no such answer.
pub async fn exchange(
    client: &Client,
    request: Request<Full<Bytes>>,
    body_bytes_max: usize,
) -> Result<Response<Bytes>, Unanswered> {
    let response = client.request(request).await.map_err(|error| match error.is_connect() {
        true => Unanswered::NotReached(causes(&error)),
        false => Unanswered::Lost(causes(&error)),
    })?;
    let (head, body) = response.into_parts();
    match Limited::new(body, body_bytes_max).collect().await {
        Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(Unanswered::TooLarge(body_bytes_max)),
        Err(error) => Err(Unanswered::Lost(causes(&*error))),
    }
}
