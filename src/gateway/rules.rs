//! What the configuration says about connections and channels, as the shards use it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::admin::Public;
use crate::auth::{IssuedKeys, Origins, Wanted};
use crate::channel::policy::Policy;
use crate::channel::{Policies, presence};
use crate::clock::ticks;
use crate::config::{self, ChannelRule, Config, Debug, UserTypeFrom};
use crate::lane::{Authorizer, Services};
use crate::notification::{Bounds, Notifications};
use crate::route::Routes;
use crate::shard::id::SessionKey;
use crate::shard::rules::{Echo, LobbyRules, Rules};
use crate::ws::handshake::proxies::Proxies;

/// Whom shards ask.
pub struct Outside {
    pub services: Services,
    pub authorizer: Option<Arc<dyn Authorizer>>,
    /// The keys of the issuer, where they are fetched.
    pub issued_keys: Option<IssuedKeys>,
}

pub fn rules(
    config: &Config,
    routes: &'static Routes,
    outside: Outside,
    handshakes_max: usize,
    batch_delay_min_us: u32,
) -> Rules {
    let (auth, limits, heartbeat) = (&config.auth, &config.limits, &config.heartbeat);
    let server = &config.server;
    Rules {
        routes,
        services: outside.services,
        authorizer: outside.authorizer,
        verifier: Arc::new(auth.verifier(outside.issued_keys, Wanted::new(routes.claims()))),
        origins: Origins::new(auth.origins.clone()),
        user_types: auth.roles.clone(),
        user_type_from_query: auth.user_type == UserTypeFrom::Query,
        default_grants: auth.channels.clone(),
        path: config.server.path.clone(),
        echo: echo(config),
        server_id: config.server.id.clone(),
        tells_addresses: config.events.service.is_some() && config.events.address,
        session_key: SessionKey::default(),
        sessions: server.sessions,
        connections_max: Some(config.server.max_connections).filter(|n| *n > 0).unwrap_or(usize::MAX),
        message_bytes_max: limits.message_bytes,
        outbox_bytes_max: limits.outbox_bytes,
        channels_per_connection_max: limits.channels_per_connection,
        channel_name_bytes_max: limits.channel_name_bytes,
        messages_max: limits.messages,
        message_window_ticks: ticks(limits.messages_window),
        frames_max: limits.frames,
        message_deadline_ticks: ticks(limits.message_deadline),
        heartbeat_ms: heartbeat.interval.as_millis() as u64,
        heartbeat_ticks: ticks(heartbeat.interval),
        idle_ticks: ticks(heartbeat.idle_timeout),
        auth_deadline_ticks: ticks(auth.deadline),
        typing_timeout_ticks: ticks(config.typing.timeout),
        typing_interval_ticks: ticks(config.typing.interval),
        close_deadline_ticks: ticks(limits.close_deadline),
        expiry_warning_s: auth.expiry_warning.as_secs(),
        batch_delay_min_us,
        lobby: LobbyRules {
            handshake_deadline: limits.handshake_deadline,
            first_byte_deadline: limits.first_byte_deadline.min(limits.handshake_deadline),
            handshakes_max,
            handshakes_of_address_max: limits.handshakes_per_address,
            unauthenticated_max: limits.unauthenticated,
            proxies: Proxies::new(server.trusted_proxies.clone(), server.forwarded_header, server.proxy_protocol),
        },
    }
}

/// Connections that a user may lose at once while each of them is in as many channels as it may be, and still be
/// online.
const LEAVING_CONNECTIONS_MAX: u32 = 8;

pub fn presence(config: &Config) -> presence::Settings {
    let config::Presence { channels, grace, announce_max, list_max } = config.presence.clone();
    let grace_ticks = if grace.is_zero() { 0 } else { ticks(grace) };
    let leaving_per_user_max = LEAVING_CONNECTIONS_MAX * config.limits.channels_per_connection as u32;
    presence::Settings { channels, grace_ticks, leaving_per_user_max, announce_max, list_max }
}

/// What the admin port's test client connects to.
pub fn for_the_test_client(config: &Config, routes: &'static Routes, public: SocketAddr) -> Public {
    Public {
        port: public.port(),
        path: config.server.path.clone(),
        origins: Origins::new(config.auth.origins.clone()),
        development_secret: config
            .auth
            .secret
            .as_ref()
            .filter(|_| config.development)
            .map(|secret| secret.expose().to_owned()),
        routes,
    }
}

pub fn policies(rules: &[ChannelRule]) -> Policies {
    let policy =
        |rule: &ChannelRule| Policy { batch_delay_us: rule.batch_delay.as_micros() as u32, overflow: rule.overflow };
    Policies::new(rules.iter().map(|rule| (rule.pattern.clone(), policy(rule))))
}

pub fn notifications(settings: &config::Notifications) -> Notifications {
    let bounds = Bounds {
        per_user: settings.per_user,
        total: settings.total,
        bytes: settings.bytes,
        expiry_ticks: ticks(settings.expiry),
        memory_ticks: ticks(settings.remember),
        first_repeat_ticks: ticks(settings.first_repeat),
        longest_repeat_ticks: ticks(settings.longest_repeat),
    };
    Notifications::new(settings.keep.then_some(bounds))
}

fn echo(config: &Config) -> Option<Echo> {
    let Debug { echo_path, echo_message_bytes } = &config.debug;
    echo_path.clone().map(|path| Echo { path, message_bytes_max: *echo_message_bytes })
}
