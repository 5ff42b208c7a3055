//! What is kept for users until they confirm it, as a backend sees it.

use super::*;

fn post(node: &Node, user: &str, id: &str) -> Answer {
    let text = format!(r#"{{"type":"notification","id":"{id}"}}"#);
    node.post(&format!("/broadcast/user/{user}"), text.as_bytes())
}

/// How a notification is for one user, with its attempts.
fn state_of(answer: &Answer) -> (String, u64) {
    let json = answer.json();
    let line = &json["notifications"][0];
    (line["state"].as_str().expect("a state").to_owned(), line["attempts"].as_u64().expect("a number"))
}

#[test]
fn whoever_posts_a_notification_is_told_that_it_is_kept() {
    let node = Node::start(1, None);
    assert_eq!(post(&node, "u1", "n1").body, r#"{"delivered":0,"kept":true}"#);
    node.subscribe(0, "user:u1");
    assert_eq!(post(&node, "u1", "n2").body, r#"{"delivered":1,"kept":true}"#);
    assert_eq!(node.post("/broadcast/user/u1", b"{\"type\":\"notification\"}").body, r#"{"delivered":1}"#);
    assert_eq!(node.post("/broadcast/user/u1", b"notification").body, r#"{"delivered":1}"#);
    let unkept = br#"{"type":"notification","id":[]}"#;
    assert_eq!(node.post("/broadcast/user/u1", unkept).body, r#"{"delivered":1,"kept":false}"#);
    let filtered = node.post("/broadcast/user/u1?platform=ios", br#"{"type":"notification","id":1}"#);
    assert_eq!(filtered.body, r#"{"delivered":1,"kept":false}"#);
    node.stop();
}

#[test]
fn what_became_of_each_is_told() {
    let node = Node::start(1, None);
    node.subscribe(0, "user:u1");
    for (user, id) in [("u1", "a"), ("u2", "a"), ("u1", "b"), ("u1", "c")] {
        assert_eq!(post(&node, user, id).status, 200);
    }
    node.context.inlet.notifications.confirm("u1", "b", Now::read());
    let of = |id: &str| state_of(&node.get(&format!("/notifications/{id}?user=u1")));
    assert_eq!(of("a"), ("dropped".into(), 1), "of one user two are kept here");
    assert_eq!(of("b"), ("confirmed".into(), 1));
    assert_eq!(of("c"), ("pending".into(), 1));
    let all = node.get("/notifications/a").json();
    assert_eq!((all["id"].as_str(), all["pending"].as_u64(), all["dropped"].as_u64()), (Some("a"), Some(1), Some(1)));
    let away = node.get("/notifications/a?user=u2");
    assert_eq!(state_of(&away), ("pending".into(), 0), "nobody was there");
    let line = &away.json()["notifications"][0];
    let (kept_at, expires_at) = (line["kept_at"].as_u64().unwrap(), line["expires_at"].as_u64().unwrap());
    assert!(kept_at.abs_diff(Now::read().unix_ms) < 60_000 && expires_at == kept_at + 24 * 3_600_000, "{}", away.body);
    node.stop();
}

#[test]
fn hostile_ids_and_queries_are_answered_with_errors() {
    let node = Node::start(1, None);
    let long = "x".repeat(20_000);
    for id in ["n1", "%00", "%22%7D", "..", "%2F..%2F", "%F0%9F%9A%95", &long] {
        for query in ["", "?user=u1", "?user=", "?wait=10ms", "?user=%00&wait=10ms"] {
            let answer = node.get(&format!("/notifications/{id}{query}"));
            assert_eq!(answer.error(), (404, "notification_unknown".into()), "{id:.20}{query}");
        }
    }
    for query in ["?wait=x", "?wait=61s", "?wait=-1s", "?wait=99999999999y", "?waits=1s"] {
        assert_eq!(node.get(&format!("/notifications/n1{query}")).error(), (400, "bad_query".into()), "{query}");
    }
    assert_eq!(node.get("/notifications/%ff").error(), (400, "bad_path".into()));
    assert_eq!(node.get("/notifications/").error(), (404, "not_found".into()));
    node.stop();
}

#[test]
fn a_backend_can_wait_for_the_confirmation() {
    let node = Node::start(1, None);
    for query in ["?user=u1&wait=30s", "?wait=30s"] {
        let (address, path) = (node.address, format!("/notifications/n1{query}"));
        let waiting = thread::spawn(move || request(address, "GET", &path, &[], b""));
        post(&node, "u1", "n1");
        node.context.inlet.notifications.confirm("u1", "n1", Now::read());
        assert_eq!(state_of(&waiting.join().expect("an answer")).0, "confirmed", "{query}");
    }
    post(&node, "u1", "n2");
    assert_eq!(state_of(&node.get("/notifications/n2?wait=20ms")), ("pending".into(), 0), "the time is over");
    node.stop();
}

#[test]
fn few_wait_without_a_user_and_leave_room_for_those_who_name_one() {
    let node = Node::start(1, None);
    let (answered, answers) = mpsc::channel();
    for _ in 0..3 {
        let (address, answered) = (node.address, answered.clone());
        thread::spawn(move || answered.send(request(address, "GET", "/notifications/n1?wait=30s", &[], b"")));
    }
    let first = answers.recv().expect("an answer");
    assert_eq!(first.error(), (503, "waits_full".into()), "the others wait");
    let for_one = node.get("/notifications/n1?user=u1&wait=10ms");
    assert_eq!(for_one.error(), (404, "notification_unknown".into()), "it has waited");
    post(&node, "u1", "n1");
    node.context.inlet.notifications.confirm("u1", "n1", Now::read());
    for _ in 0..2 {
        assert_eq!(state_of(&answers.recv().expect("an answer")).0, "confirmed");
    }
    node.stop();
}
