//! Tokens as messages, and how long a token holds.

use crate::auth::Identity;
use crate::ws::close::CloseCode;

use super::client::{Client, Said};
use super::{Arrival, Details, Shard, arrival, token, under_faults, under_faults_with};

/// A session whose token holds for this many seconds.
fn session_of(shard: &mut Shard, ttl_s: u64) -> Client {
    let expires_at = shard.clock.now().unix_s() + ttl_s;
    shard.client_with("ann", |identity: &mut Identity, _| identity.expires_at = expires_at)
}

fn without_pings(client: &mut Client) -> Vec<Said> {
    client.heard().into_iter().filter(|said| !matches!(said, Said::Ping(_))).collect()
}

/// Lets time pass; the client shows that it lives.
fn live(shard: &mut Shard, client: &Client, seconds: u64) {
    for _ in 0..seconds {
        client.say_frame(crate::ws::frame::Opcode::Pong, b"");
        shard.pass(1000);
    }
}

#[test]
fn a_client_without_a_token_is_closed_at_the_auth_deadline() {
    under_faults(|mut shard| {
        let mut stranger = shard.stranger();
        stranger.say(r#"{"type":"ping"}"#);
        shard.pass(9_900);
        assert_eq!(stranger.heard().len(), 1);
        shard.pass(200);
        assert_eq!(stranger.heard(), [Said::close(CloseCode::AUTH_TIMEOUT)]);
        assert_eq!(shard.closed("auth_timeout"), 1);
    });
}

#[test]
fn a_token_as_a_message_makes_a_session() {
    under_faults(|mut shard| {
        let mut ann = shard.stranger();
        ann.say(&format!(r#"{{"type":"auth","id":1,"payload":{{"token":"{}"}}}}"#, token("ann", Some("driver"), 3600)));
        shard.settle();
        let session = shard.session_id(ann.id);
        let success =
            format!(r#"{{"type":"auth.success","payload":{{"user_id":"ann","session_id":"{session}"}},"id":1}}"#);
        assert_eq!(ann.texts(), [success]);
        assert_eq!(
            (shard.publish("user:ann", "a"), shard.publish("type:driver", "b"), shard.publish("all", "c")),
            (1, 1, 1)
        );
        shard.pass(20_000);
        assert_eq!(ann.texts(), ["a", "b", "c"]);
        assert_eq!(shard.counters().sessions.get(), 1);
    });
}

#[test]
fn a_bad_token_is_answered_and_closes() {
    under_faults(|mut shard| {
        let expired = token("ann", None, 0);
        for (token, code) in [("nonsense", "malformed"), (expired.as_str(), "expired")] {
            for mut client in [shard.stranger(), shard.client("ann")] {
                client.authenticate(token);
                // What follows in the same chunk is not served.
                client.say(r#"{"type":"ping"}"#);
                shard.settle();
                let heard = client.heard();
                assert_eq!(heard[0].error_code().unwrap(), code);
                assert_eq!(heard[1..], [Said::close(CloseCode::TOKEN_INVALID)]);
            }
        }
        assert_eq!((shard.closed("token_invalid"), shard.counters().tokens_refused.total()), (4, 4));
    });
}

#[test]
fn a_token_of_another_user_is_refused() {
    under_faults(|mut shard| {
        let mut ann = shard.client("ann");
        ann.authenticate(&token("bob", None, 3600));
        shard.settle();
        let heard = ann.heard();
        assert_eq!(heard[0].error_code().unwrap(), "other_user");
        assert_eq!(heard[1..], [Said::close(CloseCode::TOKEN_INVALID)]);
        assert!(!shard.is_of_interest("user:bob") && !shard.is_of_interest("user:ann"));
    });
}

#[test]
fn a_role_that_may_not_connect_is_refused() {
    under_faults_with(
        |rules| rules.user_types = vec!["driver".into()],
        |mut shard| {
            let claims_to_drive = Details { user_type: Some("driver".into()), ..Details::default() };
            let details = Some(Box::new(claims_to_drive));
            let mut rider = shard.settled(Arrival { identity: None, details, ..arrival("nobody") });
            let mut driver = shard.stranger();
            rider.authenticate(&token("ann", Some("rider"), 60));
            driver.authenticate(&token("bob", Some("driver"), 60));
            shard.settle();
            let heard = rider.heard();
            assert_eq!(heard[0].error_code().unwrap(), "role_not_allowed");
            assert_eq!(heard[1..], [Said::close(CloseCode::NOT_ALLOWED)]);
            assert_eq!(driver.texts().len(), 1);
            assert!(!shard.is_of_interest("user:ann") && shard.is_of_interest("user:bob"));
        },
    );
}

#[test]
fn an_expiring_token_is_announced_once_and_then_closes() {
    under_faults(|mut shard| {
        let mut ann = session_of(&mut shard, 50);
        live(&mut shard, &ann, 19);
        assert_eq!(without_pings(&mut ann), []);
        live(&mut shard, &ann, 2);
        let warning = r#"{"type":"token_expiring","payload":{"expires_in":30,"expires_at":1800000050}}"#;
        assert_eq!(without_pings(&mut ann), [Said::text(warning)]);
        live(&mut shard, &ann, 28);
        assert_eq!(without_pings(&mut ann), []);
        live(&mut shard, &ann, 2);
        assert_eq!(without_pings(&mut ann), [Said::close(CloseCode::TOKEN_EXPIRED)]);
        assert_eq!(shard.closed("token_expired"), 1);
    });
}

#[test]
fn a_fresh_token_moves_both_the_warning_and_the_end() {
    under_faults(|mut shard| {
        let mut ann = session_of(&mut shard, 50);
        live(&mut shard, &ann, 25);
        assert_eq!(without_pings(&mut ann).len(), 1);
        ann.authenticate(&token("ann", None, 100));
        live(&mut shard, &ann, 44);
        assert_eq!(without_pings(&mut ann).len(), 1, "the confirmation");
        live(&mut shard, &ann, 2);
        let warning = r#"{"type":"token_expiring","payload":{"expires_in":30,"expires_at":1800000100}}"#;
        assert_eq!(without_pings(&mut ann), [Said::text(warning)]);
        live(&mut shard, &ann, 28);
        assert_eq!(without_pings(&mut ann), []);
        live(&mut shard, &ann, 2);
        assert_eq!(without_pings(&mut ann), [Said::close(CloseCode::TOKEN_EXPIRED)]);
    });
}

#[test]
fn a_token_that_holds_for_seconds_only_is_announced_at_once_and_closes_in_time() {
    under_faults(|mut shard| {
        let mut clients = [shard.stranger(), session_of(&mut shard, 3600)];
        clients.iter().for_each(|client| client.authenticate(&token("ann", None, 5)));
        shard.pass(1_000);
        for client in &mut clients {
            let heard = client.texts();
            assert!(heard[0].contains("auth.success") && heard[1].contains(r#""expires_in":5,"#), "{heard:?}");
        }
        shard.pass(3_900);
        assert!(clients.iter_mut().all(|client| client.heard().is_empty()));
        shard.pass(300);
        assert!(clients.iter_mut().all(|client| client.heard() == [Said::close(CloseCode::TOKEN_EXPIRED)]));
    });
}

#[test]
fn a_fresh_token_keeps_the_session_in_its_channels() {
    under_faults(|mut shard| {
        let [mut ann] = shard.subscribers("conv:1");
        ann.authenticate(&token("u0", None, 7200));
        shard.settle();
        ann.heard();
        assert_eq!((shard.publish("conv:1", "a"), shard.publish("user:u0", "b")), (1, 1));
        assert_eq!((ann.texts(), shard.floor.state.sessions), (vec!["a".into(), "b".into()], 1));
    });
}
