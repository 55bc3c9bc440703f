//! Which jobs run at this moment, for the thread that looks after stalls: a job that runs for long is named while it does.
//!
//! ```text
//!   a thread with a slice: enter -- began(now), job, began(now), job, ... -- leave          the watch: since when, and of whom?
//! ```
//!
//! There are as many places as threads were in jobs at a time. A slice takes one that is free and gives it back, each under a
//! short lock of the core's; saying that a job begins is a store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pogu_port::Time;

use super::measure::Row;

/// No job runs.
const NONE: u64 = u64::MAX;

/// Looks that have to find the same job: see the watch of workers, which two looks may deceive as well.
const LOOKS_MIN: u32 = 3;

/// The least time between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Runs {
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    all: Vec<Arc<Run>>,
    free: Vec<Arc<Run>>,
}

/// The place of a thread that is in a slice.
#[derive(Debug)]
struct Run {
    /// Nanoseconds of the clock; [`NONE`] between two slices.
    since: AtomicU64,
    /// Nanoseconds that a job may run here before it is worth a line, if that is more than the watch allows.
    patience: AtomicU64,
    row: Mutex<Option<Arc<Row>>>,
}

impl Run {
    fn row(&self) -> MutexGuard<'_, Option<Arc<Row>>> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runs {
    /// A thread begins with a slice of a queue.
    pub(super) fn enter(&self, row: &Arc<Row>) -> Entered<'_> {
        self.enter_patiently(row, Duration::ZERO)
    }

    /// As [`Runs::enter`], with jobs that may take their time: none is named before it has run for `patience`.
    pub(super) fn enter_patiently(&self, row: &Arc<Row>, patience: Duration) -> Entered<'_> {
        let run = self.places().take();
        run.patience.store(u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        *run.row() = Some(Arc::clone(row));
        Entered { runs: self, run }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when a job runs in each place, how long it may, and of which queue it is.
    fn now_running(&self) -> Vec<Running> {
        let all = self.places().all.clone();
        let seen = |place: &Arc<Run>| Running {
            since: Time::from_nanos(place.since.load(Ordering::Relaxed)),
            patience: Duration::from_nanos(place.patience.load(Ordering::Relaxed)),
            row: place.row().clone(),
        };
        all.iter().map(seen).collect()
    }
}

impl Places {
    fn take(&mut self) -> Arc<Run> {
        self.free.pop().unwrap_or_else(|| {
            let new = Arc::new(Run { since: AtomicU64::new(NONE), patience: AtomicU64::new(0), row: Mutex::default() });
            self.all.push(Arc::clone(&new));
            new
        })
    }
}

/// What is seen of a place.
struct Running {
    since: Time,
    patience: Duration,
    row: Option<Arc<Row>>,
}

/// A thread in a slice.
pub(super) struct Entered<'a> {
    runs: &'a Runs,
    run: Arc<Run>,
}

impl Entered<'_> {
    /// The next job begins.
    pub(super) fn began(&self, now: Time) {
        self.run.since.store(now.as_nanos(), Ordering::Relaxed);
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.run.since.store(NONE, Ordering::Relaxed);
        *self.run.row() = None;
        self.runs.places().free.push(Arc::clone(&self.run));
    }
}

/// What the watch knows of one place.
#[derive(Clone, Copy)]
struct Seen {
    since: Time,
    looks: u32,
    /// How long the job has to have run to be worth a line. Doubles with each, so that an endless one is not forgotten.
    worth_a_line: Duration,
}

/// The watch's own notes.
pub(crate) struct JobWatcher {
    limit: Duration,
    places: Vec<Seen>,
    line_at: Option<Time>,
}

impl JobWatcher {
    pub(crate) fn new(limit: Duration) -> JobWatcher {
        JobWatcher { limit, places: Vec::new(), line_at: None }
    }

    /// Looks at every place. The queue of the job that has run longest, and how long, if that is to be told now.
    pub(super) fn look(&mut self, runs: &Runs, now: Time) -> Option<(Arc<Row>, Duration)> {
        let running = runs.now_running();
        let unseen = Seen { since: Time::ZERO, looks: 0, worth_a_line: self.limit };
        self.places.resize(running.len(), unseen);
        let mut longest: Option<(&mut Seen, Arc<Row>, Duration)> = None;
        for (seen, Running { since, patience, row }) in self.places.iter_mut().zip(running) {
            if seen.since != since {
                *seen = Seen { since, ..unseen };
            }
            seen.looks = seen.looks.saturating_add(1);
            // Later than now where no job runs.
            let ran_for = now.since(since);
            let Some(row) = row.filter(|_| seen.looks >= LOOKS_MIN && ran_for >= seen.worth_a_line.max(patience))
            else {
                continue;
            };
            if longest.as_ref().is_none_or(|(_, _, other)| ran_for > *other) {
                longest = Some((seen, row, ran_for));
            }
        }
        let (seen, row, ran_for) = longest?;
        if self.line_at.is_some_and(|at| now.since(at) < LINE_INTERVAL) {
            return None;
        }
        self.line_at = Some(now);
        seen.worth_a_line = ran_for * 2;
        Some((row, ran_for))
    }
}

#[cfg(test)]
mod tests {
    use super::super::measure::Rows;
    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::ZERO + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_job_that_runs_on_is_told_of_ever_more_rarely_and_a_short_one_never() {
        let (runs, rows) = (Runs::default(), Rows::default());
        let [long, short] = ["long", "short"].map(|name| runs.enter(&rows.of(name)));
        let mut watcher = JobWatcher::new(Duration::from_millis(100));
        long.began(at(0));
        let mut told = Vec::new();
        for time in (0..=20_000).step_by(25) {
            short.began(at(time));
            told.extend(
                watcher.look(&runs, at(time)).map(|(row, ran_for)| (row.name().to_string(), ran_for.as_millis())),
            );
        }
        let expected = [100, 1100, 2200, 4400, 8800, 17_600].map(|milliseconds| ("long".to_owned(), milliseconds));
        assert_eq!(told, expected);
        drop(long);
        assert!(
            (20_000..40_000)
                .step_by(25)
                .all(|time| watcher.look(&runs, at(time)).is_none_or(|(row, _)| &**row.name() != "long"))
        );
    }

    #[test]
    fn a_job_that_may_take_its_time_is_told_of_when_that_is_over() {
        let (runs, rows) = (Runs::default(), Rows::default());
        let entered = runs.enter_patiently(&rows.of("patient"), Duration::from_secs(10));
        entered.began(at(0));
        let mut watcher = JobWatcher::new(Duration::from_millis(100));
        let told = (0..=30_000).step_by(25).filter(|time| watcher.look(&runs, at(*time)).is_some());
        assert!(told.eq([10_000, 20_000]));
    }

    #[test]
    fn a_process_that_was_suspended_has_no_long_job() {
        let (runs, rows) = (Runs::default(), Rows::default());
        let entered = runs.enter(&rows.of("x"));
        entered.began(at(0));
        let mut watcher = JobWatcher::new(Duration::from_millis(100));
        assert!(watcher.look(&runs, at(1)).is_none());
        assert!(watcher.look(&runs, at(60_000)).is_none());
    }

    #[test]
    fn places_are_used_again() {
        let (runs, rows) = (Runs::default(), Rows::default());
        for _ in 0..100 {
            drop((runs.enter(&rows.of("x")), runs.enter(&rows.of("x"))));
        }
        assert_eq!(runs.places().all.len(), 2);
    }
}
