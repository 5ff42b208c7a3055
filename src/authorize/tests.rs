//! The task with a service that never answers.

use crate::channel::Policies;
use crate::lane::{Command, ConnectionId, LaneEnd, Ticket};
use crate::service::{Jobs, Queue, ServiceStatus};

use super::*;

/// Far more than it takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// Whoever decides within `timeout` by asking a service, of which the other end is returned.
fn decider(timeout: Duration) -> (Decider, Jobs, Bus, LaneEnd) {
    let (bus, mut ends) = Bus::open(1, Arc::default(), Policies::default(), Duration::ZERO).expect("a lane");
    let status = Arc::new(ServiceStatus::new("desk", "http", 10_000));
    status.link.connected();
    let (queue, jobs) = Queue::new(bus.clone(), status);
    let decider = Decider {
        oracle: Oracle::Service(service::Asked::new(Arc::new(queue), timeout)),
        decisions: Arc::default(),
        cache: Cache::new(Duration::ZERO, 1),
        budget: Budget::new(1),
        timeout,
    };
    (decider, jobs, bus, ends.remove(0))
}

fn question(number: u64) -> Question {
    Question {
        from: ConnectionId { shard: 0, slot: number as u32, generation: 0 },
        ticket: Ticket(number),
        user_id: format!("user{number}").into(),
        channels: vec!["conv:c1".into()],
    }
}

#[test]
fn all_are_answered_in_their_time_although_only_some_are_asked_for() {
    const QUESTIONS: usize = 3 * AT_ONCE_MAX;
    let (decider, mut jobs, bus, end) = decider(Duration::from_millis(200));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let answered = runtime.block_on(async {
        let (sender, questions) = mpsc::channel(QUEUE_MAX);
        let since = Instant::now();
        for number in 0..QUESTIONS {
            sender.try_send(Waiting { question: question(number as u64), since }).expect("room");
        }
        let mut answered = 0;
        let reading = async {
            while answered < QUESTIONS {
                while let Some(posted) = end.take() {
                    let Command::Permit(verdict) = posted.command else { panic!("no verdict") };
                    assert!(verdict.permissions.iter().all(|(_, permission)| *permission == Permission::Unavailable));
                    answered += 1;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = decider.serve(questions, bus) => panic!("somebody may still ask"),
            _ = timeout_at(Instant::now() + DEADLINE, reading) => {}
        }
        answered
    });
    let asked = std::iter::from_fn(|| jobs.try_next()).count();
    // The others had no time left when their turn came.
    assert!(answered == QUESTIONS && asked <= AT_ONCE_MAX, "{answered} answered, {asked} asked");
}

#[tokio::test]
async fn who_has_asked_while_nobody_was_there_may_ask_when_somebody_is() {
    let (decider, jobs, _bus, _end) = decider(DEADLINE);
    drop(jobs);
    for _ in 0..1_000 {
        let permission = decider.permission("ana", "conv:c1", Instant::now() + DEADLINE).await;
        assert_eq!(permission, Permission::Unavailable);
    }
    assert!(decider.budget.spend("ana", Instant::now()));
}
