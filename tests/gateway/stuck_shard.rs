//! Promise: a shard that stands still stops nobody else, it is seen from outside, and what it did not get is told.

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::frozen::Frozen;
use crate::support::gateway::Gateway;
use crate::support::prometheus::{LANE_LOST, SOURCE_MESSAGES};
use crate::support::redis::Redis;
use crate::support::tokens::token;
use crate::support::unread::Unread;
use crate::support::wait::eventually;
use crate::support::wire::CLOSE_GOING_AWAY;

/// More than a lane takes.
const MESSAGES: usize = 5_000;

/// A gateway with one subscriber on each of two shards, the first of which stands still.
struct Scene {
    redis: Redis,
    gateway: Gateway,
    on_frozen: Client,
    on_other: Client,
    shard: u64,
    frozen: Frozen,
}

impl Scene {
    #[track_caller]
    fn start(config: Config) -> Scene {
        Scene::start_by(config, Gateway::start)
    }

    #[track_caller]
    fn start_by(config: Config, start: impl Fn(Config) -> Gateway) -> Scene {
        let redis = Redis::start();
        let config = config.set("redis.url", redis.url()).set("limits.outbox_bytes", 4 * 1024 * 1024);
        let mut gateway = start(config.set("server.lane_patience", "200ms"));
        let (mut on_frozen, mut on_other) = Client::two_on_different_shards(&gateway);
        on_frozen.subscribe(&["conv:c1"]);
        on_other.subscribe(&["conv:c1"]);
        let shard = gateway.admin().connection_of("first").shard;
        let frozen = Frozen::thread(gateway.process(), &format!("shard-{shard}"));
        Scene { redis, gateway, on_frozen, on_other, shard, frozen }
    }

    fn publish(&mut self) {
        self.redis.publish_all("ws:conv:c1", (0..MESSAGES).map(|index| index.to_string()));
    }
}

#[test]
fn the_others_get_everything_and_what_it_missed_is_counted() {
    let mut scene = Scene::start(Config::new());
    scene.publish();
    (0..MESSAGES).for_each(|index| assert_eq!(scene.on_other.next_text(), index.to_string()));

    let Scene { gateway, frozen, shard, mut redis, mut on_frozen, .. } = scene;
    let lost = gateway.admin().metrics().labelled(LANE_LOST, "shard", &shard.to_string()) as usize;
    assert!(lost > 0 && lost < MESSAGES, "{lost} of {MESSAGES}");
    let reason = format!("shard {shard} takes nothing: its lane is full");
    assert!(gateway.admin().get("/readyz").body.contains(&reason));
    frozen.thaw();
    (0..MESSAGES - lost).for_each(|index| assert_eq!(on_frozen.next_text(), index.to_string()));
    redis.publish("ws:conv:c1", "the next");
    assert_eq!(on_frozen.next_text(), "the next");
    eventually("it is ready again", || gateway.admin().get("/readyz").status == 200);
    eventually("that is logged", || gateway.log().contains("the shard takes messages again"));
    assert!(gateway.log().contains(&format!("lost={lost}")), "{}", gateway.log());
    // The log is in order, so this stands there by now.
    assert_eq!(gateway.log().matches("its messages are lost until it does").count(), 1, "{}", gateway.log());
}

#[test]
fn probes_say_which_shard_stands_still_and_ask_nobody() {
    let config = Config::new().set("admin.ready_stall", "500ms").set("admin.live_stall", "2s");
    let Scene { gateway, frozen, shard, redis: _redis, .. } = Scene::start(config);
    let reason = format!("shard {shard} has not turned for ");
    let is_named = |path: &str| {
        let answer = gateway.admin().get(path);
        answer.status == 503 && answer.body.contains(&reason)
    };
    eventually("readyz names it", || is_named("/readyz"));
    eventually("livez names it", || is_named("/livez"));
    frozen.thaw();
    eventually("it is ready again", || gateway.admin().get("/readyz").status == 200);
    assert_eq!(gateway.admin().get("/livez").status, 200);
}

