//! Where a connection is in its life, and what may follow what. Nobody outside of the [connection](super) makes a phase
//! or sets one: each step is a method here, which asserts that it is allowed. Those of the end are [`super::ending`]'s.
//!
//! ```text
//!            token              our close frame              both have said close,
//!            verified           is queued                    nothing follows
//!  Arrived ───────────► Open ────────┐                   ┌────────────► Finishing ────────────┐ all sent
//!     │                 ▲  │ fresh   ▼                   │                                    │
//!     │                 └──┘ token  Closing ─────────────┤ the peer broke the                 │
//!     │                              ▲                   │ protocol, or goes on               │
//!     └──────────────────────────────┤                   └────────────► Failing ─► Lingering ─┤ its end, or
//!  Echo ─────────────────────────────┘                             all sent: FIN              │ the deadline
//!                                                                                             ▼
//!  any but Stopped ── the peer vanished ──────────────────────────────────────────────────► Stopped
//!  Closing, Finishing, Failing ── the deadline: given up, with a reset ──────────────────────►
//! ```
//!
//! `Stopped`: the backend finishes what is in flight and closes the socket; then the slot is free. A connection of the
//! echo endpoint is `Echo` where another is `Arrived` or `Open`. What only one phase needs is kept in that phase.

/// Made when a client comes, and never again.
#[derive(Debug)]
pub struct Phase(State);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Upgraded, waiting for a token.
    Arrived,
    /// Has a verified token.
    Open(Open),
    /// Came through the echo endpoint: no session, and none will be.
    Echo,
    /// Our close frame is queued or sent; the peer's is awaited until a tick.
    Closing { until: u32 },
    /// Our close frame is queued or sent and the peer's has come: the socket goes with the last byte, or at a tick.
    Finishing { until: u32 },
    /// Our close frame is queued or sent, and the peer's input is not what it should be: our side of the stream ends
    /// with the last byte, or all of it at a tick. So many bytes of input are still read, to be dropped.
    Failing { until: u32, input_bytes_left: u32 },
    /// Our side of the stream has ended; what the peer still sends is dropped until it ends its own, or until a tick.
    Lingering { until: u32, input_bytes_left: u32 },
    /// The backend closes the socket.
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    /// Unix seconds.
    pub(super) token_expires_at: u32,
    /// The tick of the next heartbeat.
    pub(super) heartbeat_at: u32,
    /// The session was told that its token expires soon.
    pub(super) is_warned: bool,
}

impl Phase {
    pub(super) fn arrived() -> Self {
        Self(State::Arrived)
    }

    pub(super) fn echo() -> Self {
        Self(State::Echo)
    }

    /// A token has been verified, for the first time or anew. The first time says when the first heartbeat is due.
    pub(super) fn open(&mut self, token_expires_at: u32, heartbeat_at: u32) {
        let heartbeat_at = match self.0 {
            State::Open(open) => open.heartbeat_at,
            _ => heartbeat_at,
        };
        let open = State::Open(Open { token_expires_at, heartbeat_at, is_warned: false });
        self.become_if(matches!(self.0, State::Arrived | State::Open(_)), open);
    }

    pub(super) fn close(&mut self, until: u32) {
        self.become_if(self.is_alive(), State::Closing { until });
    }

    pub(super) fn finish(&mut self) {
        if let State::Closing { until } = self.expect_closing() {
            self.0 = State::Finishing { until };
        }
    }

    pub(super) fn fail(&mut self, input_bytes_max: usize) {
        if let State::Closing { until } = self.expect_closing() {
            let input_bytes_left = u32::try_from(input_bytes_max).unwrap_or(u32::MAX);
            self.0 = State::Failing { until, input_bytes_left };
        }
    }

    fn expect_closing(&self) -> State {
        debug_assert!(self.is_closing(), "only who has said goodbye ends: {self:?}");
        self.0
    }

    pub(super) fn linger(&mut self, until: u32) {
        debug_assert!(self.is_failing(), "{self:?} has not failed");
        if let State::Failing { input_bytes_left, .. } = self.0 {
            self.0 = State::Lingering { until, input_bytes_left };
        }
    }

    pub(super) fn stop(&mut self) {
        self.become_if(!self.is_stopped(), State::Stopped);
    }

    fn become_if(&mut self, is_allowed: bool, next: State) {
        debug_assert!(is_allowed, "{self:?} does not become {next:?}");
        self.0 = next;
    }

    /// The session has been told that its token expires soon.
    pub(super) fn note_warning(&mut self) {
        debug_assert!(self.is_open());
        if let State::Open(open) = &mut self.0 {
            open.is_warned = true;
        }
    }

