//! Answers in parts: as fast as their client, bounded, and broken off where nothing follows.

use super::*;

#[test]
fn an_answer_in_parts_is_as_fast_as_its_client_and_makes_nobody_too_slow() {
    with_service(|mut shard, outside| {
        let mut ann = shard.client("ann");
        shard.call_with(&ann, "ask", 0, None).unwrap();
        ann.peer.stall(true);
        // Far more than an outbox holds, as fast as the service is let.
        let parts: Vec<String> = (0..100).map(|n| format!("{n} {}", "x".repeat(4000))).collect();
        let (mut sent, mut waiting) = (0, Vec::<Told>::new());
        for round in 0..1000 {
            waiting.retain(|told| lock(told).is_none());
            while waiting.len() < STREAM_WINDOW && sent < parts.len() {
                waiting.push(shard.respond(ann.id, outside.ticket(0), Part::more(&parts[sent])));
                sent += 1;
            }
            shard.settle();
            shard.floor.state.calls.check();
            if round == 20 {
                assert!(sent < 40, "{sent} parts were taken for a client that does not read");
                // However long that lasts, the service owes nothing.
                shard.pass(TIMEOUT_MS * 3);
                ann.peer.stall(false);
            }
        }
        assert_eq!((sent, waiting.len()), (parts.len(), 0));
        shard.respond(ann.id, outside.ticket(0), Part::Taken);
        shard.settle();
        let texts: Vec<Said> = ann.heard().into_iter().filter(|said| matches!(said, Said::Text(_))).collect();
        assert_eq!(texts, parts.iter().map(|part| Said::text(part)).collect::<Vec<_>>());
        assert!(shard.floor.state.calls.is_empty());
        assert_eq!(shard.closed("too_slow"), 0);
    });
}

#[test]
fn a_service_that_says_more_than_the_window_holds_is_broken_off_and_the_client_told() {
    with_service(|mut shard, outside| {
        let mut ann = shard.client("ann");
        shard.call_with(&ann, "ask", 0, None).unwrap();
        shard.call_with(&ann, "ask", 1, None).unwrap();
        let told: Vec<_> = (0..10_000).map(|n| shard.flood(ann.id, outside.ticket(1), n)).collect();
        assert_eq!(outside.forgotten(), 1);
        assert!(told[STREAM_WINDOW..].iter().all(|told| *lock(told) == Some(Fate::Gone)));
        shard.respond(ann.id, outside.ticket(0), Part::Taken);
        shard.settle();
        let heard = ann.heard();
        assert_eq!(heard.len(), STREAM_WINDOW + 1);
        assert_eq!(heard.last().and_then(Said::error_code).as_deref(), Some("busy"));
    });
}

#[test]
fn a_silent_stream_is_late_and_one_that_goes_on_is_not() {
    with_service(|mut shard, outside| {
        let mut ann = shard.client("ann");
        shard.call_with(&ann, "ask", 0, None).unwrap();
        for n in 0..5 {
            shard.respond(ann.id, outside.ticket(0), Part::more(&n.to_string()));
            shard.pass(TIMEOUT_MS - 500);
        }
        assert_eq!(ann.texts().len(), 5);
        shard.pass(1000);
        assert_eq!(ann.errors(), ["service_unavailable"]);
    });
}

#[test]
fn who_is_silent_is_late_also_with_parts_that_wait_for_an_earlier_answer() {
    with_service(|mut shard, outside| {
        let mut ann = shard.client("ann");
        for id in 0..4 {
            shard.call_with(&ann, "ask", id, None).unwrap();
            shard.respond(ann.id, outside.ticket(id), Part::more("and more"));
        }
        shard.pass(TIMEOUT_MS * 2);
        assert_eq!(ann.errors(), ["service_unavailable"; 4]);
        assert!(shard.floor.state.calls.is_empty());
    });
}

impl Shard {
    fn flood(&mut self, to: ConnectionId, ticket: Ticket, n: usize) -> Told {
        let told = self.respond(to, ticket, Part::more(&format!("{n}")));
        if n % 100 == 99 {
            self.settle();
            self.floor.state.calls.check();
        }
        told
    }
}
