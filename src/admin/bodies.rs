//! Bodies of requests, gathered before a handler runs: under a deadline, and all together within a bound.
//!
//! Called as a layer behind [`super::guard`], and only for what is posted, so nobody without the
//! right to send has a body read.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State as Shared};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::ws::frame::MESSAGE_BYTES_MAX;

use super::State;
use super::clients::Client;
use super::error::AdminError;

/// Bytes of all bodies that are under way, until they are answered: as many as four of the largest messages have, and
/// many of the usual ones.
const BODIES_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;

/// The room for all of them. Clones are the same.
#[derive(Clone)]
pub struct Bodies {
    room: Arc<Semaphore>,
    deadline: Duration,
}

/// A whole body, and its share of the room.
struct Gathered {
    bytes: Vec<u8>,
    share: Option<OwnedSemaphorePermit>,
}

pub async fn gather(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Result<Response, AdminError> {
    gather_within(MESSAGE_BYTES_MAX, &state, request, next).await
}

/// The same for bodies of up to `bytes_max`, in which more than a message stands.
pub async fn gather_within(
    bytes_max: usize,
    state: &State,
    request: Request,
    next: Next,
) -> Result<Response, AdminError> {
    let (head, body) = request.into_parts();
    if body.is_end_stream() {
        return Ok(next.run(Request::from_parts(head, body)).await);
    }
    let awaiting = head.extensions.get().map(Client::await_body);
    let Gathered { bytes, share } = state.bodies.read(body, bytes_max).await?;
    drop(awaiting);
    let response = next.run(Request::from_parts(head, Body::from(bytes))).await;
    drop(share);
    Ok(response)
}

impl Bodies {
    pub fn new(deadline: Duration) -> Self {
        Self { room: Arc::new(Semaphore::new(BODIES_BYTES_MAX)), deadline }
    }

    /// For what has begun to come.
    #[cfg(feature = "grpc")]
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Room for so many bytes that have come, until it is dropped.
    pub fn claim(&self, bytes: usize) -> Result<OwnedSemaphorePermit, AdminError> {
        let bytes = u32::try_from(bytes).map_err(|_| AdminError::BodyTooLarge)?;
        self.room.clone().try_acquire_many_owned(bytes).map_err(|_| AdminError::BodiesFull)
    }

    async fn read(&self, body: Body, bytes_max: usize) -> Result<Gathered, AdminError> {
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(AdminError::BodyTooLarge);
        }
        timeout(self.deadline, self.gather(body, bytes_max)).await.unwrap_or(Err(AdminError::BodyTooSlow))
    }

    /// A share grows with what has come and not with what was promised: who promises much
    /// and sends little holds little.
    async fn gather(&self, body: Body, bytes_max: usize) -> Result<Gathered, AdminError> {
        let mut gathered = Gathered { bytes: Vec::new(), share: None };
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| AdminError::BodyUnreadable)?;
            if gathered.bytes.len() + chunk.len() > bytes_max {
                return Err(AdminError::BodyTooLarge);
            }
            let more = self.claim(chunk.len())?;
            match &mut gathered.share {
                Some(share) => share.merge(more),
                none => *none = Some(more),
            }
            gathered.bytes.extend_from_slice(&chunk);
        }
        Ok(gathered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bytes: usize) -> Body {
        Body::from(vec![b'x'; bytes])
    }

    async fn read(bodies: &Bodies, body: Body) -> Result<Gathered, AdminError> {
        bodies.read(body, MESSAGE_BYTES_MAX).await
    }

    #[tokio::test]
    async fn bodies_share_a_bounded_room_until_they_are_answered() {
        let bodies = Bodies::new(Duration::from_secs(5));
        let mut held = Vec::new();
        for _ in 0..BODIES_BYTES_MAX / MESSAGE_BYTES_MAX {
            held.push(read(&bodies, body(MESSAGE_BYTES_MAX)).await.ok().unwrap());
        }
        assert_eq!(read(&bodies, body(1)).await.err(), Some(AdminError::BodiesFull));
        held.pop();
        assert_eq!(read(&bodies, body(5)).await.ok().unwrap().bytes, b"xxxxx");
        assert_eq!(read(&bodies, body(MESSAGE_BYTES_MAX + 1)).await.err(), Some(AdminError::BodyTooLarge));
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let bodies = Bodies::new(Duration::from_millis(10));
        let never = Body::from_stream(futures_util::stream::pending::<Result<&[u8], std::io::Error>>());
        assert_eq!(read(&bodies, never).await.err(), Some(AdminError::BodyTooSlow));
    }
}
