//! Publishing in batches: many messages in one write, and no wait for their answers. Redis is told not to answer; what
//! an HTTP server answers is read behind the next batch.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use redis::Commands;

use super::sink::Address;
use crate::client::parser::{self, Head};
use crate::client::stamp::Stamp;
use crate::limits::Trouble;
use crate::server::Url;

/// A server that does not take a batch for so long is broken.
const DEADLINE: Duration = Duration::from_secs(30);

pub struct Pipe {
    line: Line,
    /// Per channel: what stands before the payload.
    heads: Vec<Vec<u8>>,
    tail: &'static [u8],
    payload_bytes: usize,
    /// The batch.
    out: Vec<u8>,
}

enum Line {
    Redis(redis::Connection),
    Http(Http),
}

/// A connection on which requests do not wait for the answers to earlier ones (RFC 9112 section 9.3.2).
struct Http {
    stream: TcpStream,
    input: Vec<u8>,
    /// Requests that have no answer yet.
    unanswered: usize,
}

impl Pipe {
    /// To these channels go payloads of so many bytes.
    pub fn open(address: &Address, channels: &[String], payload_bytes: usize) -> Result<Self, Trouble> {
        let (line, heads, tail) = match address {
            Address::Redis { url, prefix } => {
                let heads = channels.iter().map(|channel| redis_head(&format!("{prefix}:{channel}"), payload_bytes));
                (Line::Redis(redis_line(url, prefix)?), heads.collect(), &b"\r\n"[..])
            }
            Address::Http { url, token } => {
                let (authority, template) = split(url)?;
                let stream = TcpStream::connect(authority.resolve()?)?;
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(DEADLINE))?;
                let head = |channel: &String| {
                    let path = template.replace("{channel}", channel);
                    http_head(&path, &authority.authority(), token.as_deref(), payload_bytes)
                };
                (
                    Line::Http(Http { stream, input: Vec::new(), unanswered: 0 }),
                    channels.iter().map(head).collect(),
                    &b""[..],
                )
            }
        };
        Ok(Self { line, heads, tail, payload_bytes, out: Vec::new() })
    }

    /// Adds a message to the batch.
    pub fn put(&mut self, channel: u32, stamp: Stamp) {
        self.out.extend_from_slice(&self.heads[channel as usize]);
        stamp.write(self.payload_bytes, &mut self.out);
        self.out.extend_from_slice(self.tail);
        if let Line::Http(http) = &mut self.line {
            http.unanswered += 1;
        }
    }

    /// Sends the batch.
    pub fn flush(&mut self) -> Result<(), Trouble> {
        match &mut self.line {
            Line::Redis(connection) => connection.send_packed_command(&self.out).map_err(refused)?,
            Line::Http(http) => {
                http.stream.write_all(&self.out)?;
                http.read_answers()?;
            }
        }
        self.out.clear();
        Ok(())
    }

    /// Waits for the last answers: a connection that is closed before takes with it what the server has not read.
    pub fn end(mut self) -> Result<(), Trouble> {
        let Line::Http(http) = &mut self.line else { return Ok(()) };
        http.stream.set_read_timeout(Some(DEADLINE))?;
        while http.unanswered > 0 {
            http.read_some()?;
        }
        Ok(())
    }
}

fn refused(error: redis::RedisError) -> Trouble {
    Trouble::new(format!("publishing to Redis: {error}"))
}

/// A connection that is allowed to publish, and on which nothing is answered from now on.
fn redis_line(url: &str, prefix: &str) -> Result<redis::Connection, Trouble> {
    let client = redis::Client::open(url).map_err(refused)?;
    let mut connection = client.get_connection_with_timeout(DEADLINE).map_err(refused)?;
    connection.set_write_timeout(Some(DEADLINE)).map_err(refused)?;
    // What is wrong with publishing shows here; afterwards nothing would be heard of it.
    connection.publish::<_, _, ()>(format!("{prefix}:flood-hello"), "{}").map_err(refused)?;
    let quiet = redis::cmd("CLIENT").arg("REPLY").arg("OFF").get_packed_command();
    connection.send_packed_command(&quiet).map_err(refused)?;
    Ok(connection)
}

/// A PUBLISH up to its payload, in the protocol's own words.
fn redis_head(channel: &str, payload_bytes: usize) -> Vec<u8> {
    format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n${payload_bytes}\r\n", channel.len()).into_bytes()
}

fn http_head(path: &str, host: &str, token: Option<&str>, payload_bytes: usize) -> Vec<u8> {
    let authorization = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {payload_bytes}\r\n\
         {authorization}\r\n"
    )
    .into_bytes()
}

/// Where to connect, and the path with its placeholder.
fn split(url: &str) -> Result<(Url, String), Trouble> {
    let wrong = || Trouble::new(format!("{url:?} is not of the form http://HOST:PORT/PATH"));
    let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
    let authority: Url = format!("ws://{rest}").parse().map_err(Trouble::new)?;
    let path = authority.path.clone();
    Ok((authority, path))
}

impl Http {
    /// Reads the answers that are there. One that is no success ends the run.
    fn read_answers(&mut self) -> Result<(), Trouble> {
        self.stream.set_nonblocking(true)?;
        while self.unanswered > 0 && self.read_some()? {}
        self.stream.set_nonblocking(false)?;
        Ok(())
    }

    /// Reads once. False when nothing is there.
    fn read_some(&mut self) -> Result<bool, Trouble> {
        let mut part = [0; 16 << 10];
        match self.stream.read(&mut part) {
            Ok(0) => return Err(Trouble::new("the server ended the connection that publishes")),
            Ok(read) => self.input.extend_from_slice(&part[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        let (answers, bytes) = judge(&self.input)?;
        self.unanswered = self.unanswered.saturating_sub(answers);
        self.input.drain(..bytes);
        Ok(true)
    }
}

/// How many whole and successful answers there are, and how many bytes they have.
fn judge(input: &[u8]) -> Result<(usize, usize), Trouble> {
    let (mut answers, mut taken) = (0, 0);
    loop {
        match parser::head(&input[taken..]) {
            Head::Incomplete => return Ok((answers, taken)),
            Head::Response { status: 200..=299, head } => {
                let body_bytes = content_length(head).unwrap_or(0);
                if input.len() - taken < head.len() + body_bytes {
                    return Ok((answers, taken));
                }
                taken += head.len() + body_bytes;
                answers += 1;
            }
            Head::Response { .. } | Head::Bad => {
                let answer = String::from_utf8_lossy(&input[taken..input.len().min(taken + 300)]).into_owned();
                return Err(Trouble::new(format!("publishing over HTTP: {}", answer.trim())));
            }
        }
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let (_, length) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    length.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_is_what_the_client_library_would_send() {
        let expected = redis::cmd("PUBLISH").arg("ws:conv:1").arg("hello").get_packed_command();
        assert_eq!([&redis_head("ws:conv:1", 5)[..], b"hello\r\n"].concat(), expected);
    }

    #[test]
    fn answers_are_read_when_they_are_whole_and_a_refusal_is_told() {
        let one = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        let two = [&one[..], one].concat();
        for cut in 0..=two.len() {
            let whole = cut / one.len();
            assert_eq!(judge(&two[..cut]).unwrap(), (whole, whole * one.len()), "cut at {cut}");
        }
        let refused = judge(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 4\r\n\r\nwhy?").unwrap_err();
        assert!(refused.to_string().contains("401") && refused.to_string().contains("why?"));
    }
}
