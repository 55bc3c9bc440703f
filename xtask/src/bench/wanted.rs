//! What is wanted of pogu in rooms, and whether it was reached.

use std::fmt;

use serde_json::{Value, json};

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

/// One figure that is wanted, and what came of it.
pub struct Goal {
    what: String,
    wanted: Bound,
    /// `None`: no run says anything about it.
    reached: Option<Sample>,
    digits: usize,
}

impl Goal {
    /// Those of a window, beside a peer. Nothing is wanted of other windows, and of other members than those of the defaults.
    pub fn of(
        window_milliseconds: u64,
        shape: &Shape,
        peer: &str,
        cpu_ratio: Option<Sample>,
        p99_us: Option<Sample>,
    ) -> Vec<Goal> {
        let ratio = |most| Goal {
            what: format!("window {window_milliseconds} ms, CPU per delivery beside {peer}"),
            wanted: Bound::AtMost(most),
            reached: cpu_ratio.clone(),
            digits: 3,
        };
        match (shape.is_standard(), window_milliseconds) {
            (true, 0) => vec![ratio(CPU_RATIO_MAX_AT_ONCE)],
            (true, 10) => {
                let what = "window 10 ms, p99 us".to_owned();
                let wanted = Bound::Under(P99_US_MAX_IN_WINDOW);
                vec![ratio(CPU_RATIO_MAX_IN_WINDOW), Goal { what, wanted, reached: p99_us, digits: 0 }]
            }
            _ => Vec::new(),
        }
    }

    /// True if the median is where it has to be.
    pub fn is_reached(&self) -> bool {
        self.reached.as_ref().map(Sample::median).is_some_and(|median| match self.wanted {
            Bound::AtMost(most) => median <= most,
            Bound::Under(bound) => median < bound,
        })
    }

    pub fn told(&self) -> Value {
        json!({
            "what": self.what,
            "wanted": match self.wanted {
                Bound::AtMost(most) => json!({ "at_most": most }),
                Bound::Under(bound) => json!({ "under": bound }),
            },
            "reached": self.reached.as_ref().map(Sample::told),
            "is_reached": self.is_reached(),
        })
    }
}

/// `what: wanted ..., reached ...`, and whether that is enough.
impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Goal { what, wanted, reached, digits } = self;
        match wanted {
            Bound::AtMost(most) => write!(f, "{what}: wanted at most {most:.digits$}")?,
            Bound::Under(bound) => write!(f, "{what}: wanted under {bound:.digits$}")?,
        }
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

    fn reached(window_milliseconds: u64, ratio: f64, p99_us: f64) -> Vec<bool> {
        let [ratio, p99_us] = [ratio, p99_us].map(|value| Sample::of([value]));
        let goals = Goal::of(window_milliseconds, &shape(), "tokio", ratio, p99_us);
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
    fn nothing_is_wanted_of_other_members_and_nothing_that_counts_is_not_enough() {
        let other = Shape { members: 10, ..shape() };
        assert!(Goal::of(10, &other, "tokio", None, None).is_empty());
        let nothing = Goal::of(10, &shape(), "tokio", None, None);
        assert_eq!(nothing.iter().filter(|goal| goal.is_reached()).count(), 0);
        assert!(nothing.iter().all(|goal| goal.to_string().ends_with("NOT REACHED")));
    }

    #[test]
    fn wanted_and_reached_are_said_in_one_line() {
        let ratio = Sample::of([0.12, 0.1, 0.17]);
        let said = Goal::of(10, &shape(), "tokio", ratio, None).first().map(Goal::to_string);
        let line = "window 10 ms, CPU per delivery beside tokio: wanted at most 0.150, reached 0.120 (0.100 - 0.170)";
        assert_eq!(said.as_deref(), Some(line));
    }
}
