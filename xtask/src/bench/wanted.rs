//! What is wanted of pogu, and whether it was reached: a figure and its bound. Those of rooms are here.

use std::fmt;

use serde_json::{Value, json};

use super::contender::{Contender, Setting};
use super::load::Shape;
use super::sample::Sample;

/// The greatest processor time per delivery with a window of 10 ms, that of a peer without one being 1: one send carries what
/// came in a window, and a send is most of what a delivery costs.
const CPU_RATIO_MAX_IN_WINDOW: f64 = 0.15;

/// The bound of the 99th percentile with a window of 10 ms, in microseconds: the window, and half of it for everything else.
const P99_US_MAX_IN_WINDOW: f64 = 15_000.0;

/// The greatest processor time per delivery without a window.
const CPU_RATIO_MAX_AT_ONCE: f64 = 1.0;

/// Where a figure has to be.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Bound {
    AtMost(f64),
    Under(f64),
}

/// Which of several measurements has to be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Judged {
    Median,
    Least,
    Most,
}

/// One figure that is wanted, and what came of it.
pub struct Goal {
    what: String,
    wanted: Bound,
    judged: Judged,
    /// `None`: no run says anything about it.
    reached: Option<Sample>,
    digits: usize,
}

impl Goal {
    /// Its median is at most so much.
    pub fn at_most(what: String, most: f64, reached: Option<Sample>, digits: usize) -> Goal {
        Goal { what, wanted: Bound::AtMost(most), judged: Judged::Median, reached, digits }
    }

    /// Its median is less.
    pub fn under(what: String, bound: f64, reached: Option<Sample>, digits: usize) -> Goal {
        Goal { wanted: Bound::Under(bound), ..Goal::at_most(what, bound, reached, digits) }
    }

    /// The same, of the least that was measured: what is above only by less than the spread is not above.
    pub fn of_the_least(self) -> Goal {
        Goal { judged: Judged::Least, ..self }
    }

    /// The same, of the most that was measured: of what may not happen once.
    pub fn of_the_most(self) -> Goal {
        Goal { judged: Judged::Most, ..self }
    }

    /// Those of a window, with or without a latency budget, beside a peer. Nothing is wanted of other windows, and of other members
    /// than those of the defaults.
    pub fn of(
        setting: Setting,
        shape: &Shape,
        peer: &str,
        cpu_ratio: Option<Sample>,
        p99_us: Option<Sample>,
    ) -> Vec<Goal> {
        let pogu = Contender::Pogu(setting).name();
        let ratio = |most| Goal::at_most(format!("{pogu}: CPU per delivery beside {peer}"), most, cpu_ratio.clone(), 3);
        match (shape.is_standard(), setting.window_milliseconds) {
            (true, Some(0)) => vec![ratio(CPU_RATIO_MAX_AT_ONCE)],
            (true, Some(10)) => {
                let p99 = Goal::under(format!("{pogu}: p99 us"), P99_US_MAX_IN_WINDOW, p99_us, 0);
                vec![ratio(CPU_RATIO_MAX_IN_WINDOW), p99]
            }
            _ => Vec::new(),
        }
    }

    /// True if what is judged is where it has to be.
    pub fn is_reached(&self) -> bool {
        let judged = match self.judged {
            Judged::Median => Sample::median,
            Judged::Least => Sample::least,
            Judged::Most => Sample::most,
        };
        self.reached.as_ref().map(judged).is_some_and(|value| match self.wanted {
            Bound::AtMost(most) => value <= most,
            Bound::Under(bound) => value < bound,
        })
    }

    pub fn told(&self) -> Value {
        json!({
            "what": self.what,
            "wanted": match self.wanted {
                Bound::AtMost(most) => json!({ "at_most": most }),
                Bound::Under(bound) => json!({ "under": bound }),
            },
            "judged": match self.judged {
                Judged::Median => "median",
                Judged::Least => "least",
                Judged::Most => "most",
            },
            "reached": self.reached.as_ref().map(Sample::told),
            "is_reached": self.is_reached(),
        })
    }
}

/// `what: wanted ..., reached ...`, and whether that is enough.
impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Goal { what, wanted, judged, reached, digits } = self;
        match wanted {
            Bound::AtMost(most) => write!(f, "{what}: wanted at most {most:.digits$}")?,
            Bound::Under(bound) => write!(f, "{what}: wanted under {bound:.digits$}")?,
        }
        f.write_str(match judged {
            Judged::Median => "",
            Judged::Least => " in the best run",
            Judged::Most => " in each run",
        })?;
        match reached {
            None => f.write_str(", reached nothing that counts: NOT REACHED"),
            Some(reached) if self.is_reached() => write!(f, ", reached {reached:.digits$}"),
            Some(reached) => write!(f, ", reached {reached:.digits$}: NOT REACHED"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::tests::shape;
    use super::*;

    fn window(milliseconds: u64) -> Setting {
        Setting { window_milliseconds: Some(milliseconds), ..Setting::default() }
    }

    fn reached(window_milliseconds: u64, ratio: f64, p99_us: f64) -> Vec<bool> {
        let [ratio, p99_us] = [ratio, p99_us].map(|value| Sample::of([value]));
        let goals = Goal::of(window(window_milliseconds), &shape(), "tokio", ratio, p99_us);
        goals.iter().map(Goal::is_reached).collect()
    }

    #[test]
    fn the_figures_are_judged_at_their_bounds() {
        assert_eq!(reached(10, 0.15, 14_999.0), [true, true]);
        assert_eq!(reached(10, 0.151, 15_000.0), [false, false]);
        assert_eq!([reached(0, 1.0, 1e9), reached(0, 1.001, 1.0)], [[true], [false]]);
        assert!(reached(5, 9.0, 1e9).is_empty(), "nothing is wanted of other windows");
    }

    #[test]
    fn the_least_or_the_most_is_judged_where_that_is_asked_for() {
        let goal = || Goal::at_most("x".to_owned(), 1.0, Sample::of([0.5, 2.0, 2.0]), 1);
        assert_eq!(
            [goal(), goal().of_the_least(), goal().of_the_most()].map(|goal| goal.is_reached()),
            [false, true, false]
        );
        assert!(
            goal().of_the_least().to_string().contains("wanted at most 1.0 in the best run, reached 2.0 (0.5 - 2.0)")
        );
        let under = |value| Goal::under("x".to_owned(), 1.0, Sample::of([value]), 1).is_reached();
        assert_eq!([under(1.0), under(0.9)], [false, true]);
    }

    #[test]
    fn nothing_is_wanted_of_other_members_and_nothing_that_counts_is_not_enough() {
        let other = Shape { members: 10, ..shape() };
        assert!(Goal::of(window(10), &other, "tokio", None, None).is_empty());
        let nothing = Goal::of(window(10), &shape(), "tokio", None, None);
        assert_eq!(nothing.iter().filter(|goal| goal.is_reached()).count(), 0);
        assert!(nothing.iter().all(|goal| goal.to_string().ends_with("NOT REACHED")));
    }

    #[test]
    fn wanted_and_reached_are_said_in_one_line() {
        let ratio = Sample::of([0.12, 0.1, 0.17]);
        let said = Goal::of(window(10), &shape(), "tokio", ratio, None).first().map(Goal::to_string);
        let line =
            "pogu, window 10 ms: CPU per delivery beside tokio: wanted at most 0.150, reached 0.120 (0.100 - 0.170)";
        assert_eq!(said.as_deref(), Some(line));
    }
}
