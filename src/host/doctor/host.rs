//! The host as the checks see it: `/proc` and `/sys` under a root folder, and the outcome of the live trials.
//!
//! Only this file reads files, so that tests feed made-up hosts. A file that is absent, unreadable or not in the
//! expected form is `None`: a host that hides something is no reason to fail.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::host::listeners;
use crate::proc;
use crate::shard::io::{Backend, Chosen, Trial};

/// Everything read from files.
#[derive(Debug)]
pub struct Host {
    root: PathBuf,
}

/// What can only be known by trying, on the kernel that runs this process.
#[derive(Debug)]
pub struct Live {
    /// Whether the rings that a shard needs can be made.
    pub ring: Trial,
    /// Whether two listeners can share one port of the listening address.
    pub shared_port: io::Result<()>,
}

/// Soft and hard limit of open files; `u64::MAX` for "unlimited".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles {
    pub soft: u64,
    pub hard: u64,
}

impl Live {
    pub fn try_out(listen: SocketAddr) -> Self {
        Self { ring: Chosen::try_out(), shared_port: listeners::try_sharing(listen.ip()) }
    }
}

impl Host {
    /// The machine this process runs on.
    pub fn this() -> Self {
        Self::under("/")
    }

    /// A host whose `/proc` and `/sys` are found under `root`.
    pub fn under(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// A file without the white space around it. `path` is relative to the root.
    pub fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok().map(|text| text.trim().to_owned())
    }

    /// The first number in a file.
    pub fn number(&self, path: impl AsRef<Path>) -> Option<u64> {
        self.numbers(path).first().copied()
    }

    /// All numbers that a file begins with.
    pub fn numbers(&self, path: impl AsRef<Path>) -> Vec<u64> {
        let text = self.text(path).unwrap_or_default();
        text.split_whitespace().map_while(|word| word.parse().ok()).collect()
    }

    /// A kernel setting by its dotted name.
    pub fn setting(&self, key: &str) -> Option<u64> {
        self.number(Self::setting_path(key))
    }

    /// A kernel setting whose sign says something.
    pub fn signed_setting(&self, key: &str) -> Option<i64> {
        self.text(Self::setting_path(key))?.trim().parse().ok()
    }

    /// A kernel setting that is several numbers.
    pub fn settings(&self, key: &str) -> Vec<u64> {
        self.numbers(Self::setting_path(key))
    }

    /// The value after `Key:` in a file of such lines, as `/proc/meminfo` and `/proc/self/status` are.
    pub fn field(&self, path: &str, key: &str) -> Option<String> {
        proc::field(&self.text(path)?, key).map(str::to_owned)
    }

    /// Whether this process has the capability with this bit of `CapEff`.
    pub fn has_capability(&self, bit: u32) -> bool {
        let set = self.field("proc/self/status", "CapEff").and_then(|hex| u64::from_str_radix(&hex, 16).ok());
        set.is_some_and(|set| set & 1 << bit != 0)
    }

    /// Whether this process is in the user namespace of the host, where alone some capabilities count.
    pub fn is_outermost(&self) -> bool {
        self.numbers("proc/self/uid_map") == [0, 0, u64::from(u32::MAX)]
    }

    /// A row of `/proc/meminfo`, in bytes.
    pub fn memory_bytes(&self, key: &str) -> Option<u64> {
        proc::bytes(&self.text("proc/meminfo")?, key)
    }

    /// Limits of open files of this process.
    pub fn open_files(&self) -> Option<OpenFiles> {
        self.limit("Max open files").map(|(soft, hard)| OpenFiles { soft, hard })
    }

    /// Soft and hard value of a row of `/proc/self/limits`.
    pub fn limit(&self, row: &str) -> Option<(u64, u64)> {
        let text = self.text("proc/self/limits")?;
        let mut words = text.lines().find_map(|line| line.strip_prefix(row))?.split_whitespace().map(limit_value);
        Some((words.next()??, words.next()??))
    }

    /// The control groups this process is in, with their ancestors, as folders of the controller (v1 and v2).
    ///
    /// In a container the path of `/proc/self/cgroup` may not be visible; its ancestors are, at least the root.
    pub fn control_groups(&self, controller: &str) -> Vec<PathBuf> {
        let membership = self.text("proc/self/cgroup").unwrap_or_default();
        let mut folders = Vec::new();
        for line in membership.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let bases: &[PathBuf] = match controllers {
                "" => &["sys/fs/cgroup".into(), "sys/fs/cgroup/unified".into()],
                _ if controllers.split(',').any(|name| name == controller) => {
                    &[Path::new("sys/fs/cgroup").join(controller)]
                }
                _ => continue,
            };
            let path = Path::new(path.trim_start_matches('/'));
            folders.extend(bases.iter().flat_map(|base| path.ancestors().map(|ancestor| base.join(ancestor))));
        }
        folders
    }

    fn setting_path(key: &str) -> PathBuf {
        Path::new("proc/sys").join(key.replace('.', "/"))
    }
}

fn limit_value(word: &str) -> Option<u64> {
    if word == "unlimited" { Some(u64::MAX) } else { word.parse().ok() }
}

/// Hosts for the tests of all groups.
#[cfg(test)]
pub mod made_up {
    use super::super::{Report, Wish, examine_host};
    use super::*;

    pub struct MadeUp {
        root: tempfile::TempDir,
        pub live: Live,
    }

    pub fn wish(connections: Option<u64>, shards: usize) -> Wish {
        Wish { connections, connections_max: 0, shards, listen: SocketAddr::from(([127, 0, 0, 1], 4000)) }
    }

    impl MadeUp {
        /// No file at all; the live trials succeed.
        pub fn empty() -> Self {
            let live = Live { ring: Trial::Made { lacking: Vec::new() }, shared_port: Ok(()) };
            Self { root: tempfile::tempdir().expect("a temporary folder"), live }
        }

