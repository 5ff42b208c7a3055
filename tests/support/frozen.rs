//! One thread of a process that stands still while the others go on: what a shard that hangs looks like from outside.
//!
//! A signal stops whole processes, a tracer a single thread. The gateway is a child of the test, so that it may trace
//! it. Invariant: everything is done by the thread that has stopped it, as the kernel asks for.

use std::fs;
use std::io;
use std::ptr::null_mut;

use super::process::Process;
use super::wait::eventually;

pub struct Frozen {
    thread: libc::pid_t,
}

impl Frozen {
    /// Stops the thread of this name, and returns when it stands.
    #[track_caller]
    pub fn thread(process: &Process, name: &str) -> Frozen {
        let frozen = Frozen { thread: find(process, name) };
        frozen.trace(libc::PTRACE_SEIZE).unwrap_or_else(|error| panic!("{name} cannot be traced: {error}"));
        frozen.trace(libc::PTRACE_INTERRUPT).expect("a traced thread can be stopped");
        eventually("the thread stands", || frozen.has_news());
        frozen
    }

    /// Lets it go on.
    pub fn thaw(self) {}

    /// For a process that has ended meanwhile: it is not gone until all its threads have been taken notice of.
    #[track_caller]
    pub fn bury(self) {
        eventually("the thread ends", || self.has_news());
    }

    /// Whether it has stopped or ended since this was asked last.
    fn has_news(&self) -> bool {
        // SAFETY: a null status is allowed, and nothing else is passed by reference.
        unsafe { libc::waitpid(self.thread, null_mut(), libc::__WALL | libc::WNOHANG) == self.thread }
    }

    fn trace(&self, request: libc::c_uint) -> io::Result<()> {
        let nothing = null_mut::<libc::c_void>();
        // SAFETY: none of the requests used here reads or writes memory of ours.
        match unsafe { libc::ptrace(request, self.thread, nothing, nothing) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // It fails when the thread has ended, and then there is nothing to let go.
        let _ = self.trace(libc::PTRACE_DETACH);
    }
}

#[track_caller]
fn find(process: &Process, name: &str) -> libc::pid_t {
    let tasks = format!("/proc/{}/task", process.pid());
    let threads = fs::read_dir(&tasks).expect("the process is alive").flatten();
    let named =
        threads.filter(|thread| fs::read_to_string(thread.path().join("comm")).is_ok_and(|comm| comm.trim() == name));
    let ids: Vec<_> = named.filter_map(|thread| thread.file_name().to_str()?.parse().ok()).collect();
    let [id] = ids[..] else { panic!("{} threads are named {name}", ids.len()) };
    id
}
