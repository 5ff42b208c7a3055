//! The host: what it can hold, which cores and ports the process gets of it, and what the doctor finds wrong with it.

pub mod doctor;
pub mod limits;
pub mod listeners;
pub mod pinning;
