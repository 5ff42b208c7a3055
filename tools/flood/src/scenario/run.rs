//! What all scenarios share: the fleet, the meters, the timeline, and how a phase begins, waits and ends.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;

use crate::args::Common;
use crate::client::cast::{Cast, Troupe};
use crate::fleet::{Fleet, Muster};
use crate::interrupt;
use crate::limits::{self, Trouble};
use crate::measure::busy::Snapshot;
use crate::measure::host::{Host, cores, slab_bytes};
use crate::measure::process::{Processes, Usage};
use crate::publish::{self, Publisher};
use crate::report::json::{self, Connections, Lag, Latency, Moment, Phase};
use crate::report::progress::Progress;
use crate::report::table::{in_words, table};
use crate::server::Server;
use crate::sources::Sources;
use crate::worker::tally::{Gauge, Tally};

/// Between two samples of the timeline.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);

const LOOK_EVERY: Duration = Duration::from_millis(20);

pub struct Run {
    pub common: Common,
    pub server: Server,
    pub fleet: Fleet,
    pub cast: Arc<Cast>,
    scenario: &'static str,
    host: Host,
    started: Instant,
    started_unix_ms: u64,
    workers: u32,
    sampled: Instant,
    timeline: Vec<Moment>,
    /// Before the first connection.
    baseline: Baseline,
    phases: Vec<Phase>,
}

struct Baseline {
    server: Usage,
    slab_bytes: Option<u64>,
}

/// The start of a phase: totals to be taken from those of its end.
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
    /// How late the publisher was, if there is one.
    pub lag: Option<Histogram<u64>>,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    Done,
    /// Nothing has moved for `--patience`.
    Stalled,
}

impl Run {
    pub fn start(
        scenario: &'static str,
        common: &Common,
        server: Server,
        troupe: Troupe,
        closes_by_reset: bool,
    ) -> Result<Self, Trouble> {
        let nofile = limits::raise_open_files();
        settle();
        let needed = common.connections.div_ceil(limits::connections_per_ring(nofile));
        let workers = common.workers.unwrap_or(cores() as u32).clamp(needed, needed.max(common.connections));
        let is_local = server.target.ip().is_loopback();
        let sources = common.source_addresses.or(is_local.then(|| Sources::loopback(common.connections)));
        let cast = Arc::new(super::cast(common, &server, troupe));
        let (target, connections) = (server.target, common.connections);
        let fleet =
            Fleet::start(&Muster { cast: cast.clone(), target, connections, workers, sources, closes_by_reset })?;
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Ok(Self {
            baseline: Baseline { server: server.processes.usage_exact(), slab_bytes: slab_bytes() },
            common: common.clone(),
            server,
            fleet,
            cast,
            scenario,
            host: Host::this(nofile),
            started: Instant::now(),
            started_unix_ms: unix.as_millis() as u64,
            workers,
            sampled: Instant::now(),
            timeline: Vec::new(),
            phases: Vec::new(),
        })
    }

    pub fn begin(&mut self, name: &'static str) -> Beginning {
        // What was counted between the phases belongs to none.
        drop(self.fleet.report());
        self.sample();
        Beginning {
            name,
            at: Instant::now(),
            server: self.server.processes.usage(),
            tool: Processes::own().usage(),
            threads: Snapshot::of(&self.fleet.thread_ids()),
        }
    }

