//! `[[channels]]`: what holds for the channels that a pattern matches. A list, so only a file can set it.
//!
//! Called by `file` for the whole list. Every entry is read and checked by itself, so that each thing that is wrong is
//! reported with its entry and key. Invariant: entries are left out only when there is a problem.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Value;

use crate::channel::{Overflow, Pattern};
use crate::config::SetBy;
use crate::config::finding::Findings;
use crate::config::value::{duration, text};

use super::entry::Entry;

/// Its name in the file.
pub const LIST: &str = "channels";

/// Every published message is compared with all of them until one matches.
const RULES_MAX: usize = 64;

/// Shorter ones would wake a shard more often than they save sends; longer ones are a slip of the unit.
const BATCH_DELAYS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(1);

/// One entry. Of several whose pattern matches a channel, the first holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChannelRule {
    /// Channels it holds for, the implicit ones (`user:`, `type:`, `all`) too: a name, or a pattern with `*`.
    #[serde(with = "text")]
    pub pattern: Pattern,
    /// How long messages gather before they leave together; 0s: they leave at once, and only under load together. For
    /// those who give milliseconds for CPU.
    #[serde(with = "duration")]
    pub batch_delay: Duration,
    /// What becomes of messages that find no room with a subscriber that reads too slowly: `disconnect`, `drop_oldest`,
    /// `drop_newest` or `latest`.
    pub overflow: Overflow,
}

pub fn read(list: Value, set_by: &SetBy, findings: &mut Findings) -> Vec<ChannelRule> {
    let Value::Array(entries) = list else {
        findings.problem_at(LIST, set_by, "expected a list: [[channels]], in two brackets, for each pattern");
        return vec![];
    };
    if entries.len() > RULES_MAX {
        findings.problem_at(LIST, set_by, format_args!("more than {RULES_MAX} entries"));
    }
    let mut rules: Vec<(usize, ChannelRule)> = Vec::new();
    for (index, value) in entries.into_iter().enumerate() {
        let mut entry = Entry { list: LIST, index, set_by, findings };
        let Some(rule) = rule(&mut entry, value) else { continue };
        if let Some((earlier, _)) = rules.iter().find(|(_, earlier)| earlier.pattern.covers(&rule.pattern)) {
            entry.warning("pattern", format_args!("never holds: {LIST}[{earlier}] comes before and matches the same"));
        }
        rules.push((index, rule));
    }
    rules.into_iter().map(|(_, rule)| rule).collect()
}

/// `None`: there is a problem.
fn rule(entry: &mut Entry<'_>, value: Value) -> Option<ChannelRule> {
    let keys = entry.keys(value)?;
    if !keys.contains_key("pattern") {
        entry.problem("pattern", "must be set");
        return None;
    }
    let rule: ChannelRule = entry.read(keys)?;
    let delay = rule.batch_delay;
    let fits = delay.is_zero() || BATCH_DELAYS.contains(&delay);
    if !fits {
        entry.problem("batch_delay", format_args!("{delay:?} is neither 0s nor between 1ms and 1s"));
    }
    fits.then_some(rule)
}

#[cfg(test)]
mod tests {
    use toml::Table;

    use super::*;

    fn findings(text: &str) -> (Vec<ChannelRule>, Findings) {
        let mut document: Table = text.parse().expect("valid TOML");
        let mut findings = Findings::default();
        let set_by = SetBy::File("r.toml".into());
        let rules = read(document.remove(LIST).expect("the list"), &set_by, &mut findings);
        (rules, findings)
    }

    #[test]
    fn entries_are_read_in_their_order() {
        let (rules, findings) = findings(
            "[[channels]]\npattern = 'vendor:7'\noverflow = 'latest'\n[[channels]]\npattern = 'vendor:*'\nbatch_delay = '20ms'\n\
             [[channels]]\nbatch_delay = '1s'\npattern = '*'\n",
        );
        assert!(findings.problems.is_empty() && findings.warnings.is_empty(), "{findings:?}");
        let read: Vec<_> = rules.iter().map(|rule| (rule.pattern.to_string(), rule.batch_delay.as_millis())).collect();
        assert_eq!(
            read,
            [("vendor:7", 0), ("vendor:*", 20), ("*", 1000)].map(|(pattern, delay)| (pattern.to_owned(), delay))
        );
    }

    #[test]
    fn what_is_wrong_is_named_by_entry_and_key() {
        let entry = "[[channels]]\npattern = 'a'\n[[channels]]\n";
        let long = format!("{entry}pattern = '{}'", "x".repeat(256));
        for (text, line) in [
            ("channels = 1".to_owned(), "channels (file r.toml): expected a list: [[channels]]"),
            ("[channels]\npattern = 'a'".to_owned(), "channels (file r.toml): expected a list: [[channels]]"),
            ("channels = ['a']".to_owned(), "channels[0] (file r.toml): expected keys and values"),
            ("[[channels]]".to_owned(), "channels[0].pattern (file r.toml): must be set"),
            (format!("{entry}pattern = 7"), "channels[1].pattern (file r.toml): invalid type"),
            (format!("{entry}pattern = ''"), "channels[1].pattern (file r.toml): the pattern is empty"),
            (format!("{entry}pattern = \"a\\nb\""), "channels[1].pattern (file r.toml): the pattern has a control"),
            (long, "channels[1].pattern (file r.toml): the pattern is longer than 255 bytes"),
            (
                format!("{entry}pattern = 'b'\nbatchdelay = '1s'"),
                "channels[1].batchdelay (file r.toml): unknown key; did you mean batch_delay?",
            ),
            (
                format!("{entry}pattern = 'b'\noverflow = 'newest'"),
                "channels[1].overflow (file r.toml): unknown variant `newest`, expected one of `disconnect`, `drop_oldest`",
            ),
            (
                format!("{entry}pattern = 'b'\nbatch_delay = 20"),
                "channels[1].batch_delay (file r.toml): expected a dur",
            ),
            (
                format!("{entry}pattern = 'b'\nbatch_delay = '999us'"),
                "channels[1].batch_delay (file r.toml): 999µs is neither 0s nor between 1ms and 1s",
            ),
            (
                format!("{entry}pattern = 'b'\nbatch_delay = '1001ms'"),
                "channels[1].batch_delay (file r.toml): 1.001s is neither 0s nor between 1ms and 1s",
            ),
            ("[[channels]]\npattern = 'a'\n".repeat(65), "channels (file r.toml): more than 64 entries"),
        ] {
            let (_, findings) = findings(&text);
            let problems: Vec<String> = findings.problems.iter().map(ToString::to_string).collect();
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert!(problems[0].starts_with(line), "{text}: {problems:?}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_reported() {
        let (_, findings) = findings("[[channels]]\nx = 1\npattern = 1\n[[channels]]\n[[channels]]\npattern = ''");
        assert_eq!(findings.problems.len(), 4, "{findings:?}");
    }

    #[test]
    fn an_entry_that_never_holds_is_a_warning() {
        for (first, second, never) in [
            ("a", "a", true),
            ("*", "vendor:*", true),
            ("vendor:*", "vendor:*:news", true),
            ("vendor:*:news", "vendor:*", false),
            ("*:news", "vendor:*", false),
        ] {
            let (rules, findings) =
                findings(&format!("[[channels]]\npattern = '{first}'\n[[channels]]\npattern = '{second}'"));
            assert!(findings.problems.is_empty() && rules.len() == 2, "{findings:?}");
            assert_eq!(findings.warnings.len(), usize::from(never), "{first} before {second}: {findings:?}");
        }
    }
}
