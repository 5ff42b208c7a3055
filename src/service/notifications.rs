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
use crate::notification::Notifications;

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
        for due in notifications.due(Now::read()) {
            let outcome = bus.publish(&format!("{USER_PREFIX}{}", due.user), &due.text);
            if outcome.taken > 0 {
                notifications.sent(due.ticket);
            }
        }
        sleep(ROUND).await;
    }
}
