//! What a client gets first.

use super::client::{Client, HEAD, Said, text};
use super::{Arrival, Peer, Shard, arrival, under_faults, under_faults_with};

fn greeting(shard: &Shard, client: &Client) -> Said {
    let session = shard.session_id(client.id);
    Said::Text(format!(
        r#"{{"type":"connected","userId":"ann","message":"Connected to WebSocket Gateway","payload":{{"user_id":"ann","session_id":"{session}","server_id":"node-1","heartbeat_interval":30000}}}}"#
    ))
}

fn say_ping(id: u32) -> String {
    format!(r#"{{"type":"ping","id":{id}}}"#)
}

fn pong(id: u32) -> Said {
    Said::Text(format!(r#"{{"type":"pong","timestamp":"2027-01-15T08:00:00.000Z","id":{id}}}"#))
}

#[test]
fn greeting_and_response_leave_as_one_send() {
    under_faults(|mut shard| {
        let mut ann = shard.adopt(arrival("ann"));
        shard.settle();
        assert_eq!(ann.peer.take_sends(), [1]);
        assert_eq!(ann.heard(), [Said::Head, greeting(&shard, &ann)]);
    });
}

#[test]
fn a_client_without_a_token_gets_the_response_alone() {
    under_faults(|mut shard| {
        let stranger = shard.adopt(Arrival { identity: None, ..arrival("") });
        shard.settle();
        assert_eq!(stranger.peer.take(), HEAD);
        assert!(!stranger.peer.is_closed());
    });
}

#[test]
fn what_came_behind_the_request_is_answered_after_the_greeting() {
    under_faults(|mut shard| {
        let third = text(&say_ping(3));
        let (begin, end) = third.split_at(9);
        let rest = [text(&say_ping(1)), text(&say_ping(2)), begin.into()].concat();
        let mut ann = shard.adopt(Arrival { rest, ..arrival("ann") });
        shard.settle();
        assert_eq!(ann.heard(), [Said::Head, greeting(&shard, &ann), pong(1), pong(2)]);
        ann.peer.write(end);
        shard.settle();
        assert_eq!(ann.heard(), [pong(3)]);
    });
}

#[test]
fn pipelined_messages_in_one_chunk_are_answered_in_order() {
    under_faults_with(
        |rules| rules.outbox_bytes_max = 10_000,
        |mut shard| {
            let mut ann = shard.client("ann");
            ann.peer.write(&(1..=20).flat_map(|id| text(&say_ping(id))).collect::<Vec<_>>());
            shard.settle();
            assert_eq!(ann.heard(), (1..=20).map(pong).collect::<Vec<_>>());
        },
    );
}

#[test]
fn a_socket_that_cannot_be_taken_over_takes_no_slot() {
    under_faults(|mut shard| {
        let (peer, mut socket) = Peer::connect();
        socket.broken = true;
        assert!(shard.floor.adopt(socket, arrival("ann"), shard.clock.now()).is_err());
        shard.settle();
        assert!(peer.is_closed());
        shard.assert_empty();
        assert_eq!(shard.client("bob").id.slot, 0);
    });
}

#[test]
fn more_slots_waiting_than_there_are_buffers_are_all_served() {
    under_faults(|mut shard| {
        let mut clients: Vec<Client> = (0..20).map(|n| shard.client(&n.to_string())).collect();
        clients.iter().for_each(|client| client.say(&say_ping(7)));
        shard.settle();
        clients.iter_mut().for_each(|client| assert_eq!(client.heard(), [pong(7)]));
    });
}

#[test]
fn a_floor_is_full_at_its_capacity() {
    let mut shard = Shard::with(1, |_| {});
    let clients: Vec<Client> = (0..super::CAPACITY).map(|n| shard.client(&n.to_string())).collect();
    assert!(shard.floor.is_full());
    clients[5].peer.close();
    shard.settle();
    assert!(!shard.floor.is_full());
}
