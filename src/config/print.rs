//! The configuration as it runs, as a file that could have made it: `ringway print-config`.
//!
//! Invariant: the text is valid TOML that holds every key which is not secret and reads back as the same values. What
//! must not be fixed by a file (secrets, random values) or is not set stands in it as a comment.

use std::fmt::Write;

use super::section::channels;
use super::settle::Source;
use super::{Key, Loaded};

pub fn print(loaded: &Loaded) -> String {
    // A `Secret` serialises as a mask, so not even a mistake below could print one.
    let values = toml::Table::try_from(&loaded.config).unwrap_or_default();
    let mut text =
        String::from("# The configuration as it runs. A comment says what set a value; one without is a default.\n");
    if loaded.config.development {
        text.push_str("# Development mode: no auth.secret is set, so tokens are signed with the published one.\n");
    }
    let mut section = "";
    for key in Key::all() {
        if key.section != section {
            section = key.section;
            let _ = write!(text, "\n[{section}]\n");
        }
        let value = values.get(key.section).and_then(|section| section.get(key.name));
        let _ = writeln!(text, "{}", line(key, value, loaded.sources.of(key)));
    }
    let Loaded { config, sources, .. } = loaded;
    if config.channels.is_empty() {
        text.push_str("\n# [[channels]] is not set\n");
    }
    for rule in &config.channels {
        let keys = toml::Table::try_from(rule).unwrap_or_default();
        let _ = write!(text, "\n[[{}]] # {}\n{keys}", channels::LIST, comment(&sources.channels));
    }
    text
}

fn line(key: Key, value: Option<&toml::Value>, source: &Source) -> String {
    let name = key.name;
    let Some(value) = value else { return format!("# {name} is not set") };
    match source {
        source if key.is_secret() => format!("# {name} is not shown; set by: {}", comment(source)),
        Source::Random => format!("# {name} = {value} # {source}"),
        Source::Default => format!("{name} = {value}"),
        source => format!("{name} = {value} # {}", comment(source)),
    }
}

/// A path may hold what a comment may not.
fn comment(source: &Source) -> String {
    source.to_string().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
