//! Where a channel says what becomes of messages that find no room with a client that reads too slowly.

use crate::channel::policy::Policy;
use crate::channel::{Overflow, Policies};
use crate::lane::frame::{Frame, Run};
use crate::lane::{Command, Publication};
use crate::shard::connection::outbox::{FRAME_COST_BYTES, SEND_BYTES_MAX};
use crate::shard::floor::wire::TooSlow;
use crate::shard::io::VECTOR_MAX;
use crate::ws::close::CloseCode;
use crate::ws::frame::encode_text;

use super::client::Said;
use super::{Shard, under_faults, under_faults_with};

/// What ten frames of 100 bytes cost while they wait.
const TEN_FRAMES_BYTES: usize = 10 * (100 + FRAME_COST_BYTES);

/// Ten frames may wait; the channel `conv:1` has a policy, `conv:2` none.
fn with_policy(overflow: Overflow, batch_delay_us: u32, promise: impl Fn(Shard)) {
    under_faults_with(
        |rules| {
            rules.outbox_bytes_max = TEN_FRAMES_BYTES;
            rules.batch_delay_min_us = batch_delay_us.max(1000);
        },
        |mut shard| {
            shard.policies = Policies::new([("conv:1".parse().unwrap(), Policy { batch_delay_us, overflow })]);
            promise(shard);
        },
    );
}

/// A text whose frame has 100 bytes.
fn message(n: usize) -> String {
    format!("{n:0>98}")
}

fn messages(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(message).collect()
}

fn dropped(shard: &Shard, overflow: Overflow) -> u64 {
    let dropped = &shard.counters().overflow_dropped;
    let of = |overflow: Overflow| dropped.iter().find(|(name, _)| *name == overflow.name()).unwrap().1;
    assert_eq!(dropped.total(), of(overflow), "nothing else is dropped");
    assert_eq!(shard.counters().deliveries_dropped.get(), of(overflow));
    of(overflow)
}

/// Thirty messages come while a client does not read, of which the first is in flight. What it hears then.
fn heard_of_thirty(shard: &mut Shard) -> Vec<String> {
    let [mut slow, mut bob] = shard.subscribers("conv:1");
    slow.peer.stall(true);
    (0..30).for_each(|n| assert_eq!(shard.publish("conv:1", &message(n)), 2));
    assert_eq!(bob.texts(), messages(0..30), "who reads gets everything");
    assert!(shard.floor.wire.outbox_bytes <= TEN_FRAMES_BYTES);
    slow.peer.stall(false);
    shard.settle();
    assert_eq!(shard.closed("too_slow"), 0);
    assert_eq!(shard.floor.wire.outbox_bytes, 0);
    slow.texts()
}

#[test]
fn drop_oldest_leaves_a_gap_behind_what_was_in_flight_and_then_the_newest() {
    with_policy(Overflow::DropOldest, 0, |mut shard| {
        assert_eq!(heard_of_thirty(&mut shard), messages([0].into_iter().chain(20..30)));
        assert_eq!(dropped(&shard, Overflow::DropOldest), 19);
    });
}

#[test]
fn drop_newest_leaves_out_what_found_no_room() {
    with_policy(Overflow::DropNewest, 0, |mut shard| {
        assert_eq!(heard_of_thirty(&mut shard), messages(0..11));
        assert_eq!(dropped(&shard, Overflow::DropNewest), 19);
    });
}

#[test]
fn of_latest_a_slow_client_gets_what_was_in_flight_and_the_newest() {
    with_policy(Overflow::Latest, 0, |mut shard| {
        assert_eq!(heard_of_thirty(&mut shard), messages([0, 29]));
        assert_eq!(dropped(&shard, Overflow::Latest), 28);
    });
}

#[test]
fn disconnect_is_what_holds_without_a_policy() {
    with_policy(Overflow::Disconnect, 0, |mut shard| {
        let [slow] = shard.subscribers("conv:1");
        slow.peer.stall(true);
        (0..12).for_each(|n| _ = shard.publish("conv:1", &message(n)));
        assert_eq!((shard.closed("too_slow"), dropped(&shard, Overflow::Disconnect)), (1, 11));
    });
}

#[test]
fn answers_and_other_channels_find_room_where_something_may_be_dropped() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        with_policy(overflow, 0, |mut shard| {
            let [mut ann] = shard.subscribers("conv:1");
            ann.subscribe("conv:2");
            shard.settle();
            ann.heard();
            ann.peer.stall(true);
            (0..20).for_each(|n| _ = shard.publish("conv:1", &message(n)));
            ann.say(r#"{"type":"ping","id":"answered"}"#);
            shard.publish("conv:2", "kept");
            shard.settle();
            ann.peer.stall(false);
            shard.settle();
            let texts = ann.texts();
            assert!(texts.iter().any(|text| text.contains("answered")), "{overflow:?} {texts:?}");
            assert!(texts.contains(&"kept".to_owned()), "{overflow:?} {texts:?}");
            assert_eq!(shard.closed("too_slow"), 0);
        });
    }
}

