//! What becomes of a request at the public port: a page, a refusal, or a client. Sans-IO; the lobby acts on it.
//!
//! The order of the checks is what a client is told first: path, upgrade, address, room, origin, token, role, user.

use std::net::IpAddr;

use crate::auth::TokenError;
use crate::clock::Now;
use crate::metrics::{Latency, Timed};
use crate::ws::handshake::{Refusal, Request, Upgrade, accept_response, json_response, query_param};

use super::addresses::customer;
use super::connection::Details;
use super::floor::Arrival;
use super::quotas::{Held, Quotas};
use super::rules::Rules;

/// The subprotocol that a client names when it passes its token as another one.
const SUBPROTOCOL: &str = "ringway.v1";
const TOKEN_SUBPROTOCOL: &str = "bearer.";

/// Longest device id and platform that are kept.
const DETAIL_BYTES_MAX: usize = 128;

/// Seconds after which a client that found no room may try again.
pub const FULL_RETRY_AFTER_S: u32 = 5;

pub enum Decision {
    Tell(Page),
    Refuse(Refusal),
    TokenRefused(TokenError),
    Upgrade(Arrival),
}

/// What the public port shows without an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    Root,
    Health,
}

impl Page {
    pub fn render(self, connections: u64) -> Vec<u8> {
        match self {
            Self::Root => json_response(r#"{"service":"WebSocket Gateway","status":"ok"}"#),
            Self::Health => json_response(&format!(r#"{{"status":"ok","connections":{connections}}}"#)),
        }
    }
}

/// Who asks.
pub struct Caller {
    pub address: IpAddr,
    /// Whether the address may connect once more, or after how many seconds.
    pub admitted: Result<(), u32>,
}

/// Where a request is decided on.
pub struct House<'a> {
    pub rules: &'a Rules,
    pub quotas: &'a Quotas,
    pub is_full: bool,
    /// No room for those who bring no token.
    pub is_full_of_strangers: bool,
    pub now: Now,
}

pub fn decide(request: &Request<'_>, caller: &Caller, house: &House<'_>, latency: &mut Latency) -> Decision {
    let House { rules, quotas, now, .. } = *house;
    if !rules.upgrades(request.path) {
        return match (request.method, request.path) {
            ("GET", "/") => Decision::Tell(Page::Root),
            ("GET", "/health") => Decision::Tell(Page::Health),
            (_, "/" | "/health") => Decision::Refuse(Refusal::MethodNotAllowed),
            _ => Decision::Refuse(Refusal::PathNotFound),
        };
    }
    let upgrade = match Upgrade::check(request) {
        Ok(upgrade) => upgrade,
        Err(refusal) => return Decision::Refuse(refusal),
    };
    if let Err(retry_after_s) = caller.admitted {
        return Decision::Refuse(Refusal::TooManyFromAddress { retry_after_s });
    }
    let retry_after_s = FULL_RETRY_AFTER_S;
    let Ok(address) = quotas.of_address.take(customer(caller.address)) else {
        return Decision::Refuse(Refusal::AddressFull { retry_after_s });
    };
    if house.is_full {
        return Decision::Refuse(Refusal::Full { retry_after_s });
    }
    if !rules.origins.allows(request.header("Origin")) {
        return Decision::Refuse(Refusal::OriginNotAllowed);
    }
    if rules.is_echo(request.path) {
        return Decision::Upgrade(Arrival {
            response: accept_response(&upgrade, None),
            rest: Vec::new(),
            identity: None,
            details: None,
            held: Held { address, user: None },
            echo: true,
        });
    }
    let details = details(request, rules);
    let token = token(request);
    let verify = |token| latency.time(Timed::Authentication, || rules.verifier.verify(token, now.unix_s()));
    let identity = match token.as_deref().map(verify).transpose() {
        Ok(identity) => identity,
        Err(TokenError::UserSentAway) => return Decision::Refuse(Refusal::UserSentAway),
        Err(error) => return Decision::TokenRefused(error),
    };
    if identity.as_ref().is_some_and(|identity| !rules.may_connect(identity)) {
        return Decision::Refuse(Refusal::RoleNotAllowed);
    }
    if identity.is_none() && house.is_full_of_strangers {
        return Decision::Refuse(Refusal::UnauthenticatedFull { retry_after_s });
    }
    let Ok(user) = identity.as_ref().map_or(Ok(None), |identity| quotas.of_user.take(&identity.user_id)) else {
        return Decision::Refuse(Refusal::UserFull { retry_after_s });
    };
    let subprotocol = request.subprotocols().find(|offer| *offer == SUBPROTOCOL);
    let response = accept_response(&upgrade, subprotocol);
    Decision::Upgrade(Arrival {
        response,
        rest: Vec::new(),
        identity,
        details,
        held: Held { address, user },
        echo: false,
    })
}

/// The token, from the first of the places where it may stand.
fn token<'a>(request: &Request<'a>) -> Option<std::borrow::Cow<'a, str>> {
    let bearer = |value: &'a str| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("Bearer").then_some(token.trim())
    };
    if let Some(token) = request.header("Authorization").and_then(bearer) {
        return Some(token.into());
    }
    if let Some(token) = request.query.and_then(|query| query_param(query, "token")) {
        return Some(token);
    }
    request.subprotocols().find_map(|offer| offer.strip_prefix(TOKEN_SUBPROTOCOL)).map(Into::into)
}

/// What the query says of the client, as far as it may.
fn details(request: &Request<'_>, rules: &Rules) -> Option<Box<Details>> {
    let query = request.query?;
    let value = |name| {
        query_param(query, name).filter(|v| !v.is_empty() && v.len() <= DETAIL_BYTES_MAX).map(|v| Box::from(&*v))
    };
    let details = Details {
        device_id: value("deviceId"),
        user_type: value("userType").filter(|_| rules.user_type_from_query),
        platform: value("platform"),
        grants: None,
    };
    let said_something = details.device_id.is_some() || details.user_type.is_some() || details.platform.is_some();
    said_something.then(|| Box::new(details))
}
