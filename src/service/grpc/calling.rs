//! One call of a backend, from the job to its answer: sent under the job's deadline, and what comes back told to who
//! waits.
//!
//! A stream begins when the backend has accepted the call; from then on the next message of its key may go, and the
//! answers come as fast as the client takes them ([`crate::service::stream`]).

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt};
use http::Uri;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::config::GrpcService;
use crate::lane::{Content, Failure};
use crate::proto::chat::v1::chat_service_client::ChatServiceClient;
use crate::proto::location::v1::location_service_client::LocationServiceClient;
use crate::proto::notification::v1::notification_service_client::NotificationServiceClient;
use crate::proto::relay::v1::relay_service_client::RelayServiceClient;
use crate::service::lines::{Key, Place};
use crate::service::queue::CallId;
use crate::service::stream::{Ended, Flow, Stream};
use crate::service::{Job, ServiceStatus};

use super::connection::{Target, Transport, is_of_transport, is_unsent};
use super::contract::{Ask, Garbage, Open, Reply, Said, ask, open};
use super::fields::Unfit;

/// What goes to the backend.
pub struct Waiting {
    pub job: Job,
    /// Of a service that streams.
    pub flow: Option<Arc<Flow>>,
}

impl Borrow<Content> for Waiting {
    fn borrow(&self) -> &Content {
        &self.job.content
    }
}

/// What becomes of a call.
pub enum Event {
    /// The backend has begun to answer.
    Begun { line: Option<Key>, answers: BoxFuture<'static, Event> },
    /// All is said.
    Ended { place: Place, call: Option<CallId> },
    /// The connection was lost before anything had been sent.
    Unsent { place: Place, waiting: Waiting },
}

/// Calls over one connection. Clones are the same.
#[derive(Clone)]
pub struct Caller(Arc<Inner>);

struct Inner {
    target: Arc<Target>,
    transport: Transport,
    service: GrpcService,
    status: Arc<ServiceStatus>,
}

type Answers = BoxStream<'static, Result<Said, Status>>;

impl Caller {
    pub fn new(target: Arc<Target>, transport: Transport, service: &GrpcService, status: Arc<ServiceStatus>) -> Self {
        Self(Arc::new(Inner { target, transport, service: service.clone(), status }))
    }

    pub fn call(&self, place: Place, waiting: Waiting) -> BoxFuture<'static, Event> {
        let inner = self.0.clone();
        match waiting.flow {
            None => Box::pin(inner.unary(place, waiting.job)),
            Some(flow) => Box::pin(inner.stream(place, waiting.job, flow)),
        }
    }
}

impl Inner {
    async fn unary(self: Arc<Self>, place: Place, job: Job) -> Event {
        let call = job.id();
        let (kind, left) = (job.content.kind.clone(), job.time_left());
        let answer = match ask(self.service.contract, &job.content) {
            Ok(_) if left.is_zero() => Err(Failure::Late),
            Ok(ask) => match timeout(left, self.send(ask, &kind, left)).await {
                Ok(Err(status)) if is_unsent(&status) => {
                    return Event::Unsent { place, waiting: Waiting { job, flow: None } };
                }
                Ok(answer) => {
                    answer.map_err(|status| self.failure(&status)).and_then(|said| self.checked(said, job.reads_all()))
                }
                Err(_) => Err(Failure::Late),
            },
            Err(unfit) => Err(self.unfit(&job, unfit)),
        };
        match answer {
            Ok(Said::Message(text)) => job.answer(&text),
            Ok(Said::Nothing) => job.taken(),
            Err(failure) => job.fail(failure),
        }
        Event::Ended { place, call }
    }

    async fn stream(self: Arc<Self>, mut place: Place, job: Job, flow: Arc<Flow>) -> Event {
        let (call, kind, left) = (job.id(), job.content.kind.clone(), job.time_left());
        let asked = match open(self.service.contract, &job.content) {
            Ok(_) if left.is_zero() => Err(Failure::Late),
            asked => asked.map_err(|unfit| self.unfit(&job, unfit)),
        };
        let stream = Stream::new(job, flow.clone());
        let ask = match asked {
            Ok(ask) => ask,
            Err(failure) => {
                stream.fail(failure);
                return Event::Ended { place, call };
            }
        };
        let until = Instant::now() + self.service.stream_timeout;
        let opening = timeout(left, self.open(ask, &kind, self.service.stream_timeout));
        match stream.unless_ended(opening).await {
            Ok(Ok(Ok(answers))) => {
                let line = place.leave_line();
                let answers = async move {
                    self.pass_on(answers, stream, until).await;
                    Event::Ended { place, call }
                };
                return Event::Begun { line, answers: Box::pin(answers) };
            }
            Ok(Ok(Err(status))) if is_unsent(&status) => {
                return Event::Unsent { place, waiting: Waiting { job: stream.into_job(), flow: Some(flow) } };
            }
            Ok(Ok(Err(status))) => stream.fail(self.failure(&status)),
            Ok(Err(_)) => stream.fail(Failure::Late),
            Err(_) => stream.end(),
        }
        Event::Ended { place, call }
    }

