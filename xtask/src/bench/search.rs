//! The greatest number of deliveries per second that a server sustains.
//!
//! ```text
//!   200k  400k  800k  1.6M  3.2M  6.4M        doubled until it is too much
//!    ok    ok    ok    ok    ok    no
//!                            |--5.1M--|       then halved between the last that was sustained and the first that was not,
//!                                ok           until they are a twentieth apart
//! ```
//!
//! Sustained is a number at which the 99th percentile stays under its bound, nothing is missing, and nobody was cut off, in two
//! tries of at most three: one may have been disturbed, or lucky.
//!
//! The contenders take turns, try by try, each at its own number, so that what else the machine does falls on all of them.

use serde_json::{Value, json};

use super::contender::{Contender, Peer, Place, Stage};
use super::load::{Run, Shape};
use crate::Failure;

/// Deliveries per second that the search begins with, and those at which it gives up: no load of one thread goes further.
const FIRST: f64 = 200_000.0;
const LAST: f64 = 30_000_000.0;

/// How often the load looks, in milliseconds: one that wakes for every delivery is tired out before the servers are. What it
/// hears is that much later, which is little beside a bound of 50 ms.
const LOOK_EVERY: f64 = 1.0;

/// How close the last that was sustained and the first that was not are at the end: less than runs differ.
const STEP: f64 = 1.05;

/// Tries with the same end that decide a number.
const VOTES: usize = 2;

/// Searches for each contender and prints the table.
pub fn run(
    stage: &Stage,
    peers: impl Iterator<Item = Peer>,
    windows: &[u64],
    shape: &Shape,
    p99_max_us: f64,
) -> Result<Value, Failure> {
    let shape = &Shape { look_every: LOOK_EVERY, ..shape.clone() };
    let pogu = windows.iter().map(|window| Contender::window(*window));
    let mut found: Vec<Found> = peers.map(Contender::Peer).chain(pogu).map(Found::new).collect();
    while found.iter().any(|found| found.search.wanted().is_some()) {
        for found in &mut found {
            found.try_once(stage, shape, p99_max_us)?;
        }
    }
    println!("\n{HEAD}");
    found.iter().for_each(|found| println!("{}", found.row()));
    println!("\neach bound by the agreement of {VOTES} tries; contenders in turn, try by try");
    Ok(found.iter().map(Found::told).collect())
}

/// The greatest that was sustained, if any was, and the least that was not, if any was not.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Bounds {
    sustained: Option<f64>,
    too_much: Option<f64>,
}

/// How far the search of one contender is.
struct Search {
    bounds: Bounds,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    /// A number is tried, and so many tries said that it is sustained, or too much.
    Trying {
        wanted: f64,
        sustained: usize,
        too_much: usize,
    },
    Over,
}

impl Search {
    fn new() -> Search {
        Search { bounds: Bounds { sustained: None, too_much: None }, step: Step::of(FIRST) }
    }

    /// What is to be tried next.
    fn wanted(&self) -> Option<f64> {
        match self.step {
            Step::Trying { wanted, .. } => Some(wanted),
            Step::Over => None,
        }
    }

    /// Takes the end of a try.
    fn take(&mut self, is_sustained: bool) {
        let Step::Trying { wanted, sustained, too_much } = &mut self.step else { return };
        let votes = if is_sustained { sustained } else { too_much };
        *votes += 1;
        if *votes < VOTES {
            return;
        }
        let decided = Some(*wanted);
        match is_sustained {
            true => self.bounds.sustained = decided,
            false => self.bounds.too_much = decided,
        }
        self.step = self.bounds.next().map_or(Step::Over, Step::of);
    }
}

impl Step {
    fn of(wanted: f64) -> Step {
        Step::Trying { wanted, sustained: 0, too_much: 0 }
    }
}

impl Bounds {
    /// The next number to be tried; `None`: they are close enough, or lie beyond what is searched.
    fn next(self) -> Option<f64> {
        match (self.sustained, self.too_much) {
            (Some(low), Some(high)) => (high / low > STEP).then(|| (low * high).sqrt()),
            (Some(low), None) => Some(low * 2.0).filter(|next| *next <= LAST),
            (None, Some(high)) => (high > FIRST / 100.0).then_some(high / 2.0),
            (None, None) => Some(FIRST),
        }
    }
}

/// One run of the search.
struct Try {
    wanted: f64,
    is_sustained: bool,
    run: Run,
}

const HEAD: &str = "\
| server | sustained deliveries/s | CPU ns per delivery | p99 us | load's CPU share | first that was too much | the load there |
|---|---:|---:|---:|---:|---:|---:|";

