//! Who gets what is published, and in which shape.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::lane::{Command, ConnectionId, Draft, Except, Filter, Outcome, Publication};
use crate::ws::frame::encode_text;

use super::client::Client;
use super::{InFlight, Io, Shard, under_faults, under_faults_with};

#[test]
fn a_publication_reaches_exactly_the_subscribers_in_order_byte_for_byte() {
    under_faults(|mut shard| {
        let mut members = shard.subscribers::<5>("conv:1");
        let mut other = shard.client("other");
        other.subscribe("conv:11");
        shard.settle();
        other.heard();
        // As it came, even where it is not JSON.
        let messages: Vec<String> = (0..30).map(|n| format!("{n} \u{1f600}\t{}", "x".repeat(n * 13))).collect();
        for message in &messages {
            assert_eq!(shard.publish("conv:1", message), 5);
        }
        for member in &mut members {
            assert_eq!(member.texts(), messages);
        }
        assert_eq!(other.texts(), [""; 0]);
        assert_eq!(shard.counters().deliveries.get(), 150);
    });
}

#[test]
fn publications_that_come_together_keep_their_order() {
    under_faults(|mut shard| {
        let mut members = shard.subscribers::<4>("conv:1");
        members.iter().for_each(|member| member.peer.stall(true));
        let messages: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        messages.iter().for_each(|message| {
            shard.publish("conv:1", message);
        });
        members.iter().for_each(|member| member.peer.stall(false));
        shard.settle();
        members.iter_mut().for_each(|member| assert_eq!(member.texts(), messages));
    });
}

#[test]
fn a_message_for_one_connection_reaches_it_alone_and_in_order() {
    under_faults(|mut shard| {
        let [mut ann, mut bob] = shard.subscribers("conv:1");
        let messages: Vec<String> = (0..30).map(|n| format!("{n} {}", "x".repeat(n * 13))).collect();
        messages.iter().for_each(|message| assert_eq!(shard.send_to(ann.id, message), 1));
        assert_eq!((ann.texts(), bob.texts()), (messages, vec![]));
        assert_eq!((shard.counters().deliveries.get(), shard.counters().addressed_stale.get()), (30, 0));
    });
}

#[test]
fn a_message_for_a_connection_that_is_gone_or_not_open_is_dropped_and_counted() {
    under_faults(|mut shard| {
        let ann = shard.client("ann");
        ann.peer.close();
        shard.settle();
        let (eve, stranger, echo) = (shard.client("eve"), shard.stranger(), shard.echo());
        assert_eq!(eve.id.slot, ann.id.slot, "the slot is used again");
        let elsewhere = ConnectionId { shard: 0, ..eve.id };
        let nowhere = ConnectionId { slot: 63, ..eve.id };
        for id in [ann.id, elsewhere, nowhere, stranger.id, echo.id] {
            assert_eq!(shard.send_to(id, "hello"), 0, "{id:?}");
        }
        assert_eq!((shard.counters().deliveries.get(), shard.counters().addressed_stale.get()), (0, 5));
        assert_eq!([eve, stranger, echo].map(|mut other| other.texts().len()), [0; 3]);
    });
}

/// The bytes of a message, and whether anybody still holds them.
struct Watched(Bytes, Arc<AtomicBool>);

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.1.store(true, Ordering::Relaxed);
    }
}

#[test]
fn one_frame_is_shared_by_all_recipients_and_let_go_after_the_last_send() {
    under_faults(|mut shard| {
        let members = shard.subscribers::<6>("conv:1");
        members.iter().for_each(|member| member.peer.stall(true));
        let gone = Arc::new(AtomicBool::new(false));
        let frame = Bytes::from_owner(Watched(encode_text("hello"), gone.clone()));
        let address = frame.as_ptr();
        assert_eq!(shard.publish_to("conv:1", frame, None), 6);

        let sending = |member: &Client| &shard.floor.wire.io.sending(member.id.slot)[0];
        let shared = sending(&members[0]);
        assert_eq!(shared.bytes.as_ptr(), address, "the payload is not copied");
        assert!(members.iter().all(|member| Rc::ptr_eq(sending(member), shared)));
        assert_eq!(Rc::strong_count(shared), members.len(), "one count per recipient and no other");
        assert!(members.iter().all(|member| shard.floor.wire.connections[member.id.slot as usize].outbox.is_none()));

        members.iter().for_each(|member| member.peer.stall(false));
        shard.settle();
        assert!(gone.load(Ordering::Relaxed), "nothing of the frame is kept");
        assert_eq!(shard.floor.wire.io.in_flight(), InFlight::default());
    });
}

