//! Tells the tool which commit it was built from, where git knows.

use std::process::Command;

fn main() {
    let git = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    if let Some(commit) = git.ok().filter(|output| output.status.success()).map(|output| output.stdout) {
        println!("cargo:rustc-env=FLOOD_COMMIT={}", String::from_utf8_lossy(&commit).trim());
    }
    // The ref that HEAD names changes with every commit; the log of HEAD does so too and is a single file.
    if let Ok(output) = Command::new("git").args(["rev-parse", "--git-path", "logs/HEAD"]).output() {
        println!("cargo:rerun-if-changed={}", String::from_utf8_lossy(&output.stdout).trim());
    }
}
