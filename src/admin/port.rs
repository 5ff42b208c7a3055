//! The listening half of the admin port: accepts within the limit of connections, and serves HTTP/1, or HTTP/2 for
//! gRPC, with a deadline for each thing that a client may be slow at: its head, the next request, its body
//! ([`super::bodies`]), taking its answer.
//!
//! Descriptors for the limit are kept aside at start (`limits::Size`), so the
//! public port cannot use them up.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
#[cfg(feature = "grpc")]
use hyper::server::conn::http2;
use hyper::service::{Service, service_fn};
#[cfg(feature = "grpc")]
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
#[cfg(feature = "grpc")]
use tokio::time::sleep_until;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use crate::config;
use crate::control::Stop;
#[cfg(feature = "grpc")]
use crate::http2::connection_window;

use super::clients::{Client, Clients};
use super::write_deadline::WriteDeadline;

/// Longest head of a request: our paths are short, and tokens a few kilobytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Between two attempts while nobody can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepting fails many times in a row or not at all; the log hears of it this often.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// How long requests that are under way may take when the port closes.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Requests of one connection over HTTP/2 that may be under way.
#[cfg(feature = "grpc")]
const REQUESTS_MAX: u32 = 32;

/// What is read ahead of one of them, which holds up none of the others.
#[cfg(feature = "grpc")]
const REQUEST_WINDOW_BYTES: u32 = 64 << 10;

const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n";

/// What clients speak.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    #[cfg(feature = "grpc")]
    Http2,
}

pub struct Port {
    protocol: Protocol,
    router: Router,
    clients: Clients,
    head_deadline: Duration,
    transfer_deadline: Duration,
}

impl Port {
    pub fn new(protocol: Protocol, router: Router, settings: &config::Admin) -> Self {
        let config::Admin { connections, head_deadline, transfer_deadline, .. } = *settings;
        Self { protocol, router, clients: Clients::new(connections), head_deadline, transfer_deadline }
    }

    /// Serves until it is stopped, and lets what is under way end within the grace.
    pub async fn serve(self, listener: TcpListener, stop: Stop) {
        // Never sent to: every connection holds the one end, and the other one knows when the last is gone.
        let (open, mut all_gone) = mpsc::channel::<Infallible>(1);
        stop.run_until_cancelled(Arc::new(self).accept(&listener, &stop, open)).await;
        drop(listener);
        let _ = timeout(STOP_GRACE, all_gone.recv()).await;
    }

    async fn accept(self: Arc<Self>, listener: &TcpListener, stop: &Stop, open: mpsc::Sender<Infallible>) {
        let mut told: Option<Instant> = None;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    if let Some(client) = self.let_in().await {
                        let (attending, open) = (self.clone().attend(stream, client, stop.clone()), open.clone());
                        tokio::spawn(async move {
                            attending.await;
                            drop(open);
                        });
                    } else if self.protocol == Protocol::Http1 {
                        // Whoever cannot take it at once goes without.
                        let _ = stream.try_write(FULL);
                    }
                }
                // A client that has gone already, or no descriptor for it: both pass.
                Err(error) => {
                    if told.is_none_or(|told| told.elapsed() >= TOLD_EVERY) {
                        warn!(%error, "the admin port could not accept a connection");
                        told = Some(Instant::now());
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// A place, once somebody has left it when there is none; no place when everybody is being served.
    async fn let_in(&self) -> Option<Client> {
        while self.clients.is_full() {
            if !self.clients.make_room() {
                return None;
            }
            // The one who was asked goes before this task is back.
            tokio::task::yield_now().await;
        }
        Some(self.clients.enter())
    }

    async fn attend(self: Arc<Self>, stream: TcpStream, client: Client, stop: Stop) {
        let (stream, client) = (TokioIo::new(WriteDeadline::new(stream, self.transfer_deadline)), Arc::new(client));
        match self.protocol {
            Protocol::Http1 => self.speak_http1(stream, &client, &stop).await,
            #[cfg(feature = "grpc")]
            Protocol::Http2 => self.speak_http2(stream, &client, &stop).await,
        }
    }

    /// What is done with a request.
    fn service(
        &self,
        client: &Arc<Client>,
    ) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> + use<> {
        let (router, whose) = (TowerToHyperService::new(self.router.clone()), client.clone());
        service_fn(move |mut request: Request<Incoming>| {
            let served = whose.serve();
            request.extensions_mut().insert(whose.clone());
            let answering = router.call(request);
            async move {
                let answer = answering.await;
                drop(served);
                answer
            }
        })
    }

    async fn speak_http1(&self, stream: TokioIo<WriteDeadline>, client: &Arc<Client>, stop: &Stop) {
        let service = self.service(client);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.head_deadline)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(stream, service);
        tokio::pin!(connection);
        tokio::select! {
            // Before the connection is looked at: whoever is asked to go must not begin a request and be cut off in it.
            biased;
            () = client.asked_to_go() => return,
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
            // An error is the client's: it was too slow, wrote no HTTP, or went away.
            _ = connection.as_mut() => return,
        }
        let _ = connection.await;
    }

    /// As over HTTP/1, but that several requests may be under way, so that the next one is waited for here.
    #[cfg(feature = "grpc")]
    async fn speak_http2(&self, stream: TokioIo<WriteDeadline>, client: &Arc<Client>, stop: &Stop) {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(HEAD_BYTES_MAX as u32)
            .max_concurrent_streams(REQUESTS_MAX)
            .initial_stream_window_size(REQUEST_WINDOW_BYTES)
            .initial_connection_window_size(connection_window(REQUEST_WINDOW_BYTES, REQUESTS_MAX))
            .keep_alive_interval(self.transfer_deadline)
            .keep_alive_timeout(self.transfer_deadline)
            .serve_connection(stream, self.service(client));
        tokio::pin!(connection);
        let mut is_ending = false;
        loop {
            // Who has been asked to end may still have something under way.
            let patience = if is_ending { STOP_GRACE } else { self.head_deadline };
            let waits_until = client.waits_since().unwrap_or_else(Instant::now) + patience;
            tokio::select! {
                biased;
                () = client.asked_to_go() => return,
                () = stop.cancelled(), if !is_ending => {}
                _ = connection.as_mut() => return,
                () = sleep_until(waits_until) => {
                    if client.waits_since().is_none_or(|since| since.elapsed() < patience) {
                        continue;
                    }
                    if is_ending {
                        return;
                    }
                }
            }
            connection.as_mut().graceful_shutdown();
            is_ending = true;
        }
    }
}
