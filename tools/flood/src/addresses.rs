//! From which addresses the connections come: one address has 64 K ports, and the kernel hands out one parity first.

use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// Connections from one address before the next one is used. Measured with the kernel's default port range, 32768 to
/// 60999: past half of it, connect(2) has to walk through the used parity each time and slows down to a crawl.
pub const CONNECTIONS_PER_ADDRESS: u32 = 14_000;

/// Consecutive IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    first: Ipv4Addr,
    count: u32,
}

impl Addresses {
    /// Enough addresses of 127.1.0.0/16 for so many connections.
    pub fn loopback(connections: u32) -> Self {
        Self { first: Ipv4Addr::new(127, 1, 0, 1), count: connections.div_ceil(CONNECTIONS_PER_ADDRESS).max(1) }
    }

    /// The address of connection `i`. More connections than the addresses are good for wrap around.
    pub fn of(self, i: u32) -> IpAddr {
        IpAddr::V4((u32::from(self.first) + i / CONNECTIONS_PER_ADDRESS % self.count).into())
    }
}

/// `A.B.C.D` or `A.B.C.D-E.F.G.H`, or with only the last part of the end: `127.1.0.1-64`.
impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not an address or a range of addresses such as 127.1.0.1-127.1.0.64");
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let first: Ipv4Addr = first.parse().map_err(|_| wrong())?;
        let last: Ipv4Addr = match last.parse::<u8>() {
            Ok(part) => {
                let [a, b, c, _] = first.octets();
                Ipv4Addr::new(a, b, c, part)
            }
            Err(_) => last.parse().map_err(|_| wrong())?,
        };
        let count = u32::from(last).checked_sub(u32::from(first)).and_then(|more| more.checked_add(1));
        Ok(Self { first, count: count.ok_or_else(wrong)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_connections_have_addresses_enough() {
        let addresses = Addresses::loopback(1_000_000);
        assert_eq!(addresses.count, 72);
        assert_eq!(addresses.of(0).to_string(), "127.1.0.1");
        assert_eq!(addresses.of(13_999).to_string(), "127.1.0.1");
        assert_eq!(addresses.of(14_000).to_string(), "127.1.0.2");
        assert_eq!(addresses.of(999_999).to_string(), "127.1.0.72");
    }

    #[test]
    fn a_range_is_read_in_each_form() {
        let range = Addresses { first: Ipv4Addr::new(127, 1, 0, 1), count: 64 };
        assert_eq!("127.1.0.1-127.1.0.64".parse(), Ok(range));
        assert_eq!("127.1.0.1-64".parse(), Ok(range));
        assert_eq!("10.0.0.7".parse(), Ok(Addresses { first: Ipv4Addr::new(10, 0, 0, 7), count: 1 }));
        for wrong in ["", "127.1.0.9-127.1.0.1", "127.1-3", "a-b", "::1"] {
            assert!(wrong.parse::<Addresses>().is_err(), "{wrong}");
        }
    }
}
