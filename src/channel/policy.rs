//! How the messages of a channel are delivered, where its name matches one of the configured patterns.
//!
//! The bus asks once per message, whatever the number of shards and recipients. Of several
//! patterns that match, the first holds.

use super::overflow::Overflow;
use super::pattern::Pattern;

/// What is delivered as usual has the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// How long messages gather before they leave together; 0: not at all.
    pub batch_delay_us: u32,
    /// What becomes of messages that find no room with a slow subscriber.
    pub overflow: Overflow,
}

/// Policies by pattern. The empty list asks nobody anything.
#[derive(Clone, Debug, Default)]
pub struct Policies(Box<[(Pattern, Policy)]>);

impl Policies {
    pub fn new(list: impl IntoIterator<Item = (Pattern, Policy)>) -> Self {
        Self(list.into_iter().collect())
    }

    pub fn of(&self, channel: &str) -> Policy {
        self.0.iter().find(|(pattern, _)| pattern.matches(channel)).map(|(_, policy)| *policy).unwrap_or_default()
    }

    /// The shortest delay that any message may have.
    pub fn batch_delay_min_us(&self) -> u32 {
        let delays = self.0.iter().map(|(_, policy)| policy.batch_delay_us);
        delays.filter(|us| *us > 0).min().unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(list: &[(&'static str, u32)]) -> Policies {
        Policies::new(
            list.iter()
                .map(|(pattern, us)| (pattern.parse().unwrap(), Policy { batch_delay_us: *us, ..Policy::default() })),
        )
    }

    #[test]
    fn the_first_pattern_that_matches_holds() {
        let policies = delays(&[("vendor:1", 0), ("vendor:*", 20), ("*", 50)]);
        let of = |channel| policies.of(channel).batch_delay_us;
        assert_eq!([of("vendor:1"), of("vendor:12"), of("conv:1"), of("all")], [0, 20, 50, 50]);
        assert_eq!(policies.batch_delay_min_us(), 20);
    }

    #[test]
    fn without_a_pattern_nothing_is_delayed() {
        assert_eq!(Policies::default().of("conv:1"), Policy::default());
        assert_eq!(delays(&[("vendor:*", 20)]).of("conv:1"), Policy::default());
        assert_eq!(Policies::default().batch_delay_min_us(), u32::MAX);
    }
}
