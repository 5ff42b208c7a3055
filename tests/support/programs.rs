//! Programs for Node.js and other runtimes, run with an environment of their own. Called by the tests of documents.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// Puts the packages that `tools/install-test-deps` has installed into a folder's reach.
#[track_caller]
pub fn link_packages(folder: &Path) {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-deps/node_modules");
    assert!(packages.is_dir(), "{} is missing: run tools/install-test-deps", packages.display());
    symlink(packages, folder.join("node_modules")).expect("the temp dir is writable");
}

/// `program` in a folder, to which paths among the arguments are relative, with nothing but these in its environment.
pub fn program_in(folder: &Path, variables: &[(&str, &str)], program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("env");
    command.arg("--chdir").arg(folder);
    command.args(variables.iter().map(|(name, value)| format!("{name}={value}")));
    command.arg(program).args(arguments);
    command
}
