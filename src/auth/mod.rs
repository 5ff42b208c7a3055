//! Who a session is and what it may do: tokens, revocations, grants, origins.
//!
//! No I/O and no clock in here: an answer follows from the arguments, from what the admin port has revoked
//! (`revocation`) and from the keys that an issuer has published (`key_set`). The lobby asks at the upgrade, the
//! session when a client sends a token or wants to join, and the command line mints tokens. What an answer means on the
//! wire (401, 403, a close code) is decided by those callers.

mod claims;
mod grant;
mod identity;
pub mod jwk;
mod key_set;
mod keys;
pub mod mint;
mod origin;
pub mod pem;
mod revocation;
mod token;
mod wanted;

pub use claims::is_name;
pub use grant::{GrantError, Grants};
pub use identity::Identity;
pub use key_set::{BadKey, IssuedKeys, KEYS_MAX, KeyName, KeySet, PublicKey};
pub use origin::{Origin, OriginError, Origins};
pub use revocation::{Full, Revocations};
pub use token::{TokenError, Verifier, VerifierSettings};
pub use wanted::{ClaimSet, Wanted};

#[cfg(test)]
mod tests;
