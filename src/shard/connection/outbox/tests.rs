//! What waits, what leaves and what is dropped, under every policy.

use proptest::prelude::*;

use super::*;
use crate::lane::frame::{Frame, Run};
use crate::ws::frame::{encode_close_without_code, encode_ping, encode_pong};

const ROOM: Bound = Bound::Bytes(10 * (100 + FRAME_COST_BYTES));

fn taken(outbox: &mut Outbox) -> Vec<LocalFrame> {
    let mut frames = Vec::new();
    outbox.take(&mut frames);
    frames
}

/// A frame of 100 bytes, told apart by its first.
fn publication(n: u8, overflow: Overflow, channel: u64) -> LocalFrame {
    sized(n, 100, overflow, channel)
}

fn sized(n: u8, bytes: usize, overflow: Overflow, key: u64) -> LocalFrame {
    Run::join(&[Frame { bytes: vec![n; bytes].into(), arrived_us: 0 }], overflow, key)
}

fn first_bytes(frames: &[LocalFrame]) -> Vec<u8> {
    frames.iter().map(|frame| frame.bytes[0]).collect()
}

/// Pushes frames 0, 1, 2, … of one channel; says what waits then, and what became of the others.
fn pushed(count: u8, overflow: Overflow) -> (Vec<u8>, Spill) {
    let (mut outbox, mut spill) = (Outbox::default(), Spill::default());
    (0..count).for_each(|n| spill.add(&outbox.push(publication(n, overflow, 1), ROOM)));
    (first_bytes(&taken(&mut outbox)), spill)
}

fn spilled(overflow: Overflow, frames: usize, is_too_slow: bool) -> Spill {
    let mut spill = Spill { is_too_slow, ..Spill::default() };
    spill.dropped[overflow as usize] = frames;
    spill
}

#[test]
fn frames_leave_in_order_and_bounded() {
    let mut outbox = Outbox::default();
    for n in 0..VECTOR_MAX + 3 {
        let _ = outbox.push(Frame::local(vec![0; n + 1].into(), 0), Bound::Unbounded);
    }
    let first = taken(&mut outbox);
    assert_eq!(first.len(), VECTOR_MAX);
    assert!(first.iter().enumerate().all(|(n, f)| f.len() == n + 1));
    let second = taken(&mut outbox);
    assert_eq!(second.iter().map(|f| f.len()).collect::<Vec<_>>(), [VECTOR_MAX + 1, VECTOR_MAX + 2, VECTOR_MAX + 3]);
    assert!(outbox.is_empty() && outbox.bytes() == 0);
}

#[test]
fn a_send_is_bounded_in_bytes_unless_one_frame_has_more() {
    let mut outbox = Outbox::default();
    for bytes in [SEND_BYTES_MAX * 2, 1, SEND_BYTES_MAX / 2, SEND_BYTES_MAX / 2, 1] {
        let _ = outbox.push(Frame::local(vec![0; bytes].into(), 0), Bound::Unbounded);
    }
    let counts: Vec<usize> = std::iter::from_fn(|| Some(taken(&mut outbox).len()).filter(|n| *n > 0)).collect();
    assert_eq!(counts, [1, 2, 2]);
}

#[test]
fn a_frame_counts_with_what_it_costs_and_clearing_says_what_was_lost() {
    let mut outbox = Outbox::default();
    assert_eq!(outbox.push(Frame::local(vec![0; 10].into(), 0), ROOM), Spill::default());
    assert_eq!((outbox.bytes(), outbox.clear(), outbox.bytes()), (10 + FRAME_COST_BYTES, 1, 0));
}

#[test]
fn only_the_newest_pong_waits() {
    let mut outbox = Outbox::default();
    for frame in [encode_pong(b"old"), encode_ping(b"ours"), encode_pong(b"new")] {
        assert_eq!(outbox.push(Frame::local(frame, 0), ROOM), Spill::default());
    }
    let left: Vec<_> = taken(&mut outbox).iter().map(|frame| frame.bytes.clone()).collect();
    assert_eq!(left, [encode_ping(b"ours"), encode_pong(b"new")]);
    assert_eq!(outbox.bytes(), 0);
}

#[test]
fn disconnect_drops_the_newcomer_and_says_too_slow() {
    let (left, spill) = pushed(13, Overflow::Disconnect);
    assert_eq!((left, spill), ((0..10).collect(), spilled(Overflow::Disconnect, 3, true)));
}

#[test]
fn drop_oldest_keeps_the_newest() {
    let (left, spill) = pushed(13, Overflow::DropOldest);
    assert_eq!((left, spill), ((3..13).collect(), spilled(Overflow::DropOldest, 3, false)));
}

#[test]
fn drop_newest_keeps_the_oldest() {
    let (left, spill) = pushed(13, Overflow::DropNewest);
    assert_eq!((left, spill), ((0..10).collect(), spilled(Overflow::DropNewest, 3, false)));
}

#[test]
fn of_latest_the_newest_of_each_channel_waits_in_its_place() {
    let mut outbox = Outbox::default();
    let mut spill = Spill::default();
    for (n, channel) in [(0, 1), (1, 2), (2, 1), (3, 3), (4, 2), (5, 1)] {
        spill.add(&outbox.push(publication(n, Overflow::Latest, channel), ROOM));
    }
    assert_eq!(spill, spilled(Overflow::Latest, 3, false));
    assert_eq!(outbox.bytes(), 3 * (100 + FRAME_COST_BYTES));
    assert_eq!(first_bytes(&taken(&mut outbox)), [5, 4, 3]);
}

