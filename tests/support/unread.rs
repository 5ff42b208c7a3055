//! A pipe with a name that nobody reads: where a log goes whose collector has stopped.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

pub struct Unread {
    folder: TempDir,
    /// This end alone does not wait: others have opened the pipe for themselves.
    ours: File,
}

impl Unread {
    #[track_caller]
    pub fn create() -> Unread {
        let folder = tempfile::tempdir().expect("a temp dir");
        let made = Command::new("mkfifo").arg(name(folder.path())).status().expect("mkfifo is there");
        assert!(made.success());
        let mut both_ends = OpenOptions::new();
        both_ends.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        let ours = both_ends.open(name(folder.path())).expect("a pipe");
        Unread { folder, ours }
    }

    pub fn path(&self) -> PathBuf {
        name(self.folder.path())
    }

    /// From now on whoever writes waits.
    #[track_caller]
    pub fn fill(&mut self) {
        for piece in [4096, 1] {
            let full = std::iter::repeat_with(|| self.ours.write_all(&vec![b'\n'; piece])).find_map(Result::err);
            assert_eq!(full.map(|error| error.kind()), Some(ErrorKind::WouldBlock));
        }
    }
}

fn name(folder: &Path) -> PathBuf {
    folder.join("log")
}
