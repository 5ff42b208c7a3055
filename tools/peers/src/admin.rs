//! The admin port, the same for both servers: `POST /broadcast/channel/{name}`, `GET /health`, `GET /readyz`.
//!
//! The body of a broadcast is the message, delivered byte for byte; only its UTF-8 is checked, as text frames demand.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::channels::Channels;

/// `M` is made from the body, or refuses it.
pub fn router<M>(channels: Arc<Channels<M>>) -> Router
where
    M: TryFrom<Bytes> + Clone + Send + Sync + 'static,
{
    Router::new()
        .route("/broadcast/channel/{*name}", post(broadcast::<M>))
        .route("/health", get(health::<M>))
        .route("/readyz", get(async || Json(json!({ "ready": true }))))
        .with_state(channels)
}

async fn broadcast<M>(
    State(channels): State<Arc<Channels<M>>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, StatusCode>
where
    M: TryFrom<Bytes> + Clone + Send + 'static,
{
    let message = M::try_from(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok(Json(json!({ "delivered": channels.publish(&name, message) })))
}

pub async fn health<M: Clone + Send + 'static>(State(channels): State<Arc<Channels<M>>>) -> Json<Value> {
    Json(json!({ "status": "ok", "connections": channels.connections() }))
}
