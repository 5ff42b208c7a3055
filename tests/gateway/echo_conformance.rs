//! Promise: RFC 6455 to the letter, case by case, as third-party suites ask for it: bytes in, cut in
//! several ways, and the exact frames out, the close code, and the end of the gateway's side of the TCP
//! connection without the client's help.
//!
//! The groups follow the order that such suites have: framing, pings, reserved bits,
//! opcodes, fragments, UTF-8, closing.

use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::raw::{
    BINARY, CLOSE, CONTINUATION, FIN, Frame, PING, PONG, Raw, TEXT, close_payload, fragment, frame, header, unmasked,
};
use crate::support::wire::{CLOSE_INVALID_UTF8, CLOSE_NORMAL, CLOSE_PROTOCOL, CLOSE_TOO_BIG};

/// Beyond this a case is not sent byte by byte.
const SINGLE_BYTES_MAX: usize = 300;

/// What a client sends on a fresh connection, and what it must get.
struct Case {
    name: String,
    bytes: Vec<u8>,
    frames: Vec<Frame>,
    /// The payload of the close frame behind them: a code and any reason, or nothing.
    close: Option<u16>,
}

/// A case that ends in a violation, or in a close of the client's.
fn case(name: impl Into<String>, bytes: Vec<u8>, frames: Vec<Frame>, close: impl Into<Option<u16>>) -> Case {
    Case { name: name.into(), bytes, frames, close: close.into() }
}

/// A case in which nothing is wrong: the client closes behind it.
fn fine(name: impl Into<String>, bytes: Vec<u8>, frames: Vec<Frame>) -> Case {
    case(name, [bytes, goodbye(CLOSE_NORMAL)].concat(), frames, CLOSE_NORMAL)
}

/// The same behind a message that is answered first.
fn fails(name: impl Into<String>, bytes: Vec<u8>, close: u16) -> Case {
    case(name, [frame(TEXT, b"first"), bytes].concat(), vec![echo(TEXT, b"first")], close)
}

fn goodbye(code: u16) -> Vec<u8> {
    frame(CLOSE, &close_payload(code, b""))
}

fn echo(opcode: u8, payload: &[u8]) -> Frame {
    Frame { opcode, payload: payload.to_vec() }
}

/// Plays every case whole, in pieces, and byte by byte.
fn play(cases: Vec<Case>) {
    let gateway = Gateway::start(Config::new().set("server.shards", 1).set("debug.echo_path", "/echo"));
    for case in &cases {
        for piece_bytes in [1, 7, 1300, usize::MAX] {
            if piece_bytes > 7 || case.bytes.len() / piece_bytes < SINGLE_BYTES_MAX {
                case.play(&gateway, piece_bytes);
            }
        }
    }
    gateway.admin().eventually_active(0);
}

impl Case {
    fn play(&self, gateway: &Gateway, piece_bytes: usize) {
        let name = format!("{} in pieces of {piece_bytes}", self.name);
        let mut raw = Raw::echo(gateway, "/echo");
        for piece in self.bytes.chunks(piece_bytes) {
            raw.write(piece);
        }
        for expected in &self.frames {
            let frame = raw.read_frame().unwrap_or_else(|error| panic!("{name}: no frame: {error}"));
            assert!(frame == *expected, "{name}: {frame:?} instead of {expected:?}");
        }
        let close = raw.read_frame().unwrap_or_else(|error| panic!("{name}: no close frame: {error}"));
        assert_eq!(close.opcode, CLOSE, "{name}: {close:?}");
        let code = close.payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        assert_eq!(code, self.close, "{name}");
        raw.expect_end_of_stream();
    }
}

#[test]
fn messages_of_every_length_form_come_back() {
    let mut cases = Vec::new();
    for length in [0, 1, 2, 124, 125, 126, 127, 128, 4095, 4096, 65_535, 65_536, 200_000] {
        for opcode in [TEXT, BINARY] {
            let payload = if opcode == TEXT { vec![b'*'; length] } else { vec![0xfe; length] };
            let name = format!("{length} bytes with opcode {opcode}");
            cases.push(fine(name, frame(opcode, &payload), vec![echo(opcode, &payload)]));
        }
    }
    let many: Vec<u8> = (0..100u8).flat_map(|n| frame(BINARY, &[n])).collect();
    cases.push(fine("100 messages", many, (0..100u8).map(|n| echo(BINARY, &[n])).collect()));
    play(cases);
}

