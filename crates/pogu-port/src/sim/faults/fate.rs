//! Who throws the dice.

use std::time::Duration;

use super::{FaultClass, FaultCounts, Faults};
use crate::random::Random;

/// The knobs, the dice, and what came of them. Healed, it throws none any more.
#[derive(Debug)]
pub(in crate::sim) struct Fate {
    faults: Faults,
    random: Random,
    met: FaultCounts,
    /// Met since somebody asked last.
    news: Vec<FaultClass>,
    healed: bool,
}

/// Sets the dice apart from the other numbers that a simulation draws of the same seed.
const DICE: u64 = 0x706f_6775_6661_7465;

impl Fate {
    pub(in crate::sim) fn new(faults: &Faults, seed: u64) -> Fate {
        Fate {
            faults: faults.clone(),
            random: Random::new(seed ^ DICE),
            met: FaultCounts::default(),
            news: Vec::new(),
            healed: false,
        }
    }

    pub(in crate::sim) fn faults(&self) -> &Faults {
        &self.faults
    }

    pub(in crate::sim) fn met(&self) -> &FaultCounts {
        &self.met
    }

    pub(in crate::sim) fn heal(&mut self) {
        self.healed = true;
    }

    pub(in crate::sim) fn is_healed(&self) -> bool {
        self.healed
    }

    /// Throws for a chance in parts per 1,000. A chance of 0 throws nothing.
    pub(in crate::sim) fn throws(&mut self, chance: impl Fn(&Faults) -> u16) -> bool {
        let chance = chance(&self.faults);
        !self.healed && chance > 0 && self.random.below(1000) < u64::from(chance)
    }

    /// A time of at least a nanosecond and at most the bound.
    pub(in crate::sim) fn time(&mut self, bound: impl Fn(&Faults) -> Duration) -> Duration {
        let nanoseconds = u64::try_from(bound(&self.faults).as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(1 + self.random.below(nanoseconds.max(1)))
    }

    pub(in crate::sim) fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    pub(in crate::sim) fn number(&mut self) -> u64 {
        self.random.next_number()
    }

    /// A fault has changed something.
    pub(in crate::sim) fn count(&mut self, class: FaultClass) {
        self.met.count(class);
        self.news.push(class);
    }

    /// What was met since the last call.
    pub(in crate::sim) fn news(&mut self) -> impl Iterator<Item = FaultClass> {
        self.news.drain(..)
    }
}
