//! What waits for a user until a device of his confirms it, and when his sessions get it.

use super::client::Said;
use super::{OUTBOX_BYTES_MAX, Shard, arrival, token, under_faults};
use crate::notification::recognise;

fn notification(id: usize, bytes: usize) -> String {
    let text = format!(r#"{{"type":"notification","id":"{id}"}}"#);
    format!("{text}{}", " ".repeat(bytes.saturating_sub(text.len())))
}

fn keep(shard: &Shard, text: &str) {
    let found = recognise("user:ann", text).expect("a notification");
    let kept = shard.floor.state.notifications.keep(&found, text, shard.clock.now());
    assert!(kept.is_some(), "{text}");
}

/// What a session of ann is told when it begins, behind the greeting.
fn told_at_first(shard: &mut Shard) -> Vec<String> {
    let mut client = shard.adopt(arrival("ann"));
    shard.settle();
    let mut said = client.heard().into_iter();
    assert_eq!(said.next(), Some(Said::Head));
    assert!(matches!(said.next(), Some(Said::Text(text)) if text.starts_with(r#"{"type":"connected""#)));
    said.map(|said| if let Said::Text(text) = said { text } else { panic!("{said:?}") }).collect()
}

#[test]
fn a_session_that_begins_is_handed_what_waits_behind_its_greeting() {
    under_faults(|mut shard| {
        let texts: Vec<_> = (0..3).map(|id| notification(id, 0)).collect();
        texts.iter().for_each(|text| keep(&shard, text));
        assert_eq!(told_at_first(&mut shard), texts);
        assert_eq!(told_at_first(&mut shard), texts, "the second device too");
        assert_eq!(shard.counters().deliveries.get(), 6);
        assert!(shard.client("bob").heard().is_empty());
    });
}

#[test]
fn a_token_as_a_message_hands_out_behind_its_answer_and_a_fresh_one_does_not() {
    under_faults(|mut shard| {
        let text = notification(7, 0);
        keep(&shard, &text);
        let mut ann = shard.stranger();
        ann.authenticate(&token("ann", None, 3600));
        shard.settle();
        let told = ann.texts();
        assert!(told[0].contains("auth.success") && told[1..] == [text], "{told:?}");
        ann.authenticate(&token("ann", None, 3600));
        shard.settle();
        assert_eq!(ann.texts().len(), 1, "an open session does not begin anew");
    });
}

#[test]
fn what_a_session_is_handed_at_first_is_bounded_in_number_and_bytes() {
    under_faults(|mut shard| {
        (0..100).for_each(|id| keep(&shard, &notification(id, 0)));
        assert_eq!(told_at_first(&mut shard).len(), 64);
    });
    under_faults(|mut shard| {
        let bytes = OUTBOX_BYTES_MAX / 8;
        (0..10).for_each(|id| keep(&shard, &notification(id, bytes)));
        assert_eq!(told_at_first(&mut shard).len(), 4, "half of an outbox");
        assert_eq!(shard.closed("too_slow"), 0);
    });
}

#[test]
fn any_device_confirms_for_its_user_and_nobody_else_does() {
    under_faults(|mut shard| {
        keep(&shard, &notification(7, 0));
        let (mut phone, mut other) = (shard.client("ann"), shard.client("bob"));
        let tablet = shard.client("ann");
        let pending = |shard: &Shard| shard.floor.state.notifications.told("7", Some("ann"))[0].fate.is_none();
        other.say(r#"{"type":"notification_ack","notificationId":7}"#);
        phone.say(r#"{"type":"notification_ack","notificationId":8}"#);
        phone.say(r#"{"type":"notification_ack","notificationId":""}"#);
        phone.say(r#"{"type":"notification_ack"}"#);
        shard.settle();
        assert!(pending(&shard));
        assert_eq!((other.errors(), phone.errors()), (vec![], vec!["bad_field".into(), "missing_field".into()]));
        tablet.say(r#"{"type":"notification_ack","payload":{"notificationId":"7"}}"#);
        phone.say(r#"{"type":"notification_ack","notificationId":7}"#);
        shard.settle();
        assert!(!pending(&shard));
        assert_eq!(told_at_first(&mut shard), [""; 0]);
    });
}
