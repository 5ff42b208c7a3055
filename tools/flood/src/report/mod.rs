//! What a run says: progress while it runs, a table and a page at its end, JSON for other programs.

pub mod json;
pub mod page;
pub mod progress;
pub mod table;
