//! Channels with a delay: what is published to them gathers, and leaves together.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::channel::Policies;
use crate::channel::name;
use crate::channel::policy::Policy;
use crate::lane::{Command, Filter};
use crate::ws::close::CloseCode;
use crate::ws::frame::encode_text;

use super::client::{Client, Said};
use super::{Shard, arrival, counted, under_faults_with};

const DELAY_MS: u64 = 20;

fn policies() -> Policies {
    let of = |ms: u64| Policy { batch_delay_us: ms as u32 * 1000, ..Policy::default() };
    let rules = [("conv:now", of(0)), ("conv:slow", of(130)), ("conv:*", of(DELAY_MS))];
    Policies::new(rules.map(|(pattern, policy)| (pattern.parse().unwrap(), policy)))
}

fn under_faults(promise: impl Fn(Shard)) {
    let shortest = |rules: &mut super::Rules| rules.batch_delay_min_us = policies().batch_delay_min_us();
    under_faults_with(shortest, |shard| promise(Shard { policies: policies(), ..shard }));
}

impl Shard {
    /// Lets some milliseconds pass, one by one. The shard sleeps in between.
    fn wait(&mut self, ms: u64) {
        for _ in 0..ms {
            self.settle();
            assert!(self.floor.doze(), "nothing to do does not mean to look for something all the time");
            self.clock.advance(1);
        }
        self.settle();
    }
}

#[test]
fn what_is_published_within_the_delay_leaves_with_one_send_when_it_is_over() {
    under_faults(|mut shard| {
        let mut members = shard.subscribers::<3>("conv:1");
        members.iter().for_each(|member| _ = member.peer.take_sends());
        shard.post("conv:1", "a");
        shard.wait(5);
        shard.post("conv:1", "b");
        shard.post("conv:1", "c");
        shard.wait(DELAY_MS - 6);
        members.iter_mut().for_each(|member| assert_eq!(member.texts(), [""; 0]));
        shard.wait(1);
        for member in &mut members {
            assert_eq!(member.texts(), ["a", "b", "c"]);
            assert_eq!(member.peer.take_sends(), [1], "joined");
        }
        assert_eq!(shard.counters().deliveries.get(), 9);
        // The next one waits anew.
        shard.post("conv:1", "d");
        shard.wait(DELAY_MS - 1);
        assert_eq!(members[0].texts(), [""; 0]);
        shard.wait(1);
        assert_eq!(members[0].texts(), ["d"]);
    });
}

#[test]
fn other_channels_do_not_wait() {
    under_faults(|mut shard| {
        let [mut ann] = shard.subscribers::<1>("conv:1");
        ann.subscribe("conv:now");
        ann.subscribe("news");
        shard.settle();
        ann.heard();
        shard.post("conv:1", "late");
        for (channel, text) in [("conv:now", "a"), ("news", "b"), ("user:u0", "c"), (name::ALL, "d")] {
            shard.post(channel, text);
            shard.settle();
            assert_eq!(ann.texts(), [text]);
        }
        shard.wait(DELAY_MS);
        assert_eq!(ann.texts(), ["late"]);
    });
}

#[test]
fn each_channel_has_its_own_time() {
    under_faults(|mut shard| {
        let [mut ann] = shard.subscribers::<1>("conv:1");
        ["conv:2", "conv:slow"].iter().for_each(|channel| ann.subscribe(channel));
        shard.settle();
        ann.heard();
        shard.post("conv:slow", "slow");
        shard.wait(3);
        shard.post("conv:1", "one");
        shard.wait(4);
        shard.post("conv:2", "two");
        let mut heard = Vec::new();
        for at in 7..=140 {
            heard.extend(ann.texts().into_iter().map(|text| (at, text)));
            shard.wait(1);
        }
        assert_eq!(heard, [(23, "one".to_owned()), (27, "two".into()), (130, "slow".into())]);
    });
}

#[test]
fn the_order_of_a_channel_holds_however_it_gathers() {
    for seed in 0..6 {
        let (mut shard, mut clients) = members(seed, 100);
        let messages: Vec<String> = (0..80).map(|n| format!("{n} {}", "x".repeat(n * 23))).collect();
        for (n, message) in messages.iter().enumerate() {
            shard.post("conv:1", message);
            match n % 5 {
                0 => _ = shard.floor.turn(shard.clock.now()),
                1 => shard.clock.advance(n as u64 % 13),
                2 => shard.settle(),
                _ => {}
            }
        }
        shard.wait(DELAY_MS);
        clients.iter_mut().for_each(|client| assert_eq!(client.texts(), messages));
    }
}

#[test]
fn enough_for_one_batch_leaves_at_once() {
    under_faults(|mut shard| {
        let [mut ann] = shard.subscribers::<1>("conv:1");
        let message = "x".repeat(1000);
        (0..16).for_each(|_| shard.post("conv:1", &message));
        shard.settle();
        assert_eq!(ann.texts().len(), 0);
        shard.post("conv:1", &message);
        shard.settle();
        assert_eq!(ann.texts().len(), 17);
        // Its alarm comes for nobody.
        shard.wait(2 * DELAY_MS);
        assert_eq!(ann.texts().len(), 0);
    });
}

