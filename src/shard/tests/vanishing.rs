//! Peers that go without a word, and ids that outlive their connection.

use crate::ws::close::CloseCode;

use super::client::{Client, HEAD};
use super::{Arrival, Shard, arrival, under_faults};

/// Brings a client to a certain point.
type Connect = fn(&mut Shard) -> Client;

/// Every way to be connected at the moment of vanishing.
const PHASES: [(&str, Connect); 9] = [
    ("before anything was sent", |shard| shard.adopt(arrival("ann"))),
    ("without a token", |shard| shard.stranger()),
    ("with a session", |shard| shard.client("ann")),
    ("in the middle of a message", |shard| {
        let client = shard.client("ann");
        client.peer.write(&[0x81, 0xfe, 0x10]);
        shard.settle();
        client
    }),
    ("with input that was not read yet", |shard| {
        let client = shard.client("ann");
        client.subscribe("conv:1");
        client
    }),
    ("behind with its reading", |shard| {
        let [client] = shard.subscribers("conv:1");
        client.peer.stall(true);
        (0..5).for_each(|n| {
            shard.publish("conv:1", &n.to_string());
        });
        client
    }),
    ("after our goodbye", |shard| {
        let client = shard.client("ann");
        client.authenticate("nonsense");
        shard.settle();
        client
    }),
    ("after a violation", |shard| {
        let client = shard.client("ann");
        client.peer.write(b"\x81\x02hi");
        shard.settle();
        client
    }),
    ("with its goodbye answered but not read", |shard| {
        let client = shard.client("ann");
        client.peer.stall(true);
        client.say_close(1000);
        shard.settle();
        client
    }),
];

#[test]
fn a_peer_that_vanishes_in_any_phase_leaves_nothing_behind() {
    for (phase, connect) in PHASES {
        under_faults(|mut shard| {
            let client = connect(&mut shard);
            client.peer.close();
            shard.settle();
            assert!(client.peer.is_closed(), "{phase}");
            shard.assert_empty();
            assert!(!shard.is_of_interest("user:ann") && !shard.is_of_interest("conv:1"), "{phase}");
            assert_eq!(shard.client("bob").id.slot, client.id.slot, "{phase}: the slot is free");
        });
    }
}

#[test]
fn a_peer_that_vanishes_is_counted_as_abnormal_unless_a_goodbye_came_first() {
    under_faults(|mut shard| {
        let quiet = shard.client("ann");
        let told = shard.client("bob");
        told.authenticate("nonsense");
        shard.settle();
        quiet.peer.close();
        told.peer.close();
        shard.settle();
        assert_eq!((shard.closed("abnormal"), shard.closed("token_invalid")), (1, 1));
    });
}

#[test]
fn the_id_of_a_connection_that_is_gone_names_nobody() {
    under_faults(|mut shard| {
        let first = shard.client("ann");
        assert!(shard.floor.is_current(first.id));
        first.peer.close();
        shard.settle();
        assert!(!shard.floor.is_current(first.id), "while the slot is free");
        let second = shard.client("bob");
        assert_eq!(second.id.slot, first.id.slot);
        assert!(shard.floor.is_current(second.id) && !shard.floor.is_current(first.id), "after its reuse");
        assert!(!shard.floor.is_current(crate::lane::ConnectionId { shard: 0, ..second.id }), "on another shard");
    });
}

#[test]
fn what_was_said_before_vanishing_is_heard() {
    under_faults(|mut shard| {
        let ann = shard.client("ann");
        ann.say(r#"{"type":"ping"}"#);
        ann.say_close(1000);
        ann.peer.close();
        shard.settle();
        assert_eq!(shard.closed("by_peer") + shard.closed("abnormal"), 1);
        shard.assert_empty();
    });
}

#[test]
fn two_thousand_connects_and_disconnects_leave_nothing_behind() {
    let mut shard = Shard::with(7, |_| {});
    for round in 0..100 {
        let clients: Vec<Client> = (0..20)
            .map(|n| match n % 3 {
                0 => shard.adopt(Arrival { identity: None, ..arrival("") }),
                _ => shard.adopt(arrival(&format!("{round}-{n}"))),
            })
            .collect();
        clients.iter().for_each(|client| client.subscribe("conv:1"));
        if round % 2 == 0 {
            shard.settle();
            assert!(clients.iter().all(|client| client.peer.take().starts_with(HEAD)));
        }
        for (n, client) in clients.iter().enumerate() {
            if n % 2 == 0 {
                client.say_close(CloseCode::NORMAL.0);
            } else {
                client.peer.close();
            }
        }
        shard.settle();
        shard.assert_empty();
    }
    assert_eq!((shard.counters().upgraded.get(), shard.floor.slots_used), (2000, 20));
}
