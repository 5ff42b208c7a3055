//! One phase: totals are read when it begins and when it ends, and what lies between is its own.

use std::time::Instant;

use hdrhistogram::Histogram;

use crate::measure::busy::{Busy, Snapshot};
use crate::measure::host::slab_bytes;
use crate::measure::process::Usage;
pub use crate::report::json::Rate;
use crate::report::json::{self, Connections, Lag, Latency, Phase};
use crate::worker::tally::Tally;

use super::run::Run;

/// The totals at the start of a phase.
pub struct Beginning {
    name: &'static str,
    at: Instant,
    server: Usage,
    tool: Usage,
    threads: Snapshot,
}

/// What a phase found out beyond what every phase measures.
#[derive(Default)]
pub struct Figures {
    pub messages: u64,
    pub deliveries: u64,
    pub expected: u64,
    pub lost: u64,
    /// What the server's CPU time is divided by, in `cpu_s_per_million`.
    pub units: u64,
    pub kind_of_loop: Option<&'static str>,
    pub connect_s: Option<f64>,
    /// Connections that should be held now.
    pub asked: u64,
    pub latency: Option<Histogram<u64>>,
    /// Of the fan-out, where `latency` is that of something else.
    pub receipt_latency: Option<Histogram<u64>>,
    pub rate: Option<Rate>,
    /// How late the publisher was, if there is one.
    pub lag: Option<Histogram<u64>>,
}

impl Figures {
    /// Of so many messages, upon which everybody who should have them gets `expected` of them in all.
    pub fn of_receipts(tally: &Tally, messages: u64, expected: u64) -> Self {
        Self {
            messages,
            deliveries: tally.receipts,
            expected,
            lost: expected.saturating_sub(tally.unique()),
            units: tally.receipts,
            latency: Some(tally.latency.clone()),
            ..Self::default()
        }
    }
}

/// What was measured from the beginning of a phase to its end.
struct Measured {
    duration_s: f64,
    server: Usage,
    tool: Usage,
    busy: Busy,
    held: u64,
    tally: Tally,
}

impl Run {
    pub fn begin(&mut self, name: &'static str) -> Beginning {
        // What was counted between the phases belongs to none.
        drop(self.fleet.report());
        self.sample();
        Beginning {
            name,
            at: Instant::now(),
            server: self.server.processes.usage(),
            tool: self.tool.usage(),
            threads: self.threads.snapshot(),
        }
    }
}

impl Beginning {
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn elapsed_s(&self) -> f64 {
        self.at.elapsed().as_secs_f64()
    }

    pub(super) fn end(self, run: &mut Run, figures: impl FnOnce(&Tally) -> Figures) -> Phase {
        let measured = self.measure(run);
        let figures = figures(&measured.tally);
        let tally = &measured.tally;
        Phase {
            format: json::FORMAT,
            tool: tool(run, &measured, &figures),
            host: run.host.clone(),
            arguments: std::env::args().skip(1).collect(),
            label: run.server.label.clone(),
            started_unix_ms: run.started_unix_ms,
            scenario: run.scenario,
            phase: self.name,
            duration_s: measured.duration_s,
            connections: Connections {
                asked: figures.asked,
                held: measured.held,
                lost: tally.lost,
                refused: tally.refused,
                connect_s: figures.connect_s,
            },
            kind_of_loop: figures.kind_of_loop,
            rate: figures.rate,
            messages: figures.messages,
            deliveries: figures.deliveries,
            expected: figures.expected,
            lost: figures.lost,
            duplicated: tally.duplicated,
            out_of_order: tally.out_of_order,
            superseded: tally.superseded,
            errors: tally.errors.clone(),
            latency_us: figures.latency.as_ref().and_then(Latency::of),
            receipt_latency_us: figures.receipt_latency.as_ref().and_then(Latency::of),
            connect_latency_us: Latency::of(&tally.connect),
            server: server(run, &measured, figures.units),
            kernel_bytes_per_connection: kernel_bytes_per_connection(run, &measured),
            timeline: std::mem::take(&mut run.timeline),
        }
    }

    /// The server's time first: what the tool does from here on is none of the phase's business.
    fn measure(&self, run: &mut Run) -> Measured {
        let duration_s = self.elapsed_s();
        let (server, tool) = (run.server.processes.usage_exact(), run.tool.usage());
        let busy = self.threads.until(&run.threads.snapshot());
        Measured {
            duration_s,
            server: Usage { cpu_s: server.cpu_s - self.server.cpu_s, ..server },
            tool: Usage { cpu_s: tool.cpu_s - self.tool.cpu_s, ..tool },
            busy,
            held: run.fleet.gauge().held,
            tally: run.fleet.report(),
        }
    }
}

impl Measured {
    /// `None` when nobody is connected.
    fn per_connection(&self, bytes: i64) -> Option<i64> {
        (self.held > 0).then(|| bytes / self.held as i64)
    }
}

fn tool(run: &Run, measured: &Measured, figures: &Figures) -> json::Tool {
    let lag = figures.lag.as_ref().unwrap_or(&measured.tally.lag);
    let lag_p99_us = (!lag.is_empty()).then(|| lag.value_at_percentile(99.0));
    // Without messages there is nothing that could be held up.
    let reason = figures.kind_of_loop.and_then(|_| measured.busy.limits(lag_p99_us, run.has_own_cores));
    json::Tool {
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("FLOOD_COMMIT"),
        cpu_s: measured.tool.cpu_s,
        cpu_s_per_million: (figures.units > 0).then(|| measured.tool.cpu_s * 1e6 / figures.units as f64),
        rss_bytes: measured.tool.rss_bytes,
        workers: run.workers,
        limited: reason.is_some(),
        reason,
        busiest_worker: measured.busy.busiest,
        lag_us: Lag::of(lag),
    }
}

fn server(run: &Run, measured: &Measured, units: u64) -> Option<json::Server> {
    let Usage { cpu_s, rss_bytes } = measured.server;
    let grown_bytes = rss_bytes as i64 - run.before.server.rss_bytes as i64;
    (!run.server.processes.is_empty()).then(|| json::Server {
        pids: run.server.processes.pids(),
        cpu_clock: run.server.processes.clock(),
        cpu_s,
        cpu_s_per_million: (units > 0).then(|| cpu_s * 1e6 / units as f64),
        cores: cpu_s / measured.duration_s,
        rss_bytes,
        rss_bytes_per_connection: measured.per_connection(grown_bytes),
    })
}

/// One end's share of what the slabs have grown by.
fn kernel_bytes_per_connection(run: &Run, measured: &Measured) -> Option<i64> {
    let ends_here = if run.server.target.ip().is_loopback() { 2 } else { 1 };
    let (now, before) = slab_bytes().zip(run.before.slab_bytes)?;
    measured.per_connection((now as i64 - before as i64) / ends_here)
}
