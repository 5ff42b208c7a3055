//! What processes and the kernel use: CPU time, memory. Read from /proc; what cannot be read is absent, not zero.

pub mod busy;
pub mod host;
pub mod process;
