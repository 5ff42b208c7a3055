//! What a run says: progress while it runs, a table at its end, JSON for other programs.

pub mod json;
pub mod progress;
pub mod table;
