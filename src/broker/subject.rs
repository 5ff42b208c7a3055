//! How a channel is called at a broker whose names have dots: `conv:c1` is `ws.conv.c1` there.

/// The channel of a subject or routing key: what stands behind the prefix, its first dot a colon. Further dots belong to
/// the id. `None` when the subject does not begin with the prefix, or nothing stands behind it.
pub fn channel_of(prefix: &str, subject: &str) -> Option<String> {
    let name = subject.strip_prefix(prefix)?.strip_prefix('.').filter(|name| !name.is_empty())?;
    Some(name.replacen('.', ":", 1))
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
        ] {
            assert_eq!(channel_of("ws", subject).as_deref(), channel, "{subject}");
        }
    }
}
