//! The configuration file: TOML, sections of keys, and the lists `[[channels]]`, `[[services]]` and
//! `[[routes]]`.
//!
//! Called by `load` for the file that `--config` names; no other file is ever looked for. Only names are judged here,
//! values in `settle`. Invariant: no line of the file is quoted in a problem, as it may hold a secret.

use std::path::Path;

use super::finding::Findings;
use super::key::{Key, nearest};
use super::section::channels::{self, ChannelRule};
use super::section::routes;
use super::section::services::{self, ServiceRule};
use super::settle::{SetBy, Setting};
use crate::route::Definitions;

/// What stands in two brackets.
const LISTS: [&str; 3] = [channels::LIST, services::LIST, routes::LIST];

/// What stands in a file.
#[derive(Debug, Default)]
pub struct Contents {
    pub settings: Vec<Setting>,
    pub channels: Vec<ChannelRule>,
    pub services: Vec<ServiceRule>,
    pub routes: Definitions,
}

pub fn read(path: &Path, findings: &mut Findings) -> Contents {
    let set_by = SetBy::File(path.to_owned());
    match std::fs::read_to_string(path) {
        Ok(text) => contents(&text, &set_by, findings),
        Err(error) => {
            findings.problem(&set_by, format_args!("cannot be read: {error}"));
            Contents::default()
        }
    }
}

fn contents(text: &str, set_by: &SetBy, findings: &mut Findings) -> Contents {
    let mut document: toml::Table = match text.parse() {
        Ok(document) => document,
        Err(error) => {
            findings.problem(set_by, syntax_error(text, &error));
            return Contents::default();
        }
    };
    let channels = document.remove(channels::LIST).map(|list| channels::read(list, set_by, findings));
    let services = document.remove(services::LIST).map(|list| services::read(list, set_by, findings));
    let own = document.remove(routes::LIST).map(|_| routes::read(text, set_by, findings));
    Contents {
        settings: settings(document, set_by, findings),
        channels: channels.unwrap_or_default(),
        services: services.unwrap_or_default(),
        routes: own.unwrap_or_default(),
    }
}

fn settings(document: toml::Table, set_by: &SetBy, findings: &mut Findings) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (section, value) in document {
        match value {
            toml::Value::Table(keys) if is_section(&section) => {
                settings.extend(keys.into_iter().filter_map(|(name, value)| {
                    let key = Key::find(&section, &name).or_else(|| unknown_key(&section, &name, set_by, findings))?;
                    Some(Setting { key, value, set_by: set_by.clone() })
                }));
            }
            _ => unknown_section(&section, set_by, findings),
        }
    }
    settings
}

/// The line and the parser's message, which names what it expected. Not `Display`, which prints the line itself.
fn syntax_error(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: not valid TOML: {}", before.matches('\n').count() + 1, error.message())
}

fn is_section(name: &str) -> bool {
    Key::all().iter().any(|key| key.section == name)
}

fn unknown_section(section: &str, set_by: &SetBy, findings: &mut Findings) {
    if is_section(section) {
        return findings.problem_at(section, set_by, format_args!("expected a section, [{section}]"));
    }
    let sections = Key::all().into_iter().map(|key| key.section).chain(LISTS);
    let hint = match nearest(section, sections.map(str::to_owned)).as_deref() {
        Some(list) if LISTS.contains(&list) => format!("; did you mean [[{list}]]?"),
        Some(name) => format!("; did you mean [{name}]?"),
        None => String::new(),
    };
    findings.problem_at(section, set_by, format_args!("unknown section{hint}"));
}

fn unknown_key(section: &str, name: &str, set_by: &SetBy, findings: &mut Findings) -> Option<Key> {
    let hint = meant(section, name).map(|key| format!("; did you mean {key}?")).unwrap_or_default();
    findings.problem_at(format_args!("{section}.{name}"), set_by, format_args!("unknown key{hint}"));
    None
}

/// The nearest key of the section, or else the key that has this name in another section.
fn meant(section: &str, name: &str) -> Option<Key> {
    let keys = Key::all();
    let names = keys.iter().filter(|key| key.section == section).map(|key| key.name.to_owned());
    match nearest(name, names) {
        Some(name) => Key::find(section, &name),
        None => keys.into_iter().find(|key| key.name == name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let mut findings = Findings::default();
        contents(text, &SetBy::File("r.toml".into()), &mut findings);
        findings.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn unknown_names_are_refused_with_the_nearest_known_one() {
        for (text, line) in [
            ("[server]\nlissten = 1", "server.lissten (file r.toml): unknown key; did you mean server.listen?"),
            (
                "[server]\nidle_timeout = 1",
                "server.idle_timeout (file r.toml): unknown key; did you mean heartbeat.idle_timeout?",
            ),
            ("[server]\nbanana_split = 1", "server.banana_split (file r.toml): unknown key"),
            ("[sever]\nlisten = 1", "sever (file r.toml): unknown section; did you mean [server]?"),
            ("[[chanels]]\npattern = 'a'", "chanels (file r.toml): unknown section; did you mean [[channels]]?"),
            ("listen = 1", "listen (file r.toml): unknown section"),
            ("server = 1", "server (file r.toml): expected a section, [server]"),
        ] {
            assert_eq!(problems(text), [line]);
        }
    }

    #[test]
    fn every_unknown_name_is_reported() {
        assert_eq!(problems("[server]\na = 1\nb = 2\n[c]\n").len(), 3);
    }

    #[test]
    fn a_syntax_error_names_its_line_and_quotes_nothing() {
        for text in [
            "[auth]\nsecret = hunter2hunter2",
            "[auth]\nsecret = \"hunter2hunter2",
            "[auth]\nsecret = \"hunter2\" hunter2",
            "[auth]\nsecret = 'hunter2' 'hunter2'",
            "[auth]\nsecret hunter2hunter2",
            "[auth]\nsecret = \"\\hunter2\"",
            "[auth]\nsecret = 12hunter2",
            "[auth]\nsecret = \"hunter2\", x = \"hunter2\"",
        ] {
            let problems = problems(text);
            assert!(problems[0].starts_with("file r.toml: line 2: not valid TOML: "), "{problems:?}");
            assert!(!problems[0].contains("hunter2"), "{problems:?}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_problem() {
        let mut findings = Findings::default();
        assert!(read(Path::new("/nonexistent/r.toml"), &mut findings).settings.is_empty());
        let line = findings.problems[0].to_string();
        assert!(line.starts_with("file /nonexistent/r.toml: cannot be read: "), "{line}");
    }
}
