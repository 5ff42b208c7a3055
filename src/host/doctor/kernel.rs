//! The kernel and the processors: version, clock, cores, quota, frequency governor.

use crate::shard::io::{Backend, Chosen, Trial};

use super::report::Verdict;
use super::{Host, Notes, Wish};

/// Clocks that are read without a system call or a device access.
const FAST_CLOCKS: [&str; 6] =
    ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "hyperv_clocksource", "xen", "arch_sys_counter"];

pub fn check(host: &Host, wish: &Wish, ring: &Trial, notes: &mut Notes) {
    version(host, ring, notes);
    clock(host, notes);
    cores(host, wish, notes);
    governor(host, notes);
}

fn version(host: &Host, ring: &Trial, notes: &mut Notes) {
    let needed = oldest();
    let Some(release) = host.text("proc/sys/kernel/osrelease") else {
        return notes.judge(Verdict::Warning, "kernel", "unknown", needed, || "mount /proc".into());
    };
    // Some distributions bring io_uring of newer kernels to old version numbers: then the trial counts.
    let works = *ring == Trial::Made { lacking: Vec::new() };
    let verdict = match parse_version(&release) {
        Some(version) if version >= Chosen::OLDEST_KERNEL => Verdict::Good,
        _ if works => Verdict::Warning,
        _ => Verdict::Missing,
    };
    notes.judge(verdict, "kernel", release, needed, || format!("run Linux {}", oldest()));
}

/// The kernels that do, in words.
pub fn oldest() -> String {
    let (major, minor) = Chosen::OLDEST_KERNEL;
    format!("{major}.{minor} or newer")
}

/// Major and minor number of a release such as `6.12.5-generic`.
fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn clock(host: &Host, notes: &mut Notes) {
    let path = "sys/devices/system/clocksource/clocksource0/current_clocksource";
    let Some(source) = host.text(path) else { return };
    let fast = FAST_CLOCKS.contains(&source.as_str());
    let verdict = if fast { Verdict::Good } else { Verdict::Warning };
    notes.judge(verdict, "clock source", source, "tsc, kvm-clock or their like", || {
        format!(
            "echo tsc > /{path}, if available_clocksource beside it has it: this one makes every look at the clock slow"
        )
    });
}

fn cores(host: &Host, wish: &Wish, notes: &mut Notes) {
    let Some(cores) = cores_online(host).map(|cores| cores as u64) else { return };
    let shards = wish.shards();
    let Some(quota) = cpu_quota(host).filter(|quota| *quota < cores.min(shards) as f64) else {
        return notes.good("cores", cores.to_string(), format!("{shards} shards, one thread each"));
    };
    notes.judge(Verdict::Warning, "cores", format!("{cores}, quota {quota:.1}"), format!("{shards} shards"), || {
        "raise CPUQuota= or the container's cpus: a shard that has used up the quota stands still until the next period. Shards are then not pinned to cores; give the process some (cpuset) where it can be had"
            .into()
    });
}

/// Cores of the host that are switched on.
pub fn cores_online(host: &Host) -> Option<usize> {
    let cores = host.text("sys/devices/system/cpu/online").as_deref().and_then(count_cores);
    cores.map(|cores| cores as usize)
}

/// Cores in a list such as `0-3,8`.
fn count_cores(list: &str) -> Option<u64> {
    let range = |part: &str| -> Option<u64> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        last.parse::<u64>().ok()?.checked_sub(first.parse().ok()?)?.checked_add(1)
    };
    list.split(',').map(range).sum()
}

/// The least quota of the control groups around this process, in cores.
pub fn cpu_quota(host: &Host) -> Option<f64> {
    let quotas = host.control_groups("cpu").into_iter().filter_map(|group| {
        let (quota, period) = match host.numbers(group.join("cpu.max"))[..] {
            [quota, period] => (quota, period),
            _ => (host.number(group.join("cpu.cfs_quota_us"))?, host.number(group.join("cpu.cfs_period_us"))?),
        };
        (period > 0).then(|| quota as f64 / period as f64)
    });
    quotas.min_by(f64::total_cmp)
}

fn governor(host: &Host, notes: &mut Notes) {
    let cpufreq = "sys/devices/system/cpu/cpu0/cpufreq";
    let Some(governor) = host.text(format!("{cpufreq}/scaling_governor")) else { return };
    // intel_pstate and amd-pstate call their adaptive governor "powersave": it is not slow.
    let adaptive = host.text(format!("{cpufreq}/scaling_driver")).is_some_and(|driver| driver.contains("pstate"));
    let verdict = if governor == "powersave" && !adaptive { Verdict::Warning } else { Verdict::Good };
    notes.judge(verdict, "governor", governor, "performance or an adaptive one", || {
        "cpupower frequency-set -g performance: this one keeps the cores at their lowest frequency".into()
    });
}

#[cfg(test)]
mod tests {
    use super::super::host::made_up::{MadeUp, wish};
    use super::*;

    fn verdict_of(host: &MadeUp, name: &str) -> Verdict {
        let report = host.examine(&wish(None, 4));
        report.rows.iter().find(|row| row.name == name).expect("looked at").verdict
    }

    #[test]
    fn old_kernel_is_missing_unless_its_ring_works() {
        let old = MadeUp::tuned().file("proc/sys/kernel/osrelease", "5.14.0-503.el9.x86_64");
        assert_eq!(verdict_of(&old, "kernel"), Verdict::Warning);
        let old = old.ring(Trial::Made { lacking: vec!["setup with DEFER_TASKRUN".into()] });
        assert_eq!(verdict_of(&old, "kernel"), Verdict::Missing);
    }

    #[test]
    fn releases_are_read_in_all_their_forms() {
        for (release, version) in [("6.1.0-18-amd64", (6, 1)), ("6.18.44", (6, 18)), ("7.0-rc1+", (7, 0))] {
            assert_eq!(parse_version(release), Some(version));
        }
        for release in ["", "six", "6", "6."] {
            assert_eq!(parse_version(release), None);
        }
    }

    #[test]
    fn slow_clock_source_is_told() {
        let path = "sys/devices/system/clocksource/clocksource0/current_clocksource";
        for slow in ["hpet", "acpi_pm"] {
            assert_eq!(verdict_of(&MadeUp::tuned().file(path, slow), "clock source"), Verdict::Warning);
        }
        assert_eq!(verdict_of(&MadeUp::tuned().file(path, "kvm-clock\n"), "clock source"), Verdict::Good);
    }

    #[test]
    fn cpu_quota_below_the_shards_is_told_in_both_versions_of_control_groups() {
        let v2 = MadeUp::tuned().file("sys/fs/cgroup/system.slice/cpu.max", "150000 100000\n");
        assert_eq!(verdict_of(&v2, "cores"), Verdict::Warning);
        let v1 = MadeUp::tuned()
            .file("proc/self/cgroup", "3:cpu,cpuacct:/docker/abc\n")
            .file("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n")
            .file("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
        assert_eq!(verdict_of(&v1, "cores"), Verdict::Warning);
        let unlimited = v1.file("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
        assert_eq!(verdict_of(&unlimited, "cores"), Verdict::Good);
    }

    #[test]
    fn lists_of_cores_are_counted() {
        for (list, cores) in [("0", Some(1)), ("0-3", Some(4)), ("0-1,4,6-7", Some(5)), ("", None), ("3-1", None)] {
            assert_eq!(count_cores(list), cores, "{list}");
        }
    }
}
