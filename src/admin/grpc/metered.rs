//! The body of a stream of messages, metered as it comes: what has come and is not answered yet has its share of the
//! room for all bodies, and a message that has begun must come whole in time.
//!
//! Invariant: a client is late only with what it has begun itself, and only for as long as nothing else holds it up.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use crate::admin::bodies::Bodies;
use crate::admin::error::AdminError;

use super::boundaries::Boundaries;

/// What has come and was not taken yet.
#[derive(Clone, Default)]
pub struct Share(Arc<Mutex<Arrived>>);

#[derive(Default)]
struct Arrived {
    room: Option<OwnedSemaphorePermit>,
    boundaries: Boundaries,
    /// Bytes of each message that is whole, in their order. As many as one frame brings, and those that are read ahead.
    whole: VecDeque<usize>,
    /// While the rest of a message is awaited.
    late: Option<Pin<Box<Sleep>>>,
}

struct Metered {
    body: Body,
    bodies: Bodies,
    share: Share,
}

pub async fn meter(Shared(state): Shared<Arc<State>>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let share = Share::default();
    head.extensions.insert(share.clone());
    let metered = Metered { body, bodies: state.bodies.clone(), share };
    next.run(Request::from_parts(head, Body::new(metered))).await
}

impl Share {
    /// Holds the room of so many messages, those that came first, until it is dropped. What has come of the next one
    /// keeps its room, and its time begins anew: nobody reads it while these are published.
    pub fn take(&self, messages: usize) -> Option<OwnedSemaphorePermit> {
        let mut arrived = self.arrived();
        arrived.late = None;
        let messages = messages.min(arrived.whole.len());
        let bytes = arrived.whole.drain(..messages).sum();
        arrived.room.as_mut()?.split(bytes)
    }

    fn add(&self, bytes: &[u8], bodies: &Bodies) -> Result<(), AdminError> {
        let more = bodies.claim(bytes.len())?;
        let Arrived { room, boundaries, whole, late } = &mut *self.arrived();
        match room {
            Some(room) => room.merge(more),
            none => *none = Some(more),
        }
        boundaries.pass(bytes, |message| {
            whole.push_back(message);
            *late = None;
        });
        Ok(())
    }

    /// Whether the rest of a message was awaited for too long; woken when it is.
    fn is_late(&self, deadline: Duration, context: &mut Context<'_>) -> bool {
        let Arrived { boundaries, late, .. } = &mut *self.arrived();
        boundaries.is_within()
            && late.get_or_insert_with(|| Box::pin(sleep(deadline))).as_mut().poll(context).is_ready()
    }

    fn arrived(&self) -> MutexGuard<'_, Arrived> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let admitted = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => {
                let added = frame.data_ref().map_or(Ok(()), |bytes| self.share.add(bytes, &self.bodies));
                added.map(|()| frame)
            }
            Poll::Ready(Some(Err(_))) => Err(AdminError::BodyUnreadable),
            Poll::Pending if self.share.is_late(self.bodies.deadline(), context) => Err(AdminError::BodyTooSlow),
            Poll::Pending => return Poll::Pending,
        };
        Poll::Ready(Some(admitted.map_err(AdminError::status)))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt;
    use futures_util::stream::{self, StreamExt};

    use super::*;

    const MESSAGE: &[u8] = b"\0\0\0\0\x06\x0a\x01q\x12\x01x";

    #[tokio::test]
    async fn half_a_message_keeps_its_room_and_its_time_begins_when_it_is_awaited() {
        let (bodies, share) = (Bodies::new(Duration::from_secs(3600)), Share::default());
        let come = Bytes::from([MESSAGE, MESSAGE, &MESSAGE[..7]].concat());
        let frames = stream::iter([Ok::<_, std::io::Error>(come)]).chain(stream::pending());
        let mut metered = Metered { body: Body::from_stream(frames), bodies, share: share.clone() };
        let mut poll = || poll_fn(|cx| Pin::new(&mut metered).poll_frame(cx)).now_or_never();
        assert!(poll().flatten().is_some_and(|frame| frame.is_ok()));
        assert!(poll().is_none());
        assert!(share.arrived().late.is_some());
        let held = |permit: &Option<OwnedSemaphorePermit>| permit.as_ref().map(OwnedSemaphorePermit::num_permits);
        let [first, second] = [share.take(1), share.take(1)];
        assert_eq!([held(&first), held(&second), held(&share.arrived().room)], [Some(11), Some(11), Some(7)]);
        assert!(share.arrived().late.is_none(), "nobody has awaited the rest while these were published");
        assert!(poll().is_none());
        assert!(share.arrived().late.is_some());
    }
}