#[test]
fn shards_without_connections_are_ready_although_they_sleep() {
    // Twice as long as any of them may go without a turn, in which nobody asks a shard.
    let gateway = Gateway::start(Config::new().set("admin.ready_stall", "2s"));
    let began = std::time::Instant::now();
    eventually("four seconds pass", || {
        let ready = gateway.admin().get("/readyz");
        assert_eq!(ready.status, 200, "{ready:?}");
        began.elapsed().as_secs() >= 4
    });
}

#[test]
fn the_drain_reaches_everybody_although_a_lane_is_full() {
    let mut scene = Scene::start(Config::new());
    scene.publish();
    (0..MESSAGES).for_each(|index| assert_eq!(scene.on_other.next_text(), index.to_string()));
    let Scene { mut gateway, frozen, mut on_frozen, mut on_other, redis: _redis, .. } = scene;
    gateway.process().signal("TERM");
    assert_eq!(on_other.expect_close(), CLOSE_GOING_AWAY);
    frozen.thaw();
    assert_eq!(on_frozen.expect_close(), CLOSE_GOING_AWAY);
    assert_eq!(gateway.process().wait().code(), Some(0), "{}", gateway.log());
}

#[test]
fn a_second_signal_ends_the_process_although_a_shard_stands_still() {
    assert_a_second_signal_ends(Scene::start(Config::new()));
}

#[test]
fn a_log_that_nobody_reads_holds_up_neither_probes_nor_the_drain() {
    let mut log = Unread::create();
    let mut scene = Scene::start_by(Config::new(), |config| Gateway::start_logging_to(&log.path(), config));
    log.fill();
    // Both that the shard takes nothing and that it does again are logged.
    scene.publish();
    (0..MESSAGES).for_each(|index| assert_eq!(scene.on_other.next_text(), index.to_string()));
    let Scene { mut gateway, frozen, redis: _redis, .. } = scene;
    frozen.thaw();
    eventually("it is ready again", || gateway.admin().get("/readyz").status == 200);
    let began = std::time::Instant::now();
    eventually("the watchdog has gone round", || {
        assert_eq!(gateway.admin().get("/livez").status, 200);
        began.elapsed().as_secs() >= 2
    });
    gateway.process().signal("TERM");
    assert_eq!(gateway.process().wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_the_process_although_nobody_reads_its_log() {
    let mut log = Unread::create();
    let scene = Scene::start_by(Config::new(), |config| Gateway::start_logging_to(&log.path(), config));
    log.fill();
    assert_a_second_signal_ends(scene);
}

/// While a shard of it stands still.
#[track_caller]
fn assert_a_second_signal_ends(mut scene: Scene) {
    scene.publish();
    let Scene { mut gateway, frozen, mut on_other, redis: _redis, .. } = scene;
    gateway.process().signal("TERM");
    assert_eq!(on_other.expect_close(), CLOSE_GOING_AWAY);
    gateway.process().signal("TERM");
    frozen.bury();
    assert_eq!(gateway.process().wait().code(), Some(1));
}

#[test]
fn what_waited_meanwhile_makes_nobody_too_slow_who_reads() {
    const BURST: usize = 2_000;
    let mut redis = Redis::start();
    let mut gateway = Gateway::start(Config::new().set("redis.url", redis.url()).set("server.shards", 1));
    let mut client = Client::connect(&gateway, &token("first"));
    let frozen = Frozen::thread(gateway.process(), "shard-0");
    redis.publish_all("ws:user:first", (0..BURST).map(|index| index.to_string()));
    let passed_on = || gateway.admin().metrics().sum(SOURCE_MESSAGES) as usize;
    eventually("all wait in the lane", || passed_on() == BURST);
    frozen.thaw();
    (0..BURST).for_each(|index| assert_eq!(client.next_text(), index.to_string()));
}
