//! The promises of what is kept, on a clock that the test moves.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::bounds::{BOOKKEEPING_BYTES, TEXT_BYTES_MAX};
use super::*;
use crate::clock::Now;

const PER_USER: usize = 100;
const TOTAL: usize = 10_000;
const BYTES: usize = 64 << 20;

fn roomy() -> Notifications {
    Notifications::new(Some(Bounds::new(PER_USER, TOTAL, BYTES)))
}

fn at(tick: u32) -> Now {
    Now { us: u64::from(tick) * 100_000, unix_ms: 0 }
}

fn text(id: &str) -> String {
    format!(r#"{{"type":"notification","id":"{id}"}}"#)
}

fn keep(kept: &Notifications, user: &str, id: &str, tick: u32) -> Kept {
    keep_text(kept, user, &text(id), tick).expect("it is kept")
}

fn keep_text(kept: &Notifications, user: &str, text: &str, tick: u32) -> Option<Kept> {
    let channel = format!("user:{user}");
    kept.keep(&recognise(&channel, text).expect("a notification"), text, at(tick))
}

/// What is due, as user and text; all of it counts as sent.
fn due(kept: &Notifications, tick: u32) -> Vec<(String, String)> {
    let due = kept.due(at(tick));
    due.iter().for_each(|due| kept.sent(due.kept));
    let mut due: Vec<_> = due.into_iter().map(|due| (due.user.to_string(), due.text.to_string())).collect();
    due.sort();
    due
}

fn arrived(kept: &Notifications, user: &str, tick: u32, most: usize) -> Vec<String> {
    let mut taken = Vec::new();
    kept.arrived(user, at(tick), |text| {
        let has_room = taken.len() < most;
        if has_room {
            taken.push(text.to_owned());
        }
        has_room
    });
    taken
}

/// None: nothing is known. Some(None): it is pending.
fn fate(kept: &Notifications, user: &str, id: &str) -> Option<Option<Fate>> {
    kept.told(id, Some(user)).first().map(|told| told.fate)
}

fn levels(kept: &Notifications) -> [usize; 3] {
    use std::sync::atomic::Ordering::Relaxed;
    let tally = kept.tally();
    [&tally.pending, &tally.bytes, &tally.ended].map(|level| level.load(Relaxed))
}

#[test]
fn what_is_not_confirmed_is_due_again_and_again_with_growing_pauses() {
    let kept = roomy();
    let first = keep(&kept, "u1", "n1", 0);
    kept.sent(first);
    let mut times = Vec::new();
    for tick in 0..10_000 {
        if !due(&kept, tick).is_empty() {
            times.push(tick);
        }
    }
    assert!((100..=125).contains(&times[0]), "{times:?}");
    for (round, pair) in times.windows(2).enumerate() {
        let pause = (200u32 << round).min(3000);
        assert!((pause..=pause + pause / 4).contains(&(pair[1] - pair[0])), "{round}: {times:?}");
    }
    assert_eq!(kept.told("n1", None)[0].attempts as usize, 1 + times.len());
}

#[test]
fn one_confirmation_of_any_device_ends_it() {
    let kept = roomy();
    keep(&kept, "u1", "n1", 0);
    assert!(!kept.confirm("u1", "n2", at(1)), "another id");
    assert!(!kept.confirm("u2", "n1", at(1)), "another user");
    assert_eq!(fate(&kept, "u1", "n1"), Some(None));
    assert!(kept.confirm("u1", "n1", at(2)));
    assert!(kept.confirm("u1", "n1", at(3)), "the other device says so too");
    assert_eq!(fate(&kept, "u1", "n1"), Some(Some(Fate::Confirmed)));
    assert_eq!((due(&kept, 10_000), arrived(&kept, "u1", 10_000, 9)), (vec![], vec![]));
}

#[test]
fn whoever_arrives_gets_what_waits_in_its_order_and_only_his() {
    let kept = roomy();
    for (user, id) in [("u1", "a"), ("u2", "b"), ("u1", "c"), ("u1", "d")] {
        keep(&kept, user, id, 0);
    }
    assert_eq!(arrived(&kept, "u1", 5, 9), [text("a"), text("c"), text("d")]);
    assert_eq!(arrived(&kept, "nobody", 5, 9), [""; 0]);
    // On the second device too, as long as none has confirmed.
    kept.confirm("u1", "c", at(6));
    assert_eq!(arrived(&kept, "u1", 6, 9), [text("a"), text("d")]);
}

#[test]
fn what_an_arrival_leaves_over_is_due_soon_one_after_the_other() {
    let kept = roomy();
    (0..5).for_each(|n| _ = keep(&kept, "u1", &n.to_string(), 0));
    assert_eq!(arrived(&kept, "u1", 50, 2).len(), 2);
    for (tick, id) in [(51, "2"), (52, "3"), (53, "4")] {
        assert_eq!(due(&kept, tick), [("u1".to_owned(), text(id))]);
    }
    assert_eq!(due(&kept, 149), []);
}

#[test]
fn a_user_who_comes_back_does_not_wait_for_the_longest_pause() {
    let kept = roomy();
    keep(&kept, "u1", "n1", 0);
    (0..9_000).for_each(|tick| _ = due(&kept, tick));
    assert_eq!(arrived(&kept, "u1", 9_000, 1).len(), 1);
    assert_eq!((due(&kept, 9_099).len(), due(&kept, 9_125).len()), (0, 1));
}

#[test]
fn what_nobody_confirms_expires_and_its_end_is_forgotten_in_time() {
    let kept = roomy();
    keep(&kept, "u1", "n1", 0);
    let expiry = 24 * 36_000;
    due(&kept, expiry - 1);
    assert_eq!(fate(&kept, "u1", "n1"), Some(None));
    assert_eq!(arrived(&kept, "u1", expiry, 9), [""; 0], "its time is over although nobody has written it down");
    due(&kept, expiry);
    assert_eq!(fate(&kept, "u1", "n1"), Some(Some(Fate::Expired)));
    assert!(kept.confirm("u1", "n1", at(expiry + 1)), "late is not never");
    assert_eq!(fate(&kept, "u1", "n1"), Some(Some(Fate::Confirmed)));
    due(&kept, expiry + 35_999);
    assert!(fate(&kept, "u1", "n1").is_some());
    due(&kept, expiry + 36_000);
    assert_eq!((fate(&kept, "u1", "n1"), levels(&kept)), (None, [0; 3]));
}

#[test]
fn the_same_id_again_stands_for_the_older_one() {
    let kept = roomy();
    keep(&kept, "u1", "n1", 0);
    let newer = r#"{"type":"notification","payload":{"id":"n1","title":"newer"}}"#;
    assert!(keep_text(&kept, "u1", newer, 90).is_some());
    assert_eq!((levels(&kept)[0], levels(&kept)[1]), (1, newer.len() + BOOKKEEPING_BYTES));
    assert_eq!(due(&kept, 189), [], "its time begins anew");
    assert_eq!(arrived(&kept, "u1", 189, 9), [newer]);
    // After its end it is another one.
    kept.confirm("u1", "n1", at(190));
    keep(&kept, "u1", "n1", 200);
    assert_eq!(fate(&kept, "u1", "n1"), Some(None));
    assert_eq!(kept.told("n1", None).len(), 1);
    due(&kept, 190 + 36_000);
    assert_eq!(fate(&kept, "u1", "n1"), Some(None), "the older end is forgotten, not the newer one");
}

#[test]
fn what_is_sent_again_with_its_id_is_the_newest_of_its_user() {
    let kept = roomy();
    let tickets = ["n1", "n2"].map(|id| keep(&kept, "u1", id, 0));
    tickets.iter().for_each(|ticket| kept.sent(*ticket));
    let again = keep(&kept, "u1", "n1", 50);
    kept.sent(tickets[0]);
    let told = |id| kept.told(id, Some("u1")).pop().map(|told| (told.kept_at, told.attempts, told.fate));
    assert_eq!((told("n1"), told("n2")), (Some((50, 0, None)), Some((0, 1, None))));
    kept.sent(again);
    assert_eq!(told("n1"), Some((50, 1, None)));
    assert_eq!(arrived(&kept, "u1", 60, 9), [text("n2"), text("n1")]);
    (0..PER_USER - 1).for_each(|n| _ = keep(&kept, "u1", &format!("x{n}"), 70));
    assert_eq!((fate(&kept, "u1", "n2"), fate(&kept, "u1", "n1")), (Some(Some(Fate::Dropped)), Some(None)));
    assert_eq!(levels(&kept)[0], PER_USER);
}

#[test]
fn one_id_may_go_to_many_users() {
    let kept = roomy();
    (0..1000).for_each(|user| _ = keep(&kept, &user.to_string(), "news", 0));
    kept.confirm("7", "news", at(1));
    let told = kept.told("news", None);
    assert_eq!((told.len(), told.iter().filter(|told| told.fate.is_some()).count()), (1000, 1));
}

#[test]
fn a_flood_of_ids_for_one_user_costs_his_oldest_ones() {
    let kept = roomy();
    keep(&kept, "other", "n", 0);
    (0..10_000).for_each(|n| _ = keep(&kept, "u1", &n.to_string(), 0));
    assert_eq!(levels(&kept)[0], PER_USER + 1);
    assert_eq!((fate(&kept, "u1", "9899"), fate(&kept, "u1", "9900")), (Some(Some(Fate::Dropped)), Some(None)));
    assert_eq!(fate(&kept, "other", "n"), Some(None));
    assert_eq!(arrived(&kept, "u1", 1, 1000).len(), PER_USER);
}

#[test]
fn any_number_of_ids_stays_within_the_bounds() {
    let kept = Notifications::new(Some(Bounds::new(PER_USER, 1000, BYTES)));
    for n in 0..50_000_u32 {
        keep(&kept, &format!("u{}", n % 5_000), &n.to_string(), n / 1000);
    }
    let [pending, bytes, ended] = levels(&kept);
    assert!(pending == 1000 && ended == 1000 && bytes < 1000 * (BOOKKEEPING_BYTES + 64), "{pending} {bytes} {ended}");
    assert_eq!(fate(&kept, &format!("u{}", 49_999 % 5_000), "49999"), Some(None), "the newest stays");
}

#[test]
fn bytes_are_bounded_too_and_one_user_may_use_them_all() {
    let room = 10 * (BOOKKEEPING_BYTES + text("0").len());
    let kept = Notifications::new(Some(Bounds::new(PER_USER, TOTAL, room)));
    (0..10).for_each(|n| _ = keep(&kept, "u1", &n.to_string(), 0));
    assert_eq!(levels(&kept)[..2], [10, room]);
    keep(&kept, "u2", "x", 0);
    assert_eq!((levels(&kept)[0], fate(&kept, "u1", "0")), (10, Some(Some(Fate::Dropped))));
    let too_large = format!(r#"{{"type":"notification","id":"y","text":"{}"}}"#, "y".repeat(room));
    assert_eq!(keep_text(&kept, "u2", &too_large, 0), None);
    assert_eq!(levels(&kept)[0], 10, "nothing had to go for it");
}

#[test]
fn what_cannot_be_kept_is_told() {
    let kept = roomy();
    let large = format!(r#"{{"type":"notification","id":"y","text":"{}"}}"#, "y".repeat(TEXT_BYTES_MAX));
    for unkept in [&large, r#"{"type":"notification","id":""}"#, r#"{"type":"notification","id":[]}"#] {
        assert_eq!(keep_text(&kept, "u1", unkept, 0), None);
    }
    let off = Notifications::new(None);
    assert_eq!(keep_text(&off, "u1", &text("n1"), 0), None);
    assert!(!off.confirm("u1", "n1", at(0)) && off.due(at(1000)).is_empty());
}

#[test]
fn ids_are_told_apart_to_the_byte() {
    let kept = roomy();
    let ids = [r#"a"b"#, r#"a\"b"#, "a", "A", "ä", "a\u{308}", "7.0", "7", &"x".repeat(128)];
    for id in ids {
        let text = serde_json::json!({"type": "notification", "id": id}).to_string();
        assert!(keep_text(&kept, "u1", &text, 0).is_some(), "{text}");
    }
    for (confirmed, id) in ids.iter().enumerate() {
        assert_eq!(fate(&kept, "u1", id), Some(None), "{id}");
        assert!(kept.confirm("u1", id, at(1)));
        assert_eq!(levels(&kept)[2], confirmed + 1);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Keep(u8, u8),
    Acknowledge(u8, u8),
    Arrive(u8),
    /// So many ticks pass, and what is due is sent.
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..4, 0u8..8).prop_map(|(user, id)| Step::Keep(user, id)),
        3 => (0u8..4, 0u8..8).prop_map(|(user, id)| Step::Acknowledge(user, id)),
        1 => (0u8..4).prop_map(Step::Arrive),
        2 => (0u16..4000).prop_map(Step::Pass),
    ]
}

/// When it was kept, in which order, and how it ended when.
type Known = (u32, u32, Option<(Fate, u32)>);

/// The same, done plainly, by user and id.
#[derive(Default)]
struct Model {
    tick: u32,
    orders: u32,
    known: BTreeMap<(u8, u8), Known>,
}

impl Model {
    fn pending_of(&self, user: u8) -> Vec<(u32, u8)> {
        let of_user = self.known.iter().filter(|((owner, _), (_, _, end))| *owner == user && end.is_none());
        let mut pending: Vec<_> = of_user.map(|((_, id), (_, order, _))| (*order, *id)).collect();
        pending.sort_unstable();
        pending
    }

    fn keep(&mut self, user: u8, id: u8, per_user: usize) {
        let pending = self.pending_of(user);
        let stands_for_another = pending.iter().any(|(_, other)| *other == id);
        if pending.len() >= per_user && !stands_for_another {
            self.known.get_mut(&(user, pending[0].1)).unwrap().2 = Some((Fate::Dropped, self.tick));
        }
        self.orders += 1;
        self.known.insert((user, id), (self.tick, self.orders, None));
    }

    fn pass(&mut self, ticks: u16, bounds: &Bounds) {
        self.tick += u32::from(ticks);
        for (kept_at, _, end) in self.known.values_mut() {
            if end.is_none() && *kept_at + bounds.expiry_ticks <= self.tick {
                *end = Some((Fate::Expired, self.tick));
            }
        }
        let tick = self.tick;
        self.known.retain(|_, (_, _, end)| end.is_none_or(|(_, at)| at + bounds.memory_ticks > tick));
    }
}

proptest! {
    #[test]
    fn agrees_with_a_plain_map(steps in prop::collection::vec(step(), 0..200)) {
        let bounds = Bounds { expiry_ticks: 5000, memory_ticks: 2000, ..Bounds::new(5, TOTAL, BYTES) };
        let (kept, mut model) = (Notifications::new(Some(bounds)), Model::default());
        for step in steps {
            match step {
                Step::Keep(user, id) => {
                    keep(&kept, &user.to_string(), &id.to_string(), model.tick);
                    model.keep(user, id, bounds.per_user);
                }
                Step::Acknowledge(user, id) => {
                    let known = model.known.get_mut(&(user, id));
                    let confirmed = kept.confirm(&user.to_string(), &id.to_string(), at(model.tick));
                    prop_assert_eq!(confirmed, known.is_some());
                    if let Some((_, _, end)) = known {
                        *end = Some((Fate::Confirmed, end.map_or(model.tick, |(_, at)| at)));
                    }
                }
                Step::Arrive(user) => {
                    let texts: Vec<_> = model.pending_of(user).iter().map(|(_, id)| text(&id.to_string())).collect();
                    prop_assert_eq!(arrived(&kept, &user.to_string(), model.tick, usize::MAX), texts);
                }
                Step::Pass(ticks) => {
                    model.pass(ticks, &bounds);
                    while !due(&kept, model.tick).is_empty() {}
                }
            }
            for user in 0..4 {
                for id in 0..8 {
                    let expected = model.known.get(&(user, id)).map(|(_, _, end)| end.map(|(fate, _)| fate));
                    prop_assert_eq!(fate(&kept, &user.to_string(), &id.to_string()), expected, "{} {}", user, id);
                }
            }
            let pending = model.known.values().filter(|(_, _, end)| end.is_none()).count();
            prop_assert_eq!(levels(&kept)[..2].to_vec(), [pending, pending * (BOOKKEEPING_BYTES + text("0").len())]);
        }
    }
}
