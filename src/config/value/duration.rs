//! How a duration is written in the configuration: `30s`, `1m 30s`, `250ms`. Used by the sections as a serde
//! `with` module.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de};

pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(*duration))
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let value = toml::Value::deserialize(deserializer)?;
    let text = value.as_str().ok_or_else(|| de::Error::custom("expected a duration in quotes, such as \"30s\""))?;
    humantime::parse_duration(text)
        .map_err(|error| de::Error::custom(format!("`{text}` is no duration such as `30s` or `250ms`: {error}")))
}

/// In one unit where that is exact: `60s` compares more easily with the other values than `1m`.
fn text(duration: Duration) -> String {
    match duration.subsec_nanos() {
        0 => format!("{}s", duration.as_secs()),
        nanos if nanos % 1_000_000 == 0 => format!("{}ms", duration.as_millis()),
        _ => humantime::format_duration(duration).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back_as_the_same_duration() {
        for nanos in [0, 1, 999, 1_000_000, 250_000_000, 1_000_000_000, 60_000_000_000, 3_600_000_000_001] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(humantime::parse_duration(&text(duration)), Ok(duration), "{}", text(duration));
        }
    }

    #[test]
    fn whole_seconds_are_printed_in_seconds() {
        assert_eq!(text(Duration::from_secs(60)), "60s");
        assert_eq!(text(Duration::from_millis(1500)), "1500ms");
    }
}
