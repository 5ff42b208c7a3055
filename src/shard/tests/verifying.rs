//! Tokens that are verified beside the shard: the order of a client's messages holds, and whatever becomes of the
//! client meanwhile, nothing is left.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

use crate::auth::pem::read_keys;
use crate::auth::{KeySet, Verifier, VerifierSettings};
use crate::shard::rules::Rules;
use crate::shard::verification::Verified;
use crate::ws::close::CloseCode;

use super::client::Said;
use super::*;

const KEY: &str = include_str!("../../../tests/support/keys/p256.pem");
const PUBLIC_KEY: &str = include_str!("../../../tests/support/keys/p256.pub.pem");

fn with_public_key(rules: &mut Rules) {
    let public_keys = KeySet::new(read_keys(PUBLIC_KEY, None).unwrap());
    rules.verifier = Arc::new(Verifier::new(&VerifierSettings { public_keys, ..VERIFIER_SETTINGS.clone() }));
}

fn signed(user: &str) -> String {
    let claims = json!({ "sub": user, "exp": 4_000_000_000_u64 });
    encode(&Header::new(Algorithm::ES256), &claims, &EncodingKey::from_ec_pem(KEY.as_bytes()).unwrap()).unwrap()
}

/// The next answer, which takes a thread of its own a moment.
fn answer(shard: &Shard) -> Verified {
    shard.verified.recv_timeout(Duration::from_secs(30)).expect("every question is answered")
}

fn take_verified(shard: &mut Shard) {
    let (verified, now) = (answer(shard), shard.clock.now());
    shard.floor.verified(verified, now);
    shard.settle();
}

#[test]
fn a_session_begins_with_the_answer_and_what_was_said_behind_the_token_follows_in_order() {
    under_faults_with(with_public_key, |mut shard| {
        let mut ann = shard.stranger();
        ann.authenticate(&signed("ann"));
        ann.subscribe("conv:1");
        ann.say(r#"{"type":"ping","id":7}"#);
        shard.settle();
        assert!(ann.heard().is_empty() && shard.counters().sessions.get() == 0);
        take_verified(&mut shard);
        let kinds = ["auth.success", "subscribed", "pong"];
        let texts = ann.texts();
        assert_eq!(texts.len(), kinds.len(), "{texts:?}");
        for (text, kind) in texts.iter().zip(kinds) {
            assert!(text.contains(&format!(r#""type":"{kind}""#)), "{texts:?}");
        }
        ann.say(r#"{"type":"ping"}"#);
        shard.settle();
        assert_eq!(ann.texts().len(), 1, "it is read again");
        // A fresh one renews the session.
        ann.authenticate(&signed("ann"));
        shard.settle();
        take_verified(&mut shard);
        assert!(ann.texts()[0].contains("auth.success"));
        assert!(shard.floor.state.paused.is_empty());
    });
}

#[test]
fn a_refused_token_closes_and_nothing_behind_it_is_served() {
    under_faults_with(with_public_key, |mut shard| {
        let (good, mut ann) = (signed("ann"), shard.stranger());
        let (message, _) = good.rsplit_once('.').unwrap();
        ann.authenticate(&format!("{message}.AAAA"));
        ann.say(r#"{"type":"ping"}"#);
        shard.settle();
        take_verified(&mut shard);
        let heard = ann.heard();
        assert_eq!(heard[0].error_code().unwrap(), "bad_signature");
        assert_eq!(heard[1..], [Said::close(CloseCode::TOKEN_INVALID)]);
        assert_eq!(shard.counters().tokens_refused.total(), 1);
    });
}

#[test]
fn who_goes_while_his_token_is_verified_leaves_nothing() {
    under_faults_with(with_public_key, |mut shard| {
        let mut ann = shard.stranger();
        ann.authenticate(&signed("ann"));
        shard.settle();
        let late = answer(&shard);
        // Nobody heard of it in time.
        shard.pass(10_100);
        assert_eq!(ann.heard(), [Said::close(CloseCode::AUTH_TIMEOUT)]);
        let now = shard.clock.now();
        shard.floor.verified(late, now);
        shard.pass(20_000);
        assert_eq!(shard.counters().sessions.get(), 0);
        ann.peer.close();
        shard.pass(20_000);
        shard.assert_empty();
    });
}

#[test]
fn an_answer_is_for_one_connection_and_not_for_the_next_in_its_place() {
    under_faults_with(with_public_key, |mut shard| {
        let ann = shard.stranger();
        ann.authenticate(&signed("ann"));
        shard.settle();
        let late = answer(&shard);
        // Its backend says that it has gone although it is not read.
        shard.floor.vanished(ann.id.slot);
        shard.settle();
        let mut bob = shard.stranger();
        bob.authenticate(&signed("bob"));
        shard.settle();
        let now = shard.clock.now();
        shard.floor.verified(late, now);
        shard.settle();
        assert!(bob.heard().is_empty() && shard.counters().sessions.get() == 0);
        take_verified(&mut shard);
        assert!(bob.texts()[0].contains(r#""user_id":"bob""#));
    });
}

#[test]
fn what_was_revoked_meanwhile_counts() {
    under_faults_with(with_public_key, |mut shard| {
        let mut ann = shard.stranger();
        ann.authenticate(&signed("ann"));
        shard.settle();
        let before = answer(&shard);
        assert!(before.identity.is_ok());
        let revocations = shard.floor.state.rules.verifier.revocations().clone();
        // The clock of those who verify is the real one.
        let unix_s = crate::clock::Now::read().unix_s();
        revocations.send_away("ann", unix_s + 3600, unix_s).unwrap();
        revocations.begin_epoch();
        let now = shard.clock.now();
        shard.floor.verified(before, now);
        shard.settle();
        assert!(ann.heard().is_empty(), "it is verified once more");
        take_verified(&mut shard);
        let heard = ann.heard();
        assert_eq!(heard[0].error_code().unwrap(), "user_sent_away");
        assert_eq!(heard[1..], [Said::close(CloseCode::OPERATOR)]);
    });
}

#[test]
fn while_it_waits_a_client_is_not_read_and_what_it_sends_grows_nothing() {
    under_faults_with(with_public_key, |mut shard| {
        let ann = shard.stranger();
        ann.authenticate(&signed("ann"));
        shard.settle();
        let late = answer(&shard);
        for _ in 0..200 {
            ann.say(&format!(r#"{{"type":"ping","payload":"{}"}}"#, "x".repeat(4000)));
            shard.settle();
        }
        let id = ann.id;
        let held = shard.floor.state.paused.take(id).unwrap();
        assert!(held.rest.len() < 100_000, "{} bytes are kept", held.rest.len());
        assert_eq!(shard.counters().messages_received.get(), 1);
        assert!(
            shard.floor.state.paused.begin(id, &held.message) && shard.floor.state.paused.keep(id.slot, &held.rest)
        );
        let now = shard.clock.now();
        shard.floor.verified(late, now);
        shard.pass(1000);
        assert_eq!(shard.counters().messages_received.get(), 201, "nothing was lost");
    });
}
