//! What is no backend, or a bad one: it is silent, speaks something else, or speaks HTTP/2 and says what no backend
//! says.

use std::convert::Infallible;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::oneshot;

use super::ports;
use super::wait::PAUSE;

/// Accepts, and writes this to everybody.
pub struct Noise {
    pub address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Noise {
    pub fn start(noise: &'static [u8]) -> Noise {
        let address = ports::free();
        let listener = TcpListener::bind(address).expect("the port is free");
        listener.set_nonblocking(true).expect("a listener");
        let is_over = Arc::<AtomicBool>::default();
        let over = is_over.clone();
        let thread = thread::spawn(move || {
            let mut open: Vec<TcpStream> = Vec::new();
            while !over.load(SeqCst) {
                match listener.accept() {
                    Ok((mut stream, _)) => {
                        let _ = stream.write_all(noise);
                        open.push(stream);
                    }
                    Err(_) => thread::sleep(PAUSE),
                }
            }
        });
        Noise { address, is_over, thread: Some(thread) }
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// An answer over HTTP/2, piece by piece.
#[derive(Clone)]
pub struct Said {
    pub status: u16,
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: Vec<u8>,
    pub trailers: Option<Vec<(&'static str, &'static str)>>,
}

impl Said {
    /// What a backend says that has taken a message, with other bytes.
    pub fn grpc(body: &[u8]) -> Said {
        let headers = vec![("content-type", "application/grpc")];
        Said { status: 200, headers, body: body.to_vec(), trailers: Some(vec![("grpc-status", "0")]) }
    }
}

/// Says the next of its answers to each call, and to the first ones that it is well.
pub struct Liar {
    pub address: SocketAddr,
    pub said: Arc<AtomicUsize>,
    end: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    pub fn start(answers: Vec<Said>) -> Liar {
        let address = ports::free();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = {
            let _inside = runtime.enter();
            let listener = TcpListener::bind(address).expect("the port is free");
            listener.set_nonblocking(true).expect("a listener");
            tokio::net::TcpListener::from_std(listener).expect("a listener")
        };
        let (end, ended) = oneshot::channel::<Infallible>();
        let said = Arc::<AtomicUsize>::default();
        let (answers, count) = (Arc::new(Mutex::new(answers.into_iter())), said.clone());
        let accept = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, count) = (answers.clone(), count.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let is_check = request.uri().path().ends_with("/Check");
                    let next = if is_check { None } else { answers.lock().expect("no panic").next() };
                    count.fetch_add(usize::from(!is_check), SeqCst);
                    let said = next.unwrap_or_else(|| Said::grpc(&[0; 5]));
                    async move { Ok::<_, Infallible>(response(said)) }
                });
                let serving = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
                tokio::spawn(serving);
            }
        };
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept => {}
                    _ = ended => {}
                }
            });
            runtime.shutdown_timeout(Duration::from_millis(100));
        });
        Liar { address, said, end: Some(end), thread: Some(thread) }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        drop(self.end.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value))).collect()
}

fn response(said: Said) -> Response<Pieces> {
    let trailers = said.trailers.as_deref().map(|trailers| Frame::trailers(headers(trailers)));
    let body = (!said.body.is_empty()).then(|| Frame::data(said.body.into()));
    let mut response = Response::new(Pieces([body, trailers]));
    *response.status_mut() = said.status.try_into().expect("a status");
    *response.headers_mut() = headers(&said.headers);
    response
}

struct Pieces([Option<Frame<Bytes>>; 2]);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.iter_mut().find_map(Option::take).map(Ok))
    }
}
