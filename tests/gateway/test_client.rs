//! Promise: the page at the admin port's `/client` connects as a client, sends what the routes take and shows what goes
//! over the wire, in a real browser, without an error.

use crate::support::browser::{Browser, shows};
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::tokens::token;

const TOKEN: &str = "a token of the operators, long enough";

/// Of each vocabulary: as which user type, which prepared message, and what comes of it.
const OF_EACH: [(&str, &str, &str, &str); 6] = [
    ("core", "", "ping", "pong"),
    ("conversations", "", "subscribe", "subscribed"),
    ("dispatch", "driver", "dispatch_response", ""),
    ("community", "", "subscribe_clan_chat", "subscription_confirmed"),
    ("tracking", "", "subscribe_vendor", "subscription_confirmed"),
    ("relay", "", "location.report", "location.accepted"),
];

#[test]
fn one_message_of_every_vocabulary_is_sent_and_answered() {
    let gateway = Gateway::start_bare();
    let mut page = open(&gateway);
    for (vocabulary, user_type, kind, answer) in OF_EACH {
        page.evaluate(&format!("document.getElementById('user-type').value = '{user_type}'"));
        toggle_connection(&mut page, "open");
        choose(&mut page, vocabulary, kind);
        click(&mut page, "send");
        page.eventually("it has been sent", &logged("out", kind));
        if !answer.is_empty() {
            page.eventually("it is answered", &logged("in", answer));
            page.eventually("the answer is found", "document.getElementById('latency').innerText !== '–'");
        }
        assert_eq!(page.text("errors"), "0", "{vocabulary}");
        toggle_connection(&mut page, "closed");
        click(&mut page, "clear");
    }
    page.assert_no_faults();
}

#[test]
fn what_a_backend_publishes_is_published_and_comes() {
    let gateway = Gateway::start_bare();
    let mut page = open(&gateway);
    toggle_connection(&mut page, "open");
    choose(&mut page, "dispatch", "ride_request");
    assert_eq!(page.evaluate("document.getElementById('target').value"), "user:you");
    click(&mut page, "publish");
    page.eventually("it comes", &logged("in", "ride_request"));
    page.eventually("who has it is told", &logged("note", "1 connection"));
    page.assert_no_faults();
}