#[test]
fn a_filter_narrows_the_recipients() {
    under_faults(|mut shard| {
        let mut sessions = [("driver", "ios"), ("driver", "android"), ("rider", "ios")].map(|(user_type, platform)| {
            shard.client_with("ann", |identity, details| {
                identity.user_type = Some(user_type.into());
                details.platform = Some(platform.into());
            })
        });
        let mut publish = |channel: &str, user_type: Option<&str>, platform: Option<&str>| {
            let filter =
                Filter { user_type: user_type.map(Into::into), platform: platform.map(Into::into), near: None };
            shard.publish_to(channel, encode_text("x"), Some(filter))
        };
        assert_eq!(publish("user:ann", Some("driver"), None), 2);
        assert_eq!(publish("all", None, Some("ios")), 2);
        assert_eq!(publish("type:driver", Some("driver"), Some("ios")), 1);
        assert_eq!(publish("user:ann", Some("rider"), Some("android")), 0);
        assert_eq!(publish("user:ann", None, None), 3);
        assert_eq!(sessions.each_mut().map(|session| session.texts().len()), [4, 2, 2]);
    });
}

#[test]
fn all_reaches_every_session_and_nobody_without_a_token() {
    under_faults(|mut shard| {
        let mut sessions = [shard.client("ann"), shard.client("bob"), shard.client("ann")];
        let mut stranger = shard.stranger();
        let leaving = shard.client("eve");
        leaving.peer.stall(true);
        leaving.say_close(1000);
        shard.settle();
        assert_eq!(shard.publish("all", "hello"), 3);
        sessions.iter_mut().for_each(|session| assert_eq!(session.texts(), ["hello"]));
        assert!(stranger.heard().is_empty());
    });
}

#[test]
fn a_user_is_reached_on_every_device_and_a_type_in_every_session() {
    under_faults(|mut shard| {
        let mut phone = shard.client_with("ann", |identity, _| identity.user_type = Some("driver".into()));
        let mut desk = shard.client("ann");
        // Asked for in the upgrade, not said by the token.
        let mut other = shard.client_with("bob", |_, details| details.user_type = Some("driver".into()));
        assert_eq!((shard.publish("user:ann", "a"), shard.publish("type:driver", "b")), (2, 2));
        assert_eq!(
            (phone.texts(), desk.texts(), other.texts()),
            (vec!["a".into(), "b".into()], vec!["a".into()], vec!["b".into()])
        );
        assert_eq!(shard.floor.state.table.user_share(), 2);
    });
}

/// Publishes to `conv:1` on the ways there are: at once, as a fan-out, and to everybody; says who heard of each.
fn heard_except(shard: &mut Shard, clients: &mut [Client], except: Except) -> [Vec<usize>; 3] {
    let delayed = |publication| Publication { batch_delay_us: 1000, ..publication };
    [("conv:1", false), ("conv:1", true), ("all", false)].map(|(channel, is_delayed)| {
        let publication = Publication { except, ..shard.publication(channel, encode_text("hello")) };
        let publication = if is_delayed { delayed(publication) } else { publication };
        shard.command(Command::Publish(publication));
        shard.pass(100);
        let heard = clients.iter_mut().map(|client| client.texts().len()).collect::<Vec<_>>();
        assert!(heard.iter().all(|count| *count <= 1));
        (0..clients.len()).filter(|n| heard[*n] == 1).collect()
    })
}

