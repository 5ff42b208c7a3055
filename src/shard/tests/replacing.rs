//! A newer session takes the place of an older one, where a user or each of his devices has only one.

use super::*;
use crate::shard::quotas::Quotas;
use crate::shard::seats::Sitter;
use crate::ws::close::CloseCode;
use client::Said;

fn only(sessions: Sessions) -> impl Fn(&mut Rules) {
    move |rules| rules.sessions = sessions
}

/// A client that names its device.
fn with_device(shard: &mut Shard, user: &str, device: &str) -> Client {
    shard.client_with(user, |_, details| details.device_id = Some(device.into()))
}

fn replaced() -> [Said; 1] {
    [Said::close(CloseCode::REPLACED)]
}

#[test]
fn a_newer_session_closes_the_older_one_with_4000_and_its_reason() {
    under_faults_with(only(Sessions::Single), |mut shard| {
        let (mut first, mut bob) = (shard.client("ann"), shard.client("bob"));
        first.subscribe("conv:1");
        shard.settle();
        first.heard();
        let mut second = shard.client("ann");
        assert_eq!(first.heard(), replaced());
        assert!(!shard.is_of_interest("conv:1"), "the newer one subscribes for itself");
        first.say_close(CloseCode::REPLACED.0);
        shard.settle();
        assert!(first.peer.is_closed());
        assert_eq!(shard.closed("replaced"), 1);
        assert_eq!((shard.publish("user:ann", "{}"), shard.publish("user:bob", "{}")), (1, 1));
        assert_eq!((second.texts().len(), bob.texts().len()), (1, 1));
    });
}

#[test]
fn of_hundreds_at_once_the_last_stays() {
    let mut shard = Shard::with_capacity(1, 400, only(Sessions::Single));
    let mut clients: Vec<Client> = (0..400).map(|_| shard.adopt(arrival("ann"))).collect();
    shard.settle();
    let last = clients.pop().unwrap();
    for client in &mut clients {
        assert_eq!(client.heard().last(), Some(&Said::close(CloseCode::REPLACED)));
    }
    assert!(!last.peer.is_closed() && shard.publish("user:ann", "{}") == 1);
    assert_eq!(shard.closed("replaced"), 399);
}

#[test]
fn a_session_that_begins_with_a_message_takes_the_place_and_a_fresh_token_does_not() {
    under_faults_with(only(Sessions::Single), |mut shard| {
        let (mut older, mut newer) = (shard.stranger(), shard.stranger());
        for client in [&mut older, &mut newer] {
            client.authenticate(&token("ann", None, 600));
            shard.settle();
        }
        assert_eq!(older.heard().last(), Some(&Said::close(CloseCode::REPLACED)));
        newer.authenticate(&token("ann", None, 1200));
        shard.settle();
        assert_eq!((newer.texts().len(), shard.closed("replaced")), (2, 1));
        assert_eq!(shard.publish("user:ann", "{}"), 1);
    });
}

#[test]
fn each_device_has_one_session_and_without_a_device_all_stay() {
    under_faults_with(only(Sessions::PerDevice), |mut shard| {
        let mut phone = with_device(&mut shard, "ann", "phone");
        let _others = [with_device(&mut shard, "ann", "desk"), with_device(&mut shard, "bob", "phone")];
        let _nameless = [shard.client("ann"), shard.client("ann")];
        assert_eq!((shard.publish("user:ann", "{}"), shard.closed("replaced")), (4, 0));
        phone.heard();
        let mut again = with_device(&mut shard, "ann", "phone");
        assert_eq!(phone.heard(), replaced());
        assert_eq!((shard.publish("user:ann", "{}"), again.texts().len()), (4, 1));
    });
}

#[test]
fn where_all_may_stay_nobody_is_replaced() {
    under_faults(|mut shard| {
        let _clients: Vec<Client> = (0..5).map(|_| with_device(&mut shard, "ann", "phone")).collect();
        assert_eq!((shard.publish("user:ann", "{}"), shard.closed("replaced")), (5, 0));
    });
}

#[test]
fn who_went_before_being_replaced_is_not_mistaken_for_who_came_into_its_slot() {
    under_faults_with(only(Sessions::Single), |mut shard| {
        let first = shard.client("ann");
        first.peer.close();
        shard.settle();
        let mut bob = shard.client("bob");
        assert_eq!(bob.id.slot, first.id.slot);
        let (ann, elsewhere) =
            (Sitter { user_id: "ann", device_id: None }, ConnectionId { shard: 0, slot: 0, generation: 1 });
        [first.id, elsewhere].into_iter().for_each(|id| shard.floor.state.seats.take(ann, id));
        assert_eq!((shard.publish("user:bob", "{}"), bob.texts().len()), (1, 1));
        assert!(!shard.floor.state.seats.has_replaced(SHARD));
    });
}

#[test]
fn the_newest_takes_the_users_last_place() {
    let quotas = Quotas::new(0, 2);
    under_faults_with(only(Sessions::PerDevice), |mut shard| {
        shard.floor.state.shares = quotas.shares();
        let authenticate = |shard: &mut Shard, device: &str| {
            let details = Details { device_id: Some(device.into()), ..Details::default() };
            let arrival = Arrival { identity: None, details: Some(Box::new(details)), ..arrival("ann") };
            let mut client = shard.settled(arrival);
            client.authenticate(&token("ann", None, 600));
            shard.settle();
            client.heard();
            client
        };
        let mut older = authenticate(&mut shard, "a");
        let other = authenticate(&mut shard, "b");
        let newer = authenticate(&mut shard, "a");
        assert_eq!(shard.closed("replaced"), 1);
        let _refused = authenticate(&mut shard, "c");
        assert_eq!((shard.closed("replaced"), shard.closed("try_again_later")), (1, 1));
        for client in [&older, &other, &newer] {
            client.say_close(1000);
        }
        shard.settle();
        older.heard();
    });
}
