//! When a session's messages are due.

use std::time::Duration;

use pogu::Time;

/// A fixed schedule: message `n` is due at `first + n * interval`, however late an earlier one was.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Schedule {
    first: Time,
    interval_nanoseconds: f64,
    end: Time,
}

impl Schedule {
    /// The schedule of one of `sessions`: the first messages of all are spread evenly over one interval, so that they do
    /// not leave all at once.
    pub(crate) fn new(start: Time, duration: Duration, rate: f64, session: usize, sessions: usize) -> Schedule {
        let interval_nanoseconds = 1e9 / rate;
        let offset = interval_nanoseconds * session as f64 / sessions.max(1) as f64;
        let first = start + Duration::from_nanos(offset as u64);
        Schedule { first, interval_nanoseconds, end: start + duration }
    }

    /// A single message.
    pub(crate) fn once(due: Time) -> Schedule {
        Schedule { first: due, interval_nanoseconds: 1.0, end: due + Duration::from_nanos(1) }
    }

    /// When message `number` is due; `None` if that is not before the end.
    pub(crate) fn due(&self, number: u64) -> Option<Time> {
        let after = (number as f64 * self.interval_nanoseconds) as u64;
        let due = self.first + Duration::from_nanos(after);
        (due < self.end).then_some(due)
    }

    /// No message is due from then on.
    pub(crate) fn end(&self) -> Time {
        self.end
    }

    /// How many messages are due before the end, of which `sent` have been sent.
    pub(crate) fn remaining(&self, sent: u64) -> u64 {
        let whole = self.end.since(self.first).as_nanos() as f64 / self.interval_nanoseconds;
        (whole.ceil() as u64).saturating_sub(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time::from_nanos(1_000_000_000);

    fn schedule(rate: f64, session: usize) -> Schedule {
        Schedule::new(START, Duration::from_secs(2), rate, session, 4)
    }

    #[test]
    fn messages_are_due_at_even_distances_without_drift() {
        let schedule = schedule(1000.0, 0);
        assert_eq!(schedule.due(0), Some(START));
        assert_eq!(schedule.due(1999), Some(START + Duration::from_millis(1999)));
        assert_eq!(schedule.due(2000), None);
        assert_eq!(schedule.remaining(0), 2000);
    }

    #[test]
    fn sessions_are_spread_over_one_interval() {
        let firsts: Vec<_> = (0..4).map(|session| schedule(1.0, session).due(0).unwrap().since(START)).collect();
        assert_eq!(firsts, [0, 250, 500, 750].map(Duration::from_millis));
        assert_eq!(schedule(1.0, 3).remaining(1), 1);
    }

    #[test]
    fn once_is_once() {
        let schedule = Schedule::once(START);
        assert_eq!([schedule.due(0), schedule.due(1)], [Some(START), None]);
        assert_eq!([schedule.remaining(0), schedule.remaining(1)], [1, 0]);
    }

    #[test]
    fn a_session_whose_first_message_is_not_before_the_end_sends_none() {
        let slow = Schedule::new(START, Duration::from_secs(1), 0.5, 3, 4);
        assert_eq!((slow.due(0), slow.remaining(0)), (None, 0));
    }
}
