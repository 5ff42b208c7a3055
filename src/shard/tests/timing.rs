//! What is timed: each thing once, from its beginning to its end.

use crate::lane::{Command, Query};
use crate::metrics::{Latency, Timed};
use crate::ws::frame::Opcode;

use super::client::Said;
use super::inspecting::kept;
use super::{Shard, arrival, token, under_faults, under_faults_with};

fn latency(shard: &mut Shard) -> Latency {
    let (answer, place) = kept();
    shard.ask(Query::Latency { answer });
    shard.settle();
    place.lock().unwrap().take().unwrap().latency
}

fn count(shard: &mut Shard, timed: Timed) -> u64 {
    latency(shard).of(timed).len()
}

#[test]
fn every_frame_is_a_delivery_from_its_arrival_until_it_has_left() {
    under_faults(|mut shard| {
        let clients = shard.subscribers::<3>("conv:1");
        let before = latency(&mut shard);
        // The greeting and the answer to the subscription, of each.
        assert_eq!((before.of(Timed::Delivery).len(), before.of(Timed::Delivery).max()), (6, 0));
        clients[0].peer.stall(true);
        (0..4).for_each(|_| _ = shard.publish("conv:1", "hello"));
        shard.clock.advance(5_000);
        clients[0].peer.stall(false);
        shard.settle();
        let since = latency(&mut shard).since(&before);
        let histogram = since.of(Timed::Delivery);
        assert_eq!((histogram.len(), histogram.count_at(0), histogram.count_at(5_000_000)), (12, 8, 4));
    });
}

#[test]
fn every_message_is_counted_however_it_came() {
    under_faults(|mut shard| {
        let ann = shard.client("ann");
        (0..10).for_each(|_| ann.say(r#"{"type":"ping"}"#));
        shard.settle();
        assert_eq!(count(&mut shard, Timed::Message), 10);
        // Behind the request head.
        let rest = super::client::text(r#"{"type":"ping"}"#);
        shard.settled(super::Arrival { rest, ..arrival("bob") });
        assert_eq!(count(&mut shard, Timed::Message), 11);
        assert_eq!(shard.counters().messages_received.get(), 11);
        // What is no message is not timed as one.
        ann.say_frame(Opcode::Ping, b"");
        shard.settle();
        assert_eq!(count(&mut shard, Timed::Message), 11);
    });
}

#[test]
fn a_pong_tells_how_long_its_ping_took() {
    under_faults_with(
        |rules| rules.heartbeat_ticks = 9,
        |mut shard| {
            let mut ann = shard.client("ann");
            shard.pass(1_000);
            let heard = ann.heard();
            let [Said::Ping(payload)] = &heard[..] else { panic!("{heard:?}") };
            shard.pass(2_000);
            ann.say_frame(Opcode::Pong, payload);
            shard.settle();
            let latency = latency(&mut shard);
            let histogram = latency.of(Timed::PingRoundTrip);
            assert_eq!(histogram.len(), 1);
            assert!((2_000_000..2_600_000).contains(&histogram.max()), "{}", histogram.max());
        },
    );
}

#[test]
fn a_pong_that_answers_no_ping_of_ours_tells_nothing() {
    under_faults(|mut shard| {
        let ann = shard.client("ann");
        shard.pass(59_000);
        ann.say_frame(Opcode::Pong, b"");
        shard.pass(59_000);
        for payload in [&b"seven b"[..], b"nine byte", &u64::MAX.to_be_bytes(), &0u64.to_be_bytes()] {
            ann.say_frame(Opcode::Pong, payload);
        }
        shard.settle();
        assert_eq!(count(&mut shard, Timed::PingRoundTrip), 0);
    });
}

#[test]
fn verifying_a_token_is_timed_whether_it_is_good_or_not() {
    under_faults(|mut shard| {
        let strangers = [shard.stranger(), shard.stranger()];
        strangers[0].authenticate(&token("ann", None, 60));
        strangers[1].authenticate("nonsense");
        shard.settle();
        assert_eq!(count(&mut shard, Timed::Authentication), 2);
    });
}

#[test]
fn a_command_waits_from_when_it_was_put_until_it_is_taken() {
    under_faults(|mut shard| {
        let (answer, _) = super::counted();
        shard.command(Command::Disconnect { user: "ann".into(), code: crate::ws::close::CloseCode::OPERATOR, answer });
        shard.clock.advance(300);
        shard.settle();
        let latency = latency(&mut shard);
        let histogram = latency.of(Timed::LaneWait);
        assert_eq!((histogram.len(), histogram.count_at(300_000)), (2, 1));
    });
}
