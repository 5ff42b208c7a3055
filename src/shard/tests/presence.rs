//! Who is online in a channel: what sessions make known by what they do, and what they are answered.

use std::collections::BTreeSet;

use crate::auth::Grants;
use crate::channel::presence::{Change, Changes};
use crate::ws::frame::Opcode;

use super::client::Said;
use super::{Shard, under_faults};

impl Shard {
    /// What the participants would be told now.
    fn changes(&self) -> Vec<Change> {
        let (mut told, now) = (Vec::<Changes>::new(), self.clock.now().tick());
        for stripe in 0..self.presence.stripes() {
            while self.presence.expire(stripe, now) {}
            self.presence.take(stripe, now, &mut told);
        }
        told.into_iter().flat_map(|told| told.changes).collect()
    }

    fn online(&self, channel: &str) -> BTreeSet<String> {
        self.presence.list(channel).unwrap().users.iter().map(ToString::to_string).collect()
    }
}

fn online(user: &str) -> Change {
    Change::Online(user.into())
}

fn offline(user: &str) -> Change {
    Change::Offline(user.into())
}

#[test]
fn who_subscribes_is_online_and_who_unsubscribes_from_all_his_devices_is_not() {
    under_faults(|mut shard| {
        let (phone, desk) = (shard.client("ann"), shard.client("ann"));
        phone.subscribe("conv:1");
        desk.subscribe("conv:1");
        desk.subscribe("conv:1");
        shard.settle();
        assert_eq!(shard.changes(), [online("ann")]);
        for (client, expected) in [(phone, vec![]), (desk, vec![offline("ann")])] {
            client.say(r#"{"type":"unsubscribe","channels":["conv:1"]}"#);
            client.say(r#"{"type":"unsubscribe","channels":["conv:1"]}"#);
            shard.settle();
            assert_eq!(shard.changes(), expected);
        }
        assert_eq!(shard.presence.totals().channels, 0);
    });
}

#[test]
fn a_user_whose_connection_ends_stays_for_the_grace_however_it_ends() {
    under_faults(|mut shard| {
        let users = ["ann", "bob", "cat"];
        let [ann, bob, cat] = users.map(|user| shard.client(user));
        for client in [&ann, &bob, &cat] {
            client.subscribe("conv:1");
        }
        shard.settle();
        assert_eq!(shard.changes().len(), 3);
        ann.say_close(1000);
        bob.peer.close();
        cat.peer.write(b"\xff no frame");
        shard.pass(80_000);
        assert_eq!(shard.changes(), []);
        assert_eq!(shard.online("conv:1"), users.map(str::to_owned).into());
        let back = shard.client("ann");
        back.subscribe("conv:1");
        shard.pass(15_000);
        let told: BTreeSet<String> = shard.changes().iter().map(|change| format!("{change:?}")).collect();
        assert_eq!(told, [offline("bob"), offline("cat")].map(|change| format!("{change:?}")).into());
        assert_eq!(shard.online("conv:1"), ["ann".to_owned()].into());
    });
}

#[test]
fn who_is_closed_for_silence_is_online_for_the_grace_since_the_last_sign_of_life() {
    under_faults(|mut shard| {
        let (silent, talking) = (shard.client("ann"), shard.client("bob"));
        [&silent, &talking].iter().for_each(|client| client.subscribe("conv:1"));
        shard.settle();
        assert_eq!(shard.changes().len(), 2);
        for _ in 0..2 {
            shard.pass(44_500);
            talking.say_frame(Opcode::Pong, b"");
        }
        assert_eq!(shard.closed("no_sign_of_life"), 1);
        assert_eq!(shard.changes(), [], "it was heard 89 seconds ago");
        shard.pass(1_500);
        assert_eq!(shard.changes(), [offline("ann")]);
        assert_eq!(shard.online("conv:1"), ["bob".to_owned()].into());
    });
}

#[test]
fn of_several_devices_the_one_that_was_heard_last_counts() {
    under_faults(|mut shard| {
        let (phone, desk) = (shard.client("ann"), shard.client("ann"));
        [&phone, &desk].iter().for_each(|client| client.subscribe("conv:1"));
        shard.settle();
        assert_eq!(shard.changes(), [online("ann")]);
        shard.pass(50_000);
        desk.say_close(1000);
        // The phone has been silent since, and is closed for it.
        shard.pass(85_000);
        assert_eq!((shard.closed("no_sign_of_life"), shard.changes()), (1, vec![]));
        shard.pass(6_000);
        assert_eq!(shard.changes(), [offline("ann")]);
        drop(phone);
    });
}

#[test]
fn whoever_is_in_a_channel_is_told_who_else_is() {
    under_faults(|mut shard| {
        let mut ann = shard.client("a\"n\\n");
        ann.subscribe("conv:1");
        shard.settle();
        ann.heard();
        let users = r#""users":[{"user_id":"a\"n\\n","status":"online"}],"count":1"#;
        for (ask, expected) in [
            (r#""channel":"conv:1""#, format!(r#"{{"channel":"conv:1",{users}}}"#)),
            (r#""conversation_id":"1""#, format!(r#"{{"channel":"conv:1","conversation_id":"1",{users}}}"#)),
        ] {
            ann.say(&format!(r#"{{"type":"presence.get","id":7,"payload":{{{ask}}}}}"#));
            shard.settle();
            assert_eq!(ann.texts(), [format!(r#"{{"type":"presence.state","payload":{expected},"id":7}}"#)]);
        }
    });
}

#[test]
fn a_list_is_capped_and_the_number_is_not() {
    under_faults(|mut shard| {
        let clients: Vec<_> = (0..7).map(|number| shard.client(&format!("u{number}"))).collect();
        clients.iter().for_each(|client| client.subscribe("conv:1"));
        let mut ann = shard.client("u0");
        ann.subscribe("conv:1");
        ann.say(r#"{"type":"presence.get","channel":"conv:1"}"#);
        shard.settle();
        let heard = ann.heard();
        let Some(Said::Text(state)) = heard.last() else { panic!("{heard:?}") };
        assert_eq!(state.matches("online").count(), 5, "{state}");
        assert!(state.ends_with(r#""count":7}}"#), "{state}");
    });
}

#[test]
fn nobody_outside_a_channel_learns_who_is_in_it() {
    under_faults(|mut shard| {
        let [_ann] = shard.subscribers("conv:1");
        let mut eve = shard.client_with("eve", |identity, _| {
            identity.grants = Some(Grants::parse(["*"]).unwrap());
        });
        for (ask, code) in [
            (r#""channel":"conv:1""#, "not_subscribed"),
            (r#""conversation_id":"1""#, "not_subscribed"),
            (r#""channel":"conv:none""#, "not_subscribed"),
            (r#""channel":"user:u0""#, "not_subscribed"),
            (r#""channel":"user:eve""#, "no_presence"),
            (r#""channel":"c 1""#, "bad_channel"),
            (r#""channel":7"#, "bad_field"),
            (r#""x":7"#, "missing_field"),
        ] {
            eve.say(&format!(r#"{{"type":"presence.get",{ask}}}"#));
            shard.settle();
            assert_eq!(eve.errors(), [code], "{ask}");
        }
    });
}

#[test]
fn a_shard_that_drains_announces_nobodys_departure() {
    under_faults(|mut shard| {
        let clients: [_; 3] = shard.subscribers("conv:1");
        assert_eq!(shard.changes().len(), 3);
        shard.command(super::Command::Drain { over: std::time::Duration::from_secs(1) });
        shard.pass(2_000);
        clients.iter().for_each(|client| client.say_close(1001));
        shard.pass(10_000);
        assert!(shard.floor.is_done());
        assert_eq!(shard.changes(), []);
    });
}
