//! One look at the issuer's key set: a request over HTTP or HTTPS, and what is made of the answer.
//!
//! Invariant: an answer costs no more than [`ANSWER_BYTES_MAX`] and [`DEADLINE`], whatever the issuer sends. Redirects
//! are not followed: who may publish keys is said by the configuration.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderValue, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

use crate::auth::KeySet;
use crate::auth::jwk::{BadSet, LeftOut, read_set};
use crate::broker::tls;
use crate::config::{JwksUrl, Secret};

/// Longest answer: a set of 64 keys has some 50 KB.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;

/// From the first packet to the last byte of the answer.
pub const DEADLINE: Duration = Duration::from_secs(10);

pub struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    url: Uri,
    headers: HeaderMap,
}

/// The keys that an issuer has.
pub struct Answer {
    pub keys: KeySet,
    pub left_out: Vec<LeftOut>,
    /// For how long it is fresh, if it says so.
    pub fresh_for: Option<Duration>,
}

/// Why there are no keys.
#[derive(Debug)]
pub enum FetchError {
    /// Not reached, or lost.
    Away(legacy::Error),
    Broken(Box<dyn Error + Send + Sync>),
    Late,
    Status(StatusCode),
    TooLong,
    Bad(BadSet),
}

impl Fetcher {
    /// # Errors
    ///
    /// When the URL or the bearer cannot be sent, or no TLS can be had.
    pub fn new(url: &JwksUrl, bearer: Option<&Secret>) -> io::Result<Self> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, application/jwk-set+json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("ringway/", env!("CARGO_PKG_VERSION"))));
        if let Some(bearer) = bearer {
            let value = HeaderValue::try_from(format!("Bearer {}", bearer.expose()));
            let mut value = value.map_err(|_| io::Error::other("auth.jwks_bearer cannot be sent in a header"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls::client(None)?).https_or_http().enable_http1().build();
        // A connection for each look: minutes later an idle one has been closed by somebody on the way.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { client, url: url.as_str().parse().map_err(io::Error::other)?, headers })
    }

    pub async fn fetch(&self) -> Result<Answer, FetchError> {
        timeout(DEADLINE, self.exchange()).await.unwrap_or(Err(FetchError::Late))
    }

    async fn exchange(&self) -> Result<Answer, FetchError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = self.headers.clone();
        let (head, body) = self.client.request(request).await.map_err(FetchError::Away)?.into_parts();
        if head.status != StatusCode::OK {
            return Err(FetchError::Status(head.status));
        }
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() { FetchError::TooLong } else { FetchError::Broken(error) }
        })?;
        let (keys, left_out) = read_set(&body.to_bytes()).map_err(FetchError::Bad)?;
        Ok(Answer { keys, left_out, fresh_for: max_age(&head.headers) })
    }
}

/// RFC 9111 section 5.2.2.1.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).into_iter().filter_map(|value| value.to_str().ok());
    let mut directives = values.flat_map(|value| value.split(',')).filter_map(|directive| directive.split_once('='));
    let (_, seconds) = directives.find(|(name, _)| name.trim().eq_ignore_ascii_case("max-age"))?;
    seconds.trim().trim_matches('"').parse().ok().map(Duration::from_secs)
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(error) => chain(error, f),
            Self::Broken(error) => chain(&**error, f),
            Self::Late => write!(f, "no whole answer within {DEADLINE:?}"),
            Self::Status(status) if status.is_redirection() => {
                write!(f, "the answer is {status}: redirects are not followed")
            }
            Self::Status(status) => write!(f, "the answer is {status}"),
            Self::TooLong => write!(f, "the answer is longer than {ANSWER_BYTES_MAX} bytes"),
            Self::Bad(bad) => bad.fmt(f),
        }
    }
}

/// An error and what caused it, which the client library does not say by itself.
fn chain(error: &(dyn Error + 'static), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{error}")?;
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(f, ": {error}")?;
        cause = error.source();
    }
    Ok(())
}

impl Error for FetchError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_an_answer_is_found_among_what_its_caches_are_told() {
        for (value, seconds) in [
            ("max-age=300", Some(300)),
            ("public, Max-Age=15, stale-while-revalidate=15, must-revalidate", Some(15)),
            ("max-age=\"60\"", Some(60)),
            ("no-store", None),
            ("s-maxage=60", None),
            ("max-age=soon", None),
            ("max-age", None),
        ] {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(value))]);
            assert_eq!(max_age(&headers), seconds.map(Duration::from_secs), "{value}");
        }
    }
}