    /// Waits until `position` has reached `total`, for as long as something moves.
    pub fn wait(
        &mut self,
        beginning: &Beginning,
        total: u64,
        mut position: impl FnMut(&Self, &Gauge) -> u64,
    ) -> Result<Waited, Trouble> {
        let progress = Progress::new(beginning.name, total, self.common.quiet);
        let mut moved = (Instant::now(), 0);
        loop {
            let gauge = self.look()?;
            let now_at = position(self, &gauge);
            progress.set(now_at, &gauge);
            if now_at >= total {
                return Ok(Waited::Done);
            }
            if now_at != moved.1 {
                moved = (Instant::now(), now_at);
            } else if moved.0.elapsed() > self.common.patience {
                return Ok(Waited::Stalled);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Lets some time pass.
    pub fn pass(&mut self, beginning: &Beginning, time: Duration) -> Result<(), Trouble> {
        let start = Instant::now();
        let elapsed_ms = move |_: &Self, _: &Gauge| start.elapsed().as_millis() as u64;
        self.wait(beginning, time.as_millis() as u64, elapsed_ms).map(drop)
    }

    /// Opens every connection that is not open.
    pub fn connect(&mut self) -> Result<(), Trouble> {
        let beginning = self.begin("connect");
        let asked = u64::from(self.common.connections);
        self.fleet.open(self.common.rate);
        self.wait(&beginning, asked, |_, gauge| gauge.held)?;
        let connect_s = Some(beginning.at.elapsed().as_secs_f64());
        let units = self.fleet.gauge().held;
        self.end(beginning, |tally| Figures {
            units,
            asked,
            connect_s,
            latency: Some(tally.connect.clone()),
            ..Figures::default()
        })
    }

    /// Publishes on a thread of its own from a moment from now on.
    pub fn publish(&self, plan: publish::Plan) -> Result<Publisher, Trouble> {
        Publisher::start(plan, self.server.sink(&self.common)?.open()?)
    }

    /// Ends a phase: its figures are made of what was counted in it.
    pub fn end(&mut self, beginning: Beginning, figures: impl FnOnce(&Tally) -> Figures) -> Result<(), Trouble> {
        let duration_s = beginning.at.elapsed().as_secs_f64();
        let server = self.server.processes.usage_exact();
        let tool = Processes::own().usage();
        let busy = beginning.threads.until(&Snapshot::of(&self.fleet.thread_ids()));
        let gauge = self.look()?;
        self.sample();
        let tally = self.fleet.report();
        let figures = figures(&tally);
        let lag = figures.lag.as_ref().unwrap_or(&tally.lag);
        let scheduled_lag = (!lag.is_empty()).then(|| lag.value_at_percentile(99.0));
        let reason = figures.kind_of_loop.and_then(|_| busy.limits(scheduled_lag));
        let cpu_s = server.cpu_s - beginning.server.cpu_s;
        let held = gauge.held;
        let per_held = |bytes: i64| (held > 0).then(|| bytes / held as i64);
        let ends_here = if self.server.target.ip().is_loopback() { 2 } else { 1 };
        let phase = Phase {
            format: json::FORMAT,
            tool: json::Tool {
                version: env!("CARGO_PKG_VERSION"),
                commit: option_env!("FLOOD_COMMIT"),
                cpu_s: tool.cpu_s - beginning.tool.cpu_s,
                rss_bytes: tool.rss_bytes,
                workers: self.workers as usize,
                limited: reason.is_some(),
                reason,
                busiest_worker: busy.busiest,
                lag_us: Lag::of(lag),
            },
            host: self.host.clone(),
            arguments: std::env::args().skip(1).collect(),
            label: self.server.label.clone(),
            started_unix_ms: self.started_unix_ms,
            scenario: self.scenario,
            phase: beginning.name,
            duration_s,
            connections: Connections {
                asked: figures.asked,
                held,
                lost: tally.lost,
                refused: tally.refused,
                connect_s: figures.connect_s,
            },
            kind_of_loop: figures.kind_of_loop,
            messages: figures.messages,
            deliveries: figures.deliveries,
            expected: figures.expected,
            lost: figures.lost,
            duplicated: tally.duplicated,
            out_of_order: tally.out_of_order,
            errors: tally.errors.clone(),
            latency_us: figures.latency.as_ref().and_then(Latency::of),
            connect_latency_us: Latency::of(&tally.connect),
            server: (!self.server.processes.is_empty()).then(|| json::Server {
                pids: self.server.processes.0.clone(),
                cpu_s,
                cpu_s_per_million: (figures.units > 0).then(|| cpu_s * 1e6 / figures.units as f64),
                cores: cpu_s / duration_s,
                rss_bytes: server.rss_bytes,
                rss_bytes_per_connection: per_held(server.rss_bytes as i64 - self.baseline.server.rss_bytes as i64),
            }),
            kernel_bytes_per_connection: slab_bytes()
                .zip(self.baseline.slab_bytes)
                .and_then(|(now, before)| per_held((now as i64 - before as i64) / ends_here)),
            timeline: std::mem::take(&mut self.timeline),
            floor: None,
        };
        if !self.common.quiet && !std::io::stderr().is_terminal() {
            eprintln!("{}: {}", self.scenario, in_words(&phase));
        }
        self.phases.push(phase);
        Ok(())
    }

    /// Prints the table and writes the JSON. True when all is as it should be.
    pub fn finish(self) -> Result<bool, Trouble> {
        println!("{}", table(&self.phases).trim_end());
        if let Some(file) = &self.common.json {
            let failed = |error| Trouble::new(format!("{}: {error}", PathBuf::from(file).display()));
            json::append(file, &self.phases).map_err(failed)?;
        }
        Ok(self.phases.iter().all(is_good))
    }

    /// Sums up the gauges, samples when it is time, and notices what makes it pointless to go on.
    fn look(&mut self) -> Result<Gauge, Trouble> {
        if self.sampled.elapsed() >= SAMPLE_EVERY {
            self.sample();
        }
        if interrupt::came() {
            return Err(Trouble::new("broken off"));
        }
        if let Some(trouble) = self.fleet.trouble() {
            return Err(trouble);
        }
        if let Some(pid) = self.server.processes.gone() {
            return Err(Trouble::new(format!("the server's process {pid} has ended")));
        }
        Ok(self.fleet.gauge())
    }

    fn sample(&mut self) {
        self.sampled = Instant::now();
        let gauge = self.fleet.gauge();
        let server = (!self.server.processes.is_empty()).then(|| self.server.processes.usage());
        self.timeline.push(Moment {
            t_ms: self.started.elapsed().as_millis() as u64,
            connections: gauge.held,
            deliveries: gauge.totals.receipts + gauge.totals.answered,
            server_rss: server.map(|usage| usage.rss_bytes),
            server_cpu_s: server.map(|usage| usage.cpu_s),
            tool_rss: Processes::own().usage().rss_bytes,
            slab_bytes: slab_bytes(),
        });
    }
}

/// Waits until the kernel has tidied up behind earlier runs, which would make this one's memory look small.
fn settle() {
    const LOOKS_MAX: usize = 20;
    const STEADY_BYTES: u64 = 1 << 20;
    const STEADY_LOOKS: usize = 3;
    let (mut before, mut steady) = (slab_bytes(), 0);
    for _ in 0..LOOKS_MAX {
        std::thread::sleep(Duration::from_millis(200));
        let now = slab_bytes();
        let is_steady = before.zip(now).is_none_or(|(before, now)| before.saturating_sub(now) < STEADY_BYTES);
        steady = if is_steady { steady + 1 } else { 0 };
        if steady == STEADY_LOOKS {
            return;
        }
        before = now;
    }
}

fn is_good(phase: &Phase) -> bool {
    let Connections { asked, held, lost, .. } = phase.connections;
    held >= asked && lost == 0 && phase.lost == 0 && phase.duplicated == 0 && phase.out_of_order == 0
}
