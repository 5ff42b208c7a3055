//! The configuration as it runs, as a file that could have made it: `ringway print-config`.
//!
//! Invariant: the text is valid TOML that holds every key which is not secret and reads back as the same values. What
//! must not be fixed by a file (secrets, random values, the address of development mode) or is not set stands in it as
//! a comment.

use std::fmt::Write;

use super::section::{channels, routes, services};
use super::settle::{LISTEN, SetBy};
use super::value::MASK;
use super::{Key, Loaded};

pub fn print(loaded: &Loaded) -> String {
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
        let _ = writeln!(text, "{}", line(key, value(loaded, key), loaded.provenance.of(key)));
    }
    let Loaded { config, provenance, .. } = loaded;
    if config.channels.is_empty() {
        text.push_str("\n# [[channels]] is not set\n");
    }
    for rule in &config.channels {
        let keys = toml::Table::try_from(rule).unwrap_or_default();
        let _ = write!(text, "\n[[{}]] # {}\n{keys}", channels::LIST, comment(&provenance.lists));
    }
    for rule in &config.services {
        let mut keys = rule.table();
        let _ = writeln!(text, "\n[[{}]] # {}", services::LIST, comment(&provenance.lists));
        keys.retain(|name, value| {
            let is_secret = value.as_str() == Some(MASK);
            if is_secret {
                let _ = writeln!(text, "# {name} is not shown");
            }
            !is_secret
        });
        let _ = write!(text, "{keys}");
    }
    for (_, route) in &config.routes.routes {
        let keys = toml::Table::try_from(route).unwrap_or_default();
        let list = toml::Table::from_iter([(routes::LIST.to_owned(), toml::Value::Array(vec![keys.into()]))]);
        let _ = write!(text, "\n# {}\n{list}", comment(&provenance.lists));
    }
    text
}

/// A `Secret` is a mask here, so not even a mistake below could print one.
fn value(loaded: &Loaded, key: Key) -> Option<toml::Value> {
    let Loaded { config, provenance, .. } = loaded;
    // The address of development mode holds while there is no secret, and a secret set later opens the port.
    let is_kept = key == LISTEN && provenance.listen_address == SetBy::Development;
    match provenance.of(key) {
        set_by if is_kept && *set_by != SetBy::Development => Some(format!(":{}", config.server.listen.port()).into()),
        _ => config.value(key),
    }
}

fn line(key: Key, value: Option<toml::Value>, set_by: &SetBy) -> String {
    let name = key.name;
    let Some(value) = value else { return format!("# {name} is not set") };
    match set_by {
        set_by if key.is_secret() => format!("# {name} is not shown; set by: {}", comment(set_by)),
        SetBy::Random | SetBy::Development => format!("# {name} = {value} # {set_by}"),
        SetBy::Default => format!("{name} = {value}"),
        set_by => format!("{name} = {value} # {}", comment(set_by)),
    }
}

/// A path may hold what a comment may not.
fn comment(set_by: &SetBy) -> String {
    set_by.to_string().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
