//! Where a request head ends, found while it arrives, and what a proxy says before it (PROXY protocol versions 1 and 2,
//! <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>).
//!
//! The lobby calls [`HeadReader::read`] each time bytes have arrived. Sans-IO.

use std::net::IpAddr;

use proxy_header::{Error, ParseConfig, ProxyHeader};

use super::refusal::Refusal;
use super::request::HEAD_BYTES_MAX;

#[derive(Default)]
pub struct HeadReader {
    /// The PROXY header is still to come.
    expects_proxy: bool,
    /// Bytes of the head that have been looked at.
    seen: usize,
    client: Option<IpAddr>,
}

impl HeadReader {
    /// `expects_proxy`: the peer begins with a PROXY header. Nobody else may: a header that is optional can be forged.
    pub fn new(expects_proxy: bool) -> Self {
        Self { expects_proxy, ..Self::default() }
    }

    /// True when the head in the buffer is complete. The PROXY header is taken from its front.
    pub fn read(&mut self, buffer: &mut Vec<u8>) -> Result<bool, Refusal> {
        if self.expects_proxy {
            match ProxyHeader::parse(buffer, ParseConfig { include_tlvs: false, ..ParseConfig::default() }) {
                Ok((header, length)) => {
                    self.client = header.proxied_address().map(|address| address.source.ip());
                    buffer.drain(..length);
                    self.expects_proxy = false;
                }
                Err(Error::BufferTooShort) if buffer.len() <= HEAD_BYTES_MAX => return Ok(false),
                Err(_) => return Err(Refusal::BadProxyHeader),
            }
        }
        // The empty line may have begun in what was seen before.
        let is_complete = buffer[self.seen.saturating_sub(3)..].windows(4).any(|window| window == b"\r\n\r\n");
        self.seen = buffer.len();
        match is_complete {
            false if self.seen > HEAD_BYTES_MAX => Err(Refusal::HeadTooLarge),
            is_complete => Ok(is_complete),
        }
    }

    /// For whom the PROXY header says that the peer connects. None without one, and when the proxy speaks for itself.
    pub fn client(&self) -> Option<IpAddr> {
        self.client
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &[u8] = b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n";
    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        [SIGNATURE, &[0x20 | command, family], &(body.len() as u16).to_be_bytes(), body].concat()
    }

    /// PROXY headers, and the client that each names.
    fn headers() -> Vec<(Vec<u8>, Option<IpAddr>)> {
        let four: IpAddr = "192.0.2.7".parse().expect("an address");
        let six: IpAddr = "2001:db8::7".parse().expect("an address");
        let body_of_four = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0x0f, 0xa0];
        let IpAddr::V6(v6) = six else { unreachable!("it has colons") };
        let body_of_six = [&v6.octets()[..], &[0; 16], &[0x12, 0x34, 0x0f, 0xa0]].concat();
        // A TLV of three bytes behind the addresses.
        let with_more = [&body_of_four[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        vec![
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 4000\r\n".into(), Some(four)),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 4660 4000\r\n".into(), Some(six)),
            (b"PROXY UNKNOWN\r\n".into(), None),
            (v2(1, 0x11, &body_of_four), Some(four)),
            (v2(1, 0x11, &with_more), Some(four)),
            (v2(1, 0x21, &body_of_six), Some(six)),
            (v2(0, 0x00, &[]), None),
            (v2(1, 0x31, &[0; 216]), None),
        ]
    }

    #[test]
    fn a_proxy_header_is_read_wherever_it_is_cut() {
        for (header, client) in headers() {
            let whole = [&header, HEAD].concat();
            for cut in 0..whole.len() {
                let (mut reader, mut buffer) = (HeadReader::new(true), whole[..cut].to_vec());
                assert_eq!(reader.read(&mut buffer), Ok(false), "{header:?} cut at {cut}");
                buffer.extend_from_slice(&whole[cut..]);
                assert_eq!(reader.read(&mut buffer), Ok(true), "{header:?} cut at {cut}");
                assert_eq!((reader.client(), &buffer[..]), (client, HEAD));
            }
        }
    }

    #[test]
    fn who_has_to_say_for_whom_it_speaks_is_refused_without() {
        for bytes in [HEAD, b"PROXY TCP4 nobody 10.0.0.1 1 2\r\n", b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0", b"\x16\x03\x01"]
        {
            assert_eq!(HeadReader::new(true).read(&mut bytes.to_vec()), Err(Refusal::BadProxyHeader), "{bytes:?}");
        }
        let endless = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff], &[0; HEAD_BYTES_MAX]].concat();
        assert_eq!(HeadReader::new(true).read(&mut endless.clone()), Err(Refusal::BadProxyHeader));
    }

    #[test]
    fn nobody_else_is_asked() {
        let mut buffer = b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 4000\r\n\r\n".to_vec();
        let mut reader = HeadReader::new(false);
        assert_eq!(reader.read(&mut buffer), Ok(true));
        assert_eq!(reader.client(), None);
    }

    #[test]
    fn a_head_without_end_is_refused_at_the_limit() {
        let mut buffer = vec![b'x'; HEAD_BYTES_MAX];
        let mut reader = HeadReader::default();
        assert_eq!(reader.read(&mut buffer), Ok(false));
        buffer.push(b'x');
        assert_eq!(reader.read(&mut buffer), Err(Refusal::HeadTooLarge));
    }

    proptest! {
        #[test]
        fn damaged_proxy_headers_never_panic(
            which in 0..8usize, at: prop::sample::Index, byte: u8, cut: prop::sample::Index, tail: Vec<u8>,
        ) {
            let (mut header, _) = headers().swap_remove(which);
            let (at, cut) = (at.index(header.len()), cut.index(header.len()));
            header[at] = byte;
            header.truncate(cut + 1);
            header.extend(tail);
            let _ = HeadReader::new(true).read(&mut header);
        }
    }
}
