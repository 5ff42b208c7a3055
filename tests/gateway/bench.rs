//! Promise: `ringway bench` is the flood tool, where it is installed, and says how to get it where it is not.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::gateway::command;
use crate::support::process::run;

/// Tells what it was started with, and ends as the tool does after a loss.
const TOOL: &str = "#!/bin/sh\nprintf '<%s>' \"$@\"\nexit 1\n";

/// The binary in a folder of its own.
fn alone() -> TempDir {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temp dir");
    std::fs::hard_link(command().get_program(), folder.path().join("ringway")).expect("one file system");
    folder
}

fn bench(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(folder.join("ringway"));
    command.arg("bench").args(arguments);
    command
}

#[test]
fn everything_behind_bench_is_the_flood_tools() {
    let folder = alone();
    let tool = folder.path().join("ringway-flood");
    std::fs::write(&tool, TOOL).expect("writable");
    std::fs::set_permissions(&tool, PermissionsExt::from_mode(0o755)).expect("its owner");
    let arguments = ["hold", "--shards", "2", "-c", "7", "--config", "no.toml", "--help"];
    let finished = run(&mut bench(folder.path(), &arguments));
    assert_eq!(finished.stdout, "<hold><--shards><2><-c><7><--config><no.toml><--help>", "{finished:?}");
    assert_eq!(finished.code, Some(1));
    assert_eq!(run(&mut bench(folder.path(), &["--help"])).stdout, "<--help>");
}

#[test]
fn without_the_tool_it_says_how_to_get_it() {
    let finished = run(&mut bench(alone().path(), &["hold"]));
    assert_eq!(finished.code, Some(127), "{finished:?}");
    assert!(finished.stderr.contains("cargo install --locked --path tools/flood"), "{finished:?}");
}
