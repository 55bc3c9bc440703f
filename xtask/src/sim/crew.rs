//! Threads that run one seed after the other, and one that watches them.
//!
//! The threads own what they use: one whose seed hangs cannot be ended, and is left behind when the program ends.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pogu_storm::{Failure as Broken, Outcome, Size};

use super::running::Running;
use crate::Failure;

/// How often it is told how far they are.
const PROGRESS: Duration = Duration::from_secs(10);

/// The largest storms take a second: one that is still there after so many looks, two minutes, never ends. Looks are counted, not
/// time, so that a run may be held up and go on.
const LOOKS_MAX: u32 = 12;

/// Runs the storm of a seed.
type Run = dyn Fn(u64) -> Result<Outcome, Box<Broken>> + Send + Sync;

/// What is to be run.
pub struct Crew {
    from: u64,
    seeds: u64,
    size: Size,
    run: Box<Run>,
    look_every: Duration,
}

/// What all came to.
pub struct Total {
    pub seeds: u64,
    pub broken: u64,
    pub took: Duration,
    pub outcome: Outcome,
    /// One of those that are broken did not end.
    pub hangs: bool,
}

impl Total {
    pub fn new() -> Total {
        Total { seeds: 0, broken: 0, took: Duration::ZERO, outcome: Outcome::default(), hangs: false }
    }
}

enum News {
    Begun(u64),
    Ended(u64, Box<Result<Outcome, Box<Broken>>>),
}

impl Crew {
    pub fn new(
        from: u64,
        seeds: u64,
        size: Size,
        run: impl Fn(u64) -> Result<Outcome, Box<Broken>> + Send + Sync + 'static,
    ) -> Crew {
        Crew { from, seeds, size, run: Box::new(run), look_every: PROGRESS }
    }

    /// For a test in which a seed hangs: gives up soon.
    #[cfg(test)]
    pub fn impatient(self) -> Crew {
        Crew { look_every: Duration::from_millis(1), ..self }
    }

    /// Runs all, or until `on_failure` says that it is enough, or one does not end. The others that have begun come to their end,
    /// unless one of them hangs. What runs stands in the file at `running` meanwhile.
    pub fn run(self, running: &Path, on_failure: impl FnMut(Box<Broken>) -> bool) -> Result<Total, Failure> {
        let threads = std::thread::available_parallelism()?.get();
        let running = Running::open(running, self.size, threads)?;
        let shift = Arc::new(Shift { crew: self, running, next: AtomicU64::new(0), is_over: AtomicBool::new(false) });
        let (told, news) = channel();
        let threads: Vec<JoinHandle<()>> = (0..threads)
            .map(|thread| {
                let (shift, told) = (Arc::clone(&shift), told.clone());
                std::thread::spawn(move || shift.work(thread, &told))
            })
            .collect();
        drop(told);
        let total = shift.watch(&news, on_failure);
        if !total.hangs {
            for thread in threads {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            }
        }
        shift.running.remove()?;
        Ok(total)
    }
}

/// A crew at work.
struct Shift {
    crew: Crew,
    running: Running,
    next: AtomicU64,
    is_over: AtomicBool,
}