#[test]
fn lengths_have_their_shortest_form_and_their_bounds() {
    let long = |length: u8, bytes: &[u8]| [&[FIN | TEXT, 0x80 | length], bytes, &[0; 4]].concat();
    play(vec![
        fails("125 in two bytes", long(126, &[0, 125]), CLOSE_PROTOCOL),
        fails("0 in eight bytes", long(127, &[0; 8]), CLOSE_PROTOCOL),
        fails("65,535 in eight bytes", long(127, &65_535u64.to_be_bytes()), CLOSE_PROTOCOL),
        fails("the highest bit", long(127, &(1u64 << 63).to_be_bytes()), CLOSE_PROTOCOL),
        fails("all bits", long(127, &u64::MAX.to_be_bytes()), CLOSE_PROTOCOL),
        fails("16 MiB and a byte", long(127, &(16 * 1024 * 1024 + 1u64).to_be_bytes()), CLOSE_TOO_BIG),
        fails("the largest length there is", long(127, &(u64::MAX >> 1).to_be_bytes()), CLOSE_TOO_BIG),
        fails("not masked", unmasked(TEXT, b"hello"), CLOSE_PROTOCOL),
        fails("a ping that is not masked", unmasked(PING, b""), CLOSE_PROTOCOL),
        fails("a close that is not masked", unmasked(CLOSE, &close_payload(1000, b"")), CLOSE_PROTOCOL),
    ]);
}

#[test]
fn every_ping_is_answered_and_no_pong_is() {
    let mut cases = Vec::new();
    for payload in [&b""[..], b"Hello, world!", &[0, 255, 254, 253, 0], &[0xfe; 124], &[0xfe; 125]] {
        let name = format!("a ping of {} bytes", payload.len());
        cases.push(fine(name, frame(PING, payload), vec![echo(PONG, payload)]));
        let name = format!("a pong of {} bytes", payload.len());
        let bytes = [frame(PONG, payload), frame(PING, b"after")].concat();
        cases.push(fine(name, bytes, vec![echo(PONG, b"after")]));
    }
    let ten: Vec<u8> = (0..10u8).flat_map(|n| frame(PING, &[b'p', n])).collect();
    cases.push(fine("10 pings", ten, (0..10u8).map(|n| echo(PONG, &[b'p', n])).collect()));
    for opcode in [PING, PONG, CLOSE] {
        let long = [header(FIN | opcode, 126), vec![0; 130]].concat();
        cases.push(fails(format!("opcode {opcode} with 126 bytes"), long, CLOSE_PROTOCOL));
        let long = [header(FIN | opcode, 65_536), vec![0; 4]].concat();
        cases.push(fails(format!("opcode {opcode} with 65,536 bytes"), long, CLOSE_PROTOCOL));
    }
    play(cases);
}

#[test]
fn reserved_bits_fail_the_connection() {
    let mut cases = Vec::new();
    for bits in 1..8u8 {
        for opcode in [TEXT, BINARY, PING, PONG, CLOSE] {
            let bytes = fragment(FIN | bits << 4 | opcode, &close_payload(CLOSE_NORMAL, b""));
            cases.push(fails(format!("reserved bits {bits} on opcode {opcode}"), bytes, CLOSE_PROTOCOL));
        }
        let bytes = [fragment(TEXT, b"a"), fragment(FIN | bits << 4 | CONTINUATION, b"b")].concat();
        cases.push(fails(format!("reserved bits {bits} on a continuation"), bytes, CLOSE_PROTOCOL));
    }
    play(cases);
}

#[test]
fn reserved_opcodes_fail_the_connection() {
    let mut cases = Vec::new();
    for opcode in (3..8).chain(11..16) {
        for (what, bytes) in [("empty", frame(opcode, b"")), ("with a payload", frame(opcode, b"reserved"))] {
            cases.push(fails(format!("opcode {opcode} {what}"), bytes, CLOSE_PROTOCOL));
        }
        let inside = [fragment(TEXT, b"a"), frame(opcode, b""), frame(CONTINUATION, b"b")].concat();
        cases.push(fails(format!("opcode {opcode} between fragments"), inside, CLOSE_PROTOCOL));
    }
    play(cases);
}

