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

use pogu::Time;
use pogu::sim::Simulation;

pub use failure::{Failure, again};
pub use judged::{Check, Judged};
pub use message::{Kind, Stamp};
pub use outcome::Outcome;
pub use violation::{Side, Violation, Whereabouts};

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

/// Lines that a failure carries.
const LAST_LINES: usize = 40;

/// What a line of the trace says where the first violation was seen.
const VIOLATION: &str = "VIOLATION";

/// Runs the storm of `seed`.
///
/// # Errors
/// Something was broken. The storm was run a second time, for the lines that led there.
pub fn run(seed: u64, size: Size) -> Result<Outcome, Box<Failure>> {
    quietly(seed, size, None).map_err(|_| {
        let (result, lines) = trace(seed, size);
        match result {
            Err(failure) => failure,
            Ok(_) => {
                let violation = Violation::Stuck("a second run of the seed breaks nothing: it is not alone".to_owned());
                let (time, last_lines) = (Time::ZERO, last_of(&lines));
                Box::new(Failure { seed, size, plant: planted(), violation, time, last_lines })
            }
        }
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

/// Runs it and writes down everything that happens.
pub fn trace(seed: u64, size: Size) -> (Result<Outcome, Box<Failure>>, String) {
    let mut simulation = None;
    let result = quietly(seed, size, Some(&mut simulation));
    let lines = simulation.map(|simulation: Simulation| simulation.transcript()).unwrap_or_default();
    let result = result.map_err(|mut failure| {
        failure.last_lines = last_of(&lines);
        failure
    });
    (result, lines)
}

/// The lines that led to the first violation; to the end, where nobody could write it down.
fn last_of(lines: &str) -> Vec<String> {
    let all: Vec<&str> = lines.lines().collect();
    let end = all.iter().position(|line| line.contains(VIOLATION)).map_or(all.len(), |violation| violation + 1);
    all[end.saturating_sub(LAST_LINES)..end].iter().map(|line| (*line).to_owned()).collect()
}

fn quietly(seed: u64, size: Size, record: Option<&mut Option<Simulation>>) -> Result<Outcome, Box<Failure>> {
    let plan = Plan::drawn(seed, size);
    let simulation = Simulation::with_options(&plan.simulation);
    let is_recorded = record.is_some();
    if let Some(record) = record {
        simulation.record();
        plan.knobs().for_each(|(name, value)| simulation.note(format_args!("fault {name} {value}")));
        simulation.note(format_args!("idle turns: {}", plan.simulation.idle_turns));
        *record = Some(simulation.clone());
    }
    let book = Book::new(&plan, is_recorded.then(|| simulation.clone()));
    let ran = catch_unwind(AssertUnwindSafe(|| phases::run(seed, size, &simulation, &book, plan)));
    let ran = ran.unwrap_or_else(|panic| Err(Violation::Panicked(words_of(&*panic))));
    book.let_go();
    let ledger = book.reopen();
    ran.map_err(|violation| {
        let (time, violation) = ledger.violation().unwrap_or((simulation.now(), violation));
        Box::new(Failure { seed, size, plant: planted(), violation, time, last_lines: Vec::new() })
    })
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_lead_to_the_first_violation() {
        let mut lines: String = (0..100).map(|line| format!("{line}\n")).collect();
        assert_eq!(last_of(&lines), (60..100).map(|line| line.to_string()).collect::<Vec<_>>());
        lines.push_str("7.0 VIOLATION lost\nwhat ended because of it\n");
        let last = last_of(&lines);
        assert_eq!(
            (last.len(), last.first(), last.last()),
            (40, Some(&"61".to_owned()), Some(&"7.0 VIOLATION lost".to_owned()))
        );
        assert_eq!(last_of("0.0 VIOLATION at once\n"), ["0.0 VIOLATION at once"]);
    }

    #[test]
    fn a_failure_says_how_to_see_it_again() {
        let violation = Violation::Stuck("number 3 has not come back".to_owned());
        let time = Time::from_nanos(1_500_000_000);
        let last_lines = vec!["a line".to_owned()];
        let mut failure = Failure { seed: 9, size: Size::Large, plant: None, violation, time, last_lines };
        let told = "seed 9, large: stuck: number 3 has not come back, at 1.5s\n  a line\n\
            again: cargo xtask sim --from 9 --seeds 1 --size large --trace";
        assert_eq!(failure.to_string(), told);
        failure.plant = Some("MissedWake");
        assert_eq!(failure.to_string(), format!("{told} --plant MissedWake"));
    }

    #[test]
    fn a_panic_is_told_in_its_words() {
        let caught = catch_unwind(|| panic!("out of {}", "words")).expect_err("it panicked");
        assert_eq!(words_of(&*caught), "out of words");
    }
}
