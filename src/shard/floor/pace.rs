//! When a step of a turn looks at the clock: after some events, or some goes of fan-outs, and sooner when they bring
//! much input, which takes its time.

/// So many commands, deadlines, events or goes of fan-outs are served before the clock is looked at: each step gets
/// on, however late it is.
pub const BETWEEN_LOOKS: usize = 16;

/// Most of either in one turn, whatever the clock says: what a lane holds.
pub const PER_TURN: usize = 4096;

/// What so many bytes of input take is as much as one event: a buffer full of pings or channel names takes some 100 µs.
const BYTES_PER_EVENT: usize = 512;

/// A step that may go on until some moment.
pub struct Pace {
    until_us: u64,
    /// Events since the last look, or what takes as much.
    since_look: usize,
}

impl Pace {
    pub fn until(until_us: u64) -> Self {
        Self { until_us, since_look: 0 }
    }

    /// An event is served that brings so many bytes of input.
    pub fn serves(&mut self, input_bytes: usize) {
        self.since_look += 1 + input_bytes / BYTES_PER_EVENT;
    }

    /// Whether the time is over, if it is time to look.
    pub fn is_over(&mut self, now_us: impl FnOnce() -> u64) -> bool {
        if self.since_look < BETWEEN_LOOKS {
            return false;
        }
        self.since_look = 0;
        now_us() >= self.until_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events served in a step whose time was over from the beginning.
    fn served(input_bytes: usize) -> usize {
        let (mut pace, mut served) = (Pace::until(0), 0);
        while !pace.is_over(|| 1) {
            pace.serves(input_bytes);
            served += 1;
        }
        served
    }

    #[test]
    fn full_buffers_do_not_make_a_turn_longer() {
        assert_eq!([0, 100, 512, 4096].map(served), [BETWEEN_LOOKS, BETWEEN_LOOKS, BETWEEN_LOOKS / 2, 2]);
    }

    #[test]
    fn a_step_goes_on_until_its_time_is_over() {
        let mut pace = Pace::until(10);
        for now_us in [8, 9, 10] {
            (0..BETWEEN_LOOKS).for_each(|_| pace.serves(0));
            assert_eq!(pace.is_over(|| now_us), now_us == 10);
            assert!(!pace.is_over(|| unreachable!("it has just looked")));
        }
    }
}
