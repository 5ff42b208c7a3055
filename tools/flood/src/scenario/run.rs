//! What all scenarios share: the fleet, the server, the timeline, and how a phase waits and is told.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringway::shard::io::Shape;

use crate::addresses::Addresses;
use crate::args::Common;
use crate::client::cast::{Cast, Troupe};
use crate::fleet::{Fleet, Muster};
use crate::interrupt;
use crate::limits::{self, Trouble};
use crate::measure::busy::Workers;
use crate::measure::host::{Host, cores, slab_bytes};
use crate::measure::process::{Processes, Usage};
use crate::publish::{self, Publisher};
use crate::report::json::{self, Moment, Phase};
use crate::report::page;
use crate::report::progress::Progress;
use crate::report::table::{in_words, table};
use crate::server::Server;
use crate::worker::tally::{Gauge, Tally};

use super::phase::{Beginning, Figures};

/// Between two samples of the timeline.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);

const LOOK_EVERY: Duration = Duration::from_millis(20);

pub struct Run {
    pub common: Common,
    pub server: Server,
    pub fleet: Fleet,
    pub(super) tool: Processes,
    pub(super) threads: Workers,
    pub cast: Arc<Cast>,
    pub(super) scenario: &'static str,
    pub(super) host: Host,
    started: Instant,
    pub(super) started_unix_ms: u64,
    pub(super) workers: usize,
    /// The tool shares no core with the server.
    pub(super) has_own_cores: bool,
    sampled: Instant,
    pub(super) timeline: Vec<Moment>,
    pub(super) before: Before,
    phases: Vec<Phase>,
    /// The same as JSON.
    records: Vec<String>,
}

/// What was in use before the first connection.
pub(super) struct Before {
    pub server: Usage,
    pub slab_bytes: Option<u64>,
}

/// What the clients are like.
pub struct Clients {
    pub troupe: Troupe,
    pub closes_by_reset: bool,
    /// Receive buffers of each worker.
    pub buffers: Shape,
    /// So many of the first have a thread for themselves.
    pub apart: u32,
}

impl Clients {
    pub fn of(troupe: Troupe) -> Self {
        Self { troupe, closes_by_reset: false, buffers: Shape::SHARD, apart: 0 }
    }
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
        mut server: Server,
        clients: Clients,
    ) -> Result<Self, Trouble> {
        let Clients { troupe, closes_by_reset, buffers, apart } = clients;
        let nofile = limits::raise_open_files();
        settle();
        let per_ring = limits::connections_per_ring(nofile);
        let workers = common.workers.unwrap_or(cores() as u32);
        let is_local = server.target.ip().is_loopback();
        let addresses = common.source_addresses.or(is_local.then(|| Addresses::loopback(common.connections)));
        let cast = Arc::new(super::cast(common, &server, troupe));
        let (target, connections) = (server.target, common.connections);
        // Before the workers, so that they count as well.
        let tool = Processes::own();
        let fleet = Fleet::start(&Muster {
            cast: cast.clone(),
            target,
            connections,
            workers,
            apart,
            per_ring,
            addresses,
            closes_by_reset,
            buffers,
        })?;
        let threads = fleet.thread_ids();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Ok(Self {
            before: Before { server: server.processes.usage_exact(), slab_bytes: slab_bytes() },
            common: common.clone(),
            server,
            threads: Workers::watch(&threads),
            fleet,
            tool,
            cast,
            scenario,
            host: Host::this(nofile),
            started: Instant::now(),
            started_unix_ms: unix.as_millis() as u64,
            workers: threads.len(),
            has_own_cores: common.server_cores.is_some(),
            sampled: Instant::now(),
            timeline: Vec::new(),
            phases: Vec::new(),
            records: Vec::new(),
        })
    }

    /// Waits until `position` has reached `total`, for as long as something moves.
    pub fn wait(
        &mut self,
        beginning: &Beginning,
        total: u64,
        mut position: impl FnMut(&Self, &Gauge) -> u64,
    ) -> Result<Waited, Trouble> {
        let progress = Progress::new(beginning.name(), total, self.common.quiet);
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
        let connect_s = Some(beginning.elapsed_s());
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
        self.look()?;
        self.sample();
        let phase = beginning.end(self, figures);
        if !self.common.quiet && !std::io::stderr().is_terminal() {
            eprintln!("{}: {}", self.scenario, in_words(&phase));
        }
        // At once: a later phase may be broken off.
        let record = phase.record()?;
        if let Some(file) = &self.common.json {
            json::append(file, &record).map_err(|error| unwritable(file, &error))?;
        }
        self.records.push(record);
        self.phases.push(phase);
        Ok(())
    }

    /// Prints the table and writes the page. True when all is as it should be.
    pub fn finish(self) -> Result<bool, Trouble> {
        println!("{}", table(&self.phases).trim_end());
        if let Some(file) = &self.common.report {
            std::fs::write(file, page::render(&self.records)).map_err(|error| unwritable(file, &error))?;
        }
        Ok(self.phases.iter().all(Phase::is_good))
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

    pub(super) fn sample(&mut self) {
        self.sampled = Instant::now();
        let gauge = self.fleet.gauge();
        let server = (!self.server.processes.is_empty()).then(|| self.server.processes.usage());
        self.timeline.push(Moment {
            t_ms: self.started.elapsed().as_millis() as u64,
            connections: gauge.held,
            deliveries: gauge.totals.receipts + gauge.totals.answered,
            server_rss: server.map(|usage| usage.rss_bytes),
            server_cpu_s: server.map(|usage| usage.cpu_s),
            tool_rss: self.tool.usage().rss_bytes,
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

fn unwritable(file: &Path, error: &std::io::Error) -> Trouble {
    Trouble::new(format!("{} cannot be written: {error}", file.display()))
}
