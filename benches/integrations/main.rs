//! Messages through every system outside: from each source to one subscriber and to a thousand, and from clients
//! through a route to each kind of service; how soon a server is used again that was gone; and what clients notice of a
//! RabbitMQ that stands still.
//!
//! ```text
//! cargo bench --profile quick --bench integrations              everything, three times
//! cargo bench --profile quick --bench integrations -- 10        everything, ten times
//! cargo bench --profile quick --bench integrations -- nats      the rows with this word
//! cargo bench --profile quick --bench integrations -- back      servers that were gone, and are back
//! cargo bench --profile quick --bench integrations -- stalled   RabbitMQ stopped and going on, phase by phase
//! ```
//!
//! It needs `ulimit -n 20000` and the servers of `tools/install-test-deps`, which it starts for itself, and prints
//! tables in Markdown. Broker, gateway and clients share the machine, so a rate is that of all three; what the gateway
//! itself costs is its CPU time, its client of the broker included.

#[path = "../../tests/support/mod.rs"]
#[allow(dead_code, reason = "the tests need more of it")]
mod support;

#[path = "../../tools/flood/src/measure/on_cpu.rs"]
#[allow(dead_code, unused_imports, reason = "the flood tool needs more of it, and has its tests")]
mod on_cpu;

mod back;
mod clients;
mod figures;
mod services;
mod sources;
mod stalled;

use figures::{Figures, spread};
use support::config::Config;

/// How often each row is measured, if nobody says it; one row after the other, so that what else the machine does is in
/// all of them.
const RUNS: usize = 3;

fn main() {
    // Cargo's own flags are none of ours.
    let said: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let (numbers, words): (Vec<String>, Vec<String>) = said.into_iter().partition(|word| word.parse::<usize>().is_ok());
    let runs = numbers.first().and_then(|number| number.parse().ok()).unwrap_or(RUNS).max(1);
    let is_wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(&**word));
    let mut sources: Vec<_> =
        sources::KINDS.iter().filter(|kind| is_wanted(kind.name)).map(sources::Running::start).collect();
    let columns = "source | messages/s to one | CPU µs per message | messages/s to 1,000 | CPU µs per message";
    table(columns, runs, sources.len(), |row| {
        let [one, thousand] = [1, 1_000].map(|subscribers| sources[row].measure(subscribers));
        (sources[row].name(), vec![one.rate, one.cpu_us, thousand.rate, thousand.cpu_us])
    });
    drop(sources);
    let mut services: Vec<_> =
        services::KINDS.iter().filter(|kind| is_wanted(kind.name)).map(services::Running::start).collect();
    table("service | messages/s | CPU µs per message", runs, services.len(), |row| {
        let Figures { rate, cpu_us } = services[row].measure();
        (services[row].name(), vec![rate, cpu_us])
    });
    drop(services);
    let mut servers: Vec<_> =
        back::KINDS.iter().filter(|kind| is_wanted(kind.name)).map(back::Running::start).collect();
    let columns = "server that was gone | ms from its first answer to the gateway's first message";
    table(columns, runs, servers.len(), |row| (servers[row].name(), vec![servers[row].measure()]));
    drop(servers);
    if is_wanted("stalled") {
        stalled::run();
    }
}

/// Nothing comes to clients but what is measured, and nobody is too slow for it.
fn quiet() -> Config {
    let quiet = Config::new().set("heartbeat.interval", "1h").set("heartbeat.idle_timeout", "2h");
    quiet.set("limits.outbox_bytes", 64 << 20)
}

/// Prints a table of medians, each with what was lowest and highest.
fn table(columns: &str, runs: usize, rows: usize, mut measure: impl FnMut(usize) -> (&'static str, Vec<f64>)) {
    if rows == 0 {
        return;
    }
    let mut measured: Vec<(&str, Vec<Vec<f64>>)> = vec![("", vec![]); rows];
    for _ in 0..runs {
        for (row, (name, measured)) in measured.iter_mut().enumerate() {
            let (known_as, figures) = measure(row);
            *name = known_as;
            measured.push(figures);
        }
    }
    println!("| {columns} |\n|{}", " --- |".repeat(columns.split('|').count()));
    for (name, runs) in measured {
        let cells = (0..runs[0].len()).map(|column| spread(runs.iter().map(|run| run[column])));
        println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    println!();
}
