//! What the kernel says of this process, under the names that Prometheus' own libraries
//! use. Linux only, like the gateway.
//!
//! What cannot be read is left out: a number is never made up.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::export::{counter, gauge};

/// `/proc/PID/stat` counts in ticks of a hundredth of a second on every Linux (`USER_HZ`, time(7)).
const TICKS_PER_S: f64 = 100.0;

#[derive(Debug)]
pub struct Process {
    pub started_unix_s: u64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(bytes) = resident_bytes() {
            gauge(&mut encoder, "process_resident_memory_bytes", "Resident memory.", bytes)?;
        }
        // Open connections are not among them: they are direct descriptors of a ring.
        if let Ok(fds) = fs::read_dir("/proc/self/fd") {
            gauge(
                &mut encoder,
                "process_open_fds",
                "Open file descriptors, without those of the rings.",
                fds.count() as u64,
            )?;
        }
        if let Some(seconds) = cpu_seconds() {
            counter(&mut encoder, "process_cpu_seconds", "User and system time of all threads.", seconds)?;
        }
        gauge(&mut encoder, "process_start_time_seconds", "Start of the process in unix time.", self.started_unix_s)
    }
}

pub fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

pub fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the name in brackets, which may hold anything; the third follows the last bracket.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) as f64 / TICKS_PER_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_understood() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
        assert!(cpu_seconds().is_some());
    }
}
