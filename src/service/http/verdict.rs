//! What an answer of the backend, or none, says of a message: the one table of it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Response, StatusCode};

use crate::broker::http::Unanswered;
use crate::lane::Failure;
use crate::service::answer::is_message;

/// What trouble with a message says about the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// Nothing: it may refuse a message, or fail with that one, and works.
    Works,
    Unreached,
    /// It has not answered in time: it may be that message which it does not get done with, or that had little time
    /// left.
    Late,
    /// It has not done its work.
    Broken,
}

/// The backend has done its work.
#[derive(Debug, PartialEq, Eq)]
pub enum Done {
    /// It has the message.
    Taken,
    /// It has, and says this to the client.
    Answer(String),
}

/// It has not.
#[derive(Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What the client is told.
    pub failure: Failure,
    /// For the log.
    pub why: String,
    pub again: Again,
    pub says: Says,
}

/// Whether the same message is worth another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    No,
    Soon,
    /// Not before this time is over.
    After(Duration),
}

/// Of an answer to a message. Where it does not go to a client any text is one (`reads_all`).
pub fn judge(response: Response<Bytes>, reads_all: bool) -> Result<Done, Trouble> {
    let status = response.status();
    if status.is_success() {
        let text = String::from_utf8(response.into_body().into()).ok().filter(|text| reads_all || is_message(text));
        return Ok(text.map_or(Done::Taken, Done::Answer));
    }
    let after = retry_after(&response).map(Again::After);
    let (failure, again, says) = match status {
        StatusCode::TOO_MANY_REQUESTS => (Failure::Full, after.unwrap_or(Again::No), Says::Works),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            (Failure::Away, after.unwrap_or(Again::Soon), Says::Broken)
        }
        // About this message, as far as is known: the same one may come again and again.
        status if status.is_server_error() => (Failure::Broken, Again::No, Says::Works),
        // A redirect as well: messages go where the configuration says.
        _ => (Failure::Refused, Again::No, Says::Works),
    };
    Err(Trouble { failure, why: format!("it answered {status}"), again, says })
}

/// Of a request that got no answer.
impl From<Unanswered> for Trouble {
    fn from(unanswered: Unanswered) -> Self {
        let (failure, again, says) = match &unanswered {
            Unanswered::NotReached(_) => (Failure::Away, Again::Soon, Says::Unreached),
            Unanswered::Lost(_) => (Failure::Away, Again::No, Says::Broken),
            Unanswered::TooLarge(_) => (Failure::Refused, Again::No, Says::Works),
        };
        Self { failure, why: unanswered.to_string(), again, says }
    }
}

/// Of a request whose time was over.
pub fn late(waited: Duration) -> Trouble {
    let why = format!("it did not answer within {waited:?}");
    Trouble { failure: Failure::Late, why, again: Again::No, says: Says::Late }
}

/// Seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after(response: &Response<Bytes>) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, retry_after: Option<&str>, body: &'static str) -> Response<Bytes> {
        let mut builder = Response::builder().status(status);
        if let Some(value) = retry_after {
            builder = builder.header(RETRY_AFTER, value);
        }
        builder.body(Bytes::from_static(body.as_bytes())).expect("valid")
    }

    fn done(body: &'static str) -> Done {
        judge(response(200, None, body), false).expect("it is done")
    }

    #[test]
    fn only_a_message_is_an_answer() {
        for body in [r#"{"type":"a"}"#, r#"{"type":"a","type":"b"}"#] {
            assert_eq!(done(body), Done::Answer(body.into()));
        }
        for body in ["", "OK", "{}"] {
            assert_eq!(done(body), Done::Taken, "{body}");
        }
        let invalid = Response::new(Bytes::from_static(b"{\"type\":\"a\",\"x\":\"\xff\"}"));
        assert_eq!(judge(invalid, false), Ok(Done::Taken));
        assert_eq!(judge(response(204, None, ""), false), Ok(Done::Taken));
    }

    #[test]
    fn who_reads_all_is_answered_with_any_text() {
        for body in [r#"{"allowed":true}"#, "OK"] {
            assert_eq!(judge(response(200, None, body), true), Ok(Done::Answer(body.into())));
        }
        assert_eq!(judge(Response::new(Bytes::from_static(b"\xff")), true), Ok(Done::Taken));
    }

    #[test]
    fn every_status_has_its_consequence() {
        let after = |seconds| Again::After(Duration::from_secs(seconds));
        let (works, broken) = (Says::Works, Says::Broken);
        for (status, retry_after, failure, again, says) in [
            (301, None, Failure::Refused, Again::No, works),
            (400, Some("1"), Failure::Refused, Again::No, works),
            (404, None, Failure::Refused, Again::No, works),
            (429, None, Failure::Full, Again::No, works),
            (429, Some("2"), Failure::Full, after(2), works),
            (429, Some("soon"), Failure::Full, Again::No, works),
            (429, Some("Thu, 01 Jan 1970 00:00:00 GMT"), Failure::Full, after(0), works),
            (500, Some("1"), Failure::Broken, Again::No, works),
            (501, None, Failure::Broken, Again::No, works),
            (502, None, Failure::Away, Again::Soon, broken),
            (503, Some("3"), Failure::Away, after(3), broken),
            (504, None, Failure::Away, Again::Soon, broken),
            (599, None, Failure::Broken, Again::No, works),
        ] {
            let trouble = judge(response(status, retry_after, ""), true).expect_err("it is not done");
            assert_eq!((trouble.failure, trouble.again, trouble.says), (failure, again, says), "{status}");
        }
    }
}
