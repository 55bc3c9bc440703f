//! Which jobs run at this moment, for the thread that looks after stalls: a job that runs for long is named while it does. And for
//! the end of a core, which names those that it leaves behind.
//!
//! ```text
//!   a thread with a slice: enter -- began(now), job, began(now), job, ... -- leave          the watch: since when, and of whom?
//! ```
//!
//! There are as many places as threads were in jobs at a time. A slice takes one that is free and gives it back, each under a
//! short lock of the core's; saying that a job begins is a store.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use pogu_port::Time;

use super::measure::Row;

/// No job runs.
const NONE: u64 = u64::MAX;

/// Looks that have to find the same job: see the watch of workers, which two looks may deceive as well.
const LOOKS_MIN: u32 = 3;

/// The least time between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Names of queues in the line about jobs that were left behind.
const NAMES_MAX: usize = 16;

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
    /// Whose slice it is, and the thread that is in it.
    slice: Mutex<Option<(Arc<Row>, ThreadId)>>,
}

impl Run {
    fn slice(&self) -> MutexGuard<'_, Option<(Arc<Row>, ThreadId)>> {
        self.slice.lock().unwrap_or_else(PoisonError::into_inner)
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
        *run.slice() = Some((Arc::clone(row), std::thread::current().id()));
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
            row: place.slice().as_ref().map(|(row, _)| Arc::clone(row)),
        };
        all.iter().map(seen).collect()
    }

    /// Nobody waits for the jobs that still run, but for one of the calling thread: counts them, and names their queues.
    pub(super) fn leave_behind(&self) -> LeftBehind {
        let (all, own) = (self.places().all.clone(), std::thread::current().id());
        let mut by_name = BTreeMap::new();
        for place in all.iter().filter(|place| place.since.load(Ordering::Relaxed) != NONE) {
            if let Some((row, thread)) = &*place.slice()
                && *thread != own
            {
                row.left_behind.fetch_add(1, Ordering::Relaxed);
                *by_name.entry(Arc::clone(row.name())).or_default() += 1;
            }
        }
        LeftBehind { by_name }
    }
}

/// Jobs that did not end with their core, by the name of their queue.
#[derive(Debug)]
pub(super) struct LeftBehind {
    by_name: BTreeMap<Arc<str>, u64>,
}

impl LeftBehind {
    pub(super) fn count(&self) -> u64 {
        self.by_name.values().sum()
    }
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, count)) in self.by_name.iter().take(NAMES_MAX).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name}: {count}")?;
        }
        match self.by_name.len().saturating_sub(NAMES_MAX) {
            0 => Ok(()),
            others => write!(f, ", and {others} names more"),
        }
    }
}

impl Places {
    fn take(&mut self) -> Arc<Run> {
        self.free.pop().unwrap_or_else(|| {
            let new =
                Arc::new(Run { since: AtomicU64::new(NONE), patience: AtomicU64::new(0), slice: Mutex::default() });
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
        *self.run.slice() = None;
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
    fn what_is_left_behind_is_counted_by_name_and_its_names_are_bounded() {
        let (runs, rows) = (Runs::default(), Rows::default());
        let names: Vec<String> = (0..NAMES_MAX + 2).map(|index| format!("queue {index:02}")).collect();
        std::thread::scope(|scope| {
            let elsewhere = scope.spawn(|| {
                let entered: Vec<Entered<'_>> =
                    names.iter().chain(&names[..1]).map(|name| runs.enter(&rows.of(name))).collect();
                entered.iter().for_each(|entered| entered.began(at(0)));
                entered
            });
            let _entered = elsewhere.join().expect("no panic");
            // It has not begun a job; and who waits does not wait for itself.
            let _between = runs.enter(&rows.of("between"));
            let own = runs.enter(&rows.of("own"));
            own.began(at(0));
            let left_behind = runs.leave_behind();
            assert_eq!(left_behind.count(), NAMES_MAX as u64 + 3);
            let told = left_behind.to_string();
            assert!(told.starts_with("queue 00: 2, queue 01: 1, queue 02: 1, "), "{told}");
            assert!(told.ends_with(", queue 15: 1, and 2 names more"), "{told}");
        });
        let counted = |name: &str| rows.of(name).left_behind.load(Ordering::Relaxed);
        assert_eq!(["queue 00", "queue 17", "between", "own"].map(counted), [2, 1, 0, 0]);
        assert_eq!(runs.leave_behind().to_string(), "");
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
