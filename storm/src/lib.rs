//! Storms: whole cores of servers and clients in one simulation, everything decided by one seed, everything checked.
//!
//! Bugs of completion servers live in orders of events that a quiet network never shows. A storm draws cores, services, limits,
//! formats and peers from its seed, lets the simulated kernel do what kernels may do, and holds against each other what both
//! ends of every connection were told: see the [violations](Violation). Then the faults end, and within bounded virtual time and
//! bounded rounds of turns everybody has to be back and everything that was not cut off has to have come; then the cores stop,
//! and nothing may be left.
//!
//! ```text
//!   plan (drawn) --> world: cores, services, wild peers --> phases: storm, calm, stop
//!                       |  sessions: guests and hosts           |  before every round: audit, first violation
//!                       +-----------> ledger <-----------------+
//! ```
//!
//! A storm runs on one thread and twice in the same way: a failure is its seed.
//!
//! ```
//! let outcome = pogu_storm::run(1, pogu_storm::Size::Small)?;
//! assert!(outcome.messages > 0);
//! # Ok::<(), Box<pogu_storm::Failure>>(())
//! ```

#![forbid(unsafe_code)]

mod client;
mod draw;
mod failure;
mod hall;
mod jobs;
mod judged;
mod last_lines;
mod ledger;
mod manner;
mod message;
mod outcome;
mod outside;
mod owner;
mod phases;
mod plan;
mod server;
mod talk;
mod violation;
mod wild;
mod world;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use pogu::sim::Simulation;

pub use failure::{Failure, again};
pub use judged::{Check, Judged};
pub use message::{Kind, Stamp};
pub use outcome::Outcome;
pub use violation::{Side, Violation, Whereabouts};

use last_lines::LastLines;
use ledger::Book;
use plan::Plan;

/// How large a storm is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// 10 to 20 sessions that ask for 20 to 50 things each.
    Small,
    /// 100 that ask for 500.
    Large,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Size::Small => "small",
            Size::Large => "large",
        })
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        match text {
            "small" => Ok(Size::Small),
            "large" => Ok(Size::Large),
            _ => Err(format!("{text:?} is neither small nor large")),
        }
    }
}

/// What a line of the trace says where the first violation was seen.
const VIOLATION: &str = "VIOLATION";

/// Runs the storm of `seed`.
///
/// # Errors
/// Something was broken. The storm was run a second time, for the lines that led there.
pub fn run(seed: u64, size: Size) -> Result<Outcome, Box<Failure>> {
    quietly(seed, size, None).map_err(|_| {
        let (result, last_lines) = traced(seed, size, |_| {});
        let mut failure = result.err().unwrap_or_else(|| {
            let violation = Violation::Stuck("a second run of the seed breaks nothing: it is not alone".to_owned());
            Box::new(Failure::new(seed, size, violation, None))
        });
        failure.last_lines = last_lines;
        failure
    })
}

/// Runs `work` with the bug of this name planted in the calling thread. `None` if there is no such bug; they are there only with
/// the feature `planted`.
pub fn with_plant<R>(name: &str, work: impl FnOnce() -> R) -> Option<R> {
    #[cfg(feature = "planted")]
    {
        let plant = pogu_port::plant::Plant::ALL.iter().find(|plant| plant.name() == name)?;
        Some(pogu_port::plant::with(*plant, work))
    }
    #[cfg(not(feature = "planted"))]
    {
        let (_, _) = (name, work);
        None
    }
}

/// The bug that is planted in this thread.
fn planted() -> Option<&'static str> {
    #[cfg(feature = "planted")]
    return pogu_port::plant::sown().map(pogu_port::plant::Plant::name);
    #[cfg(not(feature = "planted"))]
    None
}

/// Runs it and gives each line to `show` when it happens: of a storm that does not end there is what led there.
///
/// # Errors
/// As of [`run`].
pub fn trace(seed: u64, size: Size, show: impl FnMut(&str) + Send + 'static) -> Result<Outcome, Box<Failure>> {
    let (result, last_lines) = traced(seed, size, show);
    result.map_err(|mut failure| {
        failure.last_lines = last_lines;
        failure
    })
}

/// The same, with the lines that led to what was broken; to the end, where nothing was.
fn traced(
    seed: u64,
    size: Size,
    mut show: impl FnMut(&str) + Send + 'static,
) -> (Result<Outcome, Box<Failure>>, Vec<String>) {
    let last = Arc::new(Mutex::new(LastLines::default()));
    let kept = Arc::clone(&last);
    let line = move |line: &str| {
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        show(line);
    };
    let result = quietly(seed, size, Some(Box::new(line)));
    let last = std::mem::take(&mut *last.lock().unwrap_or_else(PoisonError::into_inner));
    (result, last.into_lines())
}

/// Is given each line.
type Show = Box<dyn FnMut(&str) + Send>;

fn quietly(seed: u64, size: Size, show: Option<Show>) -> Result<Outcome, Box<Failure>> {
    let plan = Plan::drawn(seed, size);
    let simulation = Simulation::with_options(&plan.simulation);
    let is_recorded = show.is_some();
    if let Some(show) = show {
        simulation.record_to(show);
        plan.knobs().for_each(|(name, value)| simulation.note(format_args!("fault {name} {value}")));
        simulation.note(format_args!("idle turns: {}", plan.simulation.idle_turns));
    }
    let book = Book::new(&plan, is_recorded.then(|| simulation.clone()));
    let ran = catch_unwind(AssertUnwindSafe(|| phases::run(seed, size, &simulation, &book, plan)));
    let ran = ran.unwrap_or_else(|panic| Err(Violation::Panicked(words_of(&*panic))));
    book.let_go();
    let ledger = book.reopen();
    ran.map_err(|violation| {
        let (time, violation) = ledger.violation().unwrap_or((simulation.now(), violation));
        Box::new(Failure::new(seed, size, violation, Some(time)))
    })
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pogu::Time;

    use super::*;

    #[test]
    fn a_failure_says_how_to_see_it_again() {
        let violation = Violation::Stuck("number 3 has not come back".to_owned());
        let mut failure = Failure::new(9, Size::Large, violation, Some(Time::from_nanos(1_500_000_000)));
        failure.last_lines = vec!["a line".to_owned()];
        let told = "seed 9, large: stuck: number 3 has not come back, at 1.5s\n  a line\n\
            again: cargo xtask sim --from 9 --seeds 1 --size large --trace";
        assert_eq!(failure.to_string(), told);
        failure.plant = Some("MissedWake");
        assert_eq!(failure.to_string(), format!("{told} --plant MissedWake"));
    }

    #[test]
    fn a_storm_that_hangs_is_a_failure_without_a_time() {
        let told = "seed 9, small: stuck: it runs for 120s and does not end\n\
            again: cargo xtask sim --from 9 --seeds 1 --size small --trace";
        assert_eq!(Failure::hung(9, Size::Small, Duration::from_secs(120)).to_string(), told);
    }

    #[test]
    fn a_panic_is_told_in_its_words() {
        let caught = catch_unwind(|| panic!("out of {}", "words")).expect_err("it panicked");
        assert_eq!(words_of(&*caught), "out of words");
    }
}
