//! How long jobs wait and run, by the name of their queue.
//!
//! A thread collects what it measures in its slice and adds it to the name's row a few dozen at a time, so that ten thousand
//! queues of one name do not fight for a counter with every job. JobTimes go into a histogram of eight buckets per power of two:
//! a percentile is at most an eighth too large, never too small, and a row costs 5 KiB, however many jobs there were.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::report::{JobCounts, JobReport, JobTimes};

/// Buckets per power of two.
const STEPS: usize = 1 << STEP_BITS;
const STEP_BITS: u32 = 3;

/// The largest power of two with buckets of its own, in nanoseconds: 18 minutes. What takes longer is counted in the last
/// bucket, and percentiles that fall there are answered with the maximum.
const POWER_MAX: u32 = 40;

const BUCKETS: usize = (POWER_MAX - STEP_BITS + 2) as usize * STEPS;

/// Measured jobs that a thread keeps to itself at most.
const BATCH_MAX: usize = 16;

/// Rows of a core. A name is that of a kind of queue, and there are dozens; who names every queue differently has the rest of
/// them measured together, under [`OTHERS`], instead of 5 KiB for each.
const ROWS_MAX: usize = 1024;

/// See [`ROWS_MAX`].
const OTHERS: &str = "others";

/// The rows of a core by name.
#[derive(Debug, Default)]
pub(super) struct Rows {
    by_name: Mutex<BTreeMap<Arc<str>, Arc<Row>>>,
}

impl Rows {
    /// The row of a name, made if it is new.
    pub(super) fn of(&self, name: &str) -> Arc<Row> {
        let mut rows = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = rows.get(name) {
            return Arc::clone(row);
        }
        let name: Arc<str> = if rows.len() < ROWS_MAX { name.into() } else { OTHERS.into() };
        let row = rows.entry(Arc::clone(&name)).or_insert_with(|| Arc::new(Row::new(name)));
        Arc::clone(row)
    }

    pub(super) fn report(&self) -> Vec<JobReport> {
        let rows: Vec<_> =
            self.by_name.lock().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect();
        rows.iter().map(|row| row.report()).collect()
    }
}

/// What is measured of the queues of one name.
#[derive(Debug)]
pub(super) struct Row {
    name: Arc<str>,
    pub(super) queues: AtomicUsize,
    pub(super) pushed: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) cancelled: AtomicU64,
    pub(super) abandoned: AtomicU64,
    pub(super) panicked: AtomicU64,
    pub(super) long: AtomicU64,
    pub(super) left_behind: AtomicU64,
    measured: Mutex<Measured>,
}

#[derive(Debug, Default)]
struct Measured {
    delay: Histogram,
    run: Histogram,
}

impl Row {
    fn new(name: Arc<str>) -> Row {
        Row {
            name,
            queues: AtomicUsize::new(0),
            pushed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
            long: AtomicU64::new(0),
            left_behind: AtomicU64::new(0),
            measured: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self) -> JobReport {
        // What has ended first: then no job is counted as ended that is not counted as pushed.
        let (queue_delay, run_time) = {
            let measured = self.measured();
            (measured.delay.times(), measured.run.times())
        };
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = JobCounts {
            ran: run_time.count(),
            dropped: read(&self.dropped),
            cancelled: read(&self.cancelled),
            abandoned: read(&self.abandoned),
            panicked: read(&self.panicked),
            long: read(&self.long),
            left_behind: read(&self.left_behind),
            refused: read(&self.refused),
            pushed: read(&self.pushed),
        };
        JobReport {
            name: self.name.to_string(),
            queues: self.queues.load(Ordering::Relaxed),
            counts,
            queue_delay,
            run_time,
        }
    }
}

/// What a thread has measured in its slice and not added yet.
pub(super) struct Batch<'a> {
    row: &'a Row,
    jobs: [(Duration, Duration); BATCH_MAX],
    taken: usize,
}