#[test]
fn filters_and_answers_hold_when_it_is_over() {
    under_faults(|mut shard| {
        let mut driver = shard.client_with("d", |identity, _| identity.user_type = Some("driver".into()));
        let mut rider = shard.client_with("r", |identity, _| identity.user_type = Some("rider".into()));
        [&driver, &rider].iter().for_each(|client| client.subscribe("conv:1"));
        shard.settle();
        [&mut driver, &mut rider].into_iter().for_each(|client| _ = client.heard());
        let (answer, reached) = counted();
        shard.post("conv:1", "to both");
        let filter = Filter { user_type: Some("driver".into()), ..Filter::default() };
        let mut publication = shard.publication("conv:1", encode_text("to drivers"));
        publication.filter = Some(filter.into());
        publication.answer = Some(answer);
        shard.command(Command::Publish(publication));
        shard.post("conv:1", "to both again");
        shard.wait(DELAY_MS - 1);
        assert_eq!(reached.load(Ordering::Relaxed), 0);
        shard.wait(1);
        assert_eq!(reached.load(Ordering::Relaxed), 1);
        assert_eq!(driver.texts(), ["to both", "to drivers", "to both again"]);
        assert_eq!(rider.texts(), ["to both", "to both again"]);
    });
}

#[test]
fn who_leaves_meanwhile_gets_nothing_and_nothing_is_left_of_it() {
    under_faults(|mut shard| {
        let [mut ann, bob] = shard.subscribers::<2>("conv:1");
        shard.post("conv:1", "late");
        ann.say(r#"{"type":"unsubscribe","channels":["conv:1"]}"#);
        bob.peer.close();
        shard.wait(DELAY_MS);
        assert!(!ann.heard().contains(&Said::text("late")));
        assert_eq!(shard.counters().deliveries.get(), 0);
        ann.peer.close();
        shard.settle();
        shard.assert_empty();
        assert!(shard.floor.fan_outs.is_idle() && shard.floor.fan_outs.next_due_us().is_none());
    });
}

#[test]
fn a_drain_brings_what_waits_before_it_closes_anybody() {
    under_faults(|mut shard| {
        let mut members = shard.subscribers::<3>("conv:1");
        shard.post("conv:1", "a");
        shard.post("conv:1", "b");
        shard.settle();
        shard.command(Command::Drain { over: Duration::ZERO });
        shard.settle();
        let expected = [Said::text("a"), Said::text("b"), Said::close(CloseCode::GOING_AWAY)];
        members.iter_mut().for_each(|member| assert_eq!(member.heard(), expected));
        members.iter().for_each(|member| member.say_close(1001));
        shard.settle();
        assert!(shard.floor.is_done());
        shard.assert_empty();
    });
}

#[test]
fn while_a_shard_drains_nothing_waits() {
    under_faults(|mut shard| {
        let mut members = shard.subscribers::<2>("conv:1");
        shard.command(Command::Drain { over: Duration::from_secs(10) });
        shard.settle();
        shard.post("conv:1", "at once");
        shard.settle();
        let heard: usize = members.iter_mut().map(|member| member.heard().len()).sum();
        assert!(heard >= 1, "who is not closed yet gets it at once");
    });
}

#[test]
fn a_drain_lets_a_fan_out_reach_everybody_first() {
    for seed in 0..2 {
        let (mut shard, mut clients) = members(seed, 2200);
        // One that waits, and one that is under way.
        shard.post("conv:1", "late");
        shard.settle();
        shard.post(name::ALL, "now");
        shard.floor.turn(shard.clock.now());
        shard.command(Command::Drain { over: Duration::ZERO });
        shard.settle();
        for client in &mut clients {
            let heard = client.heard();
            assert_eq!(heard.len(), 3, "{heard:?}");
            assert!(heard[..2].contains(&Said::text("late")) && heard[..2].contains(&Said::text("now")));
            assert_eq!(heard[2], Said::close(CloseCode::GOING_AWAY));
        }
    }
}

/// Members of `conv:1`. Of a fan-out no more than 2,048 are visited in one turn.
fn members(seed: u64, count: usize) -> (Shard, Vec<Client>) {
    let shortest = |rules: &mut super::Rules| rules.batch_delay_min_us = policies().batch_delay_min_us();
    let mut shard = Shard { policies: policies(), ..Shard::with_capacity(seed, count, shortest) };
    let mut clients: Vec<_> = (0..count).map(|n| shard.adopt(arrival(&format!("u{n}")))).collect();
    clients.iter().for_each(|client| client.subscribe("conv:1"));
    shard.settle();
    clients.iter_mut().for_each(|client| _ = client.heard());
    (shard, clients)
}
