//! The end of a shard: everybody is told, evenly over a time, and then it is done.

use std::time::Duration;

use crate::lane::Command;
use crate::ws::close::CloseCode;

use super::client::{Client, Said};
use super::{Shard, arrival, under_faults};

const GOING_AWAY: Said = Said::Close(Some(CloseCode::GOING_AWAY.0));

fn drain(shard: &mut Shard, over_ms: u64) {
    shard.command(Command::Drain { over: Duration::from_millis(over_ms) });
    shard.settle();
}

#[test]
fn draining_closes_everybody_evenly_within_its_time() {
    under_faults(|mut shard| {
        let mut clients: Vec<Client> = (0..20).map(|n| shard.client(&n.to_string())).collect();
        drain(&mut shard, 1000);
        assert!(shard.floor.is_draining());
        let mut told = Vec::new();
        for _ in 0..10 {
            let now = clients.iter_mut().filter_map(|client| client.heard().pop()).collect::<Vec<_>>();
            assert!(now.iter().all(|said| *said == GOING_AWAY));
            told.push(now.len());
            shard.pass(100);
        }
        assert_eq!(told, [2; 10]);
        // All were told; who answers is let go at once, the others at the close deadline.
        clients.iter().step_by(2).for_each(|client| client.say_close(1001));
        shard.settle();
        assert!(clients.iter().step_by(2).all(|client| client.peer.is_closed()) && !shard.floor.is_done());
        shard.pass(5_200);
        assert!(shard.floor.is_done());
        assert_eq!(shard.closed("going_away"), 20);
        shard.assert_empty();
    });
}

#[test]
fn draining_at_once_tells_everybody_at_once() {
    under_faults(|mut shard| {
        let mut clients: Vec<Client> = (0..10).map(|n| shard.client(&n.to_string())).collect();
        drain(&mut shard, 0);
        clients.iter_mut().for_each(|client| assert_eq!(client.heard(), [GOING_AWAY]));
    });
}

#[test]
fn an_empty_shard_is_done_as_soon_as_it_drains() {
    under_faults(|mut shard| {
        assert!(!shard.floor.is_done());
        drain(&mut shard, 30_000);
        assert!(shard.floor.is_done());
    });
}

#[test]
fn who_arrives_while_the_shard_drains_is_greeted_and_sent_away() {
    under_faults(|mut shard| {
        let keeper = shard.client("keeper");
        drain(&mut shard, 10_000);
        let mut late = shard.adopt(arrival("late"));
        shard.settle();
        let heard = late.heard();
        assert!(matches!(&heard[..], [Said::Head, Said::Text(_), GOING_AWAY]), "{heard:?}");
        late.say_close(1001);
        keeper.say_close(1000);
        shard.settle();
        assert!(shard.floor.is_done());
    });
}

#[test]
fn slots_that_were_passed_and_reused_do_not_keep_the_shard_from_ending() {
    under_faults(|mut shard| {
        let clients: Vec<Client> = (0..4).map(|n| shard.client(&n.to_string())).collect();
        clients[0].peer.close();
        shard.settle();
        drain(&mut shard, 1000);
        shard.pass(500);
        let late = shard.adopt(arrival("late"));
        assert_eq!(late.id.slot, 0);
        shard.pass(6_500);
        assert!(shard.floor.is_done());
        shard.assert_empty();
    });
}

#[test]
fn draining_twice_is_draining_once() {
    under_faults(|mut shard| {
        let mut ann = shard.client("ann");
        drain(&mut shard, 200);
        drain(&mut shard, 60_000);
        shard.pass(300);
        assert_eq!(ann.heard(), [GOING_AWAY]);
    });
}

#[test]
fn publications_go_on_until_a_client_is_told() {
    under_faults(|mut shard| {
        let mut clients = shard.subscribers::<4>("conv:1");
        drain(&mut shard, 400);
        assert_eq!(shard.publish("conv:1", "x"), 3);
        shard.pass(400);
        assert_eq!(shard.publish("conv:1", "y"), 0);
        for client in &mut clients {
            assert_eq!(client.heard().last(), Some(&GOING_AWAY));
        }
    });
}
