//! What presence promises: who is told of whom, when, and that what it knows is what happened.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const GRACE: u32 = 10;

fn presence(announce_max: usize) -> Presence {
    let channels = vec!["conv:*".parse().expect("a pattern")];
    Presence::new(Settings { channels, grace_ticks: GRACE, leaving_per_user_max: 100, announce_max, list_max: 50 })
}

/// What is to be told now, channel by channel.
fn told(presence: &Presence, now: u32) -> Vec<Changes> {
    let mut told = Vec::new();
    for stripe in 0..presence.stripes() {
        while presence.expire(stripe, now) {}
        presence.take(stripe, now, &mut told);
    }
    told
}

/// What is to be told of the only channel in which something happens.
fn changes(presence: &Presence, now: u32) -> Vec<Change> {
    told(presence, now).into_iter().flat_map(|told| told.changes).collect()
}

fn online(user: &str) -> Change {
    Change::Online(user.into())
}

fn offline(user: &str) -> Change {
    Change::Offline(user.into())
}

fn users(presence: &Presence, channel: &str) -> BTreeSet<String> {
    presence.list(channel).expect("it is covered").users.iter().map(ToString::to_string).collect()
}

#[test]
fn two_devices_of_a_user_are_one_arrival_and_one_departure() {
    let presence = presence(9);
    presence.enter("conv:1", "ann");
    assert_eq!(changes(&presence, 0), [online("ann")]);
    presence.enter("conv:1", "ann");
    presence.leave("conv:1", "ann");
    assert_eq!(changes(&presence, 0), []);
    presence.leave("conv:1", "ann");
    assert_eq!(changes(&presence, 0), [offline("ann")]);
    assert_eq!(presence.totals(), Totals { channels: 0, online: 0, changes: 2 });
}

#[test]
fn whoever_comes_back_within_the_grace_was_never_away() {
    let presence = presence(9);
    presence.enter("conv:1", "ann");
    changes(&presence, 0);
    presence.vanish("conv:1", "ann", 5);
    assert_eq!(changes(&presence, 5 + GRACE - 1), []);
    assert_eq!(users(&presence, "conv:1"), ["ann".to_owned()].into(), "he is online until it is over");
    presence.enter("conv:1", "ann");
    assert_eq!(changes(&presence, 5 + GRACE), []);
    presence.vanish("conv:1", "ann", 6 + GRACE);
    assert_eq!(changes(&presence, 5 + 2 * GRACE), [], "each grace is a whole one");
    assert_eq!(changes(&presence, 6 + 2 * GRACE), [offline("ann")]);
    assert_eq!(presence.places.taken(), 0);
}

#[test]
fn whoever_reconnects_over_and_over_has_one_grace_for_each_channel() {
    let presence = presence(9);
    let channels: Vec<String> = (0..64).map(|number| format!("conv:{number}")).collect();
    for now in 0..1000 {
        channels.iter().for_each(|channel| presence.enter(channel, "ann"));
        channels.iter().for_each(|channel| presence.vanish(channel, "ann", now / 200));
    }
    let graces = || presence.stripes.iter().map(|stripe| stripe.lock().expect("sound").graces.len()).sum::<usize>();
    assert_eq!((presence.places.taken(), graces()), (64, 64));
    assert!(told(&presence, GRACE + 3).iter().all(|told| told.changes == [online("ann")]), "the last one counts");
    assert_eq!(told(&presence, GRACE + 4).len(), 64);
    assert_eq!((presence.places.taken(), graces()), (0, 0));
}

#[test]
fn no_user_takes_the_others_places_among_those_who_leave() {
    let presence = presence(9);
    let max = presence.settings.leaving_per_user_max as usize;
    for number in 0..2 * max {
        presence.enter(&format!("conv:{number}"), "eve");
        presence.vanish(&format!("conv:{number}"), "eve", 0);
    }
    assert_eq!((presence.places.taken(), presence.totals().online), (max, max));
    presence.enter("conv:0", "ann");
    presence.vanish("conv:0", "ann", 0);
    assert!(users(&presence, "conv:0").contains("ann"));
    // Once she is back in some of them, she may leave as many others.
    presence.enter("conv:0", "eve");
    presence.enter("conv:x", "eve");
    presence.vanish("conv:x", "eve", 0);
    assert_eq!(users(&presence, "conv:x"), ["eve".to_owned()].into());
}

