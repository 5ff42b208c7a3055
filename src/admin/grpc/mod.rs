//! The admin port over gRPC: the methods of `proto/admin.proto`, each of which does what its HTTP counterpart does, by
//! the same functions. Served by a [port](super::port) of its own, with the same deadlines and limits.
//!
//! What posts one message has its body gathered as over HTTP ([`super::bodies`]); of a stream of messages each is
//! gathered for itself ([`metered`], by its [`boundaries`]).

mod boundaries;
mod many;
mod metered;
mod methods;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::middleware::{self, Next};
use axum::response::Response;
use tonic::Status;

use crate::proto::admin::v1::admin_service_server::{AdminServiceServer, SERVICE_NAME};
use crate::ws::frame::MESSAGE_BYTES_MAX;

use super::{State, bodies, guard};

use boundaries::HEAD_BYTES;
use methods::Methods;

/// Names and narrowing beside the message itself: in a body of its own, and in a stream.
const REQUEST_BYTES_MAX: usize = MESSAGE_BYTES_MAX + (64 << 10);

pub fn router(state: Arc<State>) -> Router {
    let methods = AdminServiceServer::new(Methods(state.clone())).max_decoding_message_size(REQUEST_BYTES_MAX);
    let gathered = middleware::from_fn_with_state(state.clone(), gather);
    let metered = middleware::from_fn_with_state(state.clone(), metered::meter);
    let one =
        Router::new().route_service(&format!("/{SERVICE_NAME}/{{method}}"), methods.clone()).route_layer(gathered);
    let many = Router::new().route_service(&format!("/{SERVICE_NAME}/PublishMany"), methods).route_layer(metered);
    one.merge(many)
        .fallback(async || Status::unimplemented("").into_http::<axum::body::Body>())
        .layer(middleware::from_fn_with_state(state, admit))
}

async fn admit(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    match guard::admit(&state, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.status().into_http(),
    }
}

async fn gather(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    let gathering = bodies::gather_within(HEAD_BYTES + REQUEST_BYTES_MAX, &state, request, next);
    gathering.await.unwrap_or_else(|error| error.status().into_http())
}
