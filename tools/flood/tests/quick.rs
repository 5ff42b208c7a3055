//! The quick form of the benchmarks: counts and losses, never times.
//!
//! Runs the real tool against the real gateway. `cargo test --workspace` builds both; `cargo test -p ringway-flood`
//! alone uses the gateway that was built last, and builds one only where there is none.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Once;

use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

const FLOOD: &str = env!("CARGO_BIN_EXE_ringway-flood");

/// The gateway's binary, beside the tool's.
fn gateway() -> PathBuf {
    static BUILT: Once = Once::new();
    let path = PathBuf::from(FLOOD).with_file_name("ringway");
    BUILT.call_once(|| {
        if !path.exists() {
            let built = Command::new(env!("CARGO")).args(["build", "--package", "ringway"]).status().unwrap();
            assert!(built.success(), "the gateway can be built");
        }
    });
    path
}

/// What a run said.
struct Told {
    output: Output,
    phases: Vec<Value>,
}

impl Told {
    fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    fn errors(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    fn number(&self, phase: &str, path: &[&str]) -> u64 {
        let phase = self.phases.iter().find(|p| p["phase"].as_str() == Some(phase)).expect("the phase was reported");
        path.iter().fold(phase, |value, name| &value[*name]).as_u64().expect("a number")
    }
}

/// Runs the tool with these arguments, separated by spaces.
fn flood(arguments: &str) -> Told {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("phases.json");
    let output = Command::new(FLOOD).args(arguments.split(' ')).arg("--json").arg(&json).output().unwrap();
    let lines = std::fs::read_to_string(&json).unwrap_or_default();
    let phases = lines.lines().map(|line| sonic_rs::from_str(line).unwrap()).collect();
    Told { output, phases }
}

fn flood_gateway(arguments: &str) -> Told {
    flood(&format!("{arguments} --spawn {}", gateway().display()))
}

#[test]
fn fifteen_thousand_clients_connect_and_each_receives_every_message_once() {
    let told = flood_gateway("fanout --connections 15000 --messages 10 --publish-rate 2");
    assert_eq!(told.code(), Some(0), "{}", told.errors());
    assert_eq!(told.number("connect", &["connections", "held"]), 15_000);
    assert_eq!(told.number("fanout", &["connections", "held"]), 15_000);
    assert_eq!(told.number("fanout", &["deliveries"]), 150_000);
    for count in ["lost", "duplicated", "out_of_order"] {
        assert_eq!(told.number("fanout", &[count]), 0, "{count}");
    }
    assert_eq!(told.number("fanout", &["latency_us", "count"]), 150_000);
}

#[test]
fn each_channel_hears_its_own_messages() {
    // Channels of 334, 333 and 333; the first two get three messages, the last two.
    let told = flood_gateway("fanout --connections 1000 --channels 3 --messages 8 --publish-rate 40");
    assert_eq!(told.code(), Some(0), "{}", told.errors());
    assert_eq!(told.number("fanout", &["deliveries"]), 334 * 3 + 333 * 3 + 333 * 2);
}

#[test]
fn with_messages_always_under_way_every_member_receives_each_once() {
    // Each connection in 3 of 10 channels, so 60 members each; 50 messages to each of the channels.
    let told = flood_gateway(
        "saturate --connections 200 --channels 10 --channels-per-connection 3 --under-way 40 --messages 500",
    );
    assert_eq!(told.code(), Some(0), "{}", told.errors());
    assert_eq!(told.number("saturate", &["messages"]), 500);
    assert_eq!(told.number("saturate", &["deliveries"]), 500 * 60);
    assert_eq!(told.number("saturate", &["rate", "under_way"]), 40);
    for count in ["lost", "duplicated", "out_of_order"] {
        assert_eq!(told.number("saturate", &[count]), 0, "{count}");
    }
    assert_eq!(told.number("saturate", &["latency_us", "count"]), 30_000);
}

#[test]
fn messages_are_kept_under_way_through_redis() {
    if Command::new("redis-server").arg("--version").output().is_err() {
        return;
    }
    let told = flood_gateway("saturate --connections 100 --workers 2 --under-way 20 --messages 300 --redis spawn");
    assert_eq!(told.code(), Some(0), "{}", told.errors());
    assert_eq!(told.number("saturate", &["deliveries"]), 30_000);
    assert_eq!(told.number("saturate", &["lost"]), 0);
}

#[test]
fn every_ping_is_answered() {
    let told = flood_gateway("echo --connections 1000 --message-rate 2000 --duration 2s");
    assert_eq!(told.code(), Some(0), "{}", told.errors());
    assert_eq!(told.number("echo", &["messages"]), 4_000);
    assert_eq!(told.number("echo", &["deliveries"]), 4_000);
}

#[test]
fn pings_beside_a_large_channel_are_answered_and_the_channel_misses_nothing() {
    let told = flood_gateway("fairness --connections 50 --others 500 --publish-rate 20 --duration 1s");
    assert_eq!(told.code(), Some(0), "{}", told.errors());
    assert_eq!(told.number("together", &["connections", "held"]), 550);
    for phase in ["alone", "together"] {
        assert_eq!(told.number(phase, &["latency_us", "count"]), 50, "{phase}");
        assert_eq!(told.number(phase, &["lost"]), 0, "{phase}");
    }
    let receipts = told.number("together", &["receipt_latency_us", "count"]);
    assert!(receipts > 0 && receipts.is_multiple_of(500), "{receipts}");
    assert_eq!(told.number("together", &["deliveries"]), receipts + 50);
}

#[test]
fn after_a_storm_everybody_is_back_and_those_who_stayed_missed_nothing() {
    let told = flood_gateway("storm --connections 2000 --background 200 --duration 1s");
    assert_eq!(told.code(), Some(0), "{}", told.errors());
    assert_eq!(told.number("reconnect", &["connect_latency_us", "count"]), 1_800);
    assert_eq!(told.number("after", &["connections", "held"]), 2_000);
    assert_eq!(told.number("after", &["lost"]), 0);
    assert!(told.number("reconnect", &["deliveries"]) + told.number("after", &["deliveries"]) > 0);
}

#[test]
fn a_storm_in_which_nobody_would_drop_is_refused() {
    for connections in [1, 200, 399] {
        let told = flood_gateway(&format!("storm --connections {connections} --background 200 --duration 1s"));
        assert_eq!(told.code(), Some(3), "{connections}: {}", told.errors());
        assert!(told.errors().contains("nobody would drop"), "{}", told.errors());
        assert!(told.phases.is_empty(), "{connections}");
    }
}

#[test]
fn everything_that_clients_say_to_each_other_reaches_those_whom_it_concerns() {
    let told = flood_gateway(
        "mix --connections 1000 --duration 3s --location-interval 1s --chat-interval 3s --slow-percent 5",
    );
    assert_eq!(told.code(), Some(0), "{}", told.errors());
    // 100 vendors and 100 drivers, three times; 40 who chat, each typing before and not any more after it.
    assert_eq!((told.number("drive", &["messages"]), told.number("day", &["messages"])), (600, 600 + 3 * 40 + 300));
    for phase in ["drive", "day"] {
        assert!(told.number(phase, &["expected"]) > 0);
        let superseded = told.number(phase, &["superseded"]);
        assert_eq!(told.number(phase, &["deliveries"]) + superseded, told.number(phase, &["expected"]), "{phase}");
        assert!(told.number(phase, &["latency_us", "count"]) > 0);
    }
    // Per clan of 20, of whom some do not listen: a chat reaches all, typing all but who types; and an answer.
    let said = told.number("day", &["expected"]) - told.number("drive", &["expected"]);
    assert!((40 * 3 * 15..40 * 3 * 20 + 300).contains(&said), "{said}");
}

#[test]
fn the_baseline_delivers_and_echoes_as_well() {
    let fanout = flood("baseline-fanout --connections 1000 --messages 10 --publish-rate 20");
    assert_eq!(fanout.code(), Some(0), "{}", fanout.errors());
    assert_eq!(fanout.number("fanout", &["deliveries"]), 10_000);
    let saturate = flood("baseline-saturate --connections 100 --under-way 20 --messages 200");
    assert_eq!(saturate.code(), Some(0), "{}", saturate.errors());
    assert_eq!(saturate.number("saturate", &["deliveries"]), 20_000);
    let echo = flood("baseline-echo --connections 500 --in-flight 50 --duration 1s");
    assert_eq!(echo.code(), Some(0), "{}", echo.errors());
    assert!(echo.number("echo", &["messages"]) > 0);
    assert_eq!(echo.number("echo", &["deliveries"]), echo.number("echo", &["messages"]));
}

#[test]
fn messages_that_do_not_arrive_are_lost_and_the_exit_code_says_so() {
    // Nobody subscribes.
    let mut arguments: Vec<String> = "fanout --connections 10 --messages 2 --publish-rate 10 --patience 1s --subscribe"
        .split(' ')
        .map(str::to_owned)
        .collect();
    arguments.extend([String::new(), "--spawn".into(), gateway().display().to_string()]);
    let output = Command::new(FLOOD).args(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_server_that_is_not_there_is_named_with_the_limit_that_may_be_the_cause() {
    // Nobody listens on the port of the discard service.
    let told = flood("hold --connections 2 --url ws://127.0.0.1:9/ws");
    assert_eq!(told.code(), Some(3));
    assert!(told.errors().contains("net.core.somaxconn"), "{}", told.errors());
}

#[test]
fn a_refused_token_ends_the_run_with_the_reason_of_the_server() {
    let told = flood_gateway("hold --connections 2 --token nonsense");
    assert_eq!(told.code(), Some(3));
    assert!(told.errors().contains("401") && told.errors().contains("not a JSON Web Token"), "{}", told.errors());
}

#[test]
fn a_phase_is_reported_with_the_machine_and_the_arguments() {
    let told = flood("baseline-fanout --connections 10 --messages 1 --label here");
    let phase = &told.phases[1];
    assert_eq!(phase["format"].as_u64(), Some(2));
    assert_eq!(phase["label"].as_str(), Some("here"));
    assert_eq!(
        phase["arguments"].as_array().and_then(|a| a.first().and_then(|first| first.as_str())),
        Some("baseline-fanout")
    );
    assert!(phase["host"]["cores"].as_u64().is_some_and(|cores| cores > 0));
    assert!(phase["server"]["cpu_s"].as_f64().is_some_and(|cpu_s| cpu_s > 0.0));
    assert!(matches!(phase["server"]["cpu_clock"].as_str(), Some("on_cpu" | "charged")));
    assert!(phase["timeline"].as_array().is_some_and(|timeline| !timeline.is_empty()));
}
