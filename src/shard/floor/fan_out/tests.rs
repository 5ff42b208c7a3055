//! When what gathers leaves, what is joined and what is replaced.

use super::*;
use bytes::Bytes;
use std::sync::{Arc, Mutex};

const DELAY_US: u32 = 20_000;

fn publication(channel: u64, bytes: usize, batch_delay_us: u32) -> Publication {
    Publication {
        channel: Channel { name: channel.to_string().into(), hash: channel },
        frame: Frame { bytes: Bytes::from(vec![0; bytes]), arrived_us: 0 },
        filter: None,
        answer: None,
        batch_delay_us,
        overflow: Overflow::Disconnect,
        key: channel,
        except: Except::Nobody,
        near: None,
    }
}

/// Brings a batch to nobody. Says how many publications it had.
fn serve(fan_outs: &mut FanOuts) -> Option<usize> {
    let id = fan_outs.next()?;
    fan_outs.begin(id, Reach::Members(None));
    let frames = fan_outs.batch(id).as_ref().map(|batch| batch.frame.frames());
    fan_outs.finish(id);
    fan_outs.put_back(id);
    frames
}

#[test]
fn what_gathers_while_a_batch_is_under_way_does_not_wait_again() {
    let mut fan_outs = FanOuts::default();
    fan_outs.gather(publication(1, 10, DELAY_US), 1000);
    fan_outs.start_due(20_999);
    assert!(fan_outs.is_idle() && fan_outs.next_due_us() == Some(21_000));
    fan_outs.start_due(21_000);
    let id = fan_outs.next().unwrap();
    fan_outs.begin(id, Reach::Members(None));
    fan_outs.gather(publication(1, 10, DELAY_US), 21_000);
    fan_outs.gather(publication(1, 10, DELAY_US), 21_000);
    fan_outs.finish(id);
    fan_outs.put_back(id);
    assert!(!fan_outs.is_idle());
    assert_eq!(serve(&mut fan_outs), Some(2));
    assert!(fan_outs.is_idle() && fan_outs.next().is_none());
    assert!(!fan_outs.has(&publication(1, 0, 0).channel));
}

#[test]
fn what_waits_makes_room_before_its_time_and_no_more_than_is_needed() {
    let mut fan_outs = FanOuts::default();
    for n in 0..HELD_MAX {
        assert!(fan_outs.has_room() && fan_outs.is_idle());
        fan_outs.gather(publication(n as u64, 10, DELAY_US), n as u64);
    }
    assert!(!fan_outs.has_room() && !fan_outs.is_idle(), "a full shard does not wait for the clock");
    assert_eq!(serve(&mut fan_outs), Some(1));
    assert!(fan_outs.has_room() && fan_outs.is_idle() && fan_outs.next().is_none());
    assert_eq!(fan_outs.next_due_us(), Some(1 + u64::from(DELAY_US)), "the oldest went");
}

#[test]
fn what_is_under_way_is_counted_until_it_has_been_brought_to_all() {
    let mut fan_outs = FanOuts::default();
    fan_outs.gather(publication(1, HELD_BYTES_MAX, 0), 0);
    assert!(!fan_outs.has_room());
    let id = fan_outs.next().unwrap();
    fan_outs.begin(id, Reach::Members(None));
    assert!(!fan_outs.has_room(), "its bytes are still here");
    fan_outs.finish(id);
    fan_outs.put_back(id);
    assert!(fan_outs.has_room() && fan_outs.is_idle());
}

#[test]
fn of_latest_only_the_newest_gathers_and_nothing_is_joined() {
    let mut fan_outs = FanOuts::default();
    let reached = Arc::new(Mutex::new(Vec::new()));
    let latest = |bytes: usize, user_type: Option<&str>| {
        let (filter, told) =
            (user_type.map(|t| Filter { user_type: Some(t.into()), ..Filter::default() }), reached.clone());
        let answer: Answer<usize> = Arc::new(move |count| told.lock().unwrap().push((bytes, count)));
        let (filter, answer) = (filter.map(Arc::new), Some(answer));
        Publication { overflow: Overflow::Latest, filter, answer, ..publication(1, bytes, DELAY_US) }
    };
    let replaced = [(1, None), (2, None), (3, Some("a")), (4, Some("a")), (5, Some("b")), (6, None), (7, None)]
        .map(|(bytes, user_type)| fan_outs.gather(latest(bytes, user_type), 0));
    assert_eq!(replaced, [false, true, false, true, false, false, true]);
    assert_eq!((fan_outs.held, fan_outs.held_bytes), (4, 2 + 4 + 5 + 7));
    assert_eq!(*reached.lock().unwrap(), [(1, 0), (3, 0), (6, 0)], "who published what was replaced is told");
    fan_outs.owe_all();
    let served: Vec<_> = std::iter::from_fn(|| serve(&mut fan_outs)).collect();
    assert_eq!(served, [1; 4]);
    assert!(fan_outs.is_idle() && !fan_outs.is_owing());
}

