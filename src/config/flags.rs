//! The settings that the command line can override. Flattened into the command line by `cli`; they win over all others.

use std::path::PathBuf;

use toml::Value;

use super::Key;
use super::settle::{SetBy, Setting};

#[derive(Debug, Clone, Default, clap::Args)]
pub struct Flags {
    /// Read settings from this TOML file (no file is read without it)
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Where clients connect, such as 0.0.0.0:4000; :8080 changes only the port
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub listen: Option<String>,

    /// Where the admin port listens, such as 127.0.0.1:4001
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub admin: Option<String>,

    /// Threads that hold connections; 0 is one per core
    #[arg(long, global = true, value_name = "N")]
    pub shards: Option<u32>,
}

impl Flags {
    pub(super) fn settings(&self) -> Vec<Setting> {
        let text = |value: &Option<String>| value.clone().map(Value::String);
        [
            (Key::of("server", "listen"), text(&self.listen), "--listen"),
            (Key::of("admin", "listen"), text(&self.admin), "--admin"),
            (Key::of("server", "shards"), self.shards.map(|n| Value::Integer(n.into())), "--shards"),
        ]
        .into_iter()
        .filter_map(|(key, value, flag)| Some(Setting { key, value: value?, set_by: SetBy::Flag(flag) }))
        .collect()
    }
}