    /// The heartbeat was due; the next one is a whole number of intervals behind it: those whose beats were late
    /// together are not together from then on.
    pub(super) fn note_heartbeat(&mut self, tick: u32, interval_ticks: u32) {
        debug_assert!(self.is_open());
        if let State::Open(open) = &mut self.0 {
            debug_assert!(tick >= open.heartbeat_at);
            open.heartbeat_at += (1 + (tick - open.heartbeat_at) / interval_ticks) * interval_ticks;
        }
    }

    pub(super) fn goes_on_reading(&mut self, bytes: usize) -> bool {
        match &mut self.0 {
            State::Arrived | State::Open(_) | State::Echo | State::Closing { .. } => true,
            State::Failing { input_bytes_left, .. } | State::Lingering { input_bytes_left, .. } => {
                *input_bytes_left = input_bytes_left.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
                *input_bytes_left > 0
            }
            // A socket that is about to be closed is not watched any more: to stop watching costs a search in the
            // kernel.
            State::Finishing { .. } | State::Stopped => false,
        }
    }

    /// True while messages are read and delivered.
    pub fn is_alive(&self) -> bool {
        matches!(self.0, State::Arrived | State::Open(_) | State::Echo)
    }

    pub fn is_arrived(&self) -> bool {
        matches!(self.0, State::Arrived)
    }

    pub fn is_open(&self) -> bool {
        matches!(self.0, State::Open(_))
    }

    pub fn is_echo(&self) -> bool {
        matches!(self.0, State::Echo)
    }

    pub fn is_closing(&self) -> bool {
        matches!(self.0, State::Closing { .. })
    }

    pub fn is_finishing(&self) -> bool {
        matches!(self.0, State::Finishing { .. })
    }

    pub fn is_failing(&self) -> bool {
        matches!(self.0, State::Failing { .. })
    }

    pub fn is_lingering(&self) -> bool {
        matches!(self.0, State::Lingering { .. })
    }

    pub fn is_stopped(&self) -> bool {
        matches!(self.0, State::Stopped)
    }

    /// Input is dropped unread: nothing of it could be understood, or matters any more.
    pub fn is_deaf(&self) -> bool {
        !self.is_alive() && !self.is_closing()
    }

    pub(super) fn state(&self) -> State {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Phase {
        let mut phase = Phase::arrived();
        phase.open(1000, 300);
        phase
    }

    fn closing(mut phase: Phase) -> Phase {
        phase.close(50);
        phase
    }

    fn failing() -> Phase {
        let mut phase = closing(open());
        phase.fail(10);
        phase
    }

    #[test]
    fn every_way_through_the_picture_can_be_walked() {
        for phase in [Phase::arrived(), open(), Phase::echo()] {
            assert!(phase.is_alive());
            let mut phase = closing(phase);
            assert!(phase.is_closing() && !phase.is_deaf());
            phase.finish();
            assert!(phase.is_finishing() && phase.is_deaf());
            phase.stop();
            assert!(phase.is_stopped());
        }
        let mut phase = failing();
        assert!(phase.is_failing() && phase.is_deaf());
        phase.linger(60);
        assert!(phase.is_lingering() && phase.is_deaf());
        phase.stop();
        assert!(!phase.goes_on_reading(1));
    }

    #[test]
    fn a_fresh_token_keeps_the_heartbeat_and_takes_the_warning_back() {
        let mut phase = open();
        phase.note_warning();
        phase.open(2000, 999);
        let fresh = Open { token_expires_at: 2000, heartbeat_at: 300, is_warned: false };
        assert_eq!(phase.state(), State::Open(fresh));
    }

    #[test]
    fn missed_heartbeats_are_left_out_and_the_phase_of_the_beat_stays() {
        for (tick, next) in [(300, 400), (399, 400), (400, 500), (1234, 1300)] {
            let mut phase = open();
            phase.note_heartbeat(tick, 100);
            assert!(matches!(phase.state(), State::Open(open) if open.heartbeat_at == next), "{tick}");
        }
    }

    #[test]
    fn what_a_failed_peer_still_sends_is_read_up_to_a_bound() {
        let mut phase = failing();
        assert!(phase.goes_on_reading(4));
        phase.linger(60);
        assert!(phase.goes_on_reading(5));
        assert!(!phase.goes_on_reading(1) && !phase.goes_on_reading(0));
    }

    #[test]
    #[should_panic(expected = "does not become")]
    fn nobody_closes_twice() {
        closing(closing(open()));
    }

    #[test]
    #[should_panic(expected = "only who has said goodbye ends")]
    fn nobody_ends_without_a_goodbye() {
        open().finish();
    }

    #[test]
    #[should_panic(expected = "does not become")]
    fn nobody_opens_behind_a_goodbye() {
        closing(Phase::arrived()).open(1, 1);
    }

    #[test]
    #[should_panic(expected = "has not failed")]
    fn nobody_lingers_who_did_not_fail() {
        closing(open()).linger(1);
    }
}
