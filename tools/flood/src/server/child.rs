//! A process that this tool started: waited for until it is ready, stopped by its id, its last words kept.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::limits::Trouble;

const READY_WITHIN: Duration = Duration::from_secs(30);

/// After SIGTERM; then SIGTERM once more, which ends a drain, and at last SIGKILL.
const ENDED_WITHIN: Duration = Duration::from_secs(5);

/// How much of the output is shown when it did not start.
const LAST_WORDS_BYTES: usize = 2000;

pub struct Child {
    name: String,
    process: process::Child,
    log: PathBuf,
    _folder: TempDir,
}

impl Child {
    /// Starts a program whose output goes to a file in `folder`.
    pub fn start(name: &str, command: &mut Command, folder: TempDir) -> Result<Self, Trouble> {
        let log = folder.path().join("output");
        let output = File::create(&log)?;
        let process = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| Trouble::new(format!("{name} cannot be started: {error}")))?;
        Ok(Self { name: name.into(), process, log, _folder: folder })
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until `is_ready`.
    pub fn wait_until(&mut self, mut is_ready: impl FnMut() -> bool) -> Result<(), Trouble> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Err(self.trouble(&format!("ended while starting ({status})")));
            }
            if is_ready() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.trouble(&format!("was not ready within {READY_WITHIN:?}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn trouble(&self, what: &str) -> Trouble {
        let output = fs::read(&self.log).unwrap_or_default();
        let last_words = String::from_utf8_lossy(&output[output.len().saturating_sub(LAST_WORDS_BYTES)..]).into_owned();
        Trouble::new(format!("{} {what}:\n{}", self.name, last_words.trim_end()))
    }

    fn ended_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        for _ in 0..2 {
            // Fails only when it is gone already.
            let _ = kill(Pid::from_raw(self.process.id() as i32), Signal::SIGTERM);
            if self.ended_within(ENDED_WITHIN) {
                return;
            }
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