#[test]
fn fragments_make_one_message_and_control_frames_come_between() {
    let mut cases = Vec::new();
    for opcode in [TEXT, BINARY] {
        for (what, between, answers) in [
            ("nothing", vec![], vec![]),
            ("a ping", frame(PING, b"ping"), vec![echo(PONG, b"ping")]),
            ("a pong", frame(PONG, b"pong"), vec![]),
            ("an empty fragment", fragment(CONTINUATION, b""), vec![]),
            ("two pings", frame(PING, b"x").repeat(2), vec![echo(PONG, b"x"), echo(PONG, b"x")]),
        ] {
            let bytes = [fragment(opcode, b"fragment1"), between, frame(CONTINUATION, b"fragment2")].concat();
            let frames = [answers, vec![echo(opcode, b"fragment1fragment2")]].concat();
            cases.push(fine(format!("opcode {opcode} with {what} between"), bytes, frames));
        }
        let empty = [fragment(opcode, b""), fragment(CONTINUATION, b""), frame(CONTINUATION, b"")].concat();
        cases.push(fine(format!("opcode {opcode} of nothing"), empty, vec![echo(opcode, b"")]));
    }
    for (what, bytes) in [
        ("a fragmented ping", fragment(PING, b"fragment")),
        ("a fragmented pong", fragment(PONG, b"fragment")),
        ("a fragmented close", fragment(CLOSE, &close_payload(CLOSE_NORMAL, b""))),
        ("a continuation of nothing", frame(CONTINUATION, b"x")),
        ("a continuation of nothing, to be continued", fragment(CONTINUATION, b"x")),
        ("a text in a text", [fragment(TEXT, b"a"), frame(TEXT, b"b")].concat()),
        ("a binary in a text", [fragment(TEXT, b"a"), frame(BINARY, b"b")].concat()),
        ("a text in an empty text", [fragment(TEXT, b""), frame(TEXT, b"b")].concat()),
        (
            "a continuation of a whole message",
            [fragment(TEXT, b"\xce"), fragment(CONTINUATION, b"\xba"), frame(TEXT, b"b")].concat(),
        ),
    ] {
        cases.push(fails(what, bytes, CLOSE_PROTOCOL));
    }
    play(cases);
}

/// Texts that are UTF-8, at the edges of every length of a character.
const GOOD: [&[u8]; 17] = [
    b"\0",
    b"\x7f",
    b"\xc2\x80",
    b"\xdf\xbf",
    b"\xe0\xa0\x80",
    b"\xef\xbf\xbf",
    b"\xf0\x90\x80\x80",
    b"\xf4\x8f\xbf\xbf",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbf\xbd",
    b"\xef\xbf\xbe",
    b"\xf0\x9f\xbf\xbf",
    b"\xf3\xaf\xbf\xbe",
    "Hello-µ@ßöäüàá-UTF-8!!".as_bytes(),
    "κόσμε".as_bytes(),
    "😀👨‍👩‍👧".as_bytes(),
];

