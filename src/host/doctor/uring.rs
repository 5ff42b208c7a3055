//! Whether this kernel gives a shard the ring it needs, and who refused when it does not.
//!
//! The trial makes such a ring in small and uses it: the setup flags, a sparse table of files, one poll of a direct
//! descriptor, and the list of opcodes. It leaves nothing behind.

use std::io::{self, Write};
use std::os::fd::AsRawFd;

use io_uring::types::{Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, opcode};

use super::report::Verdict;
use super::{Host, Notes};

/// The requests that a floor makes.
const OPCODES: [(u8, &str); 8] = [
    (opcode::Recv::CODE, "RECV"),
    (opcode::Send::CODE, "SEND"),
    (opcode::SendMsg::CODE, "SENDMSG"),
    (opcode::PollAdd::CODE, "POLL_ADD"),
    (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
    (opcode::Shutdown::CODE, "SHUTDOWN"),
    (opcode::Close::CODE, "CLOSE"),
    (opcode::Timeout::CODE, "TIMEOUT"),
];

const FILES: u32 = 16;

const SHOWN: &str = "setup, file table, poll, opcodes";

/// The outcome of making a shard's ring in small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trial {
    /// No ring at all: the error of `io_uring_setup`.
    Refused { errno: i32 },
    /// A ring, but without these features; all is well when the list is empty.
    Made { lacking: Vec<String> },
}

pub fn check(host: &Host, trial: &Trial, notes: &mut Notes) {
    match trial {
        Trial::Made { lacking } if lacking.is_empty() => notes.good("io_uring", "everything needed", SHOWN),
        Trial::Made { lacking } => {
            let found = format!("lacks {}", lacking.join(", "));
            notes.judge(Verdict::Missing, "io_uring", found, SHOWN, || "run Linux 6.1 or newer".into());
            notes.bound(0, "io_uring lacks what a shard needs");
        }
        Trial::Refused { errno } => {
            let (who, fix) = refusal(host, *errno);
            notes.judge(Verdict::Missing, "io_uring", format!("refused by {who}"), SHOWN, || fix.into());
            notes.bound(0, format!("io_uring is refused by {who}"));
        }
    }
}

/// Who refused the ring, and the way out. The sysctl is the kernel's word; seccomp only shows as the error it gives.
fn refusal(host: &Host, errno: i32) -> (&'static str, &'static str) {
    let disabled = host.setting("kernel.io_uring_disabled").unwrap_or(0);
    let filtered = host.field("proc/self/status", "Seccomp").is_some_and(|mode| mode == "2");
    match (errno, disabled) {
        (libc::EPERM, 2..) => (
            "kernel.io_uring_disabled = 2",
            "sysctl -w kernel.io_uring_disabled=0; or =1 and kernel.io_uring_group=<group id of the gateway's user>",
        ),
        (libc::EPERM, 1) => (
            "kernel.io_uring_disabled = 1, and this process is not in kernel.io_uring_group",
            "sysctl -w kernel.io_uring_group=<group id of the gateway's user>; or kernel.io_uring_disabled=0",
        ),
        (libc::ENOSYS, _) if !filtered => {
            ("this kernel, built without io_uring", "run a kernel with CONFIG_IO_URING=y")
        }
        (libc::EPERM | libc::ENOSYS, _) => (
            "a seccomp filter",
            "the default profiles of Docker and containerd refuse io_uring: run with --security-opt \
             seccomp=tuning/seccomp.json; under systemd, add io_uring_setup io_uring_enter io_uring_register to \
             SystemCallFilter=",
        ),
        (libc::EACCES, _) => ("a security module", "allow io_uring in the SELinux or AppArmor policy of the gateway"),
        (libc::ENOMEM, _) => {
            ("lack of memory", "free memory, or raise the limit of locked memory on kernels before 5.12")
        }
        (libc::EMFILE | libc::ENFILE, _) => ("the limit of open files", "raise LimitNOFILE, see open files"),
        _ => ("the kernel, for an unknown reason", "strace -e io_uring_setup ringway doctor shows the error"),
    }
}