#[test]
fn who_is_left_out_hears_nothing_and_everybody_else_does() {
    under_faults_with(
        |rules| rules.batch_delay_min_us = 1000,
        |mut shard| {
            // The first user has two devices; of the channel `news` are 1 to 3, of `conv:2` all but 0.
            let mut clients: Vec<_> =
                ["ann", "ann", "bob", "eve", "kim", "leo", "max"].map(|user| shard.client(user)).into();
            for (n, client) in clients.iter_mut().enumerate() {
                let channels = [Some("conv:1"), (1..=3).contains(&n).then_some("news"), (n > 0).then_some("conv:2")];
                channels.into_iter().flatten().for_each(|channel| client.subscribe(channel));
                shard.settle();
                client.heard();
            }
            let (first, hash) = (clients[0].id, |shard: &Shard, channel| shard.interest.hash(channel));
            let gone = ConnectionId { generation: first.generation + 1000, ..first };
            let elsewhere = ConnectionId { shard: 0, ..first };
            for (except, expected) in [
                (Except::Nobody, vec![0, 1, 2, 3, 4, 5, 6]),
                (Except::Session(first), vec![1, 2, 3, 4, 5, 6]),
                (Except::Session(gone), vec![0, 1, 2, 3, 4, 5, 6]),
                (Except::Session(elsewhere), vec![0, 1, 2, 3, 4, 5, 6]),
                (Except::User(hash(&shard, "user:ann")), vec![2, 3, 4, 5, 6]),
                (Except::User(hash(&shard, "user:nobody")), vec![0, 1, 2, 3, 4, 5, 6]),
                (Except::SessionAndMembers(gone, hash(&shard, "news")), vec![0, 4, 5, 6]),
                (Except::SessionAndMembers(first, hash(&shard, "news")), vec![4, 5, 6]),
                (Except::SessionAndMembers(elsewhere, hash(&shard, "conv:2")), vec![0]),
                (Except::SessionAndMembers(first, hash(&shard, "conv:2")), vec![]),
            ] {
                assert_eq!(
                    heard_except(&mut shard, &mut clients, except),
                    [(); 3].map(|()| expected.clone()),
                    "{except:?}"
                );
            }
        },
    );
}

#[test]
fn what_leaves_out_others_is_not_joined() {
    under_faults_with(
        |rules| rules.batch_delay_min_us = 1000,
        |mut shard| {
            let [mut ann, mut bob] = shard.subscribers("conv:1");
            let exceptions =
                [Except::Session(ann.id), Except::Session(ann.id), Except::Session(bob.id), Except::Nobody];
            for (n, except) in exceptions.into_iter().enumerate() {
                let publication = shard.publication("conv:1", encode_text(&n.to_string()));
                shard.command(Command::Publish(Publication { except, batch_delay_us: 1000, ..publication }));
            }
            shard.pass(100);
            assert_eq!(
                (ann.texts(), bob.texts()),
                (vec!["2".into(), "3".into()], vec!["0".into(), "1".into(), "3".into()])
            );
        },
    );
}

#[test]
fn what_a_session_says_comes_to_its_own_shard_and_to_the_others_that_listen() {
    under_faults(|mut shard| {
        let [mut ann] = shard.subscribers("conv:1");
        shard.interest.add(shard.interest.hash("conv:1"), 1);
        let outcome = shard.floor.state.bus.try_publish(Draft::new("conv:1", encode_text("hello")));
        assert_eq!(outcome, Outcome { taken: 2, lost: 0 });
        shard.settle();
        assert_eq!(ann.texts(), ["hello"]);
        assert_eq!([0, 1, 2].map(|other| shard.others[other].take().is_some()), [false, true, false]);
    });
}

#[test]
fn who_has_left_a_channel_hears_nothing_more() {
    under_faults(|mut shard| {
        let [mut ann, mut bob] = shard.subscribers("conv:1");
        ann.say(r#"{"type":"unsubscribe","channels":["conv:1"]}"#);
        shard.settle();
        ann.heard();
        assert_eq!(shard.publish("conv:1", "x"), 1);
        assert_eq!((ann.texts().len(), bob.texts().len()), (0, 1));
        bob.peer.close();
        shard.settle();
        assert!(!shard.is_of_interest("conv:1"));
        assert_eq!(shard.publish("conv:1", "x"), 0);
    });
}
