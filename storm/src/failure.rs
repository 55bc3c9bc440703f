//! What a storm came to when something was wrong: a value that says what, when, and how to see it again.

use std::fmt;

use pogu::Time;

use crate::Size;
use crate::violation::Violation;

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
    /// The virtual time.
    pub time: Time,
    /// What happened last, one line each.
    pub last_lines: Vec<String>,
}

/// How to see a storm again, line by line.
pub fn again(seed: u64, size: Size, plant: Option<&str>) -> String {
    let planted = plant.map(|plant| format!(" --plant {plant}")).unwrap_or_default();
    format!("again: cargo xtask sim --from {seed} --seeds 1 --size {size} --trace{planted}")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, size, plant, violation, time, last_lines } = self;
        writeln!(f, "seed {seed}, {size}: {violation}, at {time:?}")?;
        last_lines.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        write!(f, "{}", again(*seed, *size, *plant))
    }
}

impl std::error::Error for Failure {}
