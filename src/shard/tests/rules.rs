//! The rules that hold in the tests of a shard where a test says nothing else.

use std::sync::Arc;

use crate::auth::{Grants, Origins, Verifier};
use crate::channel::presence::Settings;
use crate::lane::Services;
use crate::route::Routes;
use crate::shard::rules::{Echo, LobbyRules, Rules};
use crate::shard::seats::Sessions;

use super::{ECHO_MESSAGE_BYTES_MAX, OUTBOX_BYTES_MAX, SESSION_KEY, VERIFIER_SETTINGS};

/// In conversations it is known who is online.
pub(super) fn presence_settings() -> Settings {
    let channels = vec!["conv:*".parse().unwrap()];
    Settings { channels, grace_ticks: 900, leaving_per_user_max: 100, announce_max: 4, list_max: 5 }
}

/// What a test changes nothing of.
pub(super) fn rules() -> Rules {
    Rules {
        routes: Routes::shipped(),
        services: Services::default(),
        authorizer: None,
        verifier: Arc::new(Verifier::new(&VERIFIER_SETTINGS)),
        origins: Origins::default(),
        user_types: Vec::new(),
        user_type_from_query: true,
        default_grants: Grants::parse(["conv:*", "news"]).unwrap(),
        path: "/ws".into(),
        echo: Some(Echo { path: "/echo".into(), message_bytes_max: ECHO_MESSAGE_BYTES_MAX }),
        server_id: "node-1".into(),
        tells_addresses: false,
        session_key: SESSION_KEY.clone(),
        sessions: Sessions::Multi,
        connections_max: usize::MAX,
        message_bytes_max: 8192,
        outbox_bytes_max: OUTBOX_BYTES_MAX,
        channels_per_connection_max: 6,
        channel_name_bytes_max: 32,
        messages_max: 0,
        message_window_ticks: 600,
        frames_max: 0,
        message_deadline_ticks: 300,
        heartbeat_ms: 30_000,
        heartbeat_ticks: 300,
        idle_ticks: 600,
        typing_timeout_ticks: 100,
        typing_interval_ticks: 10,
        auth_deadline_ticks: 100,
        close_deadline_ticks: 50,
        expiry_warning_s: 30,
        batch_delay_min_us: u32::MAX,
        lobby: LobbyRules::default(),
    }
}
