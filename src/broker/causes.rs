//! An error in words, with what it comes from: the outermost says little more than that there was one. For whoever
//! tells why a server is not reached.

use std::error::Error;

/// The error and its causes, but for those that the one before has named already.
pub fn causes(error: &dyn Error) -> String {
    let (mut text, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Failed(&'static str, Option<Box<Failed>>);

    impl fmt::Display for Failed {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Failed {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_ref().map(|cause| &**cause as &dyn Error)
        }
    }

    #[test]
    fn every_cause_is_named_once() {
        let cause = || Some(Box::new(Failed("refused", None)));
        let middle = |text| Some(Box::new(Failed(text, cause())));
        assert_eq!(causes(&Failed("lost", None)), "lost");
        assert_eq!(causes(&Failed("no request", middle("no connection"))), "no request: no connection: refused");
        assert_eq!(causes(&Failed("no request", middle("connect: refused"))), "no request: connect: refused");
    }
}
