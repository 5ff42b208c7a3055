//! How `server.pin` is written in the configuration: `"auto"`, `"off"`, or cores as in `"0-3,8"` and `[0, 1, 2, 3, 8]`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use toml::Value;

/// Cores that a thread can be pinned to (`CPU_SETSIZE`).
const CORES_MAX: usize = 1024;

/// Whether shards are pinned to cores.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Pin {
    /// Where that helps: see [`crate::host::pinning`].
    #[default]
    Auto,
    Off,
    /// To these, in this order, again from the first when there are more shards.
    Cores(Vec<usize>),
}

impl Pin {
    fn parse(text: &str) -> Result<Pin, String> {
        match text.trim() {
            "auto" => Ok(Pin::Auto),
            "off" => Ok(Pin::Off),
            list => cores(list).ok_or_else(|| format!("`{list}` is neither `auto`, `off` nor cores such as `0-3,8`")),
        }
    }
}

/// A list as the kernel and `taskset` write it.
fn cores(list: &str) -> Option<Pin> {
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<usize>().ok()?, last.trim().parse::<usize>().ok()?);
        if first > last || last >= CORES_MAX {
            return None;
        }
        cores.extend(first..=last);
    }
    Some(Pin::Cores(cores))
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pin::Auto => f.write_str("auto"),
            Pin::Off => f.write_str("off"),
            Pin::Cores(cores) => {
                let cores: Vec<_> = cores.iter().map(usize::to_string).collect();
                f.write_str(&cores.join(","))
            }
        }
    }
}

impl Serialize for Pin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match Value::deserialize(deserializer)? {
            Value::String(text) => text,
            Value::Array(cores) => cores.iter().map(Value::to_string).collect::<Vec<_>>().join(","),
            other => other.to_string(),
        };
        Pin::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Option<Pin> {
        let table: toml::Table = toml.parse().expect("TOML");
        Pin::deserialize(table["pin"].clone()).ok()
    }

    #[test]
    fn words_lists_and_ranges_are_read() {
        assert_eq!(read("pin = 'auto'"), Some(Pin::Auto));
        assert_eq!(read("pin = 'off'"), Some(Pin::Off));
        for list in ["'2-4,7'", "'2, 3,4 ,7'", "[2, 3, 4, 7]"] {
            assert_eq!(read(&format!("pin = {list}")), Some(Pin::Cores(vec![2, 3, 4, 7])), "{list}");
        }
        assert_eq!(read("pin = 3"), Some(Pin::Cores(vec![3])));
        for wrong in ["'on'", "''", "[]", "'3-1'", "'-1'", "'0-1024'", "true", "['x']"] {
            assert_eq!(read(&format!("pin = {wrong}")), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same() {
        for pin in [Pin::Auto, Pin::Off, Pin::Cores(vec![8, 0, 1])] {
            assert_eq!(Pin::parse(&pin.to_string()), Ok(pin));
        }
    }
}