    /// Asks the backend for more whenever what it said last has found room.
    async fn pass_on(&self, mut answers: Answers, mut stream: Stream, until: Instant) {
        loop {
            let Ok(next) = stream.unless_ended(timeout_at(until, answers.next())).await else { return stream.end() };
            let said = match next {
                Ok(Some(Ok(said))) => self.checked(said, stream.reads_all()),
                Ok(Some(Err(status))) => Err(self.failure(&status)),
                Ok(None) => return stream.taken(),
                Err(_) => Err(Failure::Late),
            };
            match said {
                Ok(Said::Message(text)) => match timeout_at(until, stream.part(&text)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(Ended)) => return stream.end(),
                    // Its client has not taken it in all that time.
                    Err(_) => return stream.fail(Failure::Late),
                },
                Ok(Said::Nothing) => {}
                Err(failure) => return stream.fail(failure),
            }
        }
    }

    fn unfit(&self, job: &Job, Unfit(field): Unfit) -> Failure {
        self.status.tell_failed(&format!("`{field}` of {} does not fit the contract", job.content.kind));
        Failure::Refused
    }

    /// What goes to a client is a message. Who reads all (`reads_all`) sees for himself.
    fn checked(&self, said: Said, reads_all: bool) -> Result<Said, Failure> {
        if reads_all {
            return Ok(said);
        }
        said.checked().map_err(|Garbage| {
            self.status.tell_failed("the backend answered with what is no message");
            Failure::Refused
        })
    }

    fn failure(&self, status: &Status) -> Failure {
        self.status.tell_failed(&format!("{:?}: {}", status.code(), status.message()));
        failure(status)
    }

    async fn send(&self, ask: Ask, kind: &str, left: Duration) -> Result<Said, Status> {
        fn said<R: Reply>(answer: Response<R>, kind: &str) -> Said {
            answer.into_inner().said(kind)
        }
        match ask {
            Ask::Forward(ask) => self.relay().forward(self.request(ask, left)).await.map(|answer| said(answer, kind)),
            Ask::ReportLocation(ask) => {
                self.location().report_location(self.request(ask, left)).await.map(|answer| said(answer, kind))
            }
            Ask::SendChat(ask) => self.chat().send(self.request(ask, left)).await.map(|answer| said(answer, kind)),
            Ask::AcknowledgeNotification(ask) => {
                self.notification().acknowledge(self.request(ask, left)).await.map(|answer| said(answer, kind))
            }
            Ask::ReadNotification(ask) => {
                self.notification().read(self.request(ask, left)).await.map(|answer| said(answer, kind))
            }
        }
    }

    async fn open(&self, open: Open, kind: &str, left: Duration) -> Result<Answers, Status> {
        fn answers<R: Reply + Send + 'static>(answer: Response<Streaming<R>>, kind: &str) -> Answers {
            let kind = Box::<str>::from(kind);
            answer.into_inner().map(move |reply| reply.map(|reply| reply.said(&kind))).boxed()
        }
        match open {
            Open::Forward(ask) => {
                self.relay().forward_stream(self.request(ask, left)).await.map(|answer| answers(answer, kind))
            }
            Open::WatchLocation(ask) => {
                self.location().watch(self.request(ask, left)).await.map(|answer| answers(answer, kind))
            }
            Open::ChatHistory(ask) => {
                self.chat().history(self.request(ask, left)).await.map(|answer| answers(answer, kind))
            }
            Open::ListNotifications(ask) => {
                self.notification().list(self.request(ask, left)).await.map(|answer| answers(answer, kind))
            }
        }
    }

    fn request<T>(&self, ask: T, left: Duration) -> Request<T> {
        let mut request = Request::new(ask);
        *request.metadata_mut() = self.target.metadata.clone();
        request.set_timeout(left);
        request
    }

    fn relay(&self) -> RelayServiceClient<Transport> {
        RelayServiceClient::with_origin(self.transport.clone(), self.origin())
            .max_decoding_message_size(self.service.message_bytes)
    }

    fn location(&self) -> LocationServiceClient<Transport> {
        LocationServiceClient::with_origin(self.transport.clone(), self.origin())
            .max_decoding_message_size(self.service.message_bytes)
    }

    fn chat(&self) -> ChatServiceClient<Transport> {
        ChatServiceClient::with_origin(self.transport.clone(), self.origin())
            .max_decoding_message_size(self.service.message_bytes)
    }

    fn notification(&self) -> NotificationServiceClient<Transport> {
        NotificationServiceClient::with_origin(self.transport.clone(), self.origin())
            .max_decoding_message_size(self.service.message_bytes)
    }

    fn origin(&self) -> Uri {
        self.target.origin.clone()
    }
}

/// The table: what a client is told when a call fails.
fn failure(status: &Status) -> Failure {
    match status.code() {
        _ if is_of_transport(status) => Failure::Away,
        Code::Unavailable => Failure::Away,
        Code::DeadlineExceeded => Failure::Late,
        Code::ResourceExhausted => Failure::Full,
        _ => Failure::Refused,
    }
}
