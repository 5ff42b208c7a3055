//! The issuer of tokens that publishes its keys: they are fetched from its JWKS URL on the control side and handed to
//! those who verify tokens as immutable sets ([`IssuedKeys`]).
//!
//! [`start`] is called once, by [`crate::gateway`], before the shards. An issuer that is away is no reason to stop: the
//! keys that it had hold, it is tried again for ever, and its [`IssuerStatus`] says so. Only a node that never had keys
//! is not ready.
//!
//! What may not live here: what a key is, and which token it fits; [`crate::auth`] says that.

pub mod export;
#[cfg(feature = "jwks")]
mod fetch;
#[cfg(feature = "jwks")]
mod pace;
#[cfg(feature = "jwks")]
mod refresh;
pub mod status;

use std::io;
use std::sync::Arc;

use crate::auth::IssuedKeys;
use crate::config::Auth;
use crate::control::Control;
use crate::shard::verification::KeyFinder;

pub use status::IssuerStatus;

/// An issuer whose keys are followed.
pub struct Issuer {
    pub keys: IssuedKeys,
    /// Where questions about unknown keys go.
    pub finder: Arc<dyn KeyFinder>,
    pub status: Arc<IssuerStatus>,
}

/// Begins to follow the issuer's keys, if there is one, and returns at once. At most `waiting_max` tokens wait for a
/// key at a time.
///
/// # Errors
///
/// When nothing can be had with which an `https` URL could be asked.
#[cfg_attr(not(feature = "jwks"), allow(unused_variables, reason = "a configuration with a URL is refused then"))]
pub fn start(auth: &Auth, waiting_max: usize, control: &Control) -> io::Result<Option<Issuer>> {
    match &auth.jwks_url {
        #[cfg(feature = "jwks")]
        Some(url) => refresh::start(auth, url, waiting_max, control).map(Some),
        _ => Ok(None),
    }
}
