//! The WebSocket hot paths beside the same work in tungstenite and fastwebsockets, in one run:
//! `cargo bench --bench ws`.
//!
//! - `decode/*`: client frames that lie in memory become text messages, checked to be UTF-8. Each round first copies
//!   the received bytes into a buffer (`copy` is that alone, since decoding unmasks in place): for Ringway into one
//!   chunk, as the shard's receive would; for the others through `read` of an in-memory stream into their own
//!   buffer.
//!   tungstenite's read buffer holds two rounds, at least 4 KiB, since it clears the buffer before each read and the
//!   default of 128 KiB would be most of what is measured. fastwebsockets runs with `FragmentCollector`, the part of it
//!   that checks UTF-8. Connections are opened before the clock starts and read many rounds.
//! - `unmask/*`: only the unmasking, beside fastwebsockets' public function.
//! - `header/*`: only the header, beside tungstenite's `FrameHeader`.
//! - `encode/*`: a server's text frame, beside tungstenite's `Frame::format`.
//! - `handshake/*`: a browser's upgrade request becomes the answer. tungstenite's server reads it from an in-memory
//!   stream and also makes its socket, with a read buffer of 4 KiB.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fastwebsockets::{FragmentCollector, OpCode};
use ringway::ws::decoder::{Decoder, Incoming, Policy};
use ringway::ws::frame::{MESSAGE_BYTES_MAX, Opcode, encode_masked, encode_text};
use ringway::ws::handshake::{Upgrade, accept_response, read_request};
use ringway::ws::header::Header;
use ringway::ws::mask;
use std::future::Future;
use std::hint::black_box;
use std::io::{Cursor, Read, Write};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::frame::coding::{Data, OpCode as TungsteniteOpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

const MASK: [u8; 4] = [0x12, 0x9a, 0xf0, 0x3c];

/// An endless stream: the same bytes over and over, as much as a read asks for. Writes vanish.
struct Endless {
    bytes: Vec<u8>,
    position: usize,
}

impl Endless {
    fn new(bytes: &[u8]) -> Endless {
        Endless { bytes: bytes.to_vec(), position: 0 }
    }

    /// One chunk per read, never past the end of a round: as from a socket with one round's bytes waiting.
    fn next_chunk(&mut self, capacity: usize) -> &[u8] {
        let start = self.position;
        let end = self.bytes.len().min(start + capacity);
        self.position = end % self.bytes.len();
        &self.bytes[start..end]
    }
}

impl Read for Endless {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let chunk = self.next_chunk(buf.len());
        buf[..chunk.len()].copy_from_slice(chunk);
        Ok(chunk.len())
    }
}

impl Write for Endless {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Endless {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let chunk = self.next_chunk(buf.remaining());
        buf.put_slice(chunk);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs a future that never waits: the stream under it is always ready.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("an endless stream is always ready"),
    }
}

fn json(bytes: usize) -> String {
    let head = r#"{"type":"location_update","payload":{"note":""#;
    let tail = r#""}}"#;
    format!("{head}{}{tail}", "x".repeat(bytes - head.len() - tail.len()))
}

fn decode(criterion: &mut Criterion) {
    let cases = [("64 B", 64, 1), ("1 KiB", 1024, 1), ("8 KiB", 8192, 1), ("32 × 64 B", 64, 32)];
    for (name, payload_bytes, messages) in cases {
        let received = encode_masked(Opcode::Text, json(payload_bytes).as_bytes(), MASK).repeat(messages);
        let mut group = criterion.benchmark_group(format!("decode/{name}"));
        group.throughput(Throughput::Elements(messages as u64));

        group.bench_function("copy", |bencher| {
            let mut chunk = received.clone();
            bencher.iter(|| black_box(&mut chunk).copy_from_slice(black_box(&received)));
        });
        group.bench_function("ringway", |bencher| {
            let mut chunk = received.clone();
            let mut decoder = Decoder::new();
            bencher.iter(|| {
                chunk.copy_from_slice(black_box(&received));
                let (mut input, mut texts) = (&mut chunk[..], 0);
                while let Some(incoming) =
                    decoder.next(&mut input, Policy::text(MESSAGE_BYTES_MAX)).expect("valid frames")
                {
                    let Incoming::Text(text) = incoming else { unreachable!("only text was sent") };
                    texts += 1;
                    black_box(&*text);
                }
                assert_eq!(texts, messages);
            });
        });
        group.bench_function("tungstenite", |bencher| {
            let config = WebSocketConfig::default().read_buffer_size((2 * received.len()).max(4096));
            let mut socket = WebSocket::from_raw_socket(Endless::new(&received), Role::Server, Some(config));
            bencher.iter(|| {
                for _ in 0..messages {
                    let message = socket.read().expect("valid frames");
                    assert!(message.is_text());
                    black_box(message);
                }
            });
        });
        group.bench_function("fastwebsockets", |bencher| {
            let stream = Endless::new(&received);
            let socket = fastwebsockets::WebSocket::after_handshake(stream, fastwebsockets::Role::Server);
            let mut socket = FragmentCollector::new(socket);
            bencher.iter(|| {
                for _ in 0..messages {
                    let frame = ready(socket.read_frame()).expect("valid frames");
                    assert!(frame.opcode == OpCode::Text);
                    black_box(&*frame.payload);
                }
            });
        });
        group.finish();
    }
}