/// Texts that are not, and the number of their bytes after which that is certain.
const BAD: [(&[u8], usize); 32] = [
    (b"\x80", 1),
    (b"\xbf", 1),
    (b"\x80\xbf\x80", 1),
    (b"\xc0 ", 1),
    (b"\xc1\xbf", 1),
    (b"\xc0\xaf", 1),
    (b"\xc2 ", 2),
    (b"\xdf\xc0", 2),
    (b"\xe0\x80\xaf", 2),
    (b"\xe0\x9f\xbf", 2),
    (b"\xe1 ", 2),
    (b"\xe1\x80 ", 3),
    (b"\xed\xa0\x80", 2),
    (b"\xed\xad\xbf", 2),
    (b"\xed\xbf\xbf", 2),
    (b"\xed\xa0\x80\xed\xb0\x80", 2),
    (b"\xf0\x80\x80\xaf", 2),
    (b"\xf0\x8f\xbf\xbf", 2),
    (b"\xf1\x80 ", 3),
    (b"\xf1\x80\x80 ", 4),
    (b"\xf4\x90\x80\x80", 2),
    (b"\xf4\xbf\xbf\xbf", 2),
    (b"\xf5\x80\x80\x80", 1),
    (b"\xf7\xbf\xbf\xbf", 1),
    (b"\xf8\x88\x80\x80\x80", 1),
    (b"\xfb\xbf\xbf\xbf\xbf", 1),
    (b"\xfc\x84\x80\x80\x80\x80", 1),
    (b"\xfe", 1),
    (b"\xff", 1),
    (b"\xfe\xfe\xff\xff", 1),
    (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", 13),
    (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited", 13),
];

#[test]
fn text_that_is_utf8_comes_back_however_it_is_cut() {
    let mut cases = Vec::new();
    for text in GOOD {
        cases.push(fine(format!("{text:x?}"), frame(TEXT, text), vec![echo(TEXT, text)]));
        let mut bytes = fragment(TEXT, b"");
        text.iter().for_each(|byte| bytes.extend(fragment(CONTINUATION, &[*byte])));
        bytes.extend(frame(CONTINUATION, b""));
        cases.push(fine(format!("{text:x?} in fragments"), bytes, vec![echo(TEXT, text)]));
        cases.push(fine(format!("{text:x?} as binary"), frame(BINARY, text), vec![echo(BINARY, text)]));
    }
    play(cases);
}

#[test]
fn text_that_is_not_utf8_fails_at_its_byte() {
    let mut cases = Vec::new();
    for (text, certain) in BAD {
        cases.push(fails(format!("{text:x?}"), frame(TEXT, text), CLOSE_INVALID_UTF8));
        // The message would go on for long, and nothing follows the byte.
        let announced = frame(TEXT, &[text, &[b'x'; 100_000]].concat());
        let header_bytes = announced.len() - text.len() - 100_000;
        let begun = announced[..header_bytes + certain].to_vec();
        cases.push(fails(format!("{text:x?} in a long frame"), begun, CLOSE_INVALID_UTF8));
        let mut bytes = fragment(TEXT, b"ok ");
        text[..certain].iter().for_each(|byte| bytes.extend(fragment(CONTINUATION, &[*byte])));
        cases.push(fails(format!("{text:x?} in fragments without an end"), bytes, CLOSE_INVALID_UTF8));
        cases.push(fine(format!("{text:x?} as binary"), frame(BINARY, text), vec![echo(BINARY, text)]));
    }
    for cut in [&b"\xc2"[..], b"\xe1\x80", b"\xf1\x80\x80", "κόσμ\u{3b5}".as_bytes().split_last().expect("long").1]
    {
        cases.push(fails(format!("{cut:x?} and no more"), frame(TEXT, cut), CLOSE_INVALID_UTF8));
        let bytes = [fragment(TEXT, cut), frame(CONTINUATION, b"")].concat();
        cases.push(fails(format!("{cut:x?} and an empty end"), bytes, CLOSE_INVALID_UTF8));
    }
    play(cases);
}

#[test]
fn a_goodbye_is_answered_with_its_code_and_ends_everything() {
    let mut cases = vec![
        case("without a code", frame(CLOSE, b""), vec![], None),
        case("a longest reason", frame(CLOSE, &close_payload(1000, &[b'*'; 123])), vec![], CLOSE_NORMAL),
        fails("one byte", frame(CLOSE, b"\x03"), CLOSE_PROTOCOL),
        fails("a reason that is not UTF-8", frame(CLOSE, &close_payload(1000, b"\xce\xba\xe1")), CLOSE_INVALID_UTF8),
    ];
    for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]) {
        cases.push(case(format!("code {code}"), goodbye(code), vec![], code));
        let reason = frame(CLOSE, &close_payload(code, "tschüss".as_bytes()));
        cases.push(case(format!("code {code} and a reason"), reason, vec![], code));
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        cases.push(fails(format!("code {code}"), goodbye(code), CLOSE_PROTOCOL));
    }
    let first = vec![echo(TEXT, b"first")];
    for (what, after) in [
        ("a message", frame(TEXT, b"late")),
        ("a ping", frame(PING, b"late")),
        ("another goodbye", goodbye(1001)),
        ("what breaks the protocol", vec![0xff; 20]),
        ("200 KiB of anything", vec![0; 200 * 1024]),
    ] {
        let bytes = [frame(TEXT, b"first"), goodbye(CLOSE_NORMAL), after].concat();
        cases.push(case(format!("{what} behind it"), bytes, first.clone(), CLOSE_NORMAL));
    }
    let inside = [fragment(TEXT, b"never finished"), goodbye(CLOSE_NORMAL)].concat();
    cases.push(case("between fragments", inside, vec![], CLOSE_NORMAL));
    play(cases);
}

#[test]
fn what_follows_a_violation_does_not_cut_off_what_came_before_it() {
    let answered = |bytes: Vec<u8>, close| {
        let many: Vec<u8> = (0..50u8).flat_map(|n| frame(BINARY, &[n; 100])).collect();
        let name = format!("{} bytes", bytes.len());
        case(name, [many, bytes].concat(), (0..50u8).map(|n| echo(BINARY, &[n; 100])).collect(), close)
    };
    let mut cases = Vec::new();
    for length in [0, 100, 5000, 100_000, 250_000] {
        cases.push(answered([unmasked(TEXT, b"x"), vec![b'x'; length]].concat(), CLOSE_PROTOCOL));
        cases.push(answered([frame(TEXT, b"\xff"), frame(TEXT, &vec![b'x'; length])].concat(), CLOSE_INVALID_UTF8));
    }
    play(cases);
}
