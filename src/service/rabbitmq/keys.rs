//! Routing keys of which RabbitMQ has said whether it lets us write to them, where its topic permissions decide that.
//!
//! For each message that they forbid RabbitMQ closes the channel, with all that is on its way there. So the keys that
//! it has refused are remembered for a while and not said again: who insists on one costs nobody else anything. From a
//! refusal on, keys that are not known are [asked about](super::asker) before a message goes there, for a minute. Those
//! of one service, kept by [`super`].

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};

/// What the operators of RabbitMQ change meanwhile is seen after so long.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// Allowed and refused ones, of up to 255 bytes each; the oldest is forgotten first.
const KEYS_MAX: usize = 4096;

/// What RabbitMQ ends words with that are longer than 255 bytes.
const CUT: &str = "...";

#[derive(Default)]
pub struct Keys {
    /// Whether they are allowed.
    known: HashMap<String, bool>,
    by_age: VecDeque<(Instant, String)>,
    refused_at: Option<Instant>,
}

impl Keys {
    /// Whether a message may go to this key. `None` when that is to be asked.
    pub fn is_allowed(&mut self, key: &str, now: Instant) -> Option<bool> {
        while let Some((since, oldest)) = self.by_age.front()
            && now - *since > REMEMBERED_FOR
        {
            self.known.remove(oldest);
            self.by_age.pop_front();
        }
        let is_in_doubt = self.refused_at.is_some_and(|at| now - at <= REMEMBERED_FOR);
        self.known.get(key).copied().or((!is_in_doubt).then_some(true))
    }

    /// RabbitMQ has refused a message, whatever its key: what was allowed need not be any more.
    pub fn doubt(&mut self, now: Instant) {
        *self = Self { refused_at: Some(now), ..Self::default() };
    }

    /// What RabbitMQ says of a key.
    pub fn remember(&mut self, key: &str, is_allowed: bool, now: Instant) {
        if !is_allowed {
            self.refused_at = Some(now);
        }
        if self.known.insert(key.to_owned(), is_allowed).is_some() {
            return;
        }
        self.by_age.push_back((now, key.to_owned()));
        if self.by_age.len() > KEYS_MAX
            && let Some((_, oldest)) = self.by_age.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

/// What RabbitMQ says when it closes a channel because we may not do something. `None` for any other error.
pub fn refusal(error: &lapin::Error) -> Option<&str> {
    let ErrorKind::ProtocolError(error) = error.kind() else { return None };
    let is_refusal = *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED);
    is_refusal.then(|| error.get_message().as_str())
}

/// Whether a refusal is about a message with this key: `… access to topic 'KEY' in exchange …`, cut off at the end when
/// it is long. What clients choose of a key has no blank in it.
pub fn is_about(refusal: &str, key: &str) -> bool {
    let Some((_, said)) = refusal.split_once("access to topic '") else { return false };
    let expected = format!("{key}' in ");
    said.starts_with(&expected) || said.strip_suffix(CUT).is_some_and(|said| expected.starts_with(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_key_also_when_it_is_cut() {
        let refusal = |key: &str| {
            let words = format!(
                "ACCESS_REFUSED - write access to topic '{key}' in exchange 'ws' in vhost '/' refused for user 'poor'"
            );
            if words.len() > 255 { format!("{}{CUT}", &words[..252]) } else { words }
        };
        for bytes in 1..=255 {
            let key = "k".repeat(bytes);
            assert!(is_about(&refusal(&key), &key), "{bytes}");
            assert!(!is_about(&refusal(&key), "by.bob") && !is_about(&refusal("by.bob"), &key), "{bytes}");
            assert!(bytes > 180 || !is_about(&refusal(&key), &format!("{key}k")), "{bytes}");
        }
        assert!(!is_about(&refusal("by.bob"), "by.bo"));
        assert!(!is_about("ACCESS_REFUSED - write access to exchange 'ws' in vhost '/' refused for user 'poor'", "ws"));
    }

    #[test]
    fn keys_are_remembered_for_a_while_and_within_bounds() {
        let (mut keys, now) = (Keys::default(), Instant::now());
        keys.remember("a", true, now);
        assert_eq!(["a", "b"].map(|key| keys.is_allowed(key, now)), [Some(true), Some(true)]);
        keys.remember("c", false, now);
        let later = now + REMEMBERED_FOR;
        assert_eq!(["a", "b", "c"].map(|key| keys.is_allowed(key, later)), [Some(true), None, Some(false)]);
        let much_later = now + REMEMBERED_FOR * 2;
        assert_eq!(["a", "b", "c"].map(|key| keys.is_allowed(key, much_later)), [Some(true); 3]);
        (0..=KEYS_MAX).for_each(|n| keys.remember(&n.to_string(), false, now));
        assert_eq!(["0", "1"].map(|key| keys.is_allowed(key, now)), [None, Some(false)]);
        assert_eq!((keys.known.len(), keys.by_age.len()), (KEYS_MAX, KEYS_MAX));
        keys.doubt(now);
        assert_eq!(keys.is_allowed("1", now), None);
    }
}
