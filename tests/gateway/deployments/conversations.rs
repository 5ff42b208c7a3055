//! Conversations: an API server that writes into PostgreSQL, a projection worker that brings what stands in its outbox
//! to Redis, and the gateway, which asks the database who takes part.

use sonic_rs::json;

use super::{all_connected, one_is_away, refused};
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::tokens::{SECRET, token};
use crate::support::wire;

const PASSWORD: &str = "redis_password";

const SCHEMA: &str = "
    CREATE TABLE conversations (id uuid PRIMARY KEY, title text NOT NULL);
    CREATE TABLE participants (conversation_id uuid REFERENCES conversations, user_id text, left_at timestamptz,
        PRIMARY KEY (conversation_id, user_id));
    CREATE TABLE messages (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), conversation_id uuid REFERENCES conversations,
        sender_id text NOT NULL, content text NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE outbox (number bigserial PRIMARY KEY, channel text NOT NULL, payload text NOT NULL);
    INSERT INTO conversations VALUES ('0198f1c4-0000-7000-8000-000000000001', 'Lunch');
    INSERT INTO participants VALUES ('0198f1c4-0000-7000-8000-000000000001', 'ana'),
        ('0198f1c4-0000-7000-8000-000000000001', 'ben'), ('0198f1c4-0000-7000-8000-000000000001', 'eve');
    UPDATE participants SET left_at = now() WHERE user_id = 'eve'";

const TAKES_PART: &str = "SELECT 1 FROM participants WHERE user_id = $1 AND conversation_id = $2 AND left_at IS NULL";

const LUNCH: &str = "0198f1c4-0000-7000-8000-000000000001";

/// The API server: a message and its entry of the outbox, in one transaction.
fn write(postgres: &Postgres, content: &str) {
    postgres.execute(&format!(
        "WITH message AS (INSERT INTO messages (conversation_id, sender_id, content)
            VALUES ('{LUNCH}', 'ana', '{content}') RETURNING *)
        INSERT INTO outbox (channel, payload)
            SELECT 'ws:conv:' || conversation_id, json_build_object('type', 'message.new', 'payload',
                json_build_object('conversation_id', conversation_id, 'message', json_build_object('id', id,
                'sender_id', sender_id, 'content', content, 'created_at', created_at)))::text FROM message"
    ));
}

/// The worker: publishes what stands in the outbox and takes it out.
fn project(postgres: &Postgres, redis: &mut Redis) {
    for line in postgres.rows("DELETE FROM outbox RETURNING channel || ' ' || payload") {
        let (channel, payload) = line.split_once(' ').expect("two columns");
        redis.publish(channel, payload);
    }
}

fn join(gateway: &Gateway, user: &str) -> Client {
    let (mut client, _) = Client::upgrade(gateway, "/ws", &[]).expect("an upgrade without a token");
    client.send(&wire::auth(&token(user)));
    client.expect_type("auth.success");
    client
}

fn subscribe(client: &mut Client) {
    client.send(&json!({"type": "subscribe", "payload": {"conversation_ids": [LUNCH]}}).to_string());
}

/// She is told of no message and of nobody who takes part.
#[track_caller]
fn nothing_came(client: &mut Client) {
    client.send(r#"{"type":"ping"}"#);
    client.expect_type("pong");
}

#[test]
fn an_api_with_an_outbox_and_a_worker_reaches_those_who_take_part() {
    let (mut postgres, mut redis) = (Postgres::start(), Redis::start());
    postgres.execute(SCHEMA);
    redis.require_password(PASSWORD);
    let (host, dsn) = (redis.host(), postgres.dsn());
    let gateway = Gateway::start_by_variables(
        "WSGATEWAY_PORT",
        &[
            ("REDIS_HOST", &host),
            ("REDIS_PASSWORD", PASSWORD),
            ("REDIS_DATABASE", "0"),
            ("POSTGRES_DSN", &dsn),
            ("JWT_SECRET", SECRET),
            ("LOGGER_LEVEL", "debug"),
            ("LOGGER_ENCODING", "console"),
            ("RINGWAY_AUTHORIZE_CHANNELS", "conv:*"),
            ("RINGWAY_AUTHORIZE_SQL", TAKES_PART),
            ("RINGWAY_AUTHORIZE_CACHE", "0s"),
        ],
    );
    all_connected(&gateway, 2);
    let [mut ana, mut ben, mut eve] = ["ana", "ben", "eve"].map(|user| join(&gateway, user));
    for client in [&mut ana, &mut ben] {
        subscribe(client);
        let subscribed = json!({"type": "subscribed", "payload": {"conversation_ids": [LUNCH]}});
        assert_eq!(client.await_type("subscribed"), subscribed);
    }
    // Who has left, and who names no conversation at all, gets the same answer.
    subscribe(&mut eve);
    assert_eq!(refused(&mut eve), "not_allowed");
    eve.send(r#"{"type":"subscribe","payload":{"conversation_ids":["no-uuid"]}}"#);
    assert_eq!(refused(&mut eve), "not_allowed");

    write(&postgres, "Hello!");
    project(&postgres, &mut redis);
    for client in [&mut ana, &mut ben] {
        let message = client.await_type("message.new");
        assert_eq!(wire::string(&message, &["payload", "conversation_id"]), LUNCH);
        assert_eq!(wire::string(&message, &["payload", "message", "content"]), "Hello!");
    }
    nothing_came(&mut eve);
    ana.send(&json!({"type": "typing", "payload": {"conversation_id": LUNCH}}).to_string());
    let typing = json!({"conversation_id": LUNCH, "user_id": "ana"});
    assert_eq!(ben.await_type("typing.start"), json!({"type": "typing.start", "payload": typing}));

    // The database dies: who is in stays, nobody comes in. Then Redis: the outbox keeps what is written.
    postgres.crash();
    one_is_away(&gateway);
    subscribe(&mut eve);
    assert_eq!(refused(&mut eve), "service_unavailable");
    postgres.restart();
    all_connected(&gateway, 2);
    redis.kill();
    one_is_away(&gateway);
    write(&postgres, "Still there?");
    ana.send(r#"{"type":"ping"}"#);
    ana.await_type("pong");
    redis.restart();
    redis.require_password(PASSWORD);
    all_connected(&gateway, 2);
    project(&postgres, &mut redis);
    for client in [&mut ana, &mut ben] {
        let message = client.await_type("message.new");
        assert_eq!(wire::string(&message, &["payload", "message", "content"]), "Still there?");
    }
    nothing_came(&mut eve);
}