impl Shift {
    fn work(&self, thread: usize, told: &Sender<News>) {
        while !self.is_over.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.crew.seeds {
                break;
            }
            let seed = self.crew.from.wrapping_add(index);
            self.running.begins(thread, seed).expect("a line of the file of those that run can be written");
            let ended = told
                .send(News::Begun(seed))
                .and_then(|()| told.send(News::Ended(seed, Box::new((self.crew.run)(seed)))));
            if ended.is_err() {
                break;
            }
        }
        self.running.rests(thread).expect("a line of the file of those that run can be written");
    }

    fn watch(&self, news: &Receiver<News>, mut on_failure: impl FnMut(Box<Broken>) -> bool) -> Total {
        let Crew { size, look_every, .. } = self.crew;
        let began = Instant::now();
        let mut total = Total::new();
        let mut breaks = |total: &mut Total, broken| {
            total.broken += 1;
            if !on_failure(broken) {
                self.is_over.store(true, Ordering::Relaxed);
            }
        };
        // Those that have begun, and how often they were still there when it was looked.
        let mut running: BTreeMap<u64, u32> = BTreeMap::new();
        let mut look_at = began + look_every;
        loop {
            match news.recv_timeout(look_at.saturating_duration_since(Instant::now())) {
                Ok(News::Begun(seed)) => drop(running.insert(seed, 0)),
                Ok(News::Ended(seed, result)) => {
                    running.remove(&seed);
                    total.seeds += 1;
                    match *result {
                        Ok(outcome) => total.outcome.add(&outcome),
                        Err(broken) => breaks(&mut total, broken),
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= look_at {
                look_at = Instant::now() + look_every;
                println!("{} of {} seeds, {:.0} s", total.seeds, self.crew.seeds, began.elapsed().as_secs_f64());
                running.values_mut().for_each(|looks| *looks += 1);
                if let Some((seed, _)) = running.iter().find(|(_, looks)| **looks > LOOKS_MAX) {
                    total.hangs = true;
                    total.seeds += 1;
                    breaks(&mut total, Broken::hung(*seed, size, look_every * LOOKS_MAX));
                    self.is_over.store(true, Ordering::Relaxed);
                    break;
                }
            }
        }
        total.took = began.elapsed();
        total
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::process::Command;

    use super::*;
    use crate::sim::running::{self, test_path};

    #[test]
    fn all_run_unless_one_is_enough() {
        let path = test_path("crew");
        let run = |seed: u64| match seed % 2 {
            0 => Err(Broken::hung(seed, Size::Small, Duration::ZERO)),
            _ => Ok(Outcome::default()),
        };
        let total = Crew::new(0, 1_000, Size::Small, run).run(&path, |_| true).expect("threads and a file");
        assert_eq!((total.seeds, total.broken, total.hangs), (1_000, 500, false));
        // So many that it would never end.
        let total = Crew::new(0, u64::MAX, Size::Small, run).run(&path, |_| false).expect("threads and a file");
        assert!(total.broken > 0 && !total.hangs, "{} of {} are broken", total.broken, total.seeds);
        assert_eq!(running::left(&path).expect("no file is fine"), None);
    }

    #[test]
    fn a_panic_of_a_thread_is_not_lost() {
        let path = test_path("panics");
        let crew = Crew::new(7, 1, Size::Small, |_| std::panic::resume_unwind(Box::new("on purpose")));
        let panic = catch_unwind(AssertUnwindSafe(|| crew.run(&path, |_| true))).err().expect("it panicked");
        assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
        assert_eq!(running::left(&path).expect("readable"), Some(vec![(Size::Small, 7)]), "this is no good end");
        running::remove(&path).expect("removed");
    }

    /// Runs itself a second time, as a program in which the storm of a seed aborts.
    #[test]
    fn a_program_that_aborts_leaves_its_seeds() {
        const ABORTS: &str = "POGU_TEST_ABORTS";
        if let Some(path) = std::env::var_os(ABORTS) {
            let total = Crew::new(7, 1, Size::Small, |_| std::process::abort()).run(Path::new(&path), |_| true);
            panic!("it goes on: {:?}", total.map(|total| total.seeds));
        }
        let path = test_path("aborts");
        let mut program = Command::new(std::env::current_exe().expect("a program of tests"));
        program.args(["--exact", "sim::crew::tests::a_program_that_aborts_leaves_its_seeds"]).env(ABORTS, &path);
        let output = program.output().expect("it runs");
        assert!(!output.status.success(), "{output:?}");
        assert_eq!(running::left(&path).expect("readable"), Some(vec![(Size::Small, 7)]), "{output:?}");
        running::remove(&path).expect("removed");
    }
}
