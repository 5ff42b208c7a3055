//! What was found wrong or odd, one line each.
//!
//! Filled by every step of `load`, printed by `main`. Invariant: a finding is one line of printable text, whatever
//! stood in the file or the environment.

use std::fmt;

use super::SetBy;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    place: String,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

#[derive(Debug, Default)]
pub struct Findings {
    /// The process must not start.
    pub problems: Vec<Finding>,
    pub warnings: Vec<Finding>,
    pub notes: Vec<Finding>,
}

impl Findings {
    /// Something that is about no key: a file that cannot be read, a variable that is not known.
    pub fn problem(&mut self, set_by: &SetBy, message: impl fmt::Display) {
        self.problems.push(finding(set_by.to_string(), message));
    }

    /// `key` is a `Key`, or what stands in the place of one.
    pub fn problem_at(&mut self, key: impl fmt::Display, set_by: &SetBy, message: impl fmt::Display) {
        self.problems.push(finding(format!("{key} ({set_by})"), message));
    }

    pub fn warning(&mut self, set_by: &SetBy, message: impl fmt::Display) {
        self.warnings.push(finding(set_by.to_string(), message));
    }

    pub fn warning_at(&mut self, key: impl fmt::Display, set_by: &SetBy, message: impl fmt::Display) {
        self.warnings.push(finding(format!("{key} ({set_by})"), message));
    }

    pub fn note_at(&mut self, key: impl fmt::Display, set_by: impl fmt::Display, message: impl fmt::Display) {
        self.notes.push(finding(format!("{key} ({set_by})"), message));
    }
}

fn finding(place: String, message: impl fmt::Display) -> Finding {
    Finding { place: one_line(&place), message: one_line(&message.to_string()) }
}

fn one_line(text: &str) -> String {
    let joined = text.trim_end().replace('\n', ", ");
    joined.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_whatever_it_quotes() {
        let mut findings = Findings::default();
        findings.problem(&SetBy::File("a\nb".into()), "unexpected\nkey `\u{1b}[2J`\n");
        let line = findings.problems[0].to_string();
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}
