//! `ringway bench`: becomes the flood tool, a program of its own that has no place on a server, with all its arguments.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const TOOL: &str = "ringway-flood";

/// As shells have it, and none of the tool's own.
const NOT_FOUND: u8 = 127;

/// Returns only when there is no tool, or it does not start.
pub fn run(arguments: &[OsString]) -> ExitCode {
    let own = std::env::current_exe().ok();
    let Some(tool) = find(own.as_deref(), std::env::var_os("PATH").as_deref()) else {
        eprintln!(
            "ringway bench: {TOOL} is neither beside this program nor on the PATH. It is built from the same sources: \
             cargo install --locked --path tools/flood"
        );
        return ExitCode::from(NOT_FOUND);
    };
    let error = Command::new(&tool).args(arguments).exec();
    eprintln!("ringway bench: {} does not start: {error}", tool.display());
    ExitCode::FAILURE
}

/// Beside this program first: that one is of the same build.
fn find(own: Option<&Path>, path: Option<&OsStr>) -> Option<PathBuf> {
    let beside = own.and_then(Path::parent).map(Path::to_owned);
    let folders = beside.into_iter().chain(path.into_iter().flat_map(std::env::split_paths));
    folders.map(|folder| folder.join(TOOL)).find(|tool| tool.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tool_beside_comes_before_those_on_the_path() {
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temp dir"));
        let [beside, on_path] = folders.each_ref().map(|folder| folder.path());
        let own = beside.join("ringway");
        let found = |own: Option<&Path>| find(own, Some(on_path.as_os_str()));
        assert_eq!((found(Some(&own)), find(None, None)), (None, None));
        std::fs::write(on_path.join(TOOL), "").expect("writable");
        assert_eq!((found(Some(&own)), found(None)), (Some(on_path.join(TOOL)), Some(on_path.join(TOOL))));
        std::fs::write(beside.join(TOOL), "").expect("writable");
        assert_eq!(found(Some(&own)), Some(beside.join(TOOL)));
    }
}
