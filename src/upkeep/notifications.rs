//! Repeats what its users have not confirmed yet.
//!
//! A round takes what is due, bounded, and publishes it to the channels of its users; publishing waits for room in the
//! lanes, so a task apart. Of who is away nothing reaches a shard, and nothing is counted as an attempt.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use tokio::time::sleep;

use crate::channel::name::USER_PREFIX;
use crate::clock::{Now, TICK_MS};
use crate::control::Control;
use crate::lane::Bus;
use crate::notification::{Due, Notifications};

/// Between two rounds: deadlines are ticks.
const ROUND: Duration = Duration::from_millis(TICK_MS as u64);

/// Starts the task and returns at once.
///
/// # Errors
///
/// When its thread cannot be had.
pub fn start(bus: Bus, notifications: Notifications, control: &Control) -> io::Result<()> {
    control.run_apart("notifications", async move |stop| {
        stop.run_until_cancelled(repeat(bus, notifications)).await;
    })
}

async fn repeat(bus: Bus, notifications: Notifications) -> Infallible {
    loop {
        round(&notifications, Now::read(), |due| {
            bus.publish(&format!("{USER_PREFIX}{}", due.user), &due.text).taken > 0
        });
        sleep(ROUND).await;
    }
}

/// Publishes what is due. While those before it wait for room, one may be confirmed, or kept anew with a newer text
/// that is published at once: the older one must not come behind it.
fn round(notifications: &Notifications, now: Now, mut publish: impl FnMut(&Due) -> bool) {
    for due in notifications.due(now) {
        if notifications.is_current(&due) && publish(&due) {
            notifications.sent(due.kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::{Bounds, recognise};

    fn at(second: u64) -> Now {
        Now { us: second * 1_000_000, unix_ms: 0 }
    }

    fn keep(kept: &Notifications, id: u8, body: &str) {
        let text = format!(r#"{{"type":"notification","id":"{id}","body":"{body}"}}"#);
        let recognised = recognise("user:ann", &text).expect("a notification");
        kept.keep(&recognised, &text, at(0)).expect("it is kept");
    }

    /// Keeps two; says which come when the first one, whichever it is, waits for room and `meanwhile` happens to the
    /// other.
    fn repeated(meanwhile: impl Fn(&Notifications, u8)) -> Vec<String> {
        let kept = Notifications::new(Some(Bounds::new(10, 10, 1 << 20)));
        (1..=2).for_each(|id| keep(&kept, id, "old"));
        let mut texts = Vec::new();
        round(&kept, at(3600), |due| {
            if texts.is_empty() {
                meanwhile(&kept, if due.text.contains(r#""1""#) { 2 } else { 1 });
            }
            texts.push(due.text.to_string());
            true
        });
        texts
    }

    #[test]
    fn an_old_text_is_not_repeated_behind_a_newer_one() {
        let texts = repeated(|kept, other| keep(kept, other, "new"));
        assert_eq!(texts.len(), 1, "{texts:?}");
    }

    #[test]
    fn what_is_confirmed_while_others_wait_for_room_is_not_repeated() {
        let texts = repeated(|kept, other| assert!(kept.confirm("ann", &other.to_string(), at(3600))));
        assert_eq!(texts.len(), 1, "{texts:?}");
    }
}
