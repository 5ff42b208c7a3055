//! Promise: what a client does not read waits in the gateway, once for all of them, and not
//! in kernel memory, once for each.

use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::non_readers::{MESSAGE_BYTES, broadcast_to_non_readers, settle, unacknowledged};

#[test]
fn what_nobody_reads_is_not_copied_into_the_kernel() {
    let gateway = Gateway::start(Config::new());
    let clients = broadcast_to_non_readers(&gateway, 8);
    settle(&gateway);
    // The limit, and the one segment by which the kernel may pass it.
    let bound = 32 * 1024 + 2 * 64 * 1024;
    let held = unacknowledged(&gateway);
    assert!(held.len() == clients.len() && held.iter().all(|bytes| *bytes <= bound), "{held:?}");
}

#[test]
fn a_slow_reader_gets_the_whole_message_all_the_same() {
    let gateway = Gateway::start(Config::new());
    let mut clients = broadcast_to_non_readers(&gateway, 2);
    settle(&gateway);
    assert_eq!(clients[0].next_text().len(), MESSAGE_BYTES);
    assert_eq!(clients[1].next_text().len(), MESSAGE_BYTES);
}
