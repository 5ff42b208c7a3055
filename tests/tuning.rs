//! `tuning/apply`, run on made-up `/proc` folders, so that nothing of this machine changes, and the files beside it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const TUNING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tuning");

/// What a stock kernel on a host of 24 GB has.
const STOCK: [(&str, &str); 20] = [
    ("fs.file-max", "2466170"),
    ("fs.nr_open", "1048576"),
    ("net.core.somaxconn", "4096"),
    ("net.core.netdev_max_backlog", "1000"),
    ("net.ipv4.ip_local_port_range", "32768\t60999"),
    ("net.ipv4.tcp_fin_timeout", "60"),
    ("net.ipv4.tcp_max_orphans", "131072"),
    ("net.ipv4.tcp_max_syn_backlog", "2048"),
    ("net.ipv4.tcp_max_tw_buckets", "131072"),
    ("net.ipv4.tcp_mem", "287898\t383867\t575796"),
    ("net.ipv4.tcp_migrate_req", "0"),
    ("net.ipv4.tcp_notsent_lowat", "4294967295"),
    ("net.ipv4.tcp_slow_start_after_idle", "1"),
    ("net.ipv4.tcp_syncookies", "1"),
    ("net.ipv4.tcp_tw_reuse", "2"),
    ("net.netfilter.nf_conntrack_max", "262144"),
    ("net.netfilter.nf_conntrack_tcp_timeout_established", "432000"),
    ("vm.swappiness", "60"),
    ("vm.overcommit_memory", "0"),
    ("kernel.io_uring_disabled", "0"),
];

/// A folder that looks like `/proc` to `tuning/apply`, and a place for its record.
struct Proc {
    folder: TempDir,
}

impl Proc {
    fn stock() -> Self {
        let proc = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        fs::write(proc.folder.path().join("meminfo"), "MemTotal:       24684084 kB\n").expect("meminfo");
        for (key, value) in STOCK {
            proc.set(key, value);
        }
        proc
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.path().join("sys").join(key.replace('.', "/"))
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("tuning.undo")
    }

    fn set(&self, key: &str, value: &str) {
        let path = self.path(key);
        fs::create_dir_all(path.parent().expect("inside the folder")).expect("folders");
        fs::write(path, format!("{value}\n")).expect("a setting");
    }

    fn get(&self, key: &str) -> String {
        let value = fs::read_to_string(self.path(key)).expect("a setting");
        value.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn all(&self) -> BTreeMap<&'static str, String> {
        STOCK.iter().map(|(key, _)| (*key, self.get(key))).collect()
    }

    fn apply(&self, arguments: &[&str]) -> Output {
        Command::new(Path::new(TUNING).join("apply"))
            .arg("--proc")
            .arg(self.folder.path())
            .arg("--state")
            .arg(self.state())
            .args(arguments)
            .output()
            .expect("bash runs tuning/apply")
    }

