//! A strict reader of the Prometheus text format, and the names of the metrics that the tests look at.

use std::collections::{HashMap, HashSet};

/// Messages that visited a shard, by `shard`.
pub const PUBLICATIONS: &str = "ringway_publications_total";
/// Messages that a shard never got, by `shard`.
pub const LANE_LOST: &str = "ringway_lane_lost_total";
/// Connections that are open, by `shard`.
pub const CONNECTIONS: &str = "ringway_connections";
/// Receive buffers that are out of their ring.
pub const BUFFERS_IN_USE: &str = "ringway_receive_buffers_in_use";
/// Bytes that wait in outboxes.
pub const OUTBOX_BYTES: &str = "ringway_outbox_bytes";
/// TCP connections accepted, by `shard`.
pub const ACCEPTED: &str = "ringway_accepted_total";
/// Clients handed over to a shard with more room, by the `shard` that was full.
pub const HANDED_OVER: &str = "ringway_handed_over_total";
/// Upgrades refused, by `reason`.
pub const REFUSED: &str = "ringway_refused_total";
/// Connections closed, by the name of the close code as `code`.
pub const CLOSED: &str = "ringway_closed_total";
/// Frames that an overflow policy dropped, by `policy`.
pub const OVERFLOW_DROPPED: &str = "ringway_overflow_dropped_total";
/// Messages that the brokers have brought.
pub const SOURCE_MESSAGES: &str = "ringway_source_messages_total";
/// Turns of all shards.
pub const TURNS: &str = "ringway_turns_total";

/// One sample.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: HashMap<String, String>,
    value: f64,
}

/// Everything that `/metrics` said at one moment.
#[derive(Debug)]
pub struct Metrics {
    samples: Vec<Sample>,
}

impl Metrics {
    /// Panics on the first line that is not Prometheus text, and on a sample of a family without a type.
    #[track_caller]
    pub fn parse(text: &str) -> Metrics {
        let mut families = HashSet::new();
        let mut samples = Vec::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.split(' ');
                match (words.next(), words.next()) {
                    (Some("TYPE"), Some(name)) => _ = families.insert(name.to_owned()),
                    (Some("HELP" | "UNIT"), Some(_)) | (Some("EOF"), None) => {}
                    _ => panic!("not a comment of the format: {line}"),
                }
                continue;
            }
            let sample = parse_sample(line).unwrap_or_else(|| panic!("not a sample: {line}"));
            assert!(has_family(&families, &sample.name), "no # TYPE before {line}");
            samples.push(sample);
        }
        assert!(!samples.is_empty(), "no samples in {text:?}");
        Metrics { samples }
    }

    /// The sum over all samples of this name; panics when there is none, so that a typo does not read as zero.
    #[track_caller]
    pub fn sum(&self, name: &str) -> f64 {
        assert!(self.has(name), "no metric {name}");
        self.named(name).map(|sample| sample.value).sum()
    }

    /// The sum over the samples of this name that carry this label; zero when the label has not been seen yet.
    pub fn labelled(&self, name: &str, label: &str, value: &str) -> f64 {
        let carries = |sample: &&Sample| sample.labels.get(label).is_some_and(|found| found == value);
        self.named(name).filter(carries).map(|sample| sample.value).sum()
    }

    pub fn has(&self, name: &str) -> bool {
        self.named(name).next().is_some()
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }
}

fn has_family(families: &HashSet<String>, name: &str) -> bool {
    let suffixes = ["", "_total", "_bucket", "_sum", "_count", "_created", "_info"];
    suffixes.iter().any(|suffix| name.strip_suffix(suffix).is_some_and(|family| families.contains(family)))
}

/// `name{label="value",…} number [timestamp]`
fn parse_sample(line: &str) -> Option<Sample> {
    let name_bytes = line.find(|next: char| !(next.is_ascii_alphanumeric() || next == '_' || next == ':'))?;
    let (name, mut rest) = line.split_at(name_bytes);
    let mut labels = HashMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = parse_labels(inner, &mut labels)?;
    }
    let mut words = rest.strip_prefix(' ')?.split(' ');
    let value = words.next()?.parse().ok()?;
    let starts_well = name.starts_with(|first: char| !first.is_ascii_digit());
    starts_well.then(|| Sample { name: name.to_owned(), labels, value })
}

/// Reads up to and with the closing brace; returns what follows it.
fn parse_labels<'a>(mut rest: &'a str, labels: &mut HashMap<String, String>) -> Option<&'a str> {
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some(after);
        }
        let (name, after) = rest.split_once("=\"")?;
        let end = closing_quote(after)?;
        labels.insert(name.to_owned(), after[..end].to_owned());
        rest = &after[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}
