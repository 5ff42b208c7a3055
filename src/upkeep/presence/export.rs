//! Presence on the Prometheus page.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::channel::Presence;
use crate::metrics::export::{counter, gauge};

/// Who is online, and how much of the change was told.
pub struct Online {
    pub presence: Arc<Presence>,
    pub updates: Arc<AtomicU64>,
}

impl Collector for Online {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let totals = self.presence.totals();
        let help = "Users online in channels with presence, once for each of these channels.";
        gauge(&mut encoder, "presence_users", help, totals.online as i64)?;
        let help = "Channels with presence in which somebody is online.";
        gauge(&mut encoder, "presence_channels", help, totals.channels as i64)?;
        let help = "First arrivals of a user in a channel with presence, and last departures.";
        counter(&mut encoder, "presence_changes", help, totals.changes)?;
        let help =
            "Messages that told of them; fewer, because what is undone or many at once is told as one or not at all.";
        counter(&mut encoder, "presence_updates", help, self.updates.load(Relaxed))
    }
}

impl fmt::Debug for Online {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.presence.totals())
    }
}
