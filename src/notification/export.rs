//! The notifications' part of the Prometheus page.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::metrics::export::{counter, gauge};

use super::Notifications;

/// What is kept, and what became of what was.
pub struct Export(pub Notifications);

impl Collector for Export {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let tally = self.0.tally();
        for (name, help, level) in [
            ("notifications_pending", "Notifications that wait for their acknowledgement.", &tally.pending),
            ("notifications_bytes", "Bytes of these notifications and of what is known of them.", &tally.bytes),
            ("notifications_ended", "Notifications whose end is remembered.", &tally.ended),
        ] {
            gauge(&mut encoder, name, help, level.load(Relaxed) as i64)?;
        }
        for (name, help, count) in [
            (
                "notifications_confirmed",
                "Notifications that a device of their user has acknowledged.",
                &tally.confirmed,
            ),
            ("notifications_expired", "Notifications that nobody acknowledged in time.", &tally.expired),
            ("notifications_dropped", "Pending notifications that had to make room for newer ones.", &tally.dropped),
            ("notifications_repeated", "Times that a pending notification was handed out again.", &tally.repeated),
            ("notifications_unkept", "Notifications with an id that were delivered once and not kept.", &tally.unkept),
        ] {
            counter(&mut encoder, name, help, count.load(Relaxed))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Export of the notifications")
    }
}
