//! What became of the messages of one request to `POST /publish`: made by [`super::batch`], and kept under the key of
//! the request by [`super::idempotency`].

use std::iter::from_fn;

use serde::Serialize;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Published {
    /// In the order of the messages.
    pub results: Vec<Delivered>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What became of one message.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Delivered {
    /// Connections of this node, of all channels of the message together.
    pub delivered: usize,
    /// Of a notification with an `id`: whether it is kept for every user that it is for, until it is confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<bool>,
}

/// The same in as few bytes as it takes, for as long as it is kept: of each result a number, of which every byte has
/// seven bits and says whether another one follows. Fewer than 32 connections are one byte, 4,096 two, 524,288 three.
pub struct Compact {
    results: Box<[u8]>,
    note: Option<Box<str>>,
}

impl Compact {
    pub fn pack(Published { results, note }: &Published) -> Self {
        let mut bytes = Vec::with_capacity(results.len());
        for Delivered { delivered, kept } in results {
            // Two bits for what is kept.
            let mut number = (*delivered as u128) << 2 | kept.map_or(0, |is_kept| 2 | u128::from(is_kept));
            while number >= 0x80 {
                bytes.push(number as u8 | 0x80);
                number >>= 7;
            }
            bytes.push(number as u8);
        }
        Self { results: bytes.into(), note: note.as_deref().map(Into::into) }
    }

    pub fn unpack(&self) -> Published {
        let mut bytes = self.results.iter();
        let results = from_fn(|| {
            let (mut number, mut shift) = (0u128, 0);
            loop {
                let byte = *bytes.next()?;
                number |= u128::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
                shift += 7;
            }
            let kept = (number & 2 != 0).then_some(number & 1 != 0);
            Some(Delivered { delivered: (number >> 2) as usize, kept })
        });
        Published { results: results.collect(), note: self.note.as_deref().map(Into::into) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_was_and_takes_a_byte_where_few_were_reached() {
        let counts = [0, 1, 31, 32, 4095, 4096, 524_287, 524_288, u32::MAX as usize, usize::MAX];
        let results = counts.iter().flat_map(|delivered| {
            [None, Some(false), Some(true)].map(|kept| Delivered { delivered: *delivered, kept })
        });
        for note in [None, Some("one shard is slow".to_owned())] {
            let published = Published { results: results.clone().collect(), note };
            assert_eq!(Compact::pack(&published).unpack(), published);
        }
        let of = |delivered| Published { results: vec![Delivered { delivered, kept: None }; 1000], note: None };
        let bytes = [0, 31, 4095, 524_287].map(|delivered| Compact::pack(&of(delivered)).results.len());
        assert_eq!(bytes, [1000, 1000, 2000, 3000]);
    }
}
