//! Promise: docs/grafana/ringway.json asks for nothing that `/metrics` does not have.

use std::collections::BTreeSet;

use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::ports;
use crate::support::wire;

/// What the metrics of a gateway begin with.
const PREFIXES: [&str; 2] = ["ringway_", "process_"];

#[test]
fn every_metric_of_the_grafana_dashboard_exists() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/grafana/ringway.json");
    let dashboard = wire::json(&std::fs::read_to_string(path).expect("the dashboard"));
    // A source has metrics whether it is reached or not.
    let gateway = Gateway::start_alive(Config::new().set("redis.url", format!("redis://{}", ports::free())));
    let metrics = gateway.admin().metrics();
    let mut asked = BTreeSet::new();
    for panel in wire::at(&dashboard, &["panels"]).and_then(Value::as_array).expect("panels") {
        let targets = panel.get("targets").and_then(Value::as_array);
        let expressions = targets.into_iter().flatten().map(|target| wire::string(target, &["expr"]));
        asked.extend(expressions.flat_map(metric_names).map(str::to_owned));
    }
    assert!(asked.len() > 25, "{asked:?}");
    let missing: Vec<_> = asked.iter().filter(|name| !metrics.has(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn metric_names(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)))
}