struct Found {
    contender: Contender,
    search: Search,
    tries: Vec<Try>,
}

impl Found {
    fn new(contender: Contender) -> Found {
        Found { contender, search: Search::new(), tries: Vec::new() }
    }

    /// Tries what its search wants next, if it wants something.
    fn try_once(&mut self, stage: &Stage, shape: &Shape, p99_max_us: f64) -> Result<(), Failure> {
        let Some(wanted) = self.search.wanted() else { return Ok(()) };
        let job = shape.with_deliveries_per_second(wanted).job();
        let run = Run::of(stage, self.contender, Place::Alone, &job)?;
        let is_sustained = run.figures.is_whole() && run.figures.p99_us.is_some_and(|p99_us| p99_us < p99_max_us);
        println!("  {}: {}", run.line(), if is_sustained { "sustained" } else { "too much" });
        self.tries.push(Try { wanted, is_sustained, run });
        self.search.take(is_sustained);
        Ok(())
    }

    /// How many tries at one of the bounds ended so, and how many there were.
    fn votes(&self, wanted: Option<f64>, is_sustained: bool) -> String {
        let there: Vec<&Try> = self.tries.iter().filter(|tried| Some(tried.wanted) == wanted).collect();
        let agreed = there.iter().filter(|tried| tried.is_sustained == is_sustained).count();
        if there.is_empty() { String::new() } else { format!(" ({agreed} of {} tries)", there.len()) }
    }

    /// The last run at one of the bounds.
    fn at(&self, wanted: Option<f64>, is_sustained: bool) -> Option<&Run> {
        let mut latest = self.tries.iter().rev();
        latest.find(|tried| Some(tried.wanted) == wanted && tried.is_sustained == is_sustained).map(|tried| &tried.run)
    }

    fn row(&self) -> String {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"));
        let Bounds { sustained, too_much } = self.search.bounds;
        let best = self.at(sustained, true);
        let share = |run: Option<&Run>| {
            let mark = if run.is_some_and(|run| run.figures.is_load_bound()) {
                " (the load may have been the limit)"
            } else {
                ""
            };
            format!("{}{mark}", run.map_or_else(|| "-".to_owned(), |run| format!("{:.2}", run.figures.load_share)))
        };
        format!(
            "| {} | {}{} | {} | {} | {} | {}{} | {} |",
            self.contender.name(),
            number(sustained),
            self.votes(sustained, true),
            number(best.map(|run| run.figures.cost)),
            number(best.and_then(|run| run.figures.p99_us)),
            share(best),
            number(too_much),
            self.votes(too_much, false),
            share(self.at(too_much, false)),
        )
    }

    fn told(&self) -> Value {
        json!({
            "contender": self.contender.name(),
            "sustained": self.search.bounds.sustained,
            "too_much": self.search.bounds.too_much,
            "runs": self.tries.iter().map(|tried| &tried.run.figures.told).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A search whose tries end as `is_sustained` says, of the number and of how many tries there were before.
    fn found(is_sustained: impl Fn(f64, usize) -> bool) -> Bounds {
        let (mut search, mut tries) = (Search::new(), 0);
        while let Some(wanted) = search.wanted() {
            search.take(is_sustained(wanted, tries));
            tries += 1;
        }
        search.bounds
    }

    fn is_found(limit: f64, bounds: Bounds) {
        let Bounds { sustained: Some(low), too_much: Some(high) } = bounds else { panic!("{limit}: {bounds:?}") };
        assert!(low <= limit && limit < high && high / low <= STEP, "{limit}: {low} to {high}");
    }

    #[test]
    fn the_limit_lies_between_the_bounds_and_they_are_close() {
        for limit in [90_000.0, 200_000.0, 250_000.0, 3_141_592.0, 24_000_000.0] {
            is_found(limit, found(|wanted, _| wanted <= limit));
        }
    }

    #[test]
    fn one_disturbed_or_lucky_try_moves_no_bound() {
        // Of three tries at most one is wrong, in whichever direction.
        for limit in [90_000.0, 250_000.0, 3_141_592.0] {
            is_found(limit, found(|wanted, tries| (wanted <= limit) != tries.is_multiple_of(3)));
        }
    }

    #[test]
    fn what_sustains_everything_or_nothing_has_one_bound() {
        let everything = found(|_, _| true);
        assert!(everything.too_much.is_none() && everything.sustained > Some(LAST / 2.0));
        assert!(found(|_, _| false).sustained.is_none());
    }
}
