//! The machine's limits: raises what may be raised, and says in one sentence what stopped a run and how to lift it.

use std::fmt;
use std::io;

use nix::errno::Errno;

/// Raises the soft limit of open files to the hard one. Returns the limit that holds now.
pub fn raise_open_files() -> u64 {
    ringway::host::limits::raise_open_files() as u64
}

/// Connections that one ring's table of registered files takes.
pub fn connections_per_ring(open_files: u64) -> u32 {
    ringway::host::limits::capacity(open_files as usize, 1, 0).per_ring as u32
}

/// Why a run cannot go on.
#[derive(Clone, Debug)]
pub struct Trouble(pub String);

impl Trouble {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What a failed connect means, and the command that helps.
    pub fn connecting(error: &io::Error) -> Self {
        let meaning = match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EMFILE) => {
                "this process may not open more files (RLIMIT_NOFILE). Raise it: ulimit -n 1048576, or LimitNOFILE= in \
                 the systemd unit"
            }
            Some(Errno::ENFILE) => {
                "the machine may not open more files (fs.file-max). Raise it: sysctl -w fs.file-max=8388608, or \
                 tuning/apply --profile flood"
            }
            Some(Errno::EADDRNOTAVAIL) => {
                "the source addresses have no free ports left (net.ipv4.ip_local_port_range), or are not on this \
                 machine. Use more --source-addresses, or: sysctl -w net.ipv4.ip_local_port_range='10240 65535'"
            }
            Some(Errno::ENOMEM | Errno::ENOBUFS) => {
                "the kernel has no memory for more sockets (net.ipv4.tcp_mem, or the memory of the machine or control \
                 group). Raise it: tuning/apply --profile flood"
            }
            Some(Errno::ECONNREFUSED) => {
                "nobody listens there. If the server runs, its queue of connections was full \
                 (net.core.somaxconn, the server's backlog): sysctl -w net.core.somaxconn=65535"
            }
            Some(Errno::EPERM | Errno::ENOSYS) => {
                "the kernel or a seccomp profile refuses this call (io_uring under Docker: \
                 --security-opt seccomp=tuning/seccomp.json)"
            }
            _ => "see the error",
        };
        Self(format!("cannot connect: {error}: {meaning}"))
    }

    /// What it means that a ring could not be made.
    pub fn ring(error: &io::Error, connections: u32) -> Self {
        let meaning = match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EMFILE) => "a ring's table is limited by open files (RLIMIT_NOFILE). Raise it with ulimit -n",
            Some(Errno::ENOMEM) => "the memory that may be locked is too small (RLIMIT_MEMLOCK): ulimit -l unlimited",
            Some(Errno::EPERM | Errno::ENOSYS) => {
                "io_uring is refused (kernel.io_uring_disabled, or the seccomp profile of the container: \
                 --security-opt seccomp=tuning/seccomp.json)"
            }
            _ => "Linux 6.1 or newer is needed",
        };
        Self(format!("cannot make an io_uring for {connections} connections: {error}: {meaning}"))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Trouble {}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_named_with_the_command_that_raises_it() {
        for (errno, limit, command) in [
            (Errno::EMFILE, "RLIMIT_NOFILE", "ulimit -n"),
            (Errno::ENFILE, "fs.file-max", "sysctl -w"),
            (Errno::EADDRNOTAVAIL, "ip_local_port_range", "sysctl -w"),
            (Errno::ENOMEM, "tcp_mem", "tuning/apply"),
            (Errno::ECONNREFUSED, "somaxconn", "sysctl -w"),
        ] {
            let text = Trouble::connecting(&io::Error::from_raw_os_error(errno as i32)).to_string();
            assert!(text.contains(limit) && text.contains(command), "{text}");
        }
    }
}
