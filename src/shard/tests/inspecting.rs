//! What a shard says of itself when asked.

use std::sync::{Arc, Mutex};

use crate::auth::Grants;
use crate::lane::report::ConnectionInfo;
use crate::lane::{Answer, Command, Query};
use crate::ws::close::CloseCode;

use super::{CAPACITY, SHARD, Shard, counted, under_faults, under_faults_with};
use crate::shard::connection::outbox::FRAME_COST_BYTES;
use crate::shard::profiles::Claims;

/// An answer to a command, and where it arrives.
pub(super) fn kept<T: Send + 'static>() -> (Answer<T>, Arc<Mutex<Option<T>>>) {
    let place = Arc::new(Mutex::new(None));
    let kept = place.clone();
    (Arc::new(move |value| *kept.lock().unwrap() = Some(value)), place)
}

fn connections(shard: &mut Shard, limit: usize, user: Option<&str>) -> Vec<ConnectionInfo> {
    let (answer, place) = kept();
    shard.ask(Query::Connections { limit, user: user.map(Into::into), answer });
    shard.settle();
    place.lock().unwrap().take().unwrap()
}

#[test]
fn a_connection_is_described_as_it_is() {
    under_faults(|mut shard| {
        shard.pass(1_000);
        let ann = shard.client_with("ann", |identity, details| {
            identity.user_type = Some("driver".into());
            details.platform = Some("ios".into());
            details.device_id = Some("phone-1".into());
        });
        shard.stranger();
        ann.subscribe("conv:1");
        ann.peer.stall(true);
        shard.settle();
        shard.publish("conv:1", "hello");
        shard.pass(5_000);

        let found = connections(&mut shard, 10, Some("ann"));
        let [info] = &found[..] else { panic!("{found:?}") };
        assert_eq!((info.shard, info.slot), (SHARD, 0));
        assert_eq!(info.session_id, shard.session_id(ann.id));
        assert_eq!((info.user_id.as_deref(), info.user_type.as_deref()), (Some("ann"), Some("driver")));
        assert_eq!((info.platform.as_deref(), info.device_id.as_deref()), (Some("ios"), Some("phone-1")));
        assert_eq!((info.connected_at, info.expires_at), (1_800_000_001, Some(1_800_003_600)));
        assert_eq!(info.channels, ["user:ann", "type:driver", "conv:1"]);
        assert_eq!(info.outbox_bytes, "..hello".len() + FRAME_COST_BYTES);
    });
}

#[test]
fn connections_are_listed_up_to_a_limit_and_by_user() {
    under_faults(|mut shard| {
        let clients = [shard.client("ann"), shard.client("ann"), shard.client("bob"), shard.stranger()];
        assert_eq!(connections(&mut shard, 10, None).len(), 4);
        assert_eq!(connections(&mut shard, 3, None).len(), 3);
        assert_eq!(connections(&mut shard, 10, Some("ann")).len(), 2);
        assert_eq!(connections(&mut shard, 1, Some("ann")).len(), 1);
        assert_eq!(connections(&mut shard, 10, Some("eve")).len(), 0);
        let stranger = &connections(&mut shard, 10, None)[3];
        assert_eq!((&stranger.user_id, stranger.expires_at, stranger.channels.len()), (&None, None, 0));
        // One that is closing is listed until its slot is free, but belongs to nobody any more.
        clients[2].authenticate("nonsense");
        shard.settle();
        assert_eq!(connections(&mut shard, 10, None).len(), 4);
        assert_eq!(connections(&mut shard, 10, Some("bob")).len(), 0);
    });
}

#[test]
fn a_circle_counts_as_one_subscription_however_many_cells_it_has() {
    under_faults_with(
        |rules| rules.default_grants = Grants::all(),
        |mut shard| {
            let clients = [shard.client("ann"), shard.client("bob")];
            for (client, radius) in clients.iter().zip([200, 3000]) {
                client.say(&format!(
                    r#"{{"type":"subscribe_nearby","latitude":48.2,"longitude":16.3,"radius":{radius}}}"#
                ));
            }
            shard.settle();
            let (answer, kinds) = kept();
            shard.ask(Query::Kinds { answer });
            shard.settle();
            assert!(shard.floor.state.table.membership_count() > 10);
            assert_eq!(kinds.lock().unwrap().take().unwrap(), [0, 0, 0, 2, 0, 0, 2, 0]);
        },
    );
}

