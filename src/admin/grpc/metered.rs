//! The body of a stream of messages, metered as it comes: what has come and is not answered yet has its share of the
//! room for all bodies, and a message that has begun must come whole in time.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State as Shared};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::Frame;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};
use tonic::Status;

use crate::admin::State;
use crate::admin::error::AdminError;

/// What has come since it was last taken.
#[derive(Clone, Default)]
pub struct Share(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

struct Metered {
    body: Body,
    state: Arc<State>,
    share: Share,
    /// While a message has come in part.
    late: Option<Pin<Box<Sleep>>>,
}

pub async fn meter(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let share = Share::default();
    head.extensions.insert(share.clone());
    let metered = Metered { body, state, share, late: None };
    next.run(Request::from_parts(head, Body::new(metered))).await
}

impl Share {
    /// Holds the room until it is dropped.
    pub fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn add(&self, more: OwnedSemaphorePermit) {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(share) => share.merge(more),
            none => *none = Some(more),
        }
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

impl Metered {
    fn deadline(&self) -> Duration {
        self.state.bodies.deadline()
    }

    fn is_late(&mut self, context: &mut Context<'_>) -> bool {
        if self.share.is_empty() {
            self.late = None;
            return false;
        }
        let deadline = self.deadline();
        self.late.get_or_insert_with(|| Box::pin(sleep(deadline))).as_mut().poll(context).is_ready()
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Pending if self.is_late(context) => return Poll::Ready(Some(Err(AdminError::BodyTooSlow.status()))),
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(frame)) => frame.map_err(|_| AdminError::BodyUnreadable.status()),
        };
        let admitted = frame.and_then(|frame| {
            if let Some(bytes) = frame.data_ref().map(Bytes::len).filter(|bytes| *bytes > 0) {
                self.share.add(self.state.bodies.claim(bytes).map_err(AdminError::status)?);
            }
            Ok(frame)
        });
        Poll::Ready(Some(admitted))
    }
}
