//! What one seed decides, drawn number by number.

use std::time::Duration;

use pogu_port::Random;

/// A generator of choices. Parts of a storm have one each, so that what one of them draws does not move the others.
pub(crate) struct Draw(Random);

impl Draw {
    /// The generator of `part` in the storm of `seed`.
    pub(crate) fn new(seed: u64, part: u64) -> Draw {
        let mut mixed = Random::new(seed ^ part.wrapping_mul(0xA24B_AED4_963E_E407));
        Draw(Random::new(mixed.next_number()))
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.next_number()
    }

    /// From `least` to `most`, both included.
    pub(crate) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.0.below(most.saturating_sub(least).saturating_add(1))
    }

    pub(crate) fn count(&mut self, least: usize, most: usize) -> usize {
        usize::try_from(self.between(least as u64, most as u64)).unwrap_or(least)
    }

    pub(crate) fn small(&mut self, least: u32, most: u32) -> u32 {
        u32::try_from(self.between(u64::from(least), u64::from(most))).unwrap_or(least)
    }

    pub(crate) fn milliseconds(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }

    /// True `times` in a hundred.
    pub(crate) fn percent(&mut self, times: u64) -> bool {
        self.0.below(100) < times
    }

    /// `value` so many times in a hundred, else nothing.
    pub(crate) fn perhaps<T>(&mut self, times: u64, value: impl FnOnce(&mut Draw) -> T) -> Option<T> {
        self.percent(times).then(|| value(self))
    }

    /// One of them; there has to be one.
    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.count(0, choices.len() - 1)]
    }
}
