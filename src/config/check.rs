//! How sections say what is wrong with their values: the key and what set it, and the bounds of numbers and times.
//!
//! Made by `load` when everything has been read. Invariant: rules only read; what passes is used as it stands.

use std::fmt::Display;
use std::fs::File;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::finding::Findings;
use super::{Key, Provenance};

/// Below, timers would fire at every turn of the loop; above, it is a slip of the unit.
const TIMES: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(24 * 60 * 60);

/// For all sections.
pub struct Checks<'a> {
    pub provenance: &'a Provenance,
    pub findings: &'a mut Findings,
}

/// For the keys of one section.
pub struct Check<'a> {
    section: &'static str,
    provenance: &'a Provenance,
    findings: &'a mut Findings,
}

impl Checks<'_> {
    pub fn of(&mut self, section: &'static str) -> Check<'_> {
        Check { section, provenance: self.provenance, findings: self.findings }
    }
}

impl Check<'_> {
    pub fn problem(&mut self, name: &'static str, message: impl Display) {
        let key = Key::of(self.section, name);
        self.findings.problem_at(key, self.provenance.of(key), message);
    }

    pub fn warning(&mut self, name: &'static str, message: impl Display) {
        let key = Key::of(self.section, name);
        self.findings.warning_at(key, self.provenance.of(key), message);
    }

    pub fn note(&mut self, name: &'static str, message: impl Display) {
        let key = Key::of(self.section, name);
        self.findings.note_at(key, self.provenance.of(key), message);
    }

    /// Whether a value of this key could not be read, so that another one stands in its place.
    pub fn is_refused(&self, name: &'static str) -> bool {
        self.provenance.is_refused(Key::of(self.section, name))
    }

    pub fn number(&mut self, name: &'static str, value: usize, bounds: RangeInclusive<usize>) {
        if !bounds.contains(&value) {
            self.problem(name, format_args!("{value} is not between {} and {}", bounds.start(), bounds.end()));
        }
    }

    /// That a file is there and can be read. What it says shows when it is used.
    pub fn readable(&mut self, name: &'static str, path: Option<&Path>) {
        if let Some(Err(error)) = path.map(File::open) {
            self.problem(name, format_args!("cannot be read: {error}"));
        }
    }

    pub fn time(&mut self, name: &'static str, time: Duration) {
        if !TIMES.contains(&time) {
            self.problem(name, format_args!("{time:?} is not between 10ms and 24h"));
        }
    }

    /// As [`Check::time`], where `0s` stands for none.
    pub fn time_or_none(&mut self, name: &'static str, time: Duration) {
        if !time.is_zero() {
            self.time(name, time);
        }
    }

    pub fn path(&mut self, name: &'static str, text: &str, example: &str) {
        let is_path =
            text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic() && !"?#\"<>\\^`{|}".contains(c));
        if !is_path {
            self.problem(name, format_args!("`{text}` is no path such as `{example}`"));
        }
    }
}
