//! The progress bar of a phase. Drawn on standard error, and only on a terminal.

use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::worker::tally::Gauge;

pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar that is full at `total`.
    pub fn new(phase: &str, total: u64, quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(total.max(1)), target);
        let style = ProgressStyle::with_template("{prefix:>10} {wide_bar} {percent:>3} % {elapsed} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(phase.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar }
    }

    pub fn set(&self, position: u64, gauge: &Gauge) {
        self.bar.set_position(position);
        let (held, lost) = (HumanCount(gauge.held), HumanCount(gauge.totals.lost));
        let received = HumanCount(gauge.totals.receipts + gauge.totals.answered);
        self.bar.set_message(format!("held {held}, lost {lost}, received {received}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
