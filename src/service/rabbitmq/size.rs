//! How large a message may be for RabbitMQ (its `max_message_size`). It closes the channel for a larger one, with all
//! that is on its way there, and says then what it takes. That is believed until the connection is lost, so that who
//! sends larger ones costs others a message once.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};

/// The bytes of a message that RabbitMQ takes, from what it says when it closes a channel over a larger one:
/// `… message size 5 is larger than configured max size 4`. `None` for any other error.
pub fn limit(error: &lapin::Error) -> Option<usize> {
    let ErrorKind::ProtocolError(error) = error.kind() else { return None };
    let is_refusal = *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED);
    is_refusal.then(|| limit_in(error.get_message().as_str())).flatten()
}

fn limit_in(words: &str) -> Option<usize> {
    let (_, said) = words.split_once("message size ")?;
    let (_, bytes) = said.split_once(" is larger than ")?.1.split_once("max size ")?;
    bytes.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPError;

    use super::*;

    #[test]
    fn what_is_taken_stands_in_what_rabbitmq_says() {
        let said = |kind: &AMQPSoftError, words: &str| {
            limit(&ErrorKind::ProtocolError(AMQPError::new(AMQPErrorKind::Soft(kind.clone()), words.into())).into())
        };
        let (failed, refused) = (&AMQPSoftError::PRECONDITIONFAILED, &AMQPSoftError::ACCESSREFUSED);
        let words = "PRECONDITION_FAILED - message size 150000 is larger than configured max size 100000";
        assert_eq!(said(failed, words), Some(100_000));
        assert_eq!(said(failed, "message size 536870913 is larger than max size 536870912"), Some(536_870_912));
        assert_eq!(said(refused, words), None);
        for other in ["PRECONDITION_FAILED - unknown delivery tag 5", "message size 5 is larger than max size ", ""] {
            assert_eq!(said(failed, other), None, "{other}");
        }
    }
}
