//! Which workers of a core did not get something.

use std::fmt;

/// The most workers of one core; more than any machine that this was measured on has processors.
pub(crate) const WORKERS_MAX: usize = 1024;

const WORDS: usize = WORKERS_MAX.div_ceil(64);

/// Some of the workers of a core, by their numbers: 128 bytes, however many they are.
///
/// A session's worker is [`SessionId::worker`](crate::SessionId::worker).
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkerSet {
    /// A bit for each worker that a core may have.
    words: [u64; WORDS],
}

impl WorkerSet {
    /// Adds a worker. One that no core has is left out.
    pub(crate) fn insert(&mut self, worker: usize) {
        if let Some(word) = self.words.get_mut(worker / 64) {
            *word |= 1 << (worker % 64);
        }
    }

    /// True if this worker is one of them.
    pub fn contains(&self, worker: usize) -> bool {
        self.words.get(worker / 64).is_some_and(|word| word & 1 << (worker % 64) != 0)
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// True if it is none.
    pub fn is_empty(&self) -> bool {
        self.words == [0; WORDS]
    }

    /// Their numbers, the least first.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..WORKERS_MAX).filter(|worker| self.contains(*worker))
    }
}

/// Numbers that no worker can have, from 1,024 on, are left out.
impl FromIterator<usize> for WorkerSet {
    fn from_iter<I: IntoIterator<Item = usize>>(workers: I) -> WorkerSet {
        let mut set = WorkerSet::default();
        workers.into_iter().for_each(|worker| set.insert(worker));
        set
    }
}

impl fmt::Debug for WorkerSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_that_a_core_may_have_is_told_from_the_others() {
        for worker in 0..WORKERS_MAX {
            let one = WorkerSet::from_iter([worker]);
            assert!(one.iter().eq([worker]) && one.len() == 1 && !one.is_empty());
            assert!(one.contains(worker) && !one.contains(worker + 64) && !one.contains(worker ^ 1));
        }
        let all: WorkerSet = (0..2 * WORKERS_MAX).rev().collect();
        assert!(all.iter().eq(0..WORKERS_MAX) && all.len() == WORKERS_MAX);
        assert!(!all.contains(WORKERS_MAX) && !all.contains(usize::MAX));
        assert_eq!(size_of::<WorkerSet>(), 128);
    }

    #[test]
    fn none_is_the_empty_set() {
        let none = WorkerSet::default();
        assert!(none.is_empty() && none.iter().next().is_none());
        assert_eq!(none.len(), 0);
        assert_eq!(format!("{none:?} {:?}", WorkerSet::from_iter([64, 3])), "{} {3, 64}");
    }
}
