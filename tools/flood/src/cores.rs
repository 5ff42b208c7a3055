//! Cores of their own for server and tool.
//!
//! A thread hands its set on to what it starts, threads and processes, so the sets are entered in turn: first the
//! server's until that has been started, then the tool's. Who asks for the number of cores is told that of its set.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::limits::Trouble;

/// The calling thread's cores in two parts.
#[derive(Clone, Copy)]
pub struct Cores {
    server: CpuSet,
    tool: CpuSet,
}

impl Cores {
    /// The first `count` of those that this process may use are the server's; the caller is left on the others.
    pub fn split(count: usize) -> Result<Self, Trouble> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).map_err(std::io::Error::from)?;
        let cores: Vec<usize> = (0..CpuSet::count()).filter(|&core| allowed.is_set(core) == Ok(true)).collect();
        if count == 0 || count >= cores.len() {
            return Err(Trouble::new(format!(
                "--server-cores {count}: of {} cores at least one must be left for the tool",
                cores.len()
            )));
        }
        let (server, tool) = cores.split_at(count);
        let cores = Self { server: set(server)?, tool: set(tool)? };
        cores.enter_tool()?;
        Ok(cores)
    }

    pub fn enter_server(&self) -> Result<(), Trouble> {
        enter(&self.server)
    }

    pub fn enter_tool(&self) -> Result<(), Trouble> {
        enter(&self.tool)
    }
}

fn set(cores: &[usize]) -> Result<CpuSet, Trouble> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core).map_err(std::io::Error::from)?;
    }
    Ok(set)
}

fn enter(set: &CpuSet) -> Result<(), Trouble> {
    sched_setaffinity(Pid::from_raw(0), set).map_err(|error| std::io::Error::from(error).into())
}
