//! Who may ask for what, and how everybody else is answered.

use super::*;

#[test]
fn unknown_paths_and_methods_are_answered_in_json() {
    let node = Node::start(1, None);
    assert_eq!(node.get("/nothing").error(), (404, "not_found".into()));
    assert_eq!(node.get("/broadcast/channel/").error(), (404, "not_found".into()));
    let wrong = node.get("/broadcast/all");
    assert_eq!(wrong.error(), (405, "method_not_allowed".into()));
    assert!(wrong.head.contains("allow: post"), "{}", wrong.head);
    assert_eq!(node.post("/stats", b"").error(), (405, "method_not_allowed".into()));
    node.stop();
}

#[test]
fn with_a_token_only_probes_are_open() {
    let node = Node::start(1, Some("s3cret"));
    // The dashboard's page asks for the token by itself.
    for path in ["/livez", "/health", "/"] {
        assert_eq!(node.get(path).status, 200, "{path}");
    }
    assert_eq!(node.get("/readyz").status, 503);
    for path in ["/stats", "/health/websocket", "/connections", "/channels", "/latency", "/dashboard.json", "/nothing"]
    {
        let answer = node.get(path);
        assert_eq!(answer.error(), (401, "token_missing".into()), "{path}");
        assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
    }
    let with = |token: &str| node.request("POST", "/broadcast/all", &[token], b"x");
    assert_eq!(with("Authorization: Bearer wrong").error(), (401, "token_invalid".into()));
    assert_eq!(with("Authorization: Bearer s3cret").status, 200);
    node.stop();
}

#[test]
fn a_page_of_another_site_cannot_publish() {
    let node = Node::start(1, None);
    let answer = node.request("POST", "/broadcast/all", &["Origin: https://evil.example"], b"x");
    assert_eq!(answer.error(), (403, "origin_foreign".into()));
    assert_eq!(node.told(0), []);
    node.stop();
}
