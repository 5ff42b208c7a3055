//! Routes: from a client's message to what is done with it, as data.
//!
//! `vocabularies/` holds the files, one per vocabulary; [`vocabulary`] names them.
//! [`definition`] is a route as it is written. [`compile`] checks it, with a [`problem`] as the answer, and makes of it
//! what [`table`] finds for a message: [`field`]s to be checked, an [`action`], and [`template`]s of what is sent. The
//! session executes what the route says; nothing here knows of sessions.

pub mod action;
pub mod compile;
pub mod definition;
pub mod field;
pub mod problem;
mod reach;
pub mod table;
pub mod template;
pub mod vocabulary;

pub use definition::Definitions;
pub use table::{Route, Routes};
pub use vocabulary::Vocabulary;