#[test]
fn users_with_one_hash_end_one_after_the_other() {
    let mut stripe = Stripe::default();
    let settings = presence(9).settings;
    for user in ["ann", "bob", "cat"] {
        stripe.change(1, Some("conv:1"), &settings, |roster| roster.enter(7, user));
        assert!(stripe.begin_grace(Grace { ends_at: 5, user: 7, channel: 1 }, user));
    }
    let back = stripe.change(1, Some("conv:1"), &settings, |roster| roster.enter(7, "bob"));
    assert_eq!(back, Some(Some(6)));
    let ends: Vec<u32> = std::iter::from_fn(|| stripe.next_over(9)).map(|grace| grace.ends_at).collect();
    assert_eq!(ends, [5, 6, 7]);
}

#[test]
fn whoever_unsubscribes_has_left_at_once_although_another_connection_of_his_ended_before() {
    let presence = presence(9);
    presence.enter("conv:1", "ann");
    presence.enter("conv:1", "ann");
    changes(&presence, 0);
    presence.vanish("conv:1", "ann", 1);
    presence.leave("conv:1", "ann");
    assert_eq!(changes(&presence, 1), [offline("ann")]);
}

#[test]
fn who_came_and_went_before_anybody_was_told_is_no_change() {
    let presence = presence(9);
    presence.enter("conv:1", "ann");
    presence.leave("conv:1", "ann");
    assert_eq!(told(&presence, 0), []);
    assert_eq!(presence.totals(), Totals { channels: 0, online: 0, changes: 2 }, "and leaves nothing behind");
    presence.enter("conv:1", "ann");
    changes(&presence, 0);
    presence.leave("conv:1", "ann");
    presence.enter("conv:1", "ann");
    assert_eq!(told(&presence, 0), []);
}

#[test]
fn above_the_size_only_the_number_is_told_and_below_the_half_users_again() {
    let presence = presence(4);
    let names: Vec<String> = (0..1000).map(|number| format!("u{number}")).collect();
    names.iter().for_each(|name| presence.enter("conv:1", name));
    assert_eq!(changes(&presence, 0), [Change::Count(1000)], "a burst is one message");
    let listed = presence.list("conv:1").expect("it is covered");
    assert_eq!((listed.users.len(), listed.count), (50, 1000), "the list is capped");
    names[3..].iter().for_each(|name| presence.leave("conv:1", name));
    assert_eq!(changes(&presence, 0), [], "a thousand are told ten times a second and not more often");
    assert_eq!(changes(&presence, 1), [Change::Count(3)]);
    presence.leave("conv:1", "u2");
    assert_eq!(changes(&presence, 1), [Change::Count(2)]);
    presence.enter("conv:1", "v");
    assert_eq!(changes(&presence, 1), [online("v")]);
    presence.leave("conv:1", "u1");
    assert_eq!(changes(&presence, 1), [offline("u1")]);
    assert_eq!(users(&presence, "conv:1"), ["u0".to_owned(), "v".to_owned()].into());
}

#[test]
fn many_who_come_and_go_unseen_are_not_remembered_one_by_one() {
    let presence = presence(4);
    for number in 0..1000 {
        presence.enter("conv:1", &format!("u{number}"));
        told(&presence, 0);
        presence.leave("conv:1", &format!("u{number}"));
    }
    let listed = presence.list("conv:1").expect("it is covered");
    assert_eq!(listed, Listed::default());
}

/// Deliveries that telling costs.
fn deliveries(told: &[Changes]) -> usize {
    told.iter().map(|told| told.changes.len() * told.online).sum()
}