        /// A host of 64 GB after `tuning/apply`, started by the shipped unit.
        pub fn tuned() -> Self {
            Self::empty()
                .open_files(1_048_576, 1_048_576)
                .file("proc/sys/kernel/osrelease", "6.12.5-generic\n")
                .file("proc/sys/kernel/io_uring_disabled", "0\n")
                .file("proc/sys/fs/file-max", "4194304\n")
                .file("proc/sys/fs/file-nr", "3000\t0\t4194304\n")
                .file("proc/sys/fs/nr_open", "1048576\n")
                .file("proc/meminfo", "MemTotal: 64000000 kB\nMemAvailable: 60000000 kB\nSwapTotal: 0 kB\n")
                .file("proc/sys/net/ipv4/tcp_mem", "2000000\t3000000\t4000000\n")
                .file("proc/sys/vm/swappiness", "10\n")
                .file("proc/sys/net/core/somaxconn", "65535\n")
                .file("proc/sys/net/ipv4/tcp_max_syn_backlog", "65535\n")
                .file("proc/sys/net/ipv4/tcp_syncookies", "1\n")
                .file("proc/sys/net/ipv4/ip_local_port_range", "10240\t65535\n")
                .file("proc/sys/net/ipv4/ip_unprivileged_port_start", "1024\n")
                .file("proc/self/status", "CapEff:\t0000000000000000\nSeccomp:\t0\n")
                .file("proc/self/cgroup", "0::/system.slice/ringway.service\n")
                .file("sys/fs/cgroup/system.slice/ringway.service/memory.max", "max\n")
                .file("sys/fs/cgroup/system.slice/ringway.service/cpu.max", "max 100000\n")
                .file("sys/devices/system/cpu/online", "0-3\n")
                .file("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n")
                .file("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n")
        }

        /// A small old machine with everything against it but the live trials.
        pub fn neglected() -> Self {
            Self::tuned()
                .open_files(1_024, 4_096)
                .file("proc/sys/kernel/osrelease", "5.10.0-21-amd64\n")
                .file("proc/sys/fs/file-max", "100000\n")
                .file("proc/meminfo", "MemTotal: 1000000 kB\nMemAvailable: 800000 kB\nSwapTotal: 1000000 kB\n")
                .file("proc/sys/net/ipv4/tcp_mem", "10000\t15000\t20000\n")
                .file("proc/sys/vm/swappiness", "60\n")
                .file("proc/sys/net/core/somaxconn", "128\n")
                .file("proc/sys/net/ipv4/tcp_max_syn_backlog", "128\n")
                .file("proc/sys/net/ipv4/tcp_syncookies", "0\n")
                .file("proc/sys/net/netfilter/nf_conntrack_max", "65536\n")
                .file("proc/sys/net/netfilter/nf_conntrack_count", "400\n")
                .file("sys/fs/cgroup/system.slice/ringway.service/cpu.max", "50000 100000\n")
                .file("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n")
                .file("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n")
                .file("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n")
        }

        pub fn file(self, path: &str, content: &str) -> Self {
            let path = self.root.path().join(path);
            fs::create_dir_all(path.parent().expect("a path inside the root")).expect("folders");
            fs::write(path, content).expect("a file");
            self
        }

        pub fn open_files(self, soft: u64, hard: u64) -> Self {
            let limits = format!(
                "Limit                     Soft Limit           Hard Limit           Units\n\
                 Max locked memory         8388608              8388608              bytes\n\
                 Max open files            {soft}                {hard}                files\n"
            );
            self.file("proc/self/limits", &limits)
        }

        pub fn ring(mut self, ring: Trial) -> Self {
            self.live.ring = ring;
            self
        }

        pub fn host(&self) -> Host {
            Host::under(self.root.path())
        }

        pub fn examine(&self, wish: &Wish) -> Report {
            examine_host(&self.host(), &self.live, wish)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::made_up::MadeUp;
    use super::*;

    #[test]
    fn files_in_an_unknown_form_are_none_not_a_panic() {
        let made_up = MadeUp::empty()
            .file("proc/sys/fs/file-max", "many\n")
            .file("proc/meminfo", "MemAvailable: \nMemTotal 5\n")
            .file("proc/self/limits", "Max open files\n")
            .file("proc/self/cgroup", "nonsense\n7:\n::\n");
        let host = made_up.host();
        assert_eq!(host.setting("fs.file-max"), None);
        assert_eq!(host.memory_bytes("MemAvailable"), None);
        assert_eq!(host.memory_bytes("MemTotal"), None);
        assert_eq!(host.open_files(), None);
        assert_eq!(host.text("proc/none"), None);
        let _ = host.control_groups("memory");
    }

    #[test]
    fn unlimited_is_a_limit_too() {
        let made_up = MadeUp::empty().file("proc/self/limits", "Max open files   1024   unlimited   files\n");
        assert_eq!(made_up.host().open_files(), Some(OpenFiles { soft: 1024, hard: u64::MAX }));
    }

    #[test]
    fn control_groups_of_both_versions_are_found_up_to_the_root() {
        let made_up = MadeUp::empty().file("proc/self/cgroup", "4:memory,cpu:/a/b\n9:name=systemd:/x\n0::/c\n");
        let found = made_up.host().control_groups("memory");
        let expected = [
            "sys/fs/cgroup/memory/a/b",
            "sys/fs/cgroup/memory/a",
            "sys/fs/cgroup/memory",
            "sys/fs/cgroup/c",
            "sys/fs/cgroup",
            "sys/fs/cgroup/unified/c",
            "sys/fs/cgroup/unified",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
    }
}
