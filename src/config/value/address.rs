//! How a listening address is written in the configuration: `127.0.0.1:4000`, `[::1]:4000`. Used by the sections as a
//! serde `with` module. The short form `:4000` is gone by then: `settle` has put the address before it.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serializer, de};

/// The same where it may be left out.
pub mod optional {
    use super::*;

    pub fn serialize<S: Serializer>(address: &Option<SocketAddr>, serializer: S) -> Result<S::Ok, S::Error> {
        match address {
            Some(address) => super::serialize(address, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }
}

/// `::ffff:127.0.0.1` is loopback too.
pub fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

pub fn serialize<S: Serializer>(address: &SocketAddr, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(address)
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let value = toml::Value::deserialize(deserializer)?;
    let text = value.as_str().ok_or_else(|| de::Error::custom("expected an address in quotes"))?;
    // No names: what one resolves to can change between the check and the bind.
    text.parse()
        .map_err(|_| de::Error::custom(format!("`{text}` is no address such as `127.0.0.1:4000` or `[::1]:4000`")))
}
