//! How a channel is called at a broker whose names have dots: `conv:c1` is `ws.conv.c1` there.
//!
//! Such a name is a row of words, for some of which `*`, `#` and `>` stand where somebody listens. What a client has
//! chosen is always one word: in it those signs, blanks and control characters are written as `%` and two digits, as in
//! URLs.

use std::fmt::Write;

use percent_encoding::percent_decode_str;

/// The channel of a subject or routing key: what stands behind the prefix, its first dot a colon. Further dots belong
/// to the id. `None` when the subject does not begin with the prefix, or nothing that is a text stands behind it.
pub fn channel_of(prefix: &str, subject: &str) -> Option<String> {
    let name = subject.strip_prefix(prefix)?.strip_prefix('.').filter(|name| !name.is_empty())?;
    let name = name.replacen('.', ":", 1);
    let decoded = percent_decode_str(&name).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

/// Appends a channel, so that [`channel_of`] makes it of what stands behind the prefix: two words where it has a colon.
pub fn push_channel(subject: &mut String, channel: &str) {
    match channel.split_once(':') {
        Some((kind, id)) => {
            push_word(subject, kind);
            subject.push('.');
            push_word(subject, id);
        }
        None => push_word(subject, channel),
    }
}

/// Appends a value as one word, whatever is in it.
pub fn push_word(subject: &mut String, value: &str) {
    for c in value.chars() {
        if !(".*#>%".contains(c) || c.is_whitespace() || c.is_control()) {
            subject.push(c);
            continue;
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            write!(subject, "%{byte:02X}").expect("a text takes everything");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_dot_behind_the_prefix_is_a_colon() {
        for (subject, channel) in [
            ("ws.conv.b1", Some("conv:b1")),
            ("ws.all", Some("all")),
            ("ws.user.ana@mail.example", Some("user:ana@mail.example")),
            ("ws.a.b.c", Some("a:b.c")),
            ("ws.", None),
            ("ws", None),
            ("wsx.conv.b1", None),
            ("conv.b1", None),
            ("ws.conv.%ff", None),
            ("ws.conv.100%", Some("conv:100%")),
        ] {
            assert_eq!(channel_of("ws", subject).as_deref(), channel, "{subject}");
        }
    }

    #[test]
    fn every_channel_comes_back_from_its_own_subject() {
        for channel in [
            "conv:b1",
            "all",
            "user:ana@mail.example",
            "conv:a.b.c",
            "conv:a:b",
            "a.b",
            "a.b:c",
            ":",
            "conv:",
            ":x",
            "conv:#",
            "conv:*.>",
            "conv:100%",
            "conv:%2E",
            "conv:Zürich 1",
            "conv:\u{2003}\r\n\"",
            "%%:%",
        ] {
            let mut subject = "ws.".to_owned();
            push_channel(&mut subject, channel);
            assert_eq!(channel_of("ws", &subject).as_deref(), Some(channel), "{subject}");
            assert!(!subject.contains(|c: char| "*#>".contains(c) || c.is_whitespace() || c.is_control()), "{subject}");
            assert_eq!(subject.matches('.').count(), 1 + channel.matches(':').count().min(1), "{subject}");
        }
    }

    #[test]
    fn a_value_is_one_word() {
        for (value, word) in [
            ("k1", "k1"),
            ("a.b", "a%2Eb"),
            ("*", "%2A"),
            ("#", "%23"),
            (">", "%3E"),
            ("a b\r\n\0", "a%20b%0D%0A%00"),
            ("%2E", "%252E"),
            ("é:\"'", "é:\"'"),
            ("\u{2003}", "%E2%80%83"),
            ("", ""),
        ] {
            let mut subject = String::new();
            push_word(&mut subject, value);
            assert_eq!(subject, word, "{value:?}");
        }
    }
}