#[test]
fn what_one_user_who_comes_and_goes_costs_the_others_has_a_bound_and_nobody_else_waits_for_it() {
    let presence = presence(100);
    let channels: Vec<String> = (0..128).map(|number| format!("conv:{number}")).collect();
    for channel in &channels {
        (0..99).for_each(|number| presence.enter(channel, &format!("u{number}")));
    }
    let early: usize = [0, 1000, 2000].iter().map(|now| deliveries(&told(&presence, *now))).sum();
    assert_eq!(early, 128 * 99 * 99, "everybody knows the others");
    let (mut sum, mut is_here) = (0, false);
    // A hundred messages in a minute.
    for now in 3000..3600 {
        if now % 6 == 0 {
            let step = if is_here { Presence::leave } else { Presence::enter };
            channels.iter().for_each(|channel| step(&presence, channel, "eve"));
            is_here = !is_here;
        }
        let told = told(&presence, now);
        assert!(now > 3000 || told.len() == 128, "at first she is told of at once");
        sum += deliveries(&told);
    }
    assert!((12_800..12_800 * 3).contains(&sum), "{sum}");
    presence.leave("conv:0", "u0");
    assert!(changes(&presence, 3600).contains(&offline("u0")));
    // At last everybody knows.
    presence.enter("conv:0", "eve");
    (3601..4400).for_each(|now| _ = told(&presence, now));
    assert!(presence.stripes.iter().all(|stripe| stripe.lock().expect("sound").pending.is_empty()));
}

#[test]
fn a_number_that_has_hardly_changed_is_told_less_often() {
    let presence = presence(4);
    (0..1000).for_each(|number| presence.enter("conv:1", &format!("u{number}")));
    assert_eq!(changes(&presence, 0), [Change::Count(1000)]);
    let mut told = Vec::new();
    for now in 1..=200 {
        let step = if now % 2 == 0 { Presence::leave } else { Presence::enter };
        step(&presence, "conv:1", "eve");
        told.extend(changes(&presence, now).into_iter().map(|change| (now, change)));
    }
    assert_eq!(told, [(101, Change::Count(1001))], "once in ten seconds");
    (1000..1010).for_each(|number| presence.enter("conv:1", &format!("u{number}")));
    assert_eq!(changes(&presence, 200), [], "one in a hundred of 1,001 are eleven");
    presence.enter("conv:1", "eve");
    presence.enter("conv:1", "u1010");
    assert_eq!(changes(&presence, 200), [Change::Count(1012)]);
}

#[test]
fn who_is_gone_and_to_be_told_of_later_is_not_remembered_without_end() {
    let (presence, mut known) = (presence(4), 0);
    for number in 0..1000 {
        let user = format!("u{number}");
        presence.enter("conv:1", &user);
        known += usize::from(changes(&presence, 0).contains(&online(&user)));
        let hash = presence.user_hash(&user);
        (0..20).for_each(|_| _ = presence.pace.lock().expect("sound").charge(hash, 1000, 0));
        presence.leave("conv:1", &user);
    }
    assert!(known > 900, "few share an account");
    let gone = changes(&presence, 1000);
    assert!((1..=8).contains(&gone.len()), "{gone:?}");
    assert_eq!(presence.totals().channels, 0);
}

#[test]
fn nothing_is_known_of_channels_without_presence() {
    let presence = presence(9);
    presence.enter("clan:1", "ann");
    presence.vanish("clan:1", "ann", 0);
    assert_eq!((presence.list("clan:1"), told(&presence, 0)), (None, vec![]));
    assert_eq!(presence.list("conv:1"), Some(Listed::default()));
    let none = Presence::new(Settings::default());
    none.enter("conv:1", "ann");
    assert_eq!((none.list("conv:1"), none.stripes(), none.totals()), (None, 0, Totals::default()));
}

