//! The machine: what it is, and what its kernel keeps in slabs.

use std::fs;

use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub struct Host {
    pub kernel: String,
    pub cores: usize,
    pub memory_bytes: Option<u64>,
    /// The limit of open files.
    pub nofile: u64,
}

impl Host {
    pub fn this(nofile: u64) -> Self {
        Self {
            kernel: nix::sys::utsname::uname()
                .map_or_else(|_| String::new(), |name| name.release().to_string_lossy().into()),
            cores: cores_online(),
            memory_bytes: meminfo("MemTotal:"),
            nofile,
        }
    }
}

/// Those that this thread may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn cores_online() -> usize {
    let online = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    online.map_or_else(cores, |online| online as usize)
}

/// What the kernel's slab caches hold now: sockets, requests, files, dentries and all the rest.
pub fn slab_bytes() -> Option<u64> {
    meminfo("Slab:")
}

fn meminfo(name: &str) -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, name)
}

/// The value of a line such as `Slab:   123 kB`, in bytes.
pub fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_whole_name() {
        let text = "MemTotal:  100 kB\nSReclaimable: 7 kB\nSlab:   12 kB\n";
        assert_eq!(kilobytes(text, "Slab:"), Some(12 * 1024));
        assert_eq!(kilobytes(text, "Cached:"), None);
    }
}
