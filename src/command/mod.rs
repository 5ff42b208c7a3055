//! What the command line can ask for beside serving.

pub mod doctor;
pub mod token;
pub mod welcome;