#[test]
fn without_a_grace_a_connection_that_ends_is_a_departure() {
    let presence = Presence::new(Settings { grace_ticks: 0, ..presence(9).settings });
    presence.enter("conv:1", "ann");
    changes(&presence, 0);
    presence.vanish("conv:1", "ann", 0);
    assert_eq!(changes(&presence, 0), [offline("ann")]);
}

/// What a subscriber knows who believes what he is told, and asks for the list when he is told a number that is small.
#[derive(Default)]
struct Subscriber {
    users: BTreeSet<String>,
    /// He was told a number last.
    count: Option<usize>,
}

impl Subscriber {
    fn hear(&mut self, change: &Change, list: impl Fn() -> BTreeSet<String>, announce_max: usize) {
        match change {
            Change::Online(user) => assert!(self.users.insert(user.to_string()), "told twice"),
            Change::Offline(user) => assert!(self.users.remove(&**user), "told of nobody"),
            Change::Count(count) if *count <= announce_max / 2 => (self.users, self.count) = (list(), None),
            Change::Count(count) => self.count = Some(*count),
        }
    }
}

/// How many sessions a user has, and until when he is online without any.
#[derive(Default)]
struct Model {
    sessions: u32,
    /// The last of his graces.
    until: Option<u32>,
}

impl Model {
    fn is_online(&self, now: u32) -> bool {
        self.sessions > 0 || self.until.is_some_and(|until| until > now)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn agrees_with_a_plain_model_and_subscribers_know_what_is_true(
        announce_max in 0usize..8,
        steps in prop::collection::vec((0u8..2, 0u8..9, 0u8..10, 0u32..4), 0..300),
    ) {
        let presence = presence(announce_max);
        let mut model = BTreeMap::<(String, String), Model>::new();
        let mut subscribers = BTreeMap::<String, Subscriber>::new();
        let mut now = 0u32;
        for (channel, user, step, pause) in steps {
            let (channel, user) = (format!("conv:{channel}"), format!("u{user}"));
            let known = model.entry((channel.clone(), user.clone())).or_default();
            match step {
                0..=3 => {
                    presence.enter(&channel, &user);
                    known.until = known.until.filter(|_| known.sessions > 0);
                    known.sessions += 1;
                }
                4 | 5 if known.sessions > 0 => {
                    presence.leave(&channel, &user);
                    known.sessions -= 1;
                    known.until = known.until.filter(|_| known.sessions > 0);
                }
                6 | 7 if known.sessions > 0 => {
                    // Some were silent before.
                    let heard_at = now.saturating_sub(2 * pause);
                    presence.vanish(&channel, &user, heard_at);
                    known.sessions -= 1;
                    known.until = known.until.max(Some(heard_at + GRACE));
                }
                _ => now += pause,
            }
            if step < 7 {
                continue;
            }
            for told in told(&presence, now) {
                let subscriber = subscribers.entry(told.channel.clone()).or_default();
                for change in &told.changes {
                    subscriber.hear(change, || users(&presence, &told.channel), announce_max);
                }
            }
            for channel in ["conv:0", "conv:1"] {
                let is_here = |(key, known): &(&(String, String), &Model)| key.0 == channel && known.is_online(now);
                let expected: BTreeSet<String> =
                    model.iter().filter(is_here).map(|(key, _)| key.1.clone()).collect();
                prop_assert_eq!(&users(&presence, channel), &expected);
                let subscriber = subscribers.entry(channel.into()).or_default();
                match subscriber.count {
                    Some(count) => prop_assert_eq!(count, expected.len()),
                    None => prop_assert_eq!(&subscriber.users, &expected),
                }
            }
        }
        // Everybody goes.
        for ((channel, user), known) in &model {
            (0..known.sessions).for_each(|_| presence.leave(channel, user));
        }
        told(&presence, now + GRACE);
        told(&presence, now + GRACE + 1);
        let totals = presence.totals();
        prop_assert_eq!((totals.channels, totals.online), (0, 0));
        prop_assert!(presence.stripes.iter().all(|stripe| stripe.lock().expect("sound").pending.is_empty()));
    }
}