#[test]
fn of_latest_the_one_that_arrived_last_waits_in_whatever_order_they_come() {
    let of = |n: u8| {
        let frame = Frame { bytes: vec![n; 100].into(), arrived_us: n.into() };
        Run::join(&[frame], Overflow::Latest, 1)
    };
    let (mut outbox, mut spill) = (Outbox::default(), Spill::default());
    [2, 1, 4, 3].into_iter().for_each(|n| spill.add(&outbox.push(of(n), ROOM)));
    assert_eq!(spill, spilled(Overflow::Latest, 3, false));
    assert_eq!(outbox.bytes(), 100 + FRAME_COST_BYTES);
    assert_eq!(first_bytes(&taken(&mut outbox)), [4]);
}

#[test]
fn one_frame_of_each_channel_may_still_be_too_much() {
    let mut outbox = Outbox::default();
    for channel in 0..10 {
        assert_eq!(outbox.push(publication(0, Overflow::Latest, channel), ROOM), Spill::default());
    }
    assert_eq!(outbox.push(publication(0, Overflow::Latest, 10), ROOM), spilled(Overflow::Disconnect, 1, true));
}

#[test]
fn a_larger_one_that_replaces_a_smaller_has_others_make_room() {
    let mut outbox = Outbox::default();
    let _ = outbox.push(publication(0, Overflow::Latest, 1), ROOM);
    (1..10).for_each(|n| _ = outbox.push(publication(n, Overflow::DropOldest, 2), ROOM));
    let spill = outbox.push(sized(99, 200, Overflow::Latest, 1), ROOM);
    assert_eq!(spill.dropped, [0, 1, 0, 1]);
    assert_eq!(first_bytes(&taken(&mut outbox)), [2, 3, 4, 5, 6, 7, 8, 9, 99]);
}

#[test]
fn what_must_not_be_dropped_is_made_room_for_by_what_may_be() {
    let mut outbox = Outbox::default();
    (0..5).for_each(|n| _ = outbox.push(publication(n, Overflow::DropNewest, 1), ROOM));
    (5..10).for_each(|n| _ = outbox.push(publication(n, Overflow::DropOldest, 2), ROOM));
    let mut spill = Spill::default();
    // Six answers: first the oldest of the one channel go, then the newest of the other.
    (20..26).for_each(|n| spill.add(&outbox.push(publication(n, Overflow::Disconnect, 3), ROOM)));
    assert_eq!(spill, Spill { dropped: [0, 5, 1, 0], is_too_slow: false });
    assert_eq!(first_bytes(&taken(&mut outbox)), [0, 1, 2, 3, 20, 21, 22, 23, 24, 25]);
}

#[test]
fn nothing_goes_for_a_frame_that_fits_in_no_case() {
    for overflow in Overflow::ALL {
        let mut outbox = Outbox::default();
        (0..10).for_each(|n| _ = outbox.push(publication(n, Overflow::DropOldest, 1), ROOM));
        let spill = outbox.push(sized(99, 5000, overflow, 2), ROOM);
        assert_eq!(spill.dropped.iter().sum::<usize>(), 1, "{overflow:?}");
        assert_eq!(taken(&mut outbox).len(), 10, "{overflow:?}");
    }
}

#[test]
fn what_has_begun_is_not_counted_and_stays() {
    let mut outbox = Outbox::default();
    (0..3).for_each(|_| outbox.push_begun(publication(7, Overflow::DropOldest, 1)));
    (0..20).for_each(|n| _ = outbox.push(publication(n, Overflow::DropOldest, 1), ROOM));
    assert_eq!(first_bytes(&taken(&mut outbox)), [7, 7, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    assert!(outbox.is_empty() && outbox.bytes() == 0);
}

fn any_overflow() -> impl Strategy<Value = Overflow> {
    (0..Overflow::ALL.len()).prop_map(|n| Overflow::ALL[n])
}

proptest! {
    #[test]
    fn the_bound_holds_the_order_too_and_every_frame_is_somewhere(
        pushes in prop::collection::vec((any_overflow(), 0u64..4, 1usize..400, 0u8..20), 1..120),
    ) {
        let Bound::Bytes(bytes_max) = ROOM else { unreachable!() };
        let (mut outbox, mut spill, mut left) = (Outbox::default(), Spill::default(), Vec::new());
        for (n, (overflow, channel, bytes, then)) in pushes.iter().enumerate() {
            spill.add(&outbox.push(sized(n as u8, *bytes, *overflow, *channel), ROOM));
            prop_assert!(outbox.bytes() <= bytes_max);
            match then {
                0 => outbox.take(&mut left),
                1 => {
                    let close = Frame::local(encode_close_without_code(), 0);
                    prop_assert_eq!(outbox.push(close, ROOM), Spill::default());
                    outbox.frames.pop_back();
                    outbox.bytes[0] -= FRAME_COST_BYTES + 2;
                }
                _ => {}
            }
        }
        while !outbox.is_empty() {
            outbox.take(&mut left);
        }
        prop_assert_eq!(outbox.bytes, ByPolicy::default());
        prop_assert_eq!(left.len() + spill.dropped.iter().sum::<usize>(), pushes.len());
        for channel in 0..4 {
            for overflow in Overflow::ALL {
                let of_channel = left.iter().map(|frame| frame.bytes[0]).filter(|n| {
                    let (o, c, ..) = pushes[usize::from(*n)];
                    (o, c) == (overflow, channel)
                });
                prop_assert!(of_channel.is_sorted(), "of a channel nothing overtakes");
            }
        }
    }
}