#[test]
fn channels_and_types_are_counted() {
    under_faults(|mut shard| {
        shard.subscribers::<2>("conv:1");
        let driver = shard.client_with("u0", |identity, _| identity.user_type = Some("driver".into()));
        let all = [("conv:1", 2), ("user:u0", 2), ("type:driver", 1), ("user:u1", 1)];
        assert_eq!(channels(&mut shard, "", 10), (4, owned(&all)));
        assert_eq!(channels(&mut shard, "", 3), (4, owned(&all[..3])), "of the same size, by name");
        assert_eq!(channels(&mut shard, "", 0), (4, vec![]));
        assert_eq!(channels(&mut shard, "user:", 1), (2, owned(&all[1..2])));
        assert_eq!(channels(&mut shard, "user:u1", 9), (1, owned(&all[3..])));
        let (answer, kinds) = kept();
        shard.ask(Query::Kinds { answer });
        let (answer, types) = kept();
        shard.ask(Query::Types { answer });
        shard.settle();
        assert_eq!(kinds.lock().unwrap().take().unwrap(), [2, 0, 0, 3, 1, 0, 0, 0]);
        let types = types.lock().unwrap().take().unwrap();
        assert_eq!(types.iter().map(|t| (&*t.user_type, t.sessions)).collect::<Vec<_>>(), [("driver", 1)]);
        driver.peer.close();
        shard.settle();
        assert_eq!(shard.floor.state.profiles.types_at(0..10).count(), 0);
    });
}

#[test]
fn a_listing_of_many_channels_is_done_in_pieces() {
    const CHANNELS: usize = 5000;
    under_faults(|mut shard| {
        let mut ann = shard.client("ann");
        for n in 0..CHANNELS {
            shard.floor.state.table.join(ann.id.slot, &format!("conv:{n}"));
        }
        let (answer, place) = kept();
        shard.ask(Query::Channels { prefix: "conv:".into(), limit: 7, answer });
        let mut turns = 0;
        while place.lock().unwrap().is_none() {
            shard.floor.turn(shard.clock.now());
            turns += 1;
        }
        assert!(turns >= CHANNELS / 1024, "{turns} turns");
        let list = place.lock().unwrap().take().unwrap();
        assert_eq!((list.total, list.largest.len()), (CHANNELS, 7));
        ann.say(r#"{"type":"ping"}"#);
        shard.settle();
        assert_eq!(ann.texts().len(), 1);
    });
}

#[test]
fn connections_are_listed_in_pieces_and_those_that_went_meanwhile_are_left_out() {
    under_faults(|mut shard| {
        let _clients: Vec<_> = (0..CAPACITY).map(|_| shard.client("ann")).collect();
        let (answer, place) = kept();
        shard.ask(Query::Connections { limit: 100, user: Some("ann".into()), answer });
        shard.floor.turn(shard.clock.now());
        assert!(place.lock().unwrap().is_none(), "not all in one turn");
        let (closed, _) = counted();
        shard.command(Command::Disconnect { user: "ann".into(), code: CloseCode::OPERATOR, answer: closed });
        shard.settle();
        let found = place.lock().unwrap().take().unwrap();
        assert!((1..CAPACITY).contains(&found.len()), "{} of {CAPACITY}", found.len());
    });
}

#[test]
fn types_are_counted_in_pieces_and_questions_are_answered_one_after_the_other() {
    const TYPES: usize = 2000;
    under_faults(|mut shard| {
        let mut ann = shard.client("ann");
        for n in 0..TYPES {
            let name = format!("type-{n}");
            for platform in [None, Some("ios")] {
                shard.floor.state.profiles.enter(Claims {
                    user_type: Some(&name),
                    is_vouched: true,
                    platform,
                    granted: 0,
                });
            }
        }
        let (answer, types) = kept();
        shard.ask(Query::Types { answer });
        let (answer, kinds) = kept();
        shard.ask(Query::Kinds { answer });
        let mut turns = 0;
        while kinds.lock().unwrap().is_none() {
            shard.floor.turn(shard.clock.now());
            turns += 1;
        }
        assert!(turns >= TYPES / 512, "{turns} turns");
        let types = types.lock().unwrap().take().expect("asked first, answered first");
        assert_eq!(types.iter().map(|t| t.sessions).sum::<usize>(), 2 * TYPES);
        ann.say(r#"{"type":"ping"}"#);
        shard.settle();
        assert_eq!(ann.texts().len(), 1);
    });
}

/// How many there are, and the largest, in order.
fn channels(shard: &mut Shard, prefix: &str, limit: usize) -> (usize, Vec<(String, usize)>) {
    let (answer, place) = kept();
    shard.ask(Query::Channels { prefix: prefix.into(), limit, answer });
    shard.settle();
    let list = place.lock().unwrap().take().unwrap();
    let mut largest: Vec<_> = list.largest.into_iter().map(|c| (c.name.into(), c.subscribers)).collect();
    largest.sort_unstable_by(|a: &(String, usize), b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    (list.total, largest)
}

fn owned(channels: &[(&str, usize)]) -> Vec<(String, usize)> {
    channels.iter().map(|(name, subscribers)| ((*name).to_owned(), *subscribers)).collect()
}
