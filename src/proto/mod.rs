//! The contracts with backends ([`relay`], [`location`], [`chat`], [`notification`]) and with whoever uses the admin
//! port over gRPC ([`admin`]): what is made of the `.proto` files of this folder, which are their documentation. Used
//! by [`crate::service`] as a client and by [`crate::admin`] as a server; the other halves are there for tests and
//! tools.
//!
//! What may not live here: anything that is written by hand.

macro_rules! contract {
    ($name:ident, $package:literal) => {
        #[allow(clippy::all, missing_docs)]
        pub mod $name {
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/", $package, ".rs"));
            }
        }
    };
}

contract!(admin, "ringway.admin.v1");
contract!(chat, "ringway.chat.v1");
contract!(location, "ringway.location.v1");
contract!(notification, "ringway.notification.v1");
contract!(relay, "ringway.relay.v1");

#[allow(missing_docs)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/ringway.v1.rs"));
}
