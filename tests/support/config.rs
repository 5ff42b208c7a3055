//! The configuration a test gives its gateway, as `section.key` and value. Called by `gateway` and the tests.
//!
//! Starts from what suits tests: two shards, the secret of `tokens`, a short drain, nothing told that nobody published
//! (presence), and no bounds that only real clients from many addresses would keep. A test that is about one of these
//! sets it.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::tokens::SECRET;

#[derive(Clone)]
pub struct Config {
    sections: Table,
}

impl Config {
    pub fn new() -> Config {
        Config::empty()
            .set("server.shards", 2)
            .set("server.drain", "2s")
            .set("auth.secret", SECRET)
            .set("limits.connects_per_address", 1_000_000)
            .set("limits.messages", 1_000_000)
            .list("presence.channels", &[])
    }

    /// The same without the secret: for tokens that public keys check.
    pub fn without_secret() -> Config {
        let mut config = Config::new();
        let auth = config.sections.get_mut("auth").and_then(Value::as_table_mut);
        auth.expect("it has just been set").remove("secret");
        config
    }

    /// Nothing set: every default of the gateway itself.
    pub fn empty() -> Config {
        Config { sections: Table::new() }
    }

    /// What a file of the documents says.
    #[track_caller]
    pub fn parse(text: &str) -> Config {
        Config { sections: toml::from_str(text).unwrap_or_else(|error| panic!("not TOML ({error}): {text}")) }
    }

    /// Sets `section.key`. Durations are strings such as `"250ms"`.
    #[must_use]
    pub fn set(mut self, path: &str, value: impl Into<Value>) -> Config {
        let (section, key) = path.split_once('.').expect("a path is section.key");
        self.sections
            .entry(section)
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .expect("a section is a table")
            .insert(key.to_owned(), value.into());
        self
    }

    /// Sets `section.key` to a list of strings.
    #[must_use]
    pub fn list(self, path: &str, values: &[&str]) -> Config {
        self.set(path, values.iter().map(|value| Value::from(*value)).collect::<Vec<_>>())
    }

    /// Adds an entry to `[[channels]]`.
    #[must_use]
    pub fn channel(mut self, pattern: &str, batch_delay: &str) -> Config {
        let rule =
            [("pattern", pattern), ("batch_delay", batch_delay)].map(|(key, text)| (key.to_owned(), text.into()));
        let rules = self.sections.entry("channels").or_insert_with(|| Value::Array(vec![]));
        rules.as_array_mut().expect("a list").push(Value::Table(Table::from_iter(rule)));
        self
    }

    /// Adds an entry to `[[channels]]` that says what becomes of messages which find no room.
    #[must_use]
    pub fn overflow(mut self, pattern: &str, policy: &str) -> Config {
        let rule = [("pattern", pattern), ("overflow", policy)].map(|(key, text)| (key.to_owned(), text.into()));
        let rules = self.sections.entry("channels").or_insert_with(|| Value::Array(vec![]));
        rules.as_array_mut().expect("a list").push(Value::Table(Table::from_iter(rule)));
        self
    }

    /// Adds an entry to `[[services]]`.
    #[must_use]
    pub fn service<V: Into<Value> + Clone>(mut self, keys: &[(&str, V)]) -> Config {
        let rule = keys.iter().map(|(key, value)| ((*key).to_owned(), value.clone().into()));
        let rules = self.sections.entry("services").or_insert_with(|| Value::Array(vec![]));
        rules.as_array_mut().expect("a list").push(Value::Table(Table::from_iter(rule)));
        self
    }

    /// Adds what a text in TOML says: entries to its lists, keys to its sections.
    #[must_use]
    #[track_caller]
    pub fn with(mut self, text: &str) -> Config {
        for (name, value) in Config::parse(text).sections {
            match (self.sections.get_mut(&name), value) {
                (Some(Value::Array(list)), Value::Array(more)) => list.extend(more),
                (Some(Value::Table(keys)), Value::Table(more)) => keys.extend(more),
                (_, value) => _ = self.sections.insert(name, value),
            }
        }
        self
    }

    /// The token that the admin port will ask for.
    pub fn admin_token(&self) -> Option<String> {
        Some(self.sections.get("admin")?.get("token")?.as_str()?.to_owned())
    }

    /// Writes the file into `folder` and returns its path.
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("ringway.toml");
        let text = toml::to_string(&self.sections).expect("tables of scalars and lists are TOML");
        std::fs::write(&path, text).expect("the temp dir is writable");
        path
    }
}
