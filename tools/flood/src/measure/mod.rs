//! What processes and the kernel use: CPU time by perf's clock, memory by /proc. What
//! cannot be read is absent, not zero.

pub mod busy;
pub mod host;
pub mod on_cpu;
pub mod process;
