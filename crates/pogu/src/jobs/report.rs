//! What can be read of jobs at any time.

use std::time::Duration;

/// The jobs of all queues of one name, since their core was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct JobReport {
    /// The name.
    pub name: String,
    /// Queues of that name at this moment.
    pub queues: usize,
    /// How many jobs.
    pub counts: JobCounts,
    /// How long jobs waited, from when they were pushed (or, delayed ones, were due) until they began.
    pub queue_delay: JobTimes,
    /// How long they ran.
    pub run_time: JobTimes,
}

/// Jobs by what became of them. A queue that is just being worked at adds what it has run every 16 jobs, and when it yields.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct JobCounts {
    /// Taken.
    pub pushed: u64,
    /// Of these, run to their end, those that panicked included.
    pub ran: u64,
    /// Of those that ran, panicked.
    pub panicked: u64,
    /// Of those that ran, kept a thread of the pool longer than [`CoreBuilder::stall_limit`](crate::CoreBuilder::stall_limit). Jobs that
    /// block are expected to, and not counted; handlers on a pool are once they have blocked for 10 s.
    pub long: u64,
    /// Taken and cancelled before they began.
    pub cancelled: u64,
    /// Taken and dropped for newer ones: [`JobOverflow::DropOldest`](super::JobOverflow::DropOldest).
    pub dropped: u64,
    /// Taken and never run because their queue stopped, or their core ended; for handlers on a pool, because their session
    /// ended.
    pub abandoned: u64,
    /// Begun, and still running when the end of their core waited no longer: each keeps its thread until it ends. One that does is
    /// counted as run as well.
    pub left_behind: u64,
    /// Not taken.
    pub refused: u64,
}

impl JobCounts {
    /// Jobs that wait or run.
    pub fn waiting(&self) -> u64 {
        self.pushed.saturating_sub(self.ran + self.cancelled + self.dropped + self.abandoned)
    }
}

/// How long something took, many times.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JobTimes {
    /// Upper bounds and counts, shortest first; none is empty.
    buckets: Vec<(Duration, u64)>,
    sum: Duration,
    max: Duration,
}

impl JobTimes {
    pub(super) fn new(buckets: Vec<(Duration, u64)>, sum: Duration, max: Duration) -> JobTimes {
        JobTimes { buckets, sum, max }
    }

    /// How many times.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The time that `share` of them did not exceed: 0.99 for the 99th percentile. At most an eighth more than it was, never
    /// less. Zero if there were none.
    pub fn percentile(&self, share: f64) -> Duration {
        let count = self.count();
        // As a fraction of what is counted, rounded up: of two the median is the first.
        let rank = ((count as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut so_far = 0;
        for (bound, count) in &self.buckets {
            so_far += count;
            if so_far >= rank {
                return (*bound).min(self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_what_so_many_did_not_exceed() {
        let of = Duration::from_millis;
        let times = JobTimes::new(vec![(of(1), 90), (of(2), 9), (of(64), 1)], of(200), of(60));
        assert_eq!(times.count(), 100);
        let answers = [0.0, 0.5, 0.9, 0.901, 0.99, 0.991, 1.0].map(|share| times.percentile(share));
        assert_eq!(answers, [of(1), of(1), of(1), of(2), of(2), of(60), of(60)]);
        assert_eq!(JobTimes::default().percentile(0.99), Duration::ZERO);
    }
}