/// Makes a shard's ring in small. It must not be called on a thread that is short of time: it may wait a second.
pub fn try_out() -> Trial {
    let mut lacking = Vec::new();
    let mut ring = match floor_ring() {
        Ok(ring) => ring,
        // EINVAL: the kernel has io_uring and does not know a flag. The rest can still be looked at on a plain ring.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => match IoUring::new(8) {
            Ok(ring) => {
                lacking.push("setup with DEFER_TASKRUN".to_owned());
                ring
            }
            Err(error) => return refused(&error),
        },
        Err(error) => return refused(&error),
    };
    lacking.extend(missing_opcodes(&ring));
    if ring.submitter().register_files_sparse(FILES).is_err() {
        lacking.push("sparse file table".to_owned());
    } else if !poll_works(&mut ring).unwrap_or(false) {
        lacking.push("poll of a direct descriptor".to_owned());
    }
    Trial::Made { lacking }
}

fn refused(error: &io::Error) -> Trial {
    Trial::Refused { errno: error.raw_os_error().unwrap_or(0) }
}

/// A ring with the setup flags of the floor.
fn floor_ring() -> io::Result<IoUring> {
    IoUring::builder().setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag().setup_defer_taskrun().build(8)
}

fn missing_opcodes(ring: &IoUring) -> Vec<String> {
    let mut probe = Probe::new();
    if ring.submitter().register_probe(&mut probe).is_err() {
        return vec!["the list of opcodes".to_owned()];
    }
    let missing = OPCODES.iter().filter(|(code, _)| !probe.is_supported(*code));
    missing.map(|(_, name)| format!("opcode {name}")).collect()
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
    use super::super::host::made_up::{MadeUp, wish};
    use super::*;

    fn finding_of(host: MadeUp) -> (String, String) {
        let report = host.examine(&wish(None, 2));
        assert_eq!(report.capacity.connections, 0, "without a ring nothing is held");
        assert_eq!(report.exit_code(), 1);
        let finding = report.findings.into_iter().find(|finding| finding.name == "io_uring").expect("looked at");
        (finding.found, finding.fix.expect("a fix"))
    }

    #[test]
    fn refusal_by_seccomp_is_named_with_the_way_out() {
        for errno in [libc::EPERM, libc::ENOSYS] {
            let host = MadeUp::tuned().ring(Trial::Refused { errno }).file("proc/self/status", "Seccomp:\t2\n");
            let (found, fix) = finding_of(host);
            assert_eq!(found, "refused by a seccomp filter");
            assert!(fix.contains("Docker") && fix.contains("seccomp=tuning/seccomp.json"), "{fix}");
        }
    }

    #[test]
    fn refusal_by_sysctl_is_told_from_seccomp() {
        for (value, told) in [("2\n", "io_uring_disabled = 2"), ("1\n", "not in kernel.io_uring_group")] {
            let host = MadeUp::tuned()
                .ring(Trial::Refused { errno: libc::EPERM })
                .file("proc/self/status", "Seccomp:\t2\n")
                .file("proc/sys/kernel/io_uring_disabled", value);
            let (found, fix) = finding_of(host);
            assert!(found.contains(told), "{found}");
            assert!(fix.contains("sysctl -w kernel.io_uring"), "{fix}");
        }
    }

    #[test]
    fn kernel_without_io_uring_is_told_from_seccomp() {
        let (found, _) = finding_of(MadeUp::tuned().ring(Trial::Refused { errno: libc::ENOSYS }));
        assert!(found.contains("built without io_uring"), "{found}");
    }

    #[test]
    fn lacking_features_are_listed() {
        let lacking = vec!["sparse file table".to_owned(), "opcode SENDMSG".to_owned()];
        let (found, _) = finding_of(MadeUp::tuned().ring(Trial::Made { lacking }));
        assert_eq!(found, "lacks sparse file table, opcode SENDMSG");
    }

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
}
