//! Everything that is counted, timed or listed, in the forms in which it is asked for.

use super::*;

#[test]
fn connections_are_listed_up_to_the_limit_or_for_one_user() {
    let node = Node::start(3, None);
    settled(&node);
    let listed = |path: &str| {
        let json = node.get(path).json();
        let sessions = json["connections"].as_array().expect("a list").iter();
        let sessions: Vec<_> = sessions.map(|c| c["session_id"].as_str().expect("an id").to_owned()).collect();
        (json["total"].as_u64().expect("a number"), sessions.join(" "))
    };
    assert_eq!(listed("/connections"), (6, "session-0-0 session-1-0 session-2-0".into()));
    assert_eq!(listed("/connections?limit=2"), (6, "session-0-0 session-1-0".into()));
    assert_eq!(listed("/connections?user=u1"), (1, "session-1-0".into()));
    assert_eq!(listed("/connections?user=nobody&limit=99999999"), (0, "".into()));
    for path in ["/connections?limit=-1", "/connections?limit=x", "/connections?users=u1"] {
        assert_eq!(node.get(path).error(), (400, "bad_query".into()), "{path}");
    }
    node.stop();
}

#[test]
fn channels_of_all_shards_are_listed_once() {
    let node = Node::start(2, None);
    let answer = node.get("/channels?limit=2");
    let expected = r#"{"total":3,"channels":[{"name":"conv:1","subscribers":4},{"name":"user:u0","subscribers":1}]}"#;
    assert_eq!((answer.status, answer.body.as_str()), (200, expected));
    let answer = node.get("/channels?prefix=conv:");
    assert_eq!(answer.body, r#"{"total":1,"channels":[{"name":"conv:1","subscribers":4}]}"#);
    node.stop();
}

#[test]
fn metrics_can_be_read_by_prometheus() {
    let node = Node::start(2, None);
    settled(&node);
    node.post("/broadcast/all", b"x");
    let answer = node.get("/metrics");
    assert!(answer.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", answer.head);
    let samples = parse_metrics(&answer.body);
    let sample = |name: &str| *samples.get(name).unwrap_or_else(|| panic!("{name} in {}", answer.body));
    assert_eq!(sample(r#"ringway_connections{shard="1"}"#), 2.0);
    assert_eq!(sample(r#"ringway_upgraded_total{shard="0"}"#), 10.0);
    assert_eq!(sample(r#"ringway_closed_total{shard="0",code="too_slow"}"#), 1.0);
    assert_eq!(sample(r#"ringway_source_connected{source="redis"}"#), 0.0);
    assert_eq!(sample(r#"ringway_source_messages_total{source="redis"}"#), 0.0);
    assert_eq!(sample("ringway_draining"), 0.0);
    let delivered = sample("ringway_delivery_seconds_count");
    assert_eq!(delivered, 3.0);
    assert_eq!(sample(r#"ringway_delivery_seconds_bucket{le="0.00005"}"#), 0.0);
    assert_eq!(sample(r#"ringway_delivery_seconds_bucket{le="0.0001"}"#), delivered);
    assert_eq!(sample(r#"ringway_delivery_seconds_bucket{le="+Inf"}"#), delivered);
    assert!(sample("process_resident_memory_bytes") > 0.0);
    assert!(sample("process_open_fds") > 0.0);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(sample(&format!(r#"ringway_build_info{{version="{version}",server_id="node-1"}}"#)), 1.0);
    node.stop();
}

#[test]
fn latency_is_told_for_all_shards_together_and_for_each() {
    let node = Node::start(2, None);
    node.post("/broadcast/all", b"x");
    let json = node.get("/latency").json();
    let delivery = &json["latency_us"]["delivery"];
    assert_eq!((delivery["count"].as_u64(), delivery["p99_9"].as_u64()), (Some(3), Some(100)));
    assert_eq!(json["latency_us"].as_object().map(|names| names.len()), Some(Timed::ALL.len()));
    assert!(json["shards"].is_null() && json["seconds"].is_number());
    let json = node.get("/latency?shards=true").json();
    assert_eq!(json["latency_us"]["delivery"]["count"].as_u64(), Some(3));
    for (shard, count) in [1, 2].into_iter().enumerate() {
        let of_shard = &json["shards"][shard];
        assert_eq!(of_shard["shard"].as_u64(), Some(shard as u64));
        assert_eq!(of_shard["latency_us"]["delivery"]["count"].as_u64(), Some(count));
    }
    assert_eq!(node.get("/latency?intervall=true").error(), (400, "bad_query".into()));
    node.stop();
}

#[test]
fn the_dashboard_is_one_page_and_gets_its_points_once() {
    let node = Node::start(2, None);
    let page = node.get("/");
    assert!(page.head.contains("content-type: text/html"), "{}", page.head);
    assert!(page.head.contains("content-security-policy: default-src 'none';"), "{}", page.head);
    assert!(!page.body.contains("src=\"") && !page.body.contains("@import"), "nothing is fetched from elsewhere");

    // The first sample is taken at once, and may be taken before the shards have said anything.
    let sampled = asked(&node, "/dashboard.json").map(|answer| answer.json());
    let numbers = sampled.into_iter().find(|numbers| {
        numbers["points"].as_array().is_some_and(|points| points.iter().any(|p| p["connections"].as_u64() == Some(3)))
    });
    let numbers = numbers.expect("in time");
    assert_eq!(numbers["hour"].as_array().map(|points| points.len()), Some(1));
    assert_eq!(numbers["server_id"].as_str(), Some("node-1"));
    assert_eq!(numbers["connections"].as_u64(), Some(3));
    assert_eq!(numbers["shards"][1]["connections"].as_u64(), Some(2));
    assert_eq!(numbers["user_types"][0]["name"].as_str(), Some("driver"));
    assert_eq!(numbers["user_types"][0]["sessions"].as_u64(), Some(6));
    assert_eq!(numbers["closed"]["too_slow"].as_u64(), Some(2));
    assert_eq!(numbers["slow"]["closed"].as_u64(), Some(2));
    assert!(numbers["refused"].as_object().is_some_and(|refused| refused.is_empty()));
    assert_eq!(numbers["sources"][0]["state"].as_str(), Some("connecting"));
    assert!(numbers["note"].is_null());

    let points = numbers["points"].as_array().expect("points");
    let last = points.last().and_then(|point| point["at"].as_u64()).expect("a time");
    let more = node.get(&format!("/dashboard.json?after={last}")).json();
    let points = more["points"].as_array().expect("points");
    assert!(points.iter().all(|point| point["at"].as_u64() > Some(last)), "{more:?}");
    node.stop();
}

#[test]
fn an_interval_is_what_came_after_the_previous_one() {
    let node = Node::start(2, None);
    // Each time after three deliveries more.
    let deliveries = |path: &str| {
        node.post("/broadcast/all", b"x");
        node.get(path).json()["latency_us"]["delivery"]["count"].as_u64()
    };
    assert_eq!(deliveries("/latency"), Some(3));
    assert_eq!(deliveries("/latency?interval=true"), Some(6), "the first one begins with the process");
    assert_eq!(deliveries("/latency?interval=true"), Some(3));
    assert_eq!(deliveries("/latency"), Some(12));
    assert_eq!(deliveries("/latency?interval=true&shards=true"), Some(6));
    node.stop();
}

#[test]
fn the_log_is_read_by_the_tools_of_hdrhistogram() {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    let node = Node::start(2, None);
    node.post("/broadcast/all", b"x");
    for (path, sets) in [("/latency.hlog", 1), ("/latency?format=hlog&shards=true", 3)] {
        let answer = node.get(path);
        assert!(answer.head.contains("content-type: text/plain"), "{}", answer.head);
        let mut counts = std::collections::HashMap::new();
        for entry in IntervalLogIterator::new(answer.body.as_bytes()) {
            let LogEntry::Interval(interval) = entry.expect("a log") else { continue };
            let bytes = from_base64(interval.encoded_histogram());
            let histogram: hdrhistogram::Histogram<u64> =
                Deserializer::new().deserialize(&mut bytes.as_slice()).expect("a histogram");
            let tag = interval.tag().expect("a tag").as_str().to_owned();
            assert!(counts.insert(tag, histogram.len()).is_none(), "twice in {}", answer.body);
        }
        assert_eq!(counts.len(), sets * Timed::ALL.len() + 1);
        assert_eq!(counts["source.redis"], 0);
        assert!(counts["delivery"] == 3 && counts["message"] == 0, "{counts:?}");
        assert!(sets == 1 || counts["shard-0.delivery"] + counts["shard-1.delivery"] == counts["delivery"]);
    }
    node.stop();
}

fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.trim_end_matches('=').bytes().map(|byte| DIGITS.iter().position(|digit| *digit == byte));
    let digits: Vec<usize> = digits.map(|digit| digit.expect("base64")).collect();
    let bytes = digits.chunks(4).flat_map(|four| {
        let bits = four.iter().enumerate().fold(0, |bits, (n, digit)| bits | digit << (18 - 6 * n));
        [bits >> 16, bits >> 8, bits].map(|byte| byte as u8).into_iter().take(four.len() - 1)
    });
    bytes.collect()
}

#[tokio::test]
async fn a_large_answer_is_put_together_while_others_are_served() {
    let (finish, finished) = mpsc::channel();
    let large = tokio::spawn(aside(move || finished.recv()));
    // On this thread nothing blocks, or this would not be reached.
    tokio::task::yield_now().await;
    finish.send(()).expect("it is at work");
    assert_eq!(large.await.expect("no panic"), Ok(Ok(())));
}

#[test]
fn who_is_online_in_a_channel_is_listed_and_counted() {
    let node = Node::start(1, None);
    for user in ["u1", "u\"2", "u3"] {
        node.context.presence.enter("conv:1", user);
    }
    let json = node.get("/presence?channel=conv:1").json();
    let users = json["users"].as_array().expect("a list").len();
    assert_eq!((users, json["count"].as_u64(), json["channel"].as_str()), (2, Some(3), Some("conv:1")), "{json:?}");
    assert_eq!(node.get("/presence?channel=conv:nobody").json()["count"].as_u64(), Some(0));
    let code = |path: &str| node.get(path).error();
    assert_eq!(code("/presence"), (400, "bad_query".into()));
    assert_eq!(code("/presence?channel=clan:1"), (404, "no_presence".into()));
}
