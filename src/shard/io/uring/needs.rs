//! What this backend needs of the kernel, once: rings are made from it, requests are held against it, and the doctor
//! tries exactly it.

use std::io::{self, Write};
use std::os::fd::AsRawFd;

use io_uring::types::{Fixed, SubmitArgs, Timespec};
use io_uring::{Builder, IoUring, Probe, opcode, squeue};

use crate::lane::bell::Bell;
use crate::shard::io::Trial;

/// The requests of floor and lobby.
const OPCODES: [(u8, &str); 10] = [
    (opcode::Accept::CODE, "ACCEPT"),
    (opcode::Recv::CODE, "RECV"),
    (opcode::Send::CODE, "SEND"),
    (opcode::SendMsg::CODE, "SENDMSG"),
    (opcode::PollAdd::CODE, "POLL_ADD"),
    (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
    (opcode::Connect::CODE, "CONNECT"),
    (opcode::Shutdown::CODE, "SHUTDOWN"),
    (opcode::Close::CODE, "CLOSE"),
    (opcode::Timeout::CODE, "TIMEOUT"),
];

/// Registers something with a ring of so many files that rings a bell.
type Register = fn(&IoUring, u32, &Bell) -> io::Result<()>;

/// What is registered, and the name by which it is missed.
const REGISTRATIONS: [(&str, Register); 3] = [
    ("sparse file table", |ring, files, _| ring.submitter().register_files_sparse(files)),
    ("completions that ring an eventfd", |ring, _, bell| ring.submitter().register_eventfd(bell.as_raw_fd())),
    // The kernel does a shutdown on a thread beside the rings, which all rings of a thread share. One is enough,
    // however many peers fail at once.
    ("a bound on worker threads", |ring, _, _| ring.submitter().register_iowq_max_workers(&mut [1, 0])),
];

/// Requests handed to the kernel in one go. A fan-out enters the kernel once for so many recipients.
const SUBMISSION_ENTRIES: u32 = 512;

/// Completions that the kernel can store before it must keep them elsewhere (it never drops any: `FEAT_NODROP`).
const COMPLETION_ENTRIES: u32 = 4096;

/// The first kernel with the newest of all that, IORING_SETUP_DEFER_TASKRUN.
pub const OLDEST_KERNEL: (u32, u32) = (6, 1);

/// What [`try_out`] looks at.
pub const TRIED: &str = "setup, registrations, poll, opcodes";

/// The name by which the newest flag is missed.
const NEWEST_FLAG: &str = "setup with DEFER_TASKRUN";

/// A ring with a table of so many files, whose completions ring the bell unless it is muted.
pub fn make_ring(files: u32, bell: &Bell) -> io::Result<IoUring> {
    let ring = builder().build(SUBMISSION_ENTRIES)?;
    for (_, register) in REGISTRATIONS {
        register(&ring, files, bell)?;
    }
    Ok(ring)
}

fn builder() -> Builder {
    let mut builder = IoUring::builder();
    builder
        .setup_cqsize(COMPLETION_ENTRIES)
        .setup_single_issuer()
        .setup_coop_taskrun()
        .setup_defer_taskrun()
        .setup_taskrun_flag();
    builder
}

/// Whether the doctor has tried what is asked for here.
pub fn includes(request: &squeue::Entry) -> bool {
    OPCODES.iter().any(|(code, _)| u32::from(*code) == request.get_opcode())
}

/// Makes a ring in small and uses it. May wait a second; leaves nothing behind.
pub fn try_out() -> Trial {
    const ENTRIES: u32 = 8;
    let mut lacking = Vec::new();
    let mut ring = match builder().build(ENTRIES) {
        Ok(ring) => ring,
        // EINVAL: the kernel has io_uring and does not know a flag. The rest can still be looked at on a plain ring.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => match IoUring::new(ENTRIES) {
            Ok(ring) => {
                lacking.push(NEWEST_FLAG.to_owned());
                ring
            }
            Err(error) => return refused(&error),
        },
        Err(error) => return refused(&error),
    };
    lacking.extend(missing_opcodes(&ring));
    lacking.extend(missing_registrations(&ring));
    if !poll_works(&mut ring).unwrap_or(false) {
        lacking.push("poll of a direct descriptor".to_owned());
    }
    Trial::Made { lacking }
}

/// A ring that is refused deserves more than an errno.
pub fn explain(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::ENOSYS | libc::EACCES) => io::Error::new(
            error.kind(),
            format!("io_uring is refused here ({error}); `ringway doctor` says by what, and how to allow it"),
        ),
        _ => error,
    }
}

fn refused(error: &io::Error) -> Trial {
    Trial::Refused { errno: error.raw_os_error().unwrap_or(0) }
}

fn missing_opcodes(ring: &IoUring) -> Vec<String> {
    let mut probe = Probe::new();
    if ring.submitter().register_probe(&mut probe).is_err() {
        return vec!["the list of opcodes".to_owned()];
    }
    let missing = OPCODES.iter().filter(|(code, _)| !probe.is_supported(*code));
    missing.map(|(_, name)| format!("opcode {name}")).collect()
}

fn missing_registrations(ring: &IoUring) -> Vec<String> {
    const FILES: u32 = 16;
    let Ok(bell) = Bell::new() else { return vec!["an eventfd".to_owned()] };
    let missing = REGISTRATIONS.iter().filter(|(_, register)| register(ring, FILES, &bell).is_err());
    missing.map(|(name, _)| (*name).to_owned()).collect()
}

/// Polls one end of a pipe in the file table and sees that it can be read.
fn poll_works(ring: &mut IoUring) -> io::Result<bool> {
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(b"x")?;
    ring.submitter().register_files_update(0, &[reader.as_raw_fd()])?;
    let poll = opcode::PollAdd::new(Fixed(0), libc::POLLIN as u32).build();
    // SAFETY: the request refers to no memory of ours, only to slot 0 of the file table, which lives in the ring.
    unsafe { ring.submission().push(&poll) }.map_err(|_| io::Error::from(io::ErrorKind::StorageFull))?;
    let patience = Timespec::new().sec(1);
    ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&patience))?;
    let fired = ring.completion().next();
    Ok(fired.is_some_and(|completion| completion.result() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trial_on_this_kernel_leaves_no_descriptor_behind() {
        let descriptors = || std::fs::read_dir("/proc/self/fd").expect("readable").count();
        // Other tests of this process open files too: a leak of every round shows as 64, their noise does not.
        let before = descriptors();
        for _ in 0..64 {
            let _ = try_out();
        }
        assert!(descriptors() < before + 48, "{} descriptors before, {} after", before, descriptors());
    }

    #[test]
    fn a_refused_ring_is_explained_and_other_errors_are_left_alone() {
        let told = |errno| explain(io::Error::from_raw_os_error(errno)).to_string();
        assert!(told(libc::EPERM).contains("ringway doctor"), "{}", told(libc::EPERM));
        assert_eq!(explain(io::Error::from_raw_os_error(libc::EMFILE)).raw_os_error(), Some(libc::EMFILE));
    }

    #[test]
    fn a_request_that_the_doctor_does_not_try_is_none_of_ours() {
        assert!(includes(&opcode::Close::new(Fixed(0)).build()));
        assert!(!includes(&opcode::Nop::new().build()));
    }
}
