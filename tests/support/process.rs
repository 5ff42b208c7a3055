//! Child processes: started with an empty environment, signalled by pid, never outliving their test.
//! Called by `gateway`, `redis` and the tests of the command line.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use super::wait::{DEADLINE, PAUSE, eventually, eventually_some};

/// A started program. Killed and reaped on drop.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `command` with nothing in its environment but PATH; both its outputs go to the file `log`.
    pub fn start(command: &mut Command, log: &Path) -> Process {
        let output = File::create(log).expect("the temp dir is writable");
        let errors = output.try_clone().expect("a file can be shared");
        let child = clean(command)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Process { child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, such as `TERM`. After `STOP` it stands still: one of its threads may be on another core
    /// when the signal comes, and go on for a moment.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", name, &self.pid().to_string()])
            .status()
            .expect("sh is there");
        assert!(sent.success(), "signal {name} to {} was refused", self.pid());
        if name == "STOP" {
            eventually("all of its threads stand still", || self.is_stopped());
        }
    }

    fn is_stopped(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it runs");
        let mut states =
            threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
        // The state stands behind the name, which is in brackets (proc_pid_stat(5)).
        states.all(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
    }

    /// Whether it has ended, and how, without waiting.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits for its end, within the deadline.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        eventually_some("the process ends", || self.ended())
    }

    pub fn kill(&mut self) {
        // An error here means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// How many descriptors it holds; direct descriptors of a ring are not among them.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the process is alive").count()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a program that ends by itself has left.
#[derive(Debug)]
pub struct Finished {
    /// None when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `command` to its end. One that does not end within the deadline is killed, and the test fails.
#[track_caller]
pub fn run(command: &mut Command) -> Finished {
    let scratch = tempfile::tempdir().expect("a temp dir");
    let (out, err) = (scratch.path().join("stdout"), scratch.path().join("stderr"));
    let mut child = clean(command)
        .stdin(Stdio::null())
        .stdout(File::create(&out).expect("the temp dir is writable"))
        .stderr(File::create(&err).expect("the temp dir is writable"))
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let deadline = Instant::now() + DEADLINE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break Some(status);
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(PAUSE);
    };
    let read = |path: &Path| std::fs::read_to_string(path).expect("its output is text");
    let (stdout, stderr) = (read(&out), read(&err));
    let status = status.unwrap_or_else(|| panic!("{command:?} did not end\n{stdout}\n{stderr}"));
    Finished { code: status.code(), stdout, stderr }
}

fn clean(command: &mut Command) -> &mut Command {
    let path = std::env::var_os("PATH").expect("the tests run with a PATH");
    command.env_clear().env("PATH", path)
}