    fn apply_well(&self, arguments: &[&str]) -> String {
        let output = self.apply(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }
}

#[test]
fn dry_run_shows_the_values_and_changes_nothing() {
    let proc = Proc::stock();
    let before = proc.all();
    let table = proc.apply_well(&["--dry-run"]);
    let row = table.lines().find(|line| line.starts_with("net.core.somaxconn")).expect("a row");
    assert!(row.contains("4096") && row.contains("65535") && row.contains("accept"), "{row}");
    assert_eq!(proc.all(), before);
    assert!(!proc.state().exists());
}

#[test]
fn apply_then_undo_restores_every_value() {
    let proc = Proc::stock();
    let before = proc.all();
    proc.apply_well(&[]);
    assert_eq!(proc.get("net.core.somaxconn"), "65535");
    assert_eq!(proc.get("net.ipv4.tcp_notsent_lowat"), "131072");
    assert_ne!(proc.get("net.ipv4.tcp_mem"), before["net.ipv4.tcp_mem"]);
    // A second profile and a second run must not take tuned values for the ones to go back to.
    proc.apply_well(&["--profile", "flood"]);
    proc.apply_well(&["--profile=server"]);
    assert_eq!(proc.get("net.ipv4.ip_local_port_range"), "10240 65535");
    assert_eq!(proc.get("fs.file-max"), "8388608");
    proc.apply_well(&["--undo"]);
    assert_eq!(proc.all(), before);
    assert!(!proc.state().exists());
}

#[test]
fn a_better_value_is_never_made_worse() {
    let proc = Proc::stock();
    let better = [
        ("fs.file-max", "9223372036854775807"),
        ("fs.nr_open", "1073741816"),
        ("net.core.somaxconn", "131072"),
        ("net.ipv4.tcp_fin_timeout", "5"),
        ("net.ipv4.tcp_notsent_lowat", "16384"),
        ("net.ipv4.tcp_syncookies", "2"),
        ("net.ipv4.ip_local_port_range", "1024 65535"),
        ("vm.swappiness", "1"),
    ];
    for (key, value) in better {
        proc.set(key, value);
    }
    proc.apply_well(&[]);
    proc.apply_well(&["--profile", "flood"]);
    for (key, value) in better {
        assert_eq!(proc.get(key), value, "{key}");
    }
}

#[test]
fn numbers_of_a_vector_are_raised_one_by_one() {
    let proc = Proc::stock();
    proc.set("net.ipv4.tcp_mem", "1\t9000000\t9000001");
    proc.apply_well(&[]);
    // An eighth of 24,684,084 kB in pages of 4 KiB; the other two were higher already.
    assert_eq!(proc.get("net.ipv4.tcp_mem"), "771377 9000000 9000001");
}

#[test]
fn a_key_that_cannot_be_set_is_named_and_fails_the_run() {
    let proc = Proc::stock();
    fs::remove_file(proc.path("vm.swappiness")).expect("removed");
    // Readable, says it is writable to root, and refuses every write.
    symlink("/proc/version", proc.path("vm.swappiness")).expect("a link");
    let output = proc.apply(&[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let refused = output.status.code() == Some(1) && said.contains("Could not be set: vm.swappiness");
    // Without privileges the same file is plainly read-only: skipped, with a word, and no failure.
    let skipped = output.status.success() && said.contains("Skipped, to be set on the host: vm.swappiness");
    assert!(refused || skipped, "{said}");
    assert_eq!(proc.get("net.core.somaxconn"), "65535", "the others are set all the same");
}

#[test]
fn keys_that_a_container_does_not_have_are_skipped_with_a_word() {
    let proc = Proc::stock();
    fs::remove_file(proc.path("net.core.netdev_max_backlog")).expect("removed");
    fs::remove_file(proc.path("net.netfilter.nf_conntrack_max")).expect("removed");
    let said = proc.apply_well(&[]);
    assert!(said.contains("Skipped, to be set on the host: net.core.netdev_max_backlog\n"), "{said}");
    assert!(said.contains("no such key"), "{said}");
}

#[test]
fn undo_leaves_alone_what_somebody_changed_since() {
    let proc = Proc::stock();
    proc.apply_well(&[]);
    proc.set("net.core.somaxconn", "20000");
    let said = proc.apply_well(&["--undo"]);
    assert!(said.contains("left alone"), "{said}");
    assert_eq!(proc.get("net.core.somaxconn"), "20000");
    assert_eq!(proc.get("vm.swappiness"), "60");
}

#[test]
fn wrong_arguments_change_nothing() {
    let proc = Proc::stock();
    let before = proc.all();
    for arguments in [&["--profile", "desktop"][..], &["--force"], &["--profile"]] {
        assert_eq!(proc.apply(arguments).status.code(), Some(64), "{arguments:?}");
    }
    assert_eq!(proc.all(), before);
}

#[test]
fn every_setting_has_a_rule_and_its_reason_and_what_happens_without_it() {
    for name in ["60-ringway.conf", "61-ringway-flood.conf"] {
        let text = fs::read_to_string(Path::new(TUNING).join(name)).expect("the profile");
        let settings: Vec<_> = text.split("\n\n").filter(|block| block.lines().any(is_setting)).collect();
        assert!(settings.len() >= 8, "{name} has settings");
        for block in settings {
            let rules = ["# [at least] ", "# [at most] ", "# [exactly] ", "# [wider] "];
            assert!(rules.iter().any(|rule| block.contains(rule)), "{name}: no rule in\n{block}");
            let prose = block.replace("\n# ", " ");
            assert!(prose.contains("ithout it") || prose.contains("Past the value"), "{name}: no reason in\n{block}");
            assert!(prose.contains(".rst"), "{name}: no document in\n{block}");
            assert_eq!(
                block.lines().filter(|line| is_setting(line)).count(),
                1,
                "{name}: one reason for two in\n{block}"
            );
        }
    }
}

fn is_setting(line: &str) -> bool {
    !line.starts_with('#') && line.contains(" = ")
}

#[test]
fn seccomp_profile_allows_io_uring_and_no_way_out_of_the_container() {
    use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};
    let text = fs::read_to_string(Path::new(TUNING).join("seccomp.json")).expect("the profile");
    let profile: Value = sonic_rs::from_str(&text).expect("valid JSON");
    assert_eq!(profile["defaultAction"].as_str(), Some("SCMP_ACT_ERRNO"));
    let rules = profile["syscalls"].as_array().expect("a list");
    let allowed: Vec<_> = rules
        .iter()
        .filter(|rule| rule["action"].as_str() == Some("SCMP_ACT_ALLOW"))
        .flat_map(|rule| rule["names"].as_array().expect("names").iter().filter_map(|name| name.as_str()))
        .collect();
    for needed in ["io_uring_setup", "io_uring_enter", "io_uring_register", "sched_setaffinity", "prlimit64", "execve"]
    {
        assert!(allowed.contains(&needed), "{needed} is needed");
    }
    for refused in ["bpf", "mount", "ptrace", "unshare", "setns", "init_module", "keyctl", "clone3", "perf_event_open"]
    {
        assert!(!allowed.contains(&refused), "{refused} has no business here");
    }
}

#[test]
fn the_unit_finds_the_configuration_that_it_asks_for() {
    let unit = fs::read_to_string(Path::new(TUNING).join("ringway.service")).expect("the unit");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
    let path = start.strip_prefix("ringway --config ").expect("a file");
    let install = include_str!("../docs/INSTALL.md");
    assert!(install.contains("tuning/ringway.toml /etc/ringway/") && path == "/etc/ringway/ringway.toml", "{path}");
    let mut check = Command::new(env!("CARGO_BIN_EXE_ringway"));
    check.env_clear().args(["check-config", "--config"]).arg(Path::new(TUNING).join("ringway.toml"));
    let output = check.output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn unit_and_containers_stop_later_than_the_drain_and_raise_open_files() {
    let unit = fs::read_to_string(Path::new(TUNING).join("ringway.service")).expect("the unit");
    let setting = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)).expect("a setting").to_owned();
    let stop_s: u64 = setting("TimeoutStopSec=").parse().expect("seconds");
    assert!(stop_s > 30, "the drain takes 30 s");
    assert_eq!(setting("LimitNOFILE="), "1048576");
    assert_eq!(setting("RestartPreventExitStatus="), "78");

    let compose = fs::read_to_string(Path::new(TUNING).join("compose.yaml")).expect("the compose file");
    let grace = compose.lines().find_map(|line| line.trim().strip_prefix("stop_grace_period: ")).expect("a setting");
    let grace_s: u64 = grace.trim_end_matches('s').parse().expect("seconds");
    assert!(grace_s > 30, "the drain takes 30 s");
    assert!(compose.contains("seccomp=./seccomp.json") && compose.contains("soft: 1048576"));

    let manifest = fs::read_to_string(Path::new(TUNING).join("kubernetes/ringway.yaml")).expect("the manifest");
    let value = |name: &str| manifest.lines().find_map(|line| line.trim().strip_prefix(name)).expect("a setting");
    let grace_s: u64 = value("terminationGracePeriodSeconds: ").parse().expect("seconds");
    assert!(grace_s > 30 + 5 + 5, "the drain takes 30 s, its end 5 s, and 5 s go before it");
    assert!(value("seccompProfile:").contains("Localhost") && value("httpGet:").contains("/livez"));
}