#[test]
fn of_latest_each_key_keeps_the_place_of_its_oldest() {
    let mut fan_outs = FanOuts::default();
    let latest = |key, bytes| Publication { overflow: Overflow::Latest, key, ..publication(1, bytes, DELAY_US) };
    let serve_bytes = |fan_outs: &mut FanOuts| {
        let id = fan_outs.next()?;
        fan_outs.begin(id, Reach::Members(None));
        let bytes = fan_outs.batch(id).as_ref().map(|batch| batch.frame.len());
        fan_outs.finish(id);
        fan_outs.put_back(id);
        bytes
    };
    let gather = |fan_outs: &mut FanOuts, list: &[(u64, usize)]| -> Vec<bool> {
        list.iter().map(|(key, bytes)| fan_outs.gather(latest(*key, *bytes), 0)).collect()
    };
    assert_eq!(gather(&mut fan_outs, &[(7, 1), (8, 2), (7, 3), (9, 4), (8, 5)]), [false, false, true, false, true]);
    // One that may not be replaced keeps its place as well.
    assert!(!fan_outs.gather(Publication { key: 7, ..publication(1, 6, DELAY_US) }, 0));
    fan_outs.start_due(u64::MAX);
    assert_eq!(serve_bytes(&mut fan_outs), Some(3));
    assert_eq!(gather(&mut fan_outs, &[(7, 7), (9, 8), (7, 9)]), [false, true, true], "what has begun is not replaced");
    let served: Vec<_> = std::iter::from_fn(|| serve_bytes(&mut fan_outs)).collect();
    assert_eq!(served, [5, 8, 6, 9]);
    assert_eq!((fan_outs.held, fan_outs.held_bytes, fan_outs.is_idle()), (0, 0, true));
}

#[test]
fn what_replaces_something_owed_is_owed_in_its_place() {
    let mut fan_outs = FanOuts::default();
    let latest = |bytes| Publication { overflow: Overflow::Latest, ..publication(1, bytes, 0) };
    fan_outs.gather(latest(1), 0);
    fan_outs.owe_all();
    assert!(fan_outs.gather(latest(2), 0) && fan_outs.is_owing());
    assert_eq!(serve(&mut fan_outs), Some(1));
    assert!(!fan_outs.is_owing() && fan_outs.is_idle());
}

#[test]
fn what_is_owed_is_what_was_there() {
    let mut fan_outs = FanOuts::default();
    (0..3).for_each(|_| _ = fan_outs.gather(publication(1, 10_000, 0), 0));
    fan_outs.gather(publication(2, 10, DELAY_US), 0);
    // One of three is under way.
    let id = fan_outs.next().unwrap();
    fan_outs.begin(id, Reach::Members(None));
    fan_outs.owe_all();
    assert_eq!((fan_outs.owed, fan_outs.next_due_us()), (4, None));
    fan_outs.finish(id);
    fan_outs.put_back(id);
    // What comes later joins them, and is not owed.
    fan_outs.gather(publication(2, 10, 0), 0);
    assert_eq!((serve(&mut fan_outs), fan_outs.owed), (Some(2), 2));
    for channel in 3.. {
        fan_outs.gather(publication(channel, 10, 0), 0);
        fan_outs.gather(publication(1, 10, 0), 0);
        if !fan_outs.is_owing() {
            break;
        }
        assert!(serve(&mut fan_outs).is_some() && channel < 20);
    }
    assert!(!fan_outs.is_idle(), "nobody waits for the others");
    while serve(&mut fan_outs).is_some() {}
    assert!(fan_outs.is_idle() && fan_outs.has_room());
    assert_eq!((fan_outs.held, fan_outs.held_bytes, fan_outs.owed), (0, 0, 0));
}