impl Batch<'_> {
    pub(super) fn new(row: &Row) -> Batch<'_> {
        Batch { row, jobs: [(Duration::ZERO, Duration::ZERO); BATCH_MAX], taken: 0 }
    }

    pub(super) fn add(&mut self, delay: Duration, run: Duration) {
        if let Some(free) = self.jobs.get_mut(self.taken) {
            *free = (delay, run);
            self.taken += 1;
        }
        if self.taken == BATCH_MAX {
            self.hand_in();
        }
    }

    pub(super) fn hand_in(&mut self) {
        let jobs = self.jobs.get(..self.taken).unwrap_or_default();
        if !jobs.is_empty() {
            let mut measured = self.row.measured();
            for (delay, run) in jobs {
                measured.delay.add(*delay);
                measured.run.add(*run);
            }
        }
        self.taken = 0;
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.hand_in();
    }
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    buckets: Box<[u64; BUCKETS]>,
    count: u64,
    sum: Duration,
    max: Duration,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: Box::new([0; BUCKETS]), count: 0, sum: Duration::ZERO, max: Duration::ZERO }
    }
}

impl Histogram {
    fn add(&mut self, time: Duration) {
        if let Some(bucket) = self.buckets.get_mut(bucket_of(time)) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(time);
        self.max = self.max.max(time);
    }

    fn times(&self) -> JobTimes {
        let counted = self.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        let buckets = counted.map(|(bucket, count)| (upper_bound(bucket), *count)).collect();
        JobTimes::new(buckets, self.sum, self.max)
    }
}

fn bucket_of(time: Duration) -> usize {
    let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let Some(power) = nanoseconds.checked_ilog2().filter(|power| *power >= STEP_BITS) else {
        return nanoseconds as usize;
    };
    let step = (nanoseconds >> (power - STEP_BITS)) as usize % STEPS;
    let bucket = (power - STEP_BITS + 1) as usize * STEPS + step;
    bucket.min(BUCKETS - 1)
}

/// The longest time that is counted in a bucket.
fn upper_bound(bucket: usize) -> Duration {
    let nanoseconds = match (bucket / STEPS).checked_sub(1) {
        None => bucket as u64,
        _ if bucket >= BUCKETS - 1 => u64::MAX,
        Some(shift) => (((STEPS + bucket % STEPS + 1) as u64) << shift) - 1,
    };
    Duration::from_nanos(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_it_says() {
        let mut before = None;
        for nanoseconds in
            (0..100_000).chain((17..63).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1]))
        {
            let time = Duration::from_nanos(nanoseconds);
            let bucket = bucket_of(time);
            assert!(before.is_none_or(|before| before <= bucket), "{nanoseconds}");
            before = Some(bucket);
            let bound = upper_bound(bucket);
            assert!(time <= bound, "{nanoseconds} in a bucket up to {bound:?}");
            if bucket < BUCKETS - 1 {
                assert!(bound.as_nanos() <= u128::from(nanoseconds + nanoseconds / 8), "{nanoseconds}: {bound:?}");
            }
        }
        assert_eq!(bucket_of(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn names_without_end_share_a_row() {
        let rows = Rows::default();
        for number in 0..3 * ROWS_MAX {
            rows.of(&number.to_string()).refused.fetch_add(1, Ordering::Relaxed);
        }
        let report = rows.report();
        assert_eq!(report.len(), ROWS_MAX + 1);
        let refused = |name: &str| report.iter().find(|row| row.name == name).map(|row| row.counts.refused);
        assert_eq!((refused("7"), refused(OTHERS)), (Some(1), Some(2 * ROWS_MAX as u64)));
    }

    #[test]
    fn a_batch_hands_in_everything_once() {
        let rows = Rows::default();
        let row = rows.of("x");
        let mut batch = Batch::new(&row);
        for number in 1..=100 {
            batch.add(Duration::from_micros(number), Duration::from_millis(number));
        }
        assert_eq!(row.report().counts.ran, 96);
        drop(batch);
        let report = row.report();
        assert_eq!((report.counts.ran, report.queue_delay.sum()), (100, Duration::from_micros(5050)));
        assert_eq!(report.run_time.max(), Duration::from_millis(100));
    }
}
