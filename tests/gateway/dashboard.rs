//! Promise: the page at the admin port's `/` shows what is going on, in a real browser, without an error.

use sonic_rs::JsonContainerTrait;

use crate::support::browser::{Browser, shows};
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::http_backend::{HttpBackend, Reply};
use crate::support::ports;
use crate::support::redis::Redis;
use crate::support::tokens::token;
use crate::support::wait::eventually;
use crate::support::wire;

const TOKEN: &str = "a token of the operators, long enough";

#[test]
fn the_dashboard_shows_what_is_connected_and_delivered() {
    let gateway = Gateway::start(Config::new().set("server.id", "node-7"));
    let mut clients: Vec<_> = (0..3).map(|n| Client::connect(&gateway, &token(&format!("u{n}")))).collect();
    let mut page = open(&gateway);
    page.eventually("three are shown", &shows("connections", "3"));
    assert!(page.text("node").starts_with("node-7 · version "));
    assert_eq!(page.text("state"), "ready");
    clients.push(Client::connect_at(&gateway, "/ws?userType=driver", &token("u3")));
    page.eventually("four are shown", &shows("connections", "4"));
    page.eventually("types are counted", "document.getElementById('types').innerText.includes('driver')");
    // What is published between two points is in the second of them.
    page.eventually("deliveries are drawn", &{
        gateway.admin().broadcast("/broadcast/all", "hello");
        "document.querySelectorAll('#latency path.curve[d^=M]').length === 3".to_owned()
    });
    assert_eq!(page.evaluate("document.querySelectorAll('#rates .plot path.curve').length"), "2");
    assert_eq!(
        page.evaluate("performance.getEntriesByType('resource').every(e => e.name.startsWith(location.origin + '/'))"),
        "true",
        "nothing comes from elsewhere"
    );
    page.assert_no_faults();
}

#[test]
fn a_curve_is_read_under_the_pointer_with_its_time() {
    let gateway = Gateway::start(Config::new());
    let _client = Client::connect(&gateway, &token("u1"));
    let mut page = open(&gateway);
    page.eventually("curves are drawn", "document.querySelectorAll('#rates .plot path.curve[d^=M]').length === 2");
    let event = "new PointerEvent('pointermove', { clientX: innerWidth })";
    page.evaluate(&format!("document.querySelector('#rates .plot').dispatchEvent({event})"));
    // It goes on being read while it is drawn again.
    page.evaluate("window.answersBefore = document.documentElement.dataset.answers");
    page.eventually("two more answers are drawn", "document.documentElement.dataset.answers > answersBefore + 1");
    let time = page.evaluate("document.querySelector('#rates .tip:not([hidden]) b').textContent");
    assert!(time.contains(':'), "{time}");
    page.assert_no_faults();
}

#[test]
fn ticks_share_a_unit_and_curves_break_where_nothing_is_known() {
    let gateway = Gateway::start(Config::new());
    let mut page = open(&gateway);
    page.eventually("the charts are there", "typeof runs === 'function'");
    for (expression, expected) in [
        ("upwards('', 1.8e6, alike(COUNTS)).ticks.map(alike(COUNTS)(2e6)).join()", "0,0.5 M,1 M,1.5 M,2 M"),
        ("clockTicks(290, 5).ticks.map(clockTicks(290, 5).text).join()", "0 min,1 min,2 min,3 min,4 min"),
        ("runs([[1, 5], [2, 5], [3, null], [4, 5], [20, 5]], 5).map(run => run.length).join()", "2,1,1"),
        ("counted(1, 'user') + ', ' + counted(2, 'user')", "1 user, 2 users"),
    ] {
        assert_eq!(page.evaluate(expression).replace('\u{a0}', " "), expected, "{expression}");
    }
    page.assert_no_faults();
}

#[test]
fn a_protected_port_is_asked_with_the_token_that_was_typed() {
    let gateway = Gateway::start(Config::new().set("admin.token", TOKEN));
    let _client = Client::connect(&gateway, &token("u1"));
    let mut page = open(&gateway);
    type_in(&mut page, "another token");
    page.eventually("a wrong one is told from none", "!document.getElementById('ask-wrong').hidden");
    type_in(&mut page, TOKEN);
    page.eventually("the numbers are there", &shows("connections", "1"));
    page.evaluate("window.isOld = true");
    page.command("Page.reload", sonic_rs::json!({}));
    page.eventually("the tab knows the token", &format!("!window.isOld && {}", shows("connections", "1")));
    assert_eq!(page.evaluate("document.getElementById('ask').open"), "false");
    page.assert_no_faults();
}

#[test]
fn what_clients_call_themselves_is_shown_and_not_run() {
    let gateway = Gateway::start(Config::new());
    let target = "/ws?userType=%3Cimg%20src%3Dx%20onerror%3D%22throw%201%22%3E";
    let _client = Client::connect_at(&gateway, target, &token("u1"));
    let mut page = open(&gateway);
    page.eventually("the type is shown", "document.getElementById('types')?.innerText.includes('<img src=x')");
    assert_eq!(page.evaluate("document.images.length"), "0");
    page.assert_no_faults();
}

