//! A connection says that it needs attention exactly when its deadline has come, whatever it is going through.

use proptest::prelude::*;

use super::rules;
use crate::clock::Now;
use crate::shard::connection::Attention::*;
use crate::shard::connection::Connection;
use crate::shard::rules::Rules;
use crate::ws::decoder::Policy;
use crate::ws::frame::{Opcode, encode_masked_fragment};

const UNIX_MS: u64 = 1_800_000_000_000;

/// A moment so many milliseconds after the process started.
fn moment(ms: u64) -> Now {
    Now { us: ms * 1000, unix_ms: UNIX_MS + ms }
}

/// A connection that came at `ms`, has been through some phases, and whose peer may be silent or in the middle of a
/// message.
fn connection(phase: u8, ms: u64, ttl_s: u64, half_message: bool, rules: &Rules) -> Connection {
    let now = moment(ms);
    let mut connection = if phase == 7 { Connection::echo(1, now) } else { Connection::new(1, now, None) };
    if half_message {
        let mut input = encode_masked_fragment(Opcode::Text, false, b"half", [1, 2, 3, 4]);
        let _ = connection.decoder.next(&mut &mut input[..], Policy::text(100));
        connection.decoder.note_beginning(now.tick());
    }
    if phase < 7 && phase > 0 {
        connection.authenticate(now.unix_s() + ttl_s, None, now, rules);
    }
    if (2..7).contains(&phase) {
        connection.ending().close(now.tick() + 50);
    }
    match phase {
        3 => connection.ending().finish(),
        4..=6 => connection.ending().fail(100),
        _ => {}
    }
    if phase > 4 && phase < 7 {
        connection.ending().linger(now.tick() + 5);
    }
    if phase == 6 {
        connection.ending().stop();
    }
    connection
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn attention_says_something_exactly_when_due_has_come(
        (phase, half_message) in (0u8..8, any::<bool>()),
        (came_ms, passed_ms, ttl_s) in (0u64..200_000, 0u64..200_000, 0u64..200),
        (judge_ahead, warning_s) in (0u32..400, 0u64..40),
    ) {
        let rules = Rules { expiry_warning_s: warning_s, ..rules() };
        let mut connection = connection(phase, came_ms, ttl_s, half_message, &rules);
        let judge_from = moment(came_ms).tick() + judge_ahead;
        let now = moment(came_ms + passed_ms);
        for _ in 0..4 {
            let due = connection.due(now, &rules, judge_from);
            let says = connection.attention(now, &rules, judge_from);
            prop_assert_eq!(says.is_some(), due <= now.tick(), "{:?} {}", says, due);
            // The others end the connection.
            if !matches!(says, Some(HeartbeatDue | TokenExpiresSoon)) {
                break;
            }
        }
    }

    #[test]
    fn a_deadline_comes_at_its_tick_and_not_before(
        (phase, half_message) in (0u8..8, any::<bool>()),
        (came_ms, ttl_s, judge_ahead) in (0u64..200_000, 1u64..200, 0u32..400),
    ) {
        let rules = rules();
        let mut connection = connection(phase, came_ms, ttl_s, half_message, &rules);
        let judge_from = moment(came_ms).tick() + judge_ahead;
        while connection.attention(moment(came_ms), &rules, judge_from).is_some() {}
        let due = connection.due(moment(came_ms), &rules, judge_from);
        if connection.phase().is_stopped() {
            return Ok(());
        }
        // A unix second is looked for up to two ticks late.
        let (early, then) = (moment(u64::from(due - 3) * 100 + 99), moment(u64::from(due) * 100));
        if early.tick() >= moment(came_ms).tick() {
            prop_assert_eq!(connection.attention(early, &rules, judge_from), None);
        }
        prop_assert!(connection.attention(then, &rules, judge_from).is_some());
    }
}

#[test]
fn what_is_told_first_is_what_ends_the_connection() {
    let rules = rules();
    let mut connection = connection(1, 0, 40, true, &rules);
    let all: Vec<_> = std::iter::from_fn(|| connection.attention(moment(39_999), &rules, 0)).take(5).collect();
    assert_eq!(all[..], [MessageOverdue; 5], "who is asked again has not gone");
    connection.decoder = Default::default();
    let all: Vec<_> = std::iter::from_fn(|| connection.attention(moment(39_999), &rules, 0)).collect();
    assert_eq!(all, [TokenExpiresSoon, HeartbeatDue]);
    assert_eq!(connection.attention(moment(40_000), &rules, 0), Some(TokenExpired));
    assert_eq!(connection.attention(moment(60_000), &rules, 0), Some(Silent));
}
