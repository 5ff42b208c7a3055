//! The table at the end of a run, for people.

use std::fmt::Write;

use indicatif::HumanCount;

use crate::measure::process::Clock;

use super::json::{Latency, Phase};

const COLUMNS: [&str; 13] = [
    "phase",
    "s",
    "held",
    "lost conn",
    "messages",
    "deliveries",
    "lost",
    "p50",
    "p99",
    "max",
    "cpu s/M",
    "cores",
    "B/conn",
];

const CHARGED: &str = "CPU times are the scheduler's, which charges a part of the server's to clients on the same cores: perf events, which \
                       would tell, are forbidden (the server's user has them with kernel.perf_event_paranoid at 2 or less)\n";

/// All phases of a run, and a sentence for everything that is not as it should be.
pub fn table(phases: &[Phase]) -> String {
    let mut rows = vec![COLUMNS.map(str::to_owned)];
    rows.extend(phases.iter().map(row));
    let widths: [usize; COLUMNS.len()] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    if let Some(phase) = phases.first() {
        let (label, host) = (&phase.label, &phase.host);
        let _ = writeln!(text, "{label}: {} on {} cores, Linux {}", phase.scenario, host.cores, host.kernel);
    }
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ = if column == 0 { write!(text, "{cell:<width$}") } else { write!(text, "  {cell:>width$}") };
        }
        text.push('\n');
    }
    phases.iter().for_each(|phase| remarks(&mut text, phase));
    if phases.iter().filter_map(|phase| phase.server.as_ref()).any(|server| server.cpu_clock == Clock::Charged) {
        text.push_str(CHARGED);
    }
    text
}

/// One phase in one line, for a log that is read while the run goes on.
pub fn in_words(phase: &Phase) -> String {
    let Phase { phase: name, duration_s, connections, deliveries, lost, .. } = phase;
    let (held, deliveries, lost) = (count(connections.held), count(*deliveries), count(*lost));
    format!("{name} took {duration_s:.1} s: {held} connections held, {deliveries} deliveries, {lost} lost")
}

fn row(phase: &Phase) -> [String; COLUMNS.len()] {
    let latency = |pick: fn(&Latency) -> u64| phase.latency_us.as_ref().map_or("-".into(), |l| duration(pick(l)));
    let server = phase.server.as_ref();
    [
        phase.phase.into(),
        format!("{:.1}", phase.duration_s),
        count(phase.connections.held),
        count(phase.connections.lost),
        count(phase.messages),
        count(phase.deliveries),
        count(phase.lost),
        latency(|l| l.p50),
        latency(|l| l.p99),
        latency(|l| l.max),
        server
            .and_then(|s| s.cpu_s_per_million)
            .map_or("-".into(), |s| if s < 1.0 { format!("{s:.3}") } else { format!("{s:.2}") }),
        server.map_or("-".into(), |s| format!("{:.3}", s.cores)),
        bytes(phase),
    ]
}

/// User space + kernel, per connection.
fn bytes(phase: &Phase) -> String {
    let user = phase.server.as_ref().and_then(|server| server.rss_bytes_per_connection);
    let show = |bytes: Option<i64>| bytes.map_or("-".into(), |bytes| bytes.to_string());
    format!("{}+{}", show(user), show(phase.kernel_bytes_per_connection))
}

fn remarks(text: &mut String, phase: &Phase) {
    let name = phase.phase;
    if phase.connections.held < phase.connections.asked {
        let (held, asked) = (count(phase.connections.held), count(phase.connections.asked));
        let _ = writeln!(text, "{name}: {held} of {asked} connections were held");
    }
    if let Some(rate) = &phase.rate {
        let (per_s, megabytes_per_s) = (count(rate.deliveries_per_s as u64), rate.payload_bytes_per_s / 1e6);
        let client = phase.tool.cpu_s_per_million.unwrap_or(0.0);
        let _ = writeln!(
            text,
            "{name}: {per_s} deliveries/s, {megabytes_per_s:.0} MB/s, with {} messages under way; the clients took \
             {client:.3} CPU s per million",
            count(rate.under_way.into())
        );
    }
    if let Some(Latency { count: receipts, p50, p99, max, .. }) = phase.receipt_latency_us {
        let [p50, p99, max] = [p50, p99, max].map(duration);
        let _ = writeln!(
            text,
            "{name}: {} receipts by the others, after {p50} (p50), {p99} (p99), {max} (max)",
            count(receipts)
        );
    }
    if phase.duplicated + phase.out_of_order > 0 {
        let (duplicated, out_of_order) = (count(phase.duplicated), count(phase.out_of_order));
        let _ = writeln!(text, "{name}: {duplicated} messages came twice, {out_of_order} out of order");
    }
    if phase.superseded > 0 {
        let superseded = count(phase.superseded);
        let _ = writeln!(text, "{name}: {superseded} positions were skipped for later ones");
    }
    if !phase.errors.is_empty() {
        let errors: Vec<String> = phase.errors.iter().map(|(name, n)| format!("{name} {}", count(*n))).collect();
        let _ = writeln!(text, "{name}: {}", errors.join(", "));
    }
    if let Some(reason) = &phase.tool.reason {
        let _ = writeln!(text, "{name}: the tool, not the server, was the bottleneck: {reason}");
    }
}

fn count(n: u64) -> String {
    HumanCount(n).to_string()
}

fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}
