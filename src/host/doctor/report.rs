//! What the doctor found, and its three forms: the table of `ringway doctor`, the short lines of the gateway's start,
//! and JSON.

use std::fmt::Write;
use std::io::IsTerminal;

use serde::Serialize;

/// How bad a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Good,
    /// It runs, but not as well or not as far as it could.
    Warning,
    /// It does not run, or does not hold what was asked for.
    Missing,
}

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub name: &'static str,
    pub found: String,
    pub needed: String,
    pub verdict: Verdict,
    /// There exactly when the verdict is not good.
    pub fix: Option<String>,
}

/// How many connections the host can hold, and the limit that is met first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capacity {
    pub connections: u64,
    pub stopped_by: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    #[serde(rename = "findings")]
    pub rows: Vec<Row>,
    pub capacity: Capacity,
}

impl Report {
    /// Found, needed and how to fix it, aligned; coloured when standard output is a terminal and `NO_COLOR` is not set.
    pub fn table(&self) -> String {
        let coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        self.render(coloured)
    }

    /// The lines printed at the gateway's start: the capacity, then only what is not good.
    pub fn short(&self) -> Vec<String> {
        let mut lines = vec![self.capacity_line()];
        for row in self.rows.iter().filter(|row| row.verdict != Verdict::Good) {
            let Row { name, found, needed, .. } = row;
            let fix = row.fix.as_deref().unwrap_or_default();
            lines.push(format!("{name}: found {found}, needed {needed}; {fix}"));
        }
        lines
    }

    /// One object with `findings` and `capacity`.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings, numbers and unit variants always serialise")
    }

    /// 1 when something needed is missing, else 0.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.rows.iter().any(|row| row.verdict == Verdict::Missing))
    }

    pub(super) fn render(&self, coloured: bool) -> String {
        let name_width = self.width("CHECK", |row| row.name);
        let found_width = self.width("FOUND", |row| &row.found);
        let mut table = format!("         {:name_width$}  {:found_width$}  NEEDED\n", "CHECK", "FOUND");
        for row in &self.rows {
            let Row { name, found, needed, verdict, fix } = row;
            let mark = verdict.mark(coloured);
            let _ = writeln!(table, "{mark}  {name:name_width$}  {found:found_width$}  {needed}");
            if let Some(fix) = fix {
                let _ = writeln!(table, "         {:name_width$}  fix: {fix}", "");
            }
        }
        let _ = write!(table, "\n{}\n", self.capacity_line());
        table
    }

    fn width<'a>(&'a self, heading: &str, column: impl Fn(&'a Row) -> &'a str) -> usize {
        self.rows.iter().map(|row| column(row).chars().count()).fold(heading.len(), usize::max)
    }

    fn capacity_line(&self) -> String {
        let Capacity { connections, stopped_by } = &self.capacity;
        format!("This host holds up to {} connections. Stopped first by: {stopped_by}.", grouped(*connections))
    }
}

impl Verdict {
    /// Seven characters wide, whatever the colour.
    fn mark(self, coloured: bool) -> String {
        let (word, colour) = match self {
            Self::Good => ("ok     ", "\x1b[32m"),
            Self::Warning => ("warning", "\x1b[33m"),
            Self::Missing => ("MISSING", "\x1b[31m"),
        };
        if coloured { format!("{colour}{word}\x1b[0m") } else { word.to_owned() }
    }
}

/// A number with its thousands apart: 1,004,400.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes in gigabytes (10^9) with one decimal.
pub fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let row = |name, verdict, fix: Option<&str>| Row {
            name,
            found: "1,024".into(),
            needed: "25,000 per shard".into(),
            verdict,
            fix: fix.map(str::to_owned),
        };
        Report {
            rows: vec![
                row("kernel", Verdict::Good, None),
                row("open files", Verdict::Missing, Some("ulimit -n 25000")),
                row("accept queue", Verdict::Warning, Some("tuning/apply")),
            ],
            capacity: Capacity { connections: 4_096, stopped_by: "open files".into() },
        }
    }

    #[test]
    fn table_aligns_its_columns_with_and_without_colour() {
        let report = report();
        let plain = report.render(false);
        let columns: Vec<_> = plain.lines().filter_map(|line| line.find("25,000 per shard")).collect();
        assert_eq!(columns, [columns[0]; 3], "{plain}");
        assert!(!plain.contains('\x1b'));
        let coloured = report.render(true);
        let stripped = ["\x1b[0m", "\x1b[31m", "\x1b[32m", "\x1b[33m"].iter().fold(coloured, |t, c| t.replace(c, ""));
        assert_eq!(stripped, plain);
    }

    #[test]
    fn short_form_has_the_capacity_and_only_what_is_not_good() {
        let short = report().short();
        assert_eq!(short.len(), 3, "{short:?}");
        assert_eq!(short[0], "This host holds up to 4,096 connections. Stopped first by: open files.");
        assert!(short[1].starts_with("open files: found 1,024, needed 25,000 per shard; ulimit"));
    }

    #[test]
    fn exit_code_is_one_only_when_something_is_missing() {
        let mut report = report();
        assert_eq!(report.exit_code(), 1);
        report.rows.retain(|row| row.verdict != Verdict::Missing);
        assert_eq!(report.exit_code(), 0);
    }

    #[test]
    fn json_has_every_row_and_the_capacity() {
        use sonic_rs::{JsonContainerTrait, JsonValueTrait};
        let json: sonic_rs::Value = sonic_rs::from_str(&report().json()).expect("valid JSON");
        assert_eq!(json["findings"].as_array().expect("a list").len(), 3);
        assert_eq!(json["findings"][1]["verdict"].as_str(), Some("missing"));
        assert_eq!(json["capacity"]["connections"].as_u64(), Some(4_096));
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_004_400, "1,004,400")] {
            assert_eq!(grouped(number), text);
        }
    }
}
