//! Routing keys that RabbitMQ does not let us write to, where its topic permissions say so.
//!
//! For each message of that sort RabbitMQ closes the channel, with all that is on its way there. So the keys that it
//! has named are remembered for a while and not said again: who insists on one costs nobody else anything. Those of one
//! service, kept by [`super`].

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};

/// What the operators of RabbitMQ allow meanwhile is refused for so long at most.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// Of up to 255 bytes each; the oldest is forgotten first.
const KEYS_MAX: usize = 4096;

/// What RabbitMQ ends words with that are longer than 255 bytes.
const CUT: &str = "...";

#[derive(Default)]
pub struct RefusedKeys {
    known: HashSet<String>,
    by_age: VecDeque<(Instant, String)>,
}

impl RefusedKeys {
    pub fn has(&mut self, key: &str, now: Instant) -> bool {
        while let Some((since, oldest)) = self.by_age.front()
            && now - *since > REMEMBERED_FOR
        {
            self.known.remove(oldest);
            self.by_age.pop_front();
        }
        self.known.contains(key)
    }

    pub fn remember(&mut self, key: &str, now: Instant) {
        if !self.known.insert(key.to_owned()) {
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
        let (mut keys, now) = (RefusedKeys::default(), Instant::now());
        keys.remember("a", now);
        keys.remember("a", now);
        assert!(keys.has("a", now + REMEMBERED_FOR) && !keys.has("b", now));
        assert!(!keys.has("a", now + REMEMBERED_FOR * 2));
        (0..=KEYS_MAX).for_each(|n| keys.remember(&n.to_string(), now));
        assert!(!keys.has("0", now) && keys.has("1", now));
        assert_eq!((keys.known.len(), keys.by_age.len()), (KEYS_MAX, KEYS_MAX));
    }
}
