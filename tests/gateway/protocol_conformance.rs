//! Promise: RFC 6455 to the letter: what it forbids is closed with its code, what it allows works at every cut.

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::raw::{
    BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, Raw, TEXT, close_payload, fragment, frame, header, unmasked,
};
use crate::support::tokens::token;
use crate::support::wire::{self, CLOSE_INVALID_UTF8, CLOSE_NORMAL, CLOSE_PROTOCOL, CLOSE_TOO_BIG, CLOSE_UNSUPPORTED};

/// The default limit of a message.
const MESSAGE_BYTES_MAX: u64 = 8 * 1024;

#[test]
fn frames_may_be_cut_at_every_byte() {
    let gateway = Gateway::start(Config::new().set("server.shards", 1));
    let mut witness = Client::connect(&gateway, &token("witness"));
    let mut raw = Raw::connect(&gateway, "/ws", &token("u1"));
    // Long enough for the 16-bit length.
    let message = format!(r#"{{"type":"ping","id":"cut","filler":"{}ü"}}"#, "x".repeat(100));
    let bytes = frame(TEXT, message.as_bytes());
    for cut in 0..=bytes.len() {
        raw.write(&bytes[..cut]);
        // One shard: when this answer is there, the first part has been read on its own.
        witness.ping();
        raw.write(&bytes[cut..]);
        expect_pong(&mut raw, "cut");
    }
}

#[test]
fn frames_may_come_one_byte_at_a_time_and_many_at_once() {
    let gateway = Gateway::start(Config::new().set("server.shards", 1));
    let mut witness = Client::connect(&gateway, &token("witness"));
    let mut raw = Raw::connect(&gateway, "/ws", &token("u1"));
    let bytes = frame(TEXT, br#"{"type":"ping","id":"slow"}"#);
    for byte in &bytes {
        raw.write(&[*byte]);
        witness.ping();
    }
    expect_pong(&mut raw, "slow");
    let many: Vec<u8> =
        (0..500).flat_map(|index| frame(TEXT, format!(r#"{{"type":"ping","id":"{index}"}}"#).as_bytes())).collect();
    raw.write(&many);
    (0..500).for_each(|index| expect_pong(&mut raw, &index.to_string()));
}

#[test]
fn a_fragmented_message_may_have_control_frames_between() {
    let gateway = Gateway::start(Config::new());
    let mut raw = Raw::connect(&gateway, "/ws", &token("u1"));
    // The fragments cut the two bytes of the ü.
    let (first, last) = (br#"{"type":"ping","id":"f"#, br#"", "filler":"#);
    raw.write(&fragment(TEXT, first));
    raw.write(&frame(PING, b"between"));
    assert_eq!(raw.next_frame(), crate::support::raw::Frame { opcode: PONG, payload: b"between".to_vec() });
    raw.write(&fragment(CONTINUATION, last));
    raw.write(&frame(PONG, b"unasked"));
    raw.write(&fragment(CONTINUATION, b"\"\xc3"));
    raw.write(&fragment(CONTINUATION, b""));
    raw.write(&fragment(FIN | CONTINUATION, b"\xbc\"}"));
    expect_pong(&mut raw, "f");
}

#[test]
fn pings_are_answered_with_their_payload() {
    let gateway = Gateway::start(Config::new());
    let mut raw = Raw::connect(&gateway, "/ws", &token("u1"));
    for payload in [&b""[..], b"a", &[0xff; 125]] {
        raw.write(&frame(PING, payload));
        let pong = raw.next_frame();
        assert_eq!((pong.opcode, pong.payload.as_slice()), (PONG, payload));
    }
}

#[test]
fn a_header_of_16_mib_is_closed_before_its_payload_comes() {
    let gateway = Gateway::start(Config::new());
    for length in [16 * 1024 * 1024, MESSAGE_BYTES_MAX + 1] {
        let whole_header = [header(FIN | TEXT, length), vec![0; 4]].concat();
        assert_closed(&gateway, "too long", &whole_header, CLOSE_TOO_BIG);
    }
    let half = vec![b' '; usize::try_from(MESSAGE_BYTES_MAX / 2 + 1).expect("small")];
    let fragments = [fragment(TEXT, &half), fragment(FIN | CONTINUATION, &half)].concat();
    assert_closed(&gateway, "too long in sum", &fragments, CLOSE_TOO_BIG);
}

#[test]
fn a_message_of_exactly_the_limit_is_taken() {
    let gateway = Gateway::start(Config::new());
    let mut raw = Raw::connect(&gateway, "/ws", &token("u1"));
    let mut message = br#"{"type":"ping","id":"full"}"#.to_vec();
    message.resize(usize::try_from(MESSAGE_BYTES_MAX).expect("small"), b' ');
    raw.write(&frame(TEXT, &message));
    expect_pong(&mut raw, "full");
}

#[test]
fn binary_is_unsupported() {
    let gateway = Gateway::start(Config::new());
    assert_closed(&gateway, "binary", &frame(BINARY, b"\x00\x01"), CLOSE_UNSUPPORTED);
    assert_closed(&gateway, "empty binary", &frame(BINARY, b""), CLOSE_UNSUPPORTED);
}

#[test]
fn text_that_is_not_utf8_is_closed() {
    let gateway = Gateway::start(Config::new());
    let bad: [(&str, &[u8]); 6] = [
        ("lone continuation", b"\x80"),
        ("cut sequence", b"abc\xc3"),
        ("overlong", b"\xc0\xaf"),
        ("surrogate", b"\xed\xa0\x80"),
        ("past the last code point", b"\xf4\x90\x80\x80"),
        ("latin-1", b"{\"type\":\"ping\",\"id\":\"\xfc\"}"),
    ];
    for (what, payload) in bad {
        assert_closed(&gateway, what, &frame(TEXT, payload), CLOSE_INVALID_UTF8);
    }
    let across = [fragment(TEXT, b"\xc3"), fragment(FIN | CONTINUATION, b"\x28")].concat();
    assert_closed(&gateway, "bad across fragments", &across, CLOSE_INVALID_UTF8);
    let reason = frame(CLOSE, &close_payload(CLOSE_NORMAL, b"\xff"));
    assert_closed(&gateway, "bad close reason", &reason, CLOSE_INVALID_UTF8);
}

#[test]
fn what_the_rfc_forbids_is_a_protocol_error() {
    let gateway = Gateway::start(Config::new());
    let long_ping = [header(FIN | PING, 126), vec![0; 130]].concat();
    let ways = [
        ("unmasked text", unmasked(TEXT, b"{}")),
        ("unmasked ping", unmasked(PING, b"")),
        ("reserved bit 1", fragment(FIN | 0x40 | TEXT, b"{}")),
        ("reserved bit 2", fragment(FIN | 0x20 | TEXT, b"{}")),
        ("reserved bit 3", fragment(FIN | 0x10 | PING, b"")),
        ("reserved data opcode", frame(0x3, b"")),
        ("reserved control opcode", frame(0xb, b"")),
        ("fragmented ping", fragment(PING, b"")),
        ("fragmented close", fragment(CLOSE, &close_payload(CLOSE_NORMAL, b""))),
        ("control frame over 125 bytes", long_ping),
        ("continuation of nothing", frame(CONTINUATION, b"{}")),
        ("text inside a text", [fragment(TEXT, b"{"), frame(TEXT, b"}")].concat()),
        ("length with its highest bit", header(FIN | TEXT, 1 << 63)),
        ("close of one byte", frame(CLOSE, b"\x03")),
        ("close code 999", frame(CLOSE, &close_payload(999, b""))),
        ("close code 1004", frame(CLOSE, &close_payload(1004, b""))),
        ("close code 1005", frame(CLOSE, &close_payload(1005, b""))),
        ("close code 1006", frame(CLOSE, &close_payload(1006, b""))),
        ("close code 1015", frame(CLOSE, &close_payload(1015, b""))),
        ("close code 1016", frame(CLOSE, &close_payload(1016, b""))),
        ("close code 2999", frame(CLOSE, &close_payload(2999, b""))),
        ("close code 5000", frame(CLOSE, &close_payload(5000, b""))),
    ];
    for (way, bytes) in ways {
        assert_closed(&gateway, way, &bytes, CLOSE_PROTOCOL);
    }
}

#[test]
fn a_close_is_echoed_and_the_connection_ended() {
    let gateway = Gateway::start(Config::new());
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        let mut raw = Raw::connect(&gateway, "/ws", &token("u1"));
        raw.write(&frame(CLOSE, &close_payload(code, "tschüss".as_bytes())));
        assert_eq!(raw.next_frame().close_code(), code);
        raw.expect_end();
    }
    let mut raw = Raw::connect(&gateway, "/ws", &token("u1"));
    raw.write(&frame(CLOSE, b""));
    let echo = raw.next_frame();
    assert_eq!(echo.opcode, CLOSE, "{echo:?}");
    assert!(echo.payload.is_empty() || echo.close_code() == CLOSE_NORMAL, "{echo:?}");
    raw.expect_end();
    gateway.admin().eventually_active(0);
}

#[test]
fn nothing_after_a_close_is_handled() {
    let gateway = Gateway::start(Config::new());
    let mut raw = Raw::connect(&gateway, "/ws", &token("u1"));
    let late = frame(TEXT, br#"{"type":"ping"}"#);
    raw.write(&[frame(CLOSE, &close_payload(CLOSE_NORMAL, b"")), late].concat());
    assert_eq!(raw.next_frame().close_code(), CLOSE_NORMAL);
    assert!(raw.read_frame().is_err(), "a message after the close was answered");
}

/// Sends these bytes on a fresh connection, which must end with this code, while another one stays.
#[track_caller]
fn assert_closed(gateway: &Gateway, what: &str, bytes: &[u8], code: u16) {
    let mut witness = Client::connect(gateway, &token("witness"));
    let mut raw = Raw::connect(gateway, "/ws", &token("u1"));
    raw.write(bytes);
    assert_eq!(raw.expect_close(), code, "{what}");
    witness.ping();
}

#[track_caller]
fn expect_pong(raw: &mut Raw, id: &str) {
    let text = raw.next_text();
    let message = wire::json(&text);
    assert_eq!((wire::kind(&message), wire::string(&message, &["id"])), ("pong", id), "in {text}");
}
