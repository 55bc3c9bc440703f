//! What a storm came to when something was wrong: a value that says what, when, and how to see it again.

use std::fmt;
use std::time::Duration;

use pogu::Time;

use crate::violation::Violation;
use crate::{Size, planted};

/// A storm that broke something.
#[derive(Clone, PartialEq, Debug)]
pub struct Failure {
    /// It decides everything.
    pub seed: u64,
    /// How large the storm was.
    pub size: Size,
    /// The bug that was planted in it, if one was.
    pub plant: Option<&'static str>,
    /// What was broken first.
    pub violation: Violation,
    /// The virtual time, if it is known.
    pub time: Option<Time>,
    /// What happened last, one line each.
    pub last_lines: Vec<String>,
}

impl Failure {
    pub(crate) fn new(seed: u64, size: Size, violation: Violation, time: Option<Time>) -> Failure {
        Failure { seed, size, plant: planted(), violation, time, last_lines: Vec::new() }
    }

    /// Of a storm that has run for so long in real time: it cannot say so itself.
    pub fn hung(seed: u64, size: Size, patience: Duration) -> Box<Failure> {
        let violation = Violation::Stuck(format!("it runs for {patience:?} and does not end"));
        Box::new(Failure::new(seed, size, violation, None))
    }

    /// What was broken, where, and when.
    pub fn sentence(&self) -> String {
        let Failure { seed, size, violation, time, .. } = self;
        let when = time.map(|time| format!(", at {time:?}")).unwrap_or_default();
        format!("seed {seed}, {size}: {violation}{when}")
    }
}

/// How to see a storm again, line by line.
pub fn again(seed: u64, size: Size, plant: Option<&str>) -> String {
    let planted = plant.map(|plant| format!(" --plant {plant}")).unwrap_or_default();
    format!("again: cargo xtask sim --from {seed} --seeds 1 --size {size} --trace{planted}")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.sentence())?;
        self.last_lines.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        write!(f, "{}", again(self.seed, self.size, self.plant))
    }
}

impl std::error::Error for Failure {}
