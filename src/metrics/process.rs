//! What the kernel says of this process, under the names that Prometheus' own libraries
//! use. Linux only, like the gateway.
//!
//! What cannot be read is left out: a number is never made up.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::proc;

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
    proc::bytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS")
}

pub fn cpu_seconds() -> Option<f64> {
    let ticks = proc::cpu_ticks(&fs::read_to_string("/proc/self/stat").ok()?)?;
    Some(ticks as f64 / TICKS_PER_S)
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
