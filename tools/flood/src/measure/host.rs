//! The machine: what it is, and what its kernel keeps in slabs.

use std::fs;

use ringway::proc;
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
            memory_bytes: meminfo("MemTotal"),
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
    meminfo("Slab")
}

fn meminfo(name: &str) -> Option<u64> {
    proc::bytes(&fs::read_to_string("/proc/meminfo").ok()?, name)
}
