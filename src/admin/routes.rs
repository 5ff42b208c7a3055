//! Every path of the admin port.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};

use crate::ws::frame::MESSAGE_BYTES_MAX;

use super::error::AdminError;
use super::{
    State, batch, bodies, dashboard, guard, health, latency, listing, metrics, notifications, presence, publish,
    revoke, test_client,
};

pub fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/", get(dashboard::page))
        .route("/dashboard.json", get(dashboard::numbers))
        .route("/client", get(test_client::page))
        .route("/client.json", get(test_client::settings))
        .route("/routes", get(test_client::routes))
        .route("/health", get(health::health))
        .route("/health/websocket", get(health::websocket))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/stats", get(health::stats))
        .route("/metrics", get(metrics::metrics))
        .route("/latency", get(latency::latency))
        .route("/latency.hlog", get(latency::hlog))
        .route("/connections", get(listing::connections))
        .route("/channels", get(listing::channels))
        .route("/presence", get(presence::presence))
        .route("/notifications/{id}", get(notifications::told))
        .merge(with_bodies(state.clone()))
        .fallback(async || AdminError::PathNotFound)
        .method_not_allowed_fallback(async || AdminError::MethodNotAllowed)
        .layer(middleware::from_fn_with_state(state.clone(), guard::check))
        .with_state(state)
}

/// What is posted. Nobody's body is read anywhere else: probes are open to all, and a body
/// would be a way to hold a place.
fn with_bodies(state: Arc<State>) -> Router<Arc<State>> {
    Router::new()
        .route("/broadcast/user/{id}", post(publish::to_user))
        .route("/broadcast/channel/{*name}", post(publish::to_channel))
        .route("/broadcast/all", post(publish::to_all))
        .route("/publish", post(batch::publish_list))
        .route("/send/session/{id}", post(publish::to_session))
        .route("/disconnect/user/{id}", post(revoke::disconnect_user))
        .route("/revoke/user/{id}", post(revoke::user))
        .route("/revoke/token/{jti}", post(revoke::token))
        .layer(DefaultBodyLimit::max(MESSAGE_BYTES_MAX))
        .route_layer(middleware::from_fn_with_state(state, bodies::gather))
}
