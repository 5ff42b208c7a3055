//! `PublishMany`: messages as they come, an answer to each in their order. What has come already goes together, as a
//! list that is posted to `/publish` would.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Code, Request, Status, Streaming};

use crate::admin::State;
use crate::admin::batch::{self, CHANNELS_MAX, Entry};
use crate::admin::clients::{Client, UnderWay};
use crate::admin::error::AdminError;
use crate::admin::publish::LATER;
use crate::admin::published::Published;
use crate::proto::admin::v1::{Error, PublishReply, PublishRequest};

use super::metered::Share;
use super::methods::{entry, published, reply};

/// Messages that go together, and their bytes, each once for every channel. Of these there are no more than may go
/// together at all, so that none is refused for the others.
const TOGETHER_MAX: usize = 256;
const TOGETHER_BYTES_MAX: usize = 256 << 10;

pub struct Many {
    state: Arc<State>,
    requests: Streaming<PublishRequest>,
    share: Option<Share>,
    client: Option<Arc<Client>>,
    /// Of the client's streams this one.
    _stream: Option<UnderWay>,
    /// Answers that are still to be taken.
    replies: VecDeque<PublishReply>,
    /// Has come, and does not go together with what came before it.
    next: Option<PublishRequest>,
    /// How the stream has ended.
    end: Option<Result<(), Status>>,
}

impl Many {
    pub fn new(state: Arc<State>, request: Request<Streaming<PublishRequest>>) -> Self {
        let (_, extensions, requests) = request.into_parts();
        let (share, client) = (extensions.get().cloned(), extensions.get().cloned());
        let _stream = client.as_ref().map(Client::open_stream);
        Self { state, requests, share, client, _stream, replies: VecDeque::new(), next: None, end: None }
    }

    pub fn answers(self) -> BoxStream<'static, Result<PublishReply, Status>> {
        stream::unfold(self, async |mut many| many.answer().await.map(|answer| (answer, many))).boxed()
    }

    async fn answer(&mut self) -> Option<Result<PublishReply, Status>> {
        while self.replies.is_empty() {
            let Some(first) = self.first().await else { return self.end.take()?.err().map(Err) };
            // Whoever has sent something is served, and not asked to go.
            let served = self.client.as_ref().map(Client::serve);
            self.publish(first).await;
            drop(served);
        }
        self.replies.pop_front().map(Ok)
    }

    async fn first(&mut self) -> Option<PublishRequest> {
        if self.next.is_some() || self.end.is_some() {
            return self.next.take();
        }
        let came = self.requests.message().await;
        self.keep(came);
        self.next.take()
    }

    fn keep(&mut self, came: Result<Option<PublishRequest>, Status>) {
        match came {
            Ok(Some(request)) => self.next = Some(request),
            Ok(None) => self.end = Some(Ok(())),
            // What its head says is more than is read of any message.
            Err(status) if status.code() == Code::OutOfRange => self.end = Some(Err(AdminError::BodyTooLarge.status())),
            Err(status) => self.end = Some(Err(status)),
        }
    }

    async fn publish(&mut self, first: PublishRequest) {
        if first.idempotency_key.is_some() {
            let share = self.take(1);
            let reply = published(&self.state, first).await.unwrap_or_else(refused);
            self.replies.push_back(reply);
            return drop(share);
        }
        let together = self.together(first);
        let share = self.take(together.len());
        let (mut entries, mut refusals) = (Vec::new(), Vec::new());
        for request in together {
            match entry(request).and_then(|entry| batch::check(std::slice::from_ref(&entry)).map(|()| entry)) {
                Ok(entry) => {
                    entries.push(entry);
                    refusals.push(None);
                }
                Err(error) => refusals.push(Some(error)),
            }
        }
        let published = publish_all(&self.state, entries).await;
        let mut results = published.iter().flat_map(|published| published.results.iter().cloned());
        let note = published.as_ref().ok().and_then(|published| published.note.as_deref());
        for refusal in refusals {
            self.replies.push_back(match (refusal, &published) {
                (Some(error), _) => refused(error),
                (None, Err(error)) => refused(*error),
                (None, Ok(_)) => match results.next().unwrap_or_default() {
                    // What goes out later is what was kept, and nothing that came with it.
                    delivered if note == Some(LATER) && delivered.kept != Some(true) => refused(AdminError::NotTaken),
                    delivered => reply(delivered, note),
                },
            });
        }
        drop(share);
    }

    /// The room of messages that are published now.
    fn take(&self, messages: usize) -> Option<OwnedSemaphorePermit> {
        self.share.as_ref()?.take(messages)
    }

    /// With those behind it that are there already.
    fn together(&mut self, first: PublishRequest) -> Vec<PublishRequest> {
        let size = |request: &PublishRequest| request.channels.len().max(1) * request.message.len();
        let (mut channels, mut bytes) = (first.channels.len(), size(&first));
        let mut together = vec![first];
        while self.end.is_none() {
            if self.next.is_none() {
                let Some(came) = self.requests.message().now_or_never() else { break };
                self.keep(came);
            }
            let fits = |request: &PublishRequest| {
                request.idempotency_key.is_none()
                    && channels + request.channels.len() <= CHANNELS_MAX
                    && bytes + size(request) <= TOGETHER_BYTES_MAX
            };
            let Some(request) = self.next.take_if(|request| fits(request)) else { break };
            channels += request.channels.len();
            bytes += size(&request);
            together.push(request);
            if together.len() == TOGETHER_MAX {
                break;
            }
        }
        together
    }
}

async fn publish_all(state: &State, entries: Vec<Entry>) -> Result<Published, AdminError> {
    if entries.is_empty() { Ok(Published::default()) } else { batch::carry_out(state, entries).await }
}

fn refused(error: AdminError) -> PublishReply {
    let error = Error { code: error.code().to_owned(), message: error.sentence().to_owned() };
    PublishReply { error: Some(error), ..PublishReply::default() }
}