#[test]
fn an_error_is_shown_and_counted() {
    let gateway = Gateway::start_bare();
    let mut page = open(&gateway);
    choose(&mut page, "core", "ping");
    click(&mut page, "send");
    page.eventually("it says that there is no connection", &shows("wrong", "not connected"));
    toggle_connection(&mut page, "open");
    page.evaluate(r#"document.getElementById('message').value = '{"type":"<img src=x>"}'"#);
    click(&mut page, "send");
    page.eventually("the error comes", &logged("error", "unknown_type"));
    page.eventually("it is counted", &shows("errors", "1"));
    page.evaluate("document.getElementById('message').value = '{'");
    click(&mut page, "send");
    page.eventually("what is no JSON is not sent", "!document.getElementById('wrong').hidden");
    assert_eq!(page.evaluate("document.images.length"), "0");
    page.assert_no_faults();
}

#[test]
fn a_route_of_the_configuration_is_there_too() {
    let config = Config::parse(
        r#"
        [[routes]]
        type = "wave"
        about = "Waves to a room."
        action = "forward"
        fields = { room = "id" }
        channel = "room:{room}"
        members_only = false
        message = '{"type":"waved","room":"{room}","by":"{user_id}"}'
        reply = '{"type":"wave.sent"}'

        [[routes]]
        type = "leave"
        when = "quietly"
        action = "accept"
        reply = '{"type":"left"}'

        [[routes]]
        type = "rate"
        when = "stars"
        action = "accept"
        fields = { stars = { type = "integer", min = 1, max = 5 } }
        reply = '{"type":"rated"}'
        "#,
    );
    let gateway = Gateway::start(config);
    let mut page = open(&gateway);
    choose(&mut page, "ringway", "wave");
    toggle_connection(&mut page, "open");
    for (kind, expected, answer) in [
        ("wave", r#"{"type":"wave","room":"1"}"#, "wave.sent"),
        ("leave", r#"{"type":"leave","quietly":true}"#, "left"),
        ("rate", r#"{"type":"rate","stars":1}"#, "rated"),
    ] {
        choose(&mut page, "ringway", kind);
        let example = page.evaluate("JSON.stringify(JSON.parse(document.getElementById('message').value))");
        assert_eq!(example, expected);
        click(&mut page, "send");
        page.eventually("it is answered", &logged("in", answer));
    }
    page.assert_no_faults();
}

#[test]
fn a_gateway_with_its_own_secret_and_a_protected_port_wants_both_tokens() {
    let gateway = Gateway::start(Config::new().set("admin.token", TOKEN));
    let mut page = Browser::open(&format!("http://{}/client", gateway.admin().address));
    page.eventually("the token is asked for", "document.getElementById('ask')?.open");
    page.evaluate(&format!("document.getElementById('ask-token').value = '{TOKEN}'"));
    page.evaluate("document.querySelector('#ask-form button').click()");
    page.eventually("the page is filled", "document.documentElement.dataset.ready === 'true'");
    assert_eq!(page.evaluate("document.getElementById('token').value"), "");
    page.evaluate(&format!("document.getElementById('token').value = '{}'", token("ana")));
    toggle_connection(&mut page, "open");
    page.eventually("it says who it is", &logged("note", "open as ana"));
    page.assert_no_faults();
}

#[test]
fn a_page_that_may_not_connect_says_what_to_set() {
    let config = Config::new().list("auth.origins", &["https://app.example.com"]);
    let gateway = Gateway::start(config);
    let mut page = open(&gateway);
    page.evaluate(&format!("document.getElementById('token').value = '{}'", token("ana")));
    toggle_connection(&mut page, "waiting");
    let origin = format!("http://{}", gateway.admin().address);
    let told = page.text("banner");
    assert!(told.contains(&origin) && told.contains("auth.origins"), "{told}");
}

#[test]
fn it_fits_on_a_phone_whatever_is_said() {
    let gateway = Gateway::start_bare();
    let mut page = open(&gateway);
    for (vocabulary, user_type, kind, _) in OF_EACH {
        page.evaluate(&format!("document.getElementById('user-type').value = '{user_type}'"));
        toggle_connection(&mut page, "open");
        choose(&mut page, vocabulary, kind);
        click(&mut page, "send");
        page.eventually("it has been sent", &logged("out", kind));
        page.evaluate(&format!(
            "document.getElementById('message').value = JSON.stringify({{ type: '{}', text: 'w'.repeat(500) }})",
            "x".repeat(200)
        ));
        click(&mut page, "send");
        page.eventually("what nothing breaks is refused", &logged("error", "unknown_type"));
        for width in [390, 1440] {
            let size =
                sonic_rs::json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500 });
            page.command("Emulation.setDeviceMetricsOverride", size);
            page.eventually("nothing is wider than the page", "document.documentElement.scrollWidth <= innerWidth");
        }
        toggle_connection(&mut page, "closed");
        click(&mut page, "clear");
    }
    page.assert_no_faults();
}

#[track_caller]
fn open(gateway: &Gateway) -> Browser {
    let mut page = Browser::open(&format!("http://{}/client", gateway.admin().address));
    page.eventually("the page is filled", "document.documentElement.dataset.ready === 'true'");
    page
}

/// Connects or disconnects, and waits for that.
#[track_caller]
fn toggle_connection(page: &mut Browser, state: &str) {
    click(page, "connect");
    page.eventually(&format!("it is {state}"), &shows("state", state));
}

#[track_caller]
fn choose(page: &mut Browser, vocabulary: &str, kind: &str) {
    page.evaluate(&format!("document.querySelector('[data-file$=\"{vocabulary}.toml\"]').click()"));
    page.evaluate(&format!("document.querySelector('[data-type=\"{kind}\"]').click()"));
}

#[track_caller]
fn click(page: &mut Browser, id: &str) {
    page.evaluate(&format!("document.getElementById('{id}').click()"));
}

fn logged(class: &str, text: &str) -> String {
    format!("[...document.querySelectorAll('#log .{class}')].some(line => line.innerText.includes('{text}'))")
}