#[test]
fn a_client_that_takes_no_answers_is_closed_whatever_the_policy() {
    with_policy(Overflow::DropOldest, 0, |mut shard| {
        let [mut ann] = shard.subscribers("conv:1");
        ann.peer.stall(true);
        shard.publish("conv:1", &message(0));
        (0..100).for_each(|_| ann.say(r#"{"type":"ping"}"#));
        shard.settle();
        assert_eq!(shard.closed("too_slow"), 1);
        ann.peer.stall(false);
        shard.settle();
        assert_eq!(ann.heard().last(), Some(&Said::close(CloseCode::TOO_SLOW)));
    });
}

#[test]
fn of_latest_only_the_newest_leaves_of_what_came_in_one_turn() {
    with_policy(Overflow::Latest, 0, |mut shard| {
        let [mut ann] = shard.subscribers("conv:1");
        (0..5).for_each(|n| shard.post("conv:1", &message(n)));
        shard.settle();
        assert_eq!(ann.texts(), messages([4]));
        assert_eq!(dropped(&shard, Overflow::Latest), 4);
    });
}

#[test]
fn of_latest_only_the_newest_waits_for_a_delay() {
    with_policy(Overflow::Latest, 130_000, |mut shard| {
        let [mut ann] = shard.subscribers("conv:1");
        (0..5).for_each(|n| shard.post("conv:1", &message(n)));
        shard.settle();
        assert!(ann.texts().is_empty());
        shard.pass(300);
        assert_eq!(ann.texts(), messages([4]));
        assert_eq!((shard.counters().publications_replaced.get(), dropped(&shard, Overflow::Latest)), (4, 0));
    });
}

#[test]
fn of_latest_the_newest_of_each_key_waits() {
    // For a slow client, under the cork, and in a fan-out that waits.
    for batch_delay_us in [0, 130_000] {
        with_policy(Overflow::Latest, batch_delay_us, |mut shard| {
            let [mut ann] = shard.subscribers("conv:1");
            ann.peer.stall(true);
            let positions = [(1, 1), (2, 2), (3, 1), (4, 3), (5, 2), (6, 1)];
            for (n, key) in [(0, 9)].into_iter().chain(positions) {
                let publication = shard.publication("conv:1", encode_text(&message(n)));
                shard.command(Command::Publish(Publication { key, ..publication }));
                if n % 2 == 0 && batch_delay_us == 0 {
                    shard.settle();
                }
            }
            shard.pass(300);
            ann.peer.stall(false);
            shard.settle();
            assert_eq!(ann.texts(), messages([0, 6, 5, 4]));
        });
    }
}

#[test]
fn a_burst_that_our_own_bound_on_a_send_cuts_makes_nobody_too_slow() {
    under_faults(|mut shard| {
        let [mut ann] = shard.subscribers("conv:1");
        ann.peer.take_sends();
        ann.peer.stall(true);
        let large: Vec<String> = (0..10).map(|n| format!("{n}{}", "x".repeat(SEND_BYTES_MAX * 2 / 5))).collect();
        large.iter().for_each(|text| shard.post("conv:1", text));
        shard.settle();
        assert_eq!(shard.floor.wire.outbox_bytes, 0, "they are under way");
        shard.publish("conv:1", "small");
        ann.peer.stall(false);
        shard.settle();
        assert_eq!(ann.peer.take_sends(), [2, 2, 2, 2, 3], "so many frames in each");
        let texts = ann.texts();
        assert!(texts[..10] == large[..] && texts[10] == "small" && shard.closed("too_slow") == 0);
    });
}

#[test]
fn what_is_behind_a_full_send_is_replaced_as_well() {
    with_policy(Overflow::Latest, 0, |mut shard| {
        let [ann] = shard.subscribers("conv:1");
        let frame = |text: &str, overflow| Run::join(&[Frame { bytes: encode_text(text), arrived_us: 0 }], overflow, 1);
        let wire = &mut shard.floor.wire;
        (0..VECTOR_MAX).for_each(|_| wire.deliver(ann.id.slot, &frame("other", Overflow::Disconnect)));
        wire.deliver(ann.id.slot, &frame("older", Overflow::Latest));
        wire.deliver(ann.id.slot, &frame("newer", Overflow::Latest));
        assert_eq!(wire.flush(ann.id.slot), TooSlow(false));
        assert_eq!(wire.cork.frames(), 1, "of a channel only the newest waits");
        shard.settle();
    });
}
