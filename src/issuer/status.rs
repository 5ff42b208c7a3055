//! What is known of the issuer: whether it answers, and which keys are held.
//!
//! Written by the task that fetches, read by the admin port at any time.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::auth::TokenError;
use crate::control::Link;
use crate::metrics::Counter;

#[derive(Debug)]
pub struct IssuerStatus {
    url: Box<str>,
    /// Connected: the last answer was a key set.
    pub link: Link,
    keys: AtomicUsize,
    /// Answers asked for.
    pub fetches: Counter,
    /// Of them, those that failed or were no key set.
    pub failures: Counter,
}

impl IssuerStatus {
    pub fn new(url: &str) -> Self {
        Self {
            url: url.into(),
            link: Link::default(),
            keys: AtomicUsize::new(0),
            fetches: Counter::default(),
            failures: Counter::default(),
        }
    }

    /// Where its keys are.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Keys that are held, whether it answers now or not. None: it never has.
    pub fn keys(&self) -> usize {
        self.keys.load(Relaxed)
    }

    /// What is wrong with a token whose key is not known, when the issuer is not asked now: nothing that is known of,
    /// while it does not answer.
    pub fn why_unknown(&self) -> TokenError {
        if self.link.is_connected() { TokenError::UnknownKey } else { TokenError::KeysUnavailable }
    }

    /// So many are held from now on.
    pub fn holds(&self, keys: usize) {
        self.keys.store(keys, Relaxed);
    }
}
