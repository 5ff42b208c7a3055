//! Promise: under the profile of tuning/seccomp.json, applied to the process as a container engine does it, everything
//! works; where io_uring is refused, the gateway says so and what to do.

use std::fs;
use std::path::Path;

use seccompiler::{BpfProgram, apply_filter, compile_from_json};
use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value, json};

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::{Gateway, command};
use crate::support::process::run;
use crate::support::tokens::token;

const PROFILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tuning/seccomp.json");
const IO_URING: &str = "io_uring_";

/// What the test needs on the confined thread, and the gateway does not: a folder for its configuration.
const OF_THE_TEST: [&str; 3] = ["mkdir", "rmdir", "unlinkat"];

#[test]
fn a_container_with_the_profile_serves() {
    confined(
        |_| true,
        || {
            let gateway = Gateway::start(Config::new().set("server.shards", 2));
            let mut client = Client::connect(&gateway, &token("u1"));
            client.subscribe(&["conv:c1"]);
            gateway.admin().post("/broadcast/channel/conv:c1", "hello");
            assert_eq!(client.next_text(), "hello");
            client.close();
            assert!(gateway.stop().success());
        },
    );
}

#[test]
fn where_io_uring_is_refused_start_and_doctor_name_the_cause() {
    let doctor = || run(command().args(["doctor", "--connections", "100"]));
    assert!(!confined(|_| true, doctor).stdout.contains("seccomp"));

    let without_io_uring = |name: &str| !name.starts_with(IO_URING);
    let diagnosis = confined(without_io_uring, doctor);
    assert_eq!(diagnosis.code, Some(1), "{diagnosis:?}");
    assert!(diagnosis.stdout.contains("seccomp"), "{diagnosis:?}");

    let start = || run(command().args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]));
    let refused = confined(without_io_uring, start);
    assert_ne!(refused.code, Some(0));
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(said.contains("io_uring is refused here") && said.contains("ringway doctor"), "{said}");
}

/// Runs `action` on a thread that, with every process it starts, may call only what the
/// profile allows and `keep` keeps.
fn confined<T: Send>(keep: impl Fn(&str) -> bool + Send, action: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let confined = scope.spawn(|| {
            apply_filter(&program(keep)).expect("the kernel takes the filter");
            action()
        });
        confined.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The profile as a filter of the kernel.
fn program(keep: impl Fn(&str) -> bool) -> BpfProgram {
    let text = fs::read_to_string(Path::new(PROFILE)).expect("the profile");
    let profile: Value = sonic_rs::from_str(&text).expect("valid JSON");
    let errno = profile["defaultErrnoRet"].as_u64().expect("an errno");
    let rules: Vec<Value> = profile["syscalls"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|rule| rule["action"].as_str() == Some("SCMP_ACT_ALLOW"))
        .flat_map(|rule| {
            let names = rule["names"].as_array().expect("names").iter().filter_map(|name| name.as_str());
            names.filter(|name| keep(name)).map(|name| allowed(name, &rule["args"])).collect::<Vec<_>>()
        })
        .chain(OF_THE_TEST.map(|name| json!({ "syscall": name })))
        // The profile names calls of several architectures; those that this one does not have are none.
        .filter(|rule| compile(std::slice::from_ref(rule), errno).is_some())
        .collect();
    compile(&rules, errno).expect("all of it together compiles as well")
}

/// One allowed call in the form of the filter compiler; in the profile, conditions are those of libseccomp.
fn allowed(name: &str, conditions: &Value) -> Value {
    let conditions: Vec<Value> = conditions
        .as_array()
        .map(|list| list.iter())
        .into_iter()
        .flatten()
        .map(|condition| {
            let (index, value) = (&condition["index"], &condition["value"]);
            match condition["op"].as_str() {
                Some("SCMP_CMP_EQ") => json!({ "index": index, "type": "dword", "op": "eq", "val": value }),
                Some("SCMP_CMP_MASKED_EQ") => {
                    let expected = &condition["valueTwo"];
                    json!({ "index": index, "type": "dword", "op": { "masked_eq": value }, "val": expected })
                }
                other => panic!("a condition that the profile did not have so far: {other:?}"),
            }
        })
        .collect();
    if conditions.is_empty() { json!({ "syscall": name }) } else { json!({ "syscall": name, "args": conditions }) }
}

fn compile(rules: &[Value], errno: u64) -> Option<BpfProgram> {
    let filter = json!({
        "all": { "mismatch_action": { "errno": errno }, "match_action": "allow", "filter": rules }
    });
    let text = sonic_rs::to_string(&filter).expect("plain JSON");
    let architecture = std::env::consts::ARCH.try_into().expect("an architecture with filters");
    compile_from_json(text.as_bytes(), architecture).ok()?.remove("all")
}
