//! Who may use the admin port: whoever has the token, or, without one, programs on this machine.
//!
//! A browser is a program on this machine too, and runs what any site gives it. So a page of another site may not post
//! (`Origin` against `Host`), and a site whose name was pointed at this machine (DNS rebinding) gets nothing (`Host`
//! must be an address or `localhost`). With a token neither matters: the page does not have it.
//!
//! Probes are open: they tell nothing but counts and states, and orchestrators cannot always send headers. So are the
//! pages, which ask for the token by themselves: there is nothing in them but how they are drawn.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::State;
use super::error::AdminError;

/// Served to everybody.
const OPEN: [&str; 5] = ["/", "/client", "/livez", "/readyz", "/health"];

pub async fn check(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Result<Response, AdminError> {
    if !OPEN.contains(&request.uri().path()) {
        admit(&state, request.headers())?;
    }
    Ok(next.run(request).await)
}

/// Whether whoever sends these headers may use the port.
pub fn admit(state: &State, headers: &HeaderMap) -> Result<(), AdminError> {
    match &state.token {
        Some(token) => check_token(headers, token.expose()),
        None => check_browser(headers),
    }
}

fn check_token(headers: &HeaderMap, token: &str) -> Result<(), AdminError> {
    let value = headers.get(header::AUTHORIZATION).ok_or(AdminError::TokenMissing)?.as_bytes();
    let scheme = b"bearer ";
    match value.split_at_checked(scheme.len()) {
        Some((start, given)) if start.eq_ignore_ascii_case(scheme) => {
            // Takes the same time wherever the first difference is. The length is no secret.
            let is_same = given.trim_ascii().ct_eq(token.as_bytes());
            if is_same.into() { Ok(()) } else { Err(AdminError::TokenInvalid) }
        }
        _ => Err(AdminError::TokenMissing),
    }
}

fn check_browser(headers: &HeaderMap) -> Result<(), AdminError> {
    // Without Host it is HTTP/1.0, and no browser.
    let Some(host) = headers.get(header::HOST) else { return Ok(()) };
    let host = host.to_str().map_err(|_| AdminError::HostUnknown)?;
    if !is_this_machine(host) {
        return Err(AdminError::HostUnknown);
    }
    let own = |origin: &str| origin.split_once("://").is_some_and(|(_, authority)| authority == host);
    match headers.get(header::ORIGIN) {
        Some(origin) if !origin.to_str().is_ok_and(own) => Err(AdminError::OriginForeign),
        _ => Ok(()),
    }
}

fn is_this_machine(authority: &str) -> bool {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => authority,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), header::HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_the_whole_token_is_accepted() {
        let check = |value| check_token(&headers(&[(header::AUTHORIZATION, value)]), "s3cret");
        for value in ["Bearer s3cret", "bearer s3cret", "BEARER  s3cret "] {
            assert_eq!(check(value), Ok(()), "{value}");
        }
        for value in ["Bearer s3cre", "Bearer s3cret1", "Bearer S3cret", "Bearer "] {
            assert_eq!(check(value), Err(AdminError::TokenInvalid), "{value}");
        }
        for value in ["s3cret", "Basic s3cret", "Bearer", ""] {
            assert_eq!(check(value), Err(AdminError::TokenMissing), "{value}");
        }
        assert_eq!(check_token(&HeaderMap::new(), "s3cret"), Err(AdminError::TokenMissing));
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        let check = |origin| check_browser(&headers(&[(header::HOST, "127.0.0.1:4001"), (header::ORIGIN, origin)]));
        assert_eq!(check("http://127.0.0.1:4001"), Ok(()));
        for origin in ["https://evil.example", "http://127.0.0.1:4000", "null", "http://127.0.0.1:4001.evil.example"] {
            assert_eq!(check(origin), Err(AdminError::OriginForeign), "{origin}");
        }
    }

    #[test]
    fn a_name_that_was_pointed_at_this_machine_is_refused() {
        let check = |host| check_browser(&headers(&[(header::HOST, host)]));
        for host in ["localhost:4001", "LocalHost", "127.0.0.1", "127.0.0.1:4001", "[::1]:4001", "[::1]"] {
            assert_eq!(check(host), Ok(()), "{host}");
        }
        for host in ["evil.example:4001", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", ""] {
            assert_eq!(check(host), Err(AdminError::HostUnknown), "{host}");
        }
        assert_eq!(check_browser(&HeaderMap::new()), Ok(()));
    }
}
