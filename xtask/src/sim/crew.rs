//! Threads that run one seed after the other, and one that watches them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use pogu_storm::{Failure as Broken, Outcome, Size};

use super::report::commit;
use crate::Failure;

/// How often it is told how far they are.
const PROGRESS: Duration = Duration::from_secs(10);

/// The largest storms take a second: one that is still there after so many looks, two minutes, never ends. Looks are counted, not
/// time, so that a run may be held up and go on.
const LOOKS_MAX: u32 = 12;

/// Runs the storm of a seed.
type Run<'r> = &'r (dyn Fn(u64) -> Result<Outcome, Box<Broken>> + Sync);

/// What is to be run.
pub struct Crew<'r> {
    from: u64,
    seeds: u64,
    size: Size,
    plant: Option<&'r str>,
    run: Run<'r>,
}

/// What all came to.
pub struct Total {
    pub seeds: u64,
    pub broken: u64,
    pub took: Duration,
    pub outcome: Outcome,
}

enum News {
    Begun(u64),
    Ended(u64, Box<Result<Outcome, Box<Broken>>>),
}

impl<'r> Crew<'r> {
    pub fn new(from: u64, seeds: u64, (size, plant): (Size, Option<&'r str>), run: Run<'r>) -> Crew<'r> {
        Crew { from, seeds, size, plant, run }
    }

    /// Runs all, or until `on_failure` says that it is enough. Those that have begun come to their end.
    pub fn run(&self, on_failure: impl FnMut(Box<Broken>) -> bool) -> Result<Total, Failure> {
        let (next, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        let threads = std::thread::available_parallelism()?.get();
        std::thread::scope(|scope| {
            let (told, news) = channel();
            for _ in 0..threads {
                let (told, next, is_over) = (told.clone(), &next, &is_over);
                scope.spawn(move || self.work(next, is_over, &told));
            }
            drop(told);
            self.watch(&news, &is_over, on_failure)
        })
    }

    fn work(&self, next: &AtomicU64, is_over: &AtomicBool, told: &Sender<News>) {
        while !is_over.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= self.seeds {
                return;
            }
            let seed = self.from.wrapping_add(index);
            let ended =
                told.send(News::Begun(seed)).and_then(|()| told.send(News::Ended(seed, Box::new((self.run)(seed)))));
            if ended.is_err() {
                return;
            }
        }
    }

    fn watch(
        &self,
        news: &Receiver<News>,
        is_over: &AtomicBool,
        mut on_failure: impl FnMut(Box<Broken>) -> bool,
    ) -> Result<Total, Failure> {
        let began = Instant::now();
        let mut total = Total { seeds: 0, broken: 0, took: Duration::ZERO, outcome: Outcome::default() };
        // Those that have begun, and how often they were still there when it was looked.
        let mut running: BTreeMap<u64, u32> = BTreeMap::new();
        let mut tell_at = began + PROGRESS;
        loop {
            match news.recv_timeout(tell_at.saturating_duration_since(Instant::now())) {
                Ok(News::Begun(seed)) => drop(running.insert(seed, 0)),
                Ok(News::Ended(seed, result)) => {
                    running.remove(&seed);
                    total.seeds += 1;
                    match *result {
                        Ok(outcome) => total.outcome.add(&outcome),
                        Err(broken) => {
                            total.broken += 1;
                            if !on_failure(broken) {
                                is_over.store(true, Ordering::Relaxed);
                            }
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if Instant::now() >= tell_at {
                tell_at = Instant::now() + PROGRESS;
                println!("{} of {} seeds, {:.0} s", total.seeds, self.seeds, began.elapsed().as_secs_f64());
                running.values_mut().for_each(|looks| *looks += 1);
                if let Some((seed, _)) = running.iter().find(|(_, looks)| **looks > LOOKS_MAX) {
                    // Its thread cannot be ended, so the process is.
                    let patience = PROGRESS * LOOKS_MAX;
                    eprintln!("xtask: seed {seed}, {}: it runs for {patience:?} and does not end", self.size);
                    eprintln!("{}\ncommit: {}", pogu_storm::again(*seed, self.size, self.plant), commit());
                    std::process::exit(1);
                }
            }
        }
        total.took = began.elapsed();
        Ok(total)
    }
}
