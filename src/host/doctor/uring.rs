//! Whether this kernel gives a shard the rings it needs, and who refused when it does not. What is needed is known to
//! the backend, which tries it ([`crate::shard::io::Backend::try_out`]); here the outcome is read.

use crate::shard::io::{Backend, Chosen, Trial};

use super::kernel::oldest;
use super::report::Verdict;
use super::{Host, Notes};

pub fn check(host: &Host, trial: &Trial, notes: &mut Notes) {
    match trial {
        Trial::Made { lacking } if lacking.is_empty() => notes.good("io_uring", "everything needed", Chosen::TRIED),
        Trial::Made { lacking } => {
            let found = format!("lacks {}", lacking.join(", "));
            notes.judge(Verdict::Missing, "io_uring", found, Chosen::TRIED, || format!("run Linux {}", oldest()));
            notes.bound(0, "io_uring lacks what a shard needs");
        }
        Trial::Refused { errno } => {
            let (who, fix) = who_refused(host, *errno);
            notes.judge(Verdict::Missing, "io_uring", format!("refused by {who}"), Chosen::TRIED, || fix.into());
            notes.bound(0, format!("io_uring is refused by {who}"));
        }
    }
}

/// Who refused the ring, and the way out. The sysctl is the kernel's word; seccomp only shows as the error it gives.
fn who_refused(host: &Host, errno: i32) -> (&'static str, &'static str) {
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

#[cfg(test)]
mod tests {
    use super::super::host::made_up::{MadeUp, wish};
    use super::*;

    fn row_of(host: MadeUp) -> (String, String) {
        let report = host.examine(&wish(None, 2));
        assert_eq!(report.capacity.connections, 0, "without a ring nothing is held");
        assert_eq!(report.exit_code(), 1);
        let row = report.rows.into_iter().find(|row| row.name == "io_uring").expect("looked at");
        (row.found, row.fix.expect("a fix"))
    }

    #[test]
    fn refusal_by_seccomp_is_named_with_the_way_out() {
        for errno in [libc::EPERM, libc::ENOSYS] {
            let host = MadeUp::tuned().ring(Trial::Refused { errno }).file("proc/self/status", "Seccomp:\t2\n");
            let (found, fix) = row_of(host);
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
            let (found, fix) = row_of(host);
            assert!(found.contains(told), "{found}");
            assert!(fix.contains("sysctl -w kernel.io_uring"), "{fix}");
        }
    }

    #[test]
    fn kernel_without_io_uring_is_told_from_seccomp() {
        let (found, _) = row_of(MadeUp::tuned().ring(Trial::Refused { errno: libc::ENOSYS }));
        assert!(found.contains("built without io_uring"), "{found}");
    }

    #[test]
    fn lacking_features_are_listed() {
        let lacking = vec!["sparse file table".to_owned(), "opcode SENDMSG".to_owned()];
        let (found, _) = row_of(MadeUp::tuned().ring(Trial::Made { lacking }));
        assert_eq!(found, "lacks sparse file table, opcode SENDMSG");
    }
}