#[test]
fn a_source_that_is_away_and_a_drain_are_seen() {
    let nobody = format!("redis://{}", ports::free());
    let config = Config::new().set("redis.url", nobody).set("server.drain", "25s");
    let mut gateway = Gateway::start_alive(config);
    let _clients: Vec<_> = (0..20).map(|n| Client::connect(&gateway, &token(&format!("u{n}")))).collect();
    let mut page = open(&gateway);
    page.eventually("redis is away", &shows("state", "redis away"));
    assert!(page.text("banner").starts_with("redis is "), "{}", page.text("banner"));
    gateway.process().signal("TERM");
    page.eventually("it drains", &shows("state", "draining"));
    assert!(page.text("banner").starts_with("Draining: "));
    page.assert_no_faults();
    let opacity = "getComputedStyle(document.querySelector('.tiles')).opacity";
    assert_eq!(page.evaluate(opacity), "1");
    gateway.process().kill();
    page.eventually("that nobody answers is seen", &shows("state", "no answer"));
    page.eventually("the numbers are those of before", &format!("{opacity} < 0.5"));
}

#[test]
fn services_are_shown_with_their_queue_and_what_failed() {
    let (up, hanging) = (HttpBackend::start(), HttpBackend::start());
    hanging.always(Reply::Hang);
    let nobody = format!("http://{}/", ports::free());
    let service = |name: &str, url: &str, queue: u32| {
        format!("[[services]]\nname = '{name}'\nkind = 'http'\nurl = '{url}'\nqueue = {queue}\n")
    };
    let services =
        [service("up", &up.url("/"), 10), service("slow", &hanging.url("/"), 2), service("away", &nobody, 10)];
    let route = |name: &str| {
        format!(
            "[[routes]]\ntype = '{name}'\naction = 'forward'\nservice = '{name}'\nreply = '{{\"type\":\"done\"}}'\n"
        )
    };
    let config = Config::new().with(&services.concat()).with(&["up", "slow", "away"].map(route).concat());
    let gateway = Gateway::start(config);
    let mut client = Client::connect(&gateway, &token("ana"));
    let mut page = open(&gateway);
    let cell = |row: u32, column: u32| {
        format!("document.querySelector('#services tbody tr:nth-child({row}) :nth-child({column})')?.innerText")
    };
    page.eventually("the first one is reached", &format!("{} === 'connected'", cell(1, 2)));
    page.eventually("the third one is not", &format!("{} === 'disconnected'", cell(3, 2)));
    client.send(r#"{"type":"up"}"#);
    assert!(client.next_text().contains("done"));
    page.eventually("it is known how long it took", &format!("/[µm]?s$/.test({})", cell(1, 6)));
    let mut other = Client::connect(&gateway, &token("bob"));
    [&mut client, &mut other].into_iter().for_each(|client| client.send(r#"{"type":"slow"}"#));
    page.eventually("two wait", &format!("{}.startsWith('2 of 2')", cell(2, 3)));
    assert_eq!(page.text("state"), "2 services in trouble");
    client.send(r#"{"type":"slow"}"#);
    client.send(r#"{"type":"away"}"#);
    page.eventually("one more was refused", &format!("{} === '1 refused'", cell(2, 8)));
    page.eventually("and one here", &format!("{} === '1 refused'", cell(3, 8)));
    assert_eq!(page.evaluate(&cell(1, 8)), "none");
    page.assert_no_faults();
    eventually("the log says so as well", || {
        let told = |service: &str| {
            let line =
                |line: &str| line.contains(service) && line.contains("calls have failed") && line.contains("refused=1");
            gateway.log().lines().any(line)
        };
        told("slow") && told("away")
    });

    let json = gateway.admin().get("/latency?interval=true").json();
    let count = |json, name| wire::number(json, &["services_us", name, "count"]);
    // What hangs is counted when it is given up.
    assert_eq!((count(&json, "up"), count(&json, "away")), (Some(1), Some(0)));
    let json = gateway.admin().get("/latency?interval=true").json();
    assert_eq!(count(&json, "up"), Some(0), "an interval is what came after the previous one");
    assert!(gateway.admin().get("/latency.hlog").body.contains("Tag=service.up,"));
}

#[test]
fn a_source_is_shown_with_what_came_and_how_long_it_took() {
    let mut redis = Redis::start();
    let gateway = Gateway::start(Config::new().set("redis.url", redis.url()));
    let mut client = Client::connect(&gateway, &token("ana"));
    eventually("Redis is there", || gateway.admin().get("/readyz").status == 200);
    let mut page = open(&gateway);
    let facts = "document.querySelector('#sources .source p').innerText";
    page.eventually("it is connected", "document.querySelector('#sources .pill')?.innerText === 'connected'");
    assert!(!page.evaluate(facts).contains("handed over"), "nothing has come");
    assert_eq!(redis.publish("ws:user:ana", "hello"), 1);
    redis.publish("ws:user:ana", b"\xff");
    assert_eq!(client.next_text(), "hello");
    page.eventually("it is told", &format!("/handed over in \\d.*s, p99 \\d.*s · 1 invalid/.test({facts})"));
    page.assert_no_faults();
    eventually("the log says what was dropped", || {
        let line = |line: &str| line.contains("messages were dropped") && line.contains("invalid=1 lost=0 p50_us=");
        gateway.log().lines().any(line)
    });

    let count = |json| wire::number(&json, &["sources_us", "redis", "count"]);
    let admin = gateway.admin();
    assert_eq!(count(admin.get("/latency?interval=true").json()), Some(1), "what is no text was handed to nobody");
    assert_eq!(count(admin.get("/latency?interval=true").json()), Some(0), "an interval is what came after the last");
    assert!(admin.get("/latency.hlog").body.contains("Tag=source.redis,"));
    assert_eq!(admin.metrics().labelled("ringway_source_seconds_count", "source", "redis"), 1.0);
}

#[test]
fn without_services_there_is_no_word_of_them() {
    let gateway = Gateway::start(Config::new());
    let mut page = open(&gateway);
    page.eventually("the numbers are there", &shows("connections", "0"));
    assert_eq!(page.evaluate("document.getElementById('services').offsetHeight"), "0");
    assert!(!gateway.admin().get("/latency").body.contains("services"));
}

#[test]
fn curves_are_recorded_while_nobody_looks() {
    let gateway = Gateway::start(Config::new());
    eventually("it has run for some seconds", || {
        wire::number(&gateway.admin().get("/stats").json(), &["uptime"]) >= Some(3)
    });
    let numbers = gateway.admin().get("/dashboard.json").json();
    let points = |name: &str| wire::at(&numbers, &[name]).and_then(|list| list.as_array()).map_or(0, |list| list.len());
    assert!(points("points") >= 2 && points("hour") == 1, "{numbers:?}");

    let mut page = open(&gateway);
    page.eventually("curves are there", "document.querySelectorAll('#rates .plot path.curve[d*=L]').length === 2");
    page.evaluate("document.querySelector('#span [value=hour]').click()");
    page.eventually("the hour is shown", "document.getElementById('rates').textContent.includes('10\u{a0}min')");
    page.assert_no_faults();
}

#[test]
fn a_few_connections_are_not_what_memory_is_divided_by() {
    let gateway = Gateway::start(Config::new());
    let _client = Client::connect(&gateway, &token("u1"));
    let mut page = open(&gateway);
    page.eventually("one is shown", &shows("connections", "1"));
    page.eventually("memory is shown", "document.getElementById('memory').innerText.includes('MiB')");
    assert_eq!((page.text("memory-title"), page.text("memory-note")), ("Memory".into(), "resident in all".into()));
    page.evaluate("showMemory({ resident_bytes: 3 << 20, bytes_per_connection: 215 })");
    assert_eq!(page.text("memory-title"), "Memory per connection");
    assert_eq!(page.text("memory"), "215B", "a margin stands before the unit");
    page.assert_no_faults();
}

#[test]
fn a_shard_with_nobody_has_no_bar() {
    let gateway = Gateway::start(Config::new().set("server.shards", 8));
    let _client = Client::connect(&gateway, &token("u1"));
    let mut page = open(&gateway);
    let heights =
        "[...document.querySelectorAll('#shards .columns div')].map(bar => Math.sign(bar.offsetHeight)).sort()";
    page.eventually("one of eight has a bar", &format!("{heights}.join('') === '00000001'"));
    page.assert_no_faults();
}

#[test]
fn other_answers_of_a_protected_port_are_linked() {
    let gateway = Gateway::start(Config::new().set("admin.token", TOKEN));
    let mut page = open(&gateway);
    type_in(&mut page, TOKEN);
    page.eventually("the numbers are there", &shows("connections", "0"));
    let links = page.evaluate("[...document.querySelectorAll('footer a:not([rel])')].map(a => a.getAttribute('href'))");
    assert_eq!(links, "metrics,latency,connections,channels,readyz");
    for (path, part) in
        [("metrics", "ringway_connections{"), ("latency", "\n  \"latency_us\": {"), ("connections", "\"total\": 0")]
    {
        page.evaluate(&format!("readable('{path}').then(text => {{ window.seen = text }})"));
        page.eventually(path, &format!("window.seen?.includes({part:?})"));
    }
    assert_eq!(page.evaluate("document.querySelectorAll('footer a[rel]').length"), "2", "and the documents");
}

#[track_caller]
fn type_in(page: &mut Browser, token: &str) {
    page.eventually("the token is asked for", "document.getElementById('ask')?.open");
    page.evaluate(&format!("document.getElementById('ask-token').value = '{token}'"));
    page.evaluate("document.querySelector('#ask-form button').click()");
}

#[track_caller]
fn open(gateway: &Gateway) -> Browser {
    Browser::open(&format!("http://{}/", gateway.admin().address))
}
