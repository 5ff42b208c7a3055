//! Clients that read too slowly.

use crate::lane::Command;
use crate::shard::io::VECTOR_MAX;
use crate::ws::close::CloseCode;

use super::client::Said;
use super::{InFlight, Io, OUTBOX_BYTES_MAX, Shard, counted, under_faults, under_faults_with};
use crate::shard::connection::outbox::FRAME_COST_BYTES;

/// What ten frames of 100 bytes cost while they wait.
const TEN_FRAMES_BYTES: usize = 10 * (100 + FRAME_COST_BYTES);

fn where_ten_frames_may_wait(promise: impl Fn(Shard)) {
    under_faults_with(|rules| rules.outbox_bytes_max = TEN_FRAMES_BYTES, promise);
}

#[test]
fn frames_that_waited_leave_as_one_vectored_send_in_order() {
    under_faults(|mut shard| {
        let [mut ann] = shard.subscribers("conv:1");
        ann.peer.take_sends();
        ann.peer.stall(true);
        let messages: Vec<String> = (0..10).map(|n| format!("message {n}")).collect();
        messages.iter().for_each(|message| {
            shard.publish("conv:1", message);
        });
        assert_eq!(shard.floor.wire.outbox_bytes, 9 * ("..message n".len() + FRAME_COST_BYTES));
        ann.peer.stall(false);
        shard.settle();
        assert_eq!(ann.peer.take_sends(), [1, 9]);
        assert_eq!(ann.texts(), messages);
        assert_eq!((shard.floor.wire.outbox_bytes, shard.floor.wire.io.in_flight()), (0, InFlight::default()));
        assert!(shard.floor.wire.connections[ann.id.slot as usize].outbox.is_none(), "nothing is kept for next time");
    });
}

#[test]
fn more_frames_than_one_send_carries_leave_in_several() {
    under_faults(|mut shard| {
        let [mut ann] = shard.subscribers("conv:1");
        ann.peer.take_sends();
        ann.peer.stall(true);
        let messages: Vec<String> = (0..2 * VECTOR_MAX + 2).map(|n| n.to_string()).collect();
        messages.iter().for_each(|message| {
            shard.publish("conv:1", message);
        });
        ann.peer.stall(false);
        shard.settle();
        assert_eq!(ann.peer.take_sends(), [1, VECTOR_MAX, VECTOR_MAX, 1]);
        assert_eq!(ann.texts(), messages);
    });
}

#[test]
fn a_slow_client_is_closed_while_the_others_get_everything() {
    where_ten_frames_may_wait(|mut shard| {
        let [mut slow, mut bob, mut eve] = shard.subscribers("conv:1");
        slow.peer.stall(true);
        let messages: Vec<String> = (0..30).map(|n| format!("{n:0>98}")).collect();
        for (n, message) in messages.iter().enumerate() {
            // One in flight and ten of 100 bytes in the outbox; the next is too much, and from then on it has left.
            assert_eq!(shard.publish("conv:1", message), if n <= 11 { 3 } else { 2 });
            assert!(shard.floor.wire.outbox_bytes <= TEN_FRAMES_BYTES);
        }
        assert_eq!((bob.texts(), eve.texts()), (messages.clone(), messages.clone()));
        assert_eq!((shard.closed("too_slow"), shard.counters().deliveries_dropped.get()), (1, 11));

        // When it reads again it gets what was in flight, and the reason.
        slow.peer.stall(false);
        shard.settle();
        assert_eq!(slow.heard(), [Said::text(&messages[0]), Said::close(CloseCode::TOO_SLOW)]);
    });
}

#[test]
fn a_slow_client_that_never_reads_again_is_freed() {
    where_ten_frames_may_wait(|mut shard| {
        let [mut slow] = shard.subscribers("conv:1");
        slow.peer.stall(true);
        (0..12).for_each(|_| {
            shard.publish("conv:1", &"x".repeat(98));
        });
        shard.pass(5_200);
        assert!(slow.peer.is_closed() && slow.peer.is_reset(), "the kernel keeps nothing for it");
        assert!(!slow.heard().contains(&Said::close(CloseCode::TOO_SLOW)));
        shard.assert_empty();
    });
}

#[test]
fn nothing_follows_the_close_frame_of_a_client_that_does_not_read_its_answers() {
    under_faults(|mut shard| {
        let mut ann = shard.client("ann");
        ann.peer.stall(true);
        (0..300).for_each(|_| ann.say(r#"{"type":"ping"}"#));
        shard.settle();
        assert!(shard.floor.wire.outbox_bytes <= OUTBOX_BYTES_MAX);
        ann.peer.stall(false);
        shard.settle();
        let heard = ann.heard();
        assert_eq!(heard.last(), Some(&Said::close(CloseCode::TOO_SLOW)));
        assert_eq!(heard.iter().filter(|said| matches!(said, Said::Close(_))).count(), 1);
    });
}

#[test]
fn who_catches_up_in_time_stays() {
    where_ten_frames_may_wait(|mut shard| {
        let [mut ann] = shard.subscribers("conv:1");
        for _ in 0..10 {
            ann.peer.stall(true);
            (0..11).for_each(|_| {
                shard.publish("conv:1", &"x".repeat(98));
            });
            ann.peer.stall(false);
            shard.settle();
            assert_eq!(ann.texts().len(), 11);
        }
        assert_eq!(shard.counters().deliveries_dropped.get(), 0);
    });
}

#[test]
fn a_burst_of_large_messages_makes_nobody_too_slow_who_reads() {
    under_faults(|mut shard| {
        let [mut ann] = shard.subscribers("conv:1");
        let messages: Vec<String> = (0..80).map(|n| format!("{n:0>8000}")).collect();
        messages.iter().for_each(|message| shard.post("conv:1", message));
        shard.settle();
        assert_eq!(shard.closed("too_slow"), 0);
        assert_eq!(ann.texts(), messages);
    });
}

#[test]
fn a_message_larger_than_all_that_may_wait_leaves_nothing_behind() {
    where_ten_frames_may_wait(|mut shard| {
        let [mut slow] = shard.subscribers("conv:1");
        slow.peer.stall(true);
        shard.publish("conv:1", "in flight");
        shard.publish("conv:1", &"x".repeat(2 * TEN_FRAMES_BYTES));
        slow.peer.stall(false);
        shard.settle();
        assert_eq!(slow.heard(), [Said::text("in flight"), Said::close(CloseCode::TOO_SLOW)]);
        assert_eq!(shard.floor.wire.outbox_bytes, 0);
    });
}

#[test]
fn what_came_before_the_close_frame_has_no_gap() {
    where_ten_frames_may_wait(|mut shard| {
        let mut ann = shard.client("ann");
        ann.subscribe("conv:1");
        shard.settle();
        ann.heard();
        ann.peer.stall(true);
        shard.publish("conv:1", "in flight");
        // Taken in the turn in which we say goodbye.
        let large = "x".repeat(2 * TEN_FRAMES_BYTES);
        [&large, "small"].into_iter().for_each(|message| shard.post("conv:1", message));
        let (answer, _) = counted();
        shard.command(Command::Disconnect { user: "ann".into(), code: CloseCode::OPERATOR, answer });
        shard.settle();
        ann.peer.stall(false);
        shard.settle();
        let all = [Said::text("in flight"), Said::text(&large), Said::text("small")];
        let goodbye = Said::close(CloseCode::OPERATOR);
        assert_eq!(ann.heard(), [&all[..], &[goodbye]].concat());
    });
}