fn unmask(criterion: &mut Criterion) {
    for payload_bytes in [64, 1024, 8192] {
        let mut group = criterion.benchmark_group(format!("unmask/{payload_bytes} B"));
        group.throughput(Throughput::Bytes(payload_bytes as u64));
        // Payloads begin 6 or 8 bytes into a chunk: aligned to nothing in particular.
        let mut chunk = vec![0; payload_bytes + 6];
        group.bench_function("ringway", |bencher| bencher.iter(|| mask::apply(black_box(&mut chunk[6..]), MASK, 0)));
        group.bench_function("fastwebsockets", |bencher| {
            bencher.iter(|| fastwebsockets::unmask(black_box(&mut chunk[6..]), MASK));
        });
        group.finish();
    }
}

fn header(criterion: &mut Criterion) {
    let frame = encode_masked(Opcode::Text, &[b'x'; 64], MASK);
    let mut group = criterion.benchmark_group("header/parse");
    group.bench_function("ringway", |bencher| bencher.iter(|| Header::parse(black_box(&frame))));
    group.bench_function("tungstenite", |bencher| {
        bencher
            .iter(|| FrameHeader::parse(&mut Cursor::new(black_box(&frame[..]))).is_ok_and(|header| header.is_some()));
    });
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    for payload_bytes in [64, 1024, 8192] {
        let payload = json(payload_bytes);
        let mut group = criterion.benchmark_group(format!("encode/{payload_bytes} B"));
        group.bench_function("ringway", |bencher| bencher.iter(|| encode_text(black_box(&payload))));
        group.bench_function("tungstenite", |bencher| {
            let payload = bytes::Bytes::from(payload.clone());
            bencher.iter(|| {
                let opcode = TungsteniteOpCode::Data(Data::Text);
                let frame = Frame::message(black_box(&payload).clone(), opcode, true);
                let mut out = Vec::with_capacity(frame.len());
                frame.format(&mut out).expect("a vector takes every write");
                bytes::Bytes::from(out)
            });
        });
        group.finish();
    }
}

/// What a browser sends, token in the query.
const UPGRADE: &str = concat!(
    "GET /ws?token=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSIsImV4cCI6MTkwMDAwMDAwMH0.c2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXI ",
    "HTTP/1.1\r\nHost: gateway.example.com\r\nConnection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0\r\n",
    "Upgrade: websocket\r\nOrigin: https://app.example.com\r\nSec-WebSocket-Version: 13\r\n",
    "Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
);

/// An in-memory stream with a request waiting.
struct Waiting {
    request: Cursor<&'static [u8]>,
    answer: Vec<u8>,
}

impl Read for Waiting {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.request.read(buf)
    }
}

impl Write for Waiting {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.answer.write(buf)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn handshake(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handshake/upgrade");
    group.bench_function("ringway", |bencher| {
        bencher.iter(|| {
            let request = read_request(black_box(UPGRADE.as_bytes())).expect("valid head").expect("whole head");
            accept_response(&Upgrade::check(&request).expect("valid upgrade"), None)
        });
    });
    group.bench_function("tungstenite", |bencher| {
        let config = WebSocketConfig::default().read_buffer_size(4096);
        bencher.iter_batched(
            || Waiting { request: Cursor::new(black_box(UPGRADE.as_bytes())), answer: Vec::with_capacity(256) },
            |stream| tungstenite::accept_with_config(stream, Some(config)).is_ok_and(|socket| socket.can_write()),
            BatchSize::SmallInput,
        );
    });
    // The hash and its base64 are the same function in both: what they share.
    group.bench_function("accept key alone", |bencher| {
        bencher.iter(|| tungstenite::handshake::derive_accept_key(black_box(b"dGhlIHNhbXBsZSBub25jZQ==")));
    });
    group.finish();
}

criterion_group!(benches, decode, unmask, header, encode, handshake);
criterion_main!(benches);
