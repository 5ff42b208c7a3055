//! Routes: from a client's message to what is done with it, as data.
//!
//! `vocabularies/` holds the files, one per vocabulary: a new one is a file there and a line in [`table`].
//! [`vocabulary`] reads and checks one, [`action`] is what a route can lead to, [`template`] how it is answered, and
//! [`table`] finds the route of a message. The session executes what the route says; nothing here knows of sessions.

pub mod action;
pub mod table;
pub mod template;
pub mod vocabulary;

pub use table::{Route, Routes};
