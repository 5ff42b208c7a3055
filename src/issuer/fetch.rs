//! One look at the issuer's key set: a request over HTTP or HTTPS, and what is made of the answer.
//!
//! Invariant: an answer costs no more than [`ANSWER_BYTES_MAX`] and [`DEADLINE`], whatever the issuer sends. Redirects
//! are not followed: who may publish keys is said by the configuration.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderValue, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use tokio::time::timeout;

use crate::auth::KeySet;
use crate::auth::jwk::{BadSet, LeftOut, read_set};
use crate::broker::http::{Client, Unanswered, client, connector, exchange};
use crate::config::{JwksUrl, Secret};

/// Longest answer: a set of 64 keys has some 50 KB.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;

/// From the first packet to the last byte of the answer.
pub const DEADLINE: Duration = Duration::from_secs(10);

pub struct Fetcher {
    client: Client,
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
    Unanswered(Unanswered),
    Late,
    Status(StatusCode),
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
        // A connection for each look: minutes later an idle one has been closed by somebody on the way.
        let client = client(connector(None)?, 0);
        Ok(Self { client, url: url.as_str().parse().map_err(io::Error::other)?, headers })
    }

    pub async fn fetch(&self) -> Result<Answer, FetchError> {
        timeout(DEADLINE, self.ask()).await.unwrap_or(Err(FetchError::Late))
    }

    async fn ask(&self) -> Result<Answer, FetchError> {
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = self.headers.clone();
        let answer = exchange(&self.client, request, ANSWER_BYTES_MAX).await.map_err(FetchError::Unanswered)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let (keys, left_out) = read_set(answer.body()).map_err(FetchError::Bad)?;
        Ok(Answer { keys, left_out, fresh_for: max_age(answer.headers()) })
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
            Self::Unanswered(unanswered) => unanswered.fmt(f),
            Self::Late => write!(f, "no whole answer within {DEADLINE:?}"),
            Self::Status(status) if status.is_redirection() => {
                write!(f, "the answer is {status}: redirects are not followed")
            }
            Self::Status(status) => write!(f, "the answer is {status}"),
            Self::Bad(bad) => bad.fmt(f),
        }
    }
}

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
