//! What becomes of a request at the public port: a page, a refusal, or a client. Sans-IO; the lobby acts on it.
//!
//! The order of the checks is what a client is told first: path, upgrade, address, room, origin, token, user type,
//! user.

use std::net::IpAddr;

use crate::auth::{Identity, TokenError};
use crate::clock::Now;
use crate::metrics::{Latency, Timed};
use crate::ws::handshake::{Refusal, Request, Upgrade, accept_response, json_response, query_param};

use crate::shard::connection::Details;
use crate::shard::floor::Arrival;
use crate::shard::lobby::FULL_RETRY_AFTER_S;
use crate::shard::lobby::addresses::customer;
use crate::shard::quotas::{Full, Held, Quotas, Share};
use crate::shard::rules::Rules;
use crate::shard::seats::{Seats, Sitter};

/// The subprotocol that a client names when it passes its token as another one.
const SUBPROTOCOL: &str = "ringway.v1";
const TOKEN_SUBPROTOCOL: &str = "bearer.";

/// Longest device id and platform that are kept.
const DETAIL_BYTES_MAX: usize = 128;

pub enum Decision {
    Tell(Page),
    Refuse(Refusal),
    TokenRefused(TokenError),
    /// Everything else is as it should be: to be decided on again when it is known whose token this is.
    Verify(Box<str>),
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
#[derive(Clone, Copy)]
pub struct Caller {
    pub address: IpAddr,
    /// Whether the address may connect once more, or after how many seconds.
    pub admitted: Result<(), u32>,
}

/// Where a request is decided on.
pub struct House<'a> {
    pub rules: &'a Rules,
    pub quotas: &'a Quotas,
    pub seats: &'a Seats,
    pub is_full: bool,
    /// No room for those who bring no token.
    pub is_full_of_strangers: bool,
    /// What has become of the token, if it was verified before.
    pub verified: Option<&'a Result<Identity, TokenError>>,
    pub now: Now,
}

/// Why a client is not let in.
enum Refused {
    Request(Refusal),
    Token(TokenError),
    /// Not yet: this token is to be verified.
    Unverified(Box<str>),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Request(refusal)
    }
}

impl From<Refused> for Decision {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Request(refusal) => Self::Refuse(refusal),
            Refused::Token(error) => Self::TokenRefused(error),
            Refused::Unverified(token) => Self::Verify(token),
        }
    }
}

pub fn decide(request: &Request<'_>, caller: &Caller, house: &House<'_>, latency: &mut Latency) -> Decision {
    if !house.rules.upgrades(request.path) {
        return match (request.method, request.path) {
            ("GET", "/") => Decision::Tell(Page::Root),
            ("GET", "/health") => Decision::Tell(Page::Health),
            (_, "/" | "/health") => Decision::Refuse(Refusal::MethodNotAllowed),
            _ => Decision::Refuse(Refusal::PathNotFound),
        };
    }
    arrival(request, caller, house, latency).map_or_else(Decision::from, Decision::Upgrade)
}

fn arrival(
    request: &Request<'_>,
    caller: &Caller,
    house: &House<'_>,
    latency: &mut Latency,
) -> Result<Arrival, Refused> {
    let House { rules, quotas, .. } = *house;
    let retry_after_s = FULL_RETRY_AFTER_S;
    let upgrade = Upgrade::check(request)?;
    caller.admitted.map_err(|retry_after_s| Refusal::TooManyFromAddress { retry_after_s })?;
    let share = quotas.of_address.take(customer(caller.address));
    let address = share.map_err(|_| Refusal::AddressFull { retry_after_s })?;
    if house.is_full {
        return Err(Refusal::Full { retry_after_s }.into());
    }
    if !rules.origins.allows(request.header("Origin")) {
        return Err(Refusal::OriginNotAllowed.into());
    }
    let echo = rules.is_echo(request.path);
    // The echo asks for no token and is nobody's.
    let identity = if echo { None } else { identity(request, house, latency)? };
    let details = if echo { None } else { details(request, caller.address, rules) };
    let share = identity.as_ref().map_or(Ok(None), |identity| user_share(identity, details.as_deref(), house));
    let user = share.map_err(|_| Refusal::UserFull { retry_after_s })?;
    let subprotocol = request.subprotocols().find(|offer| *offer == SUBPROTOCOL && !echo);
    Ok(Arrival {
        response: accept_response(&upgrade, subprotocol),
        rest: Vec::new(),
        identity,
        details,
        held: Held { address, user },
        echo,
    })
}

/// Of the connections that a user may have. Whoever comes in the place of another is not kept out by it.
fn user_share(identity: &Identity, details: Option<&Details>, house: &House<'_>) -> Result<Option<Share>, Full> {
    let (user_id, quota) = (&identity.user_id, &house.quotas.of_user);
    let sitter = Sitter { user_id, device_id: details.and_then(|details| details.device_id.as_deref()) };
    if house.seats.is_taken(sitter) { quota.take_in_place(user_id) } else { quota.take(user_id) }
}

/// Who the token says it is. None where there is no token, and room for one more who has yet to send it.
fn identity(request: &Request<'_>, house: &House<'_>, latency: &mut Latency) -> Result<Option<Identity>, Refused> {
    let House { rules, now, verified, .. } = *house;
    let Some(token) = token(request) else {
        if house.is_full_of_strangers {
            return Err(Refusal::UnauthenticatedFull { retry_after_s: FULL_RETRY_AFTER_S }.into());
        }
        return Ok(None);
    };
    let verified = match verified {
        Some(verified) => verified.clone(),
        None if rules.verifier.is_slow(&token) => return Err(Refused::Unverified(token.into())),
        None => latency.time(Timed::Authentication, || rules.verifier.verify(&token, now.unix_s())),
    };
    let identity = verified.map_err(|error| match error {
        TokenError::KeysUnavailable => Refused::Request(Refusal::KeysUnavailable { retry_after_s: FULL_RETRY_AFTER_S }),
        TokenError::UserSentAway => Refused::Request(Refusal::UserSentAway),
        error => Refused::Token(error),
    })?;
    if rules.may_connect(&identity) { Ok(Some(identity)) } else { Err(Refusal::RoleNotAllowed.into()) }
}

/// The token, from the first of the places where it may stand. An empty one is none.
fn token<'a>(request: &Request<'a>) -> Option<std::borrow::Cow<'a, str>> {
    let bearer = |value: &'a str| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("Bearer").then_some(token.trim()).filter(|token| !token.is_empty())
    };
    let offered = |offer: &'a str| offer.strip_prefix(TOKEN_SUBPROTOCOL).filter(|token| !token.is_empty());
    if let Some(token) = request.header("Authorization").and_then(bearer) {
        return Some(token.into());
    }
    if let Some(token) = request.query.and_then(|query| query_param(query, "token")) {
        return Some(token);
    }
    request.subprotocols().find_map(offered).map(Into::into)
}

/// What the query says of the client, as far as it may, and whence it comes, where that is told.
fn details(request: &Request<'_>, address: IpAddr, rules: &Rules) -> Option<Box<Details>> {
    let value = |name| {
        let value = query_param(request.query?, name).filter(|v| v.len() <= DETAIL_BYTES_MAX);
        value.map(|v| Box::from(&*v))
    };
    let details = Details {
        device_id: value("deviceId"),
        user_type: value("userType").filter(|_| rules.user_type_from_query),
        platform: value("platform"),
        address: rules.tells_addresses.then_some(address),
        grants: None,
    };
    let said_something = details.device_id.is_some() || details.user_type.is_some() || details.platform.is_some();
    (said_something || details.address.is_some()).then(|| Box::new(details))
}
