//! A client that decides what stands in each frame that it sends, and when.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use hyper::Request;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::header::HeaderMap;
use hyper::http::request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use ringway::proto::admin::v1::PublishReply;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tonic::Code;

/// What stands before a message: whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;

/// Room for answers that are not read yet.
const ANSWERS_WINDOW_BYTES: u32 = 1000;

pub struct Raw {
    sender: SendRequest<Crumbs>,
    address: SocketAddr,
}

/// The body of a request, each of these in a frame of its own.
struct Crumbs(BoxStream<'static, Bytes>);

/// What comes back for one request.
pub struct Answers {
    body: Incoming,
    gathered: BytesMut,
    headers: HeaderMap,
}

/// How a call has ended: its status, and the word of the table of errors.
pub type End = (Code, String);

pub const GOOD_END: End = (Code::Ok, String::new());

impl Raw {
    pub async fn connect(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let client = Builder::new(TokioExecutor::new()).initial_stream_window_size(ANSWERS_WINDOW_BYTES).clone();
        let (sender, connection) = client.handshake(TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(connection);
        Raw { sender, address }
    }

    /// Resolves when the answers begin.
    pub fn call(&mut self, method: &str, frames: BoxStream<'static, Bytes>) -> impl Future<Output = Answers> + use<> {
        self.send(self.request(method), frames)
    }

    /// The same, for a body that is said to have so many bytes.
    pub fn call_promising(
        &mut self,
        bytes: usize,
        method: &str,
        frames: BoxStream<'static, Bytes>,
    ) -> impl Future<Output = Answers> + use<> {
        self.send(self.request(method).header("content-length", bytes), frames)
    }

    fn request(&self, method: &str) -> request::Builder {
        Request::post(format!("http://{}/ringway.admin.v1.AdminService/{method}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
    }

    fn send(
        &mut self,
        request: request::Builder,
        frames: BoxStream<'static, Bytes>,
    ) -> impl Future<Output = Answers> + use<> {
        let response = self.sender.send_request(request.body(Crumbs(frames)).expect("a request"));
        async {
            let (head, body) = response.await.expect("an answer").into_parts();
            Answers { body, gathered: BytesMut::new(), headers: head.headers }
        }
    }

    /// A stream of messages that goes on for as long as the sender is kept.
    pub async fn publish_many(&mut self) -> (UnboundedSender<Bytes>, Answers) {
        let (say, said) = unbounded_channel();
        let said = stream::unfold(said, async |mut said| Some((said.recv().await?, said)));
        (say, self.call("PublishMany", said.boxed()).await)
    }
}

impl Answers {
    /// The next one, or how the call has ended.
    pub async fn next(&mut self) -> Result<PublishReply, End> {
        loop {
            if let Some(end) = self.reply_end().filter(|end| self.gathered.len() >= *end) {
                let reply = self.gathered.split_to(end).freeze();
                return Ok(PublishReply::decode(reply.slice(HEAD_BYTES..)).expect("a reply"));
            }
            let frame = std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await;
            match frame.map(|frame| frame.expect("the connection lives").into_data()) {
                Some(Ok(data)) => self.gathered.extend_from_slice(&data),
                Some(Err(end)) => self.headers.extend(end.into_trailers().expect("an end")),
                None => return Err(self.end()),
            }
        }
    }

    fn reply_end(&self) -> Option<usize> {
        let length = self.gathered.get(1..HEAD_BYTES)?.try_into().expect("four bytes");
        Some(HEAD_BYTES + u32::from_be_bytes(length) as usize)
    }

    fn end(&self) -> End {
        let text = |name: &str| self.headers.get(name).map_or("", |value| value.to_str().expect("text"));
        (Code::from_bytes(text("grpc-status").as_bytes()), text("ringway-code").to_owned())
    }
}

impl Body for Crumbs {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_next_unpin(context).map(|crumb| crumb.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// A message as it travels.
pub fn framed(message: &impl Message) -> Bytes {
    let mut framed = vec![0];
    framed.extend((message.encoded_len() as u32).to_be_bytes());
    message.encode(&mut framed).expect("a vector has room");
    framed.into()
}
