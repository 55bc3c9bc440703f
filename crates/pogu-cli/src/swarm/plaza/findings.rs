//! What was wrong, and about whom.
//!
//! A bot that was cut off leaves the plaza by an action that nobody acknowledges. What others heard, or did not hear,
//! of it after the last action that it knows of can be told by nobody: it is no finding. That it was cut off is one. If it was
//! cut off before it knew its entity, any stranger may be it.

use std::collections::{BTreeMap, VecDeque};

/// Findings that are remembered with their entity. Of more only the kinds are counted: then so much is wrong that a bot
/// that was cut off explains nothing.
const FINDINGS_MAX: usize = 100_000;

/// Entities that have left and are still known as the swarm's own. What comes of one later than that counts as of a
/// stranger.
const LEFT_MAX: usize = 65_536;

/// What may be wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Finding {
    /// It was to come, and did not.
    Lost,
    /// It came once more.
    Duplicated,
    /// It came, but before something earlier or behind something later.
    Reordered,
    /// Something came of an action that it was to come of, but said something else.
    Altered,
    /// It was to come to somebody else, or to nobody.
    Foreign,
}

/// All findings of a run, and whose entities they are about.
pub(super) struct Wrong {
    found: Vec<(Finding, u32, u64)>,
    /// By kind, of those that are not in `found`.
    more: [u64; 5],
    /// The swarm's own: the last action that is known of one whose bot was cut off.
    own: BTreeMap<u32, Option<u64>>,
    left: VecDeque<u32>,
    strangers: u64,
    /// Nobody is on the plaza but the swarm's own: what comes of anybody else is foreign.
    is_alone: bool,
}

impl Wrong {
    /// Nothing is wrong yet.
    pub(super) fn new(is_alone: bool) -> Wrong {
        Wrong { found: Vec::new(), more: [0; 5], own: BTreeMap::new(), left: VecDeque::new(), strangers: 0, is_alone }
    }

    /// An entity of the swarm's has entered.
    pub(super) fn own(&mut self, entity: u32) {
        self.own.insert(entity, None);
    }

    /// True if an entity is the swarm's.
    pub(super) fn is_stranger(&self, entity: u32) -> bool {
        !self.own.contains_key(&entity)
    }

    /// An entity of the swarm's has left.
    pub(super) fn leave(&mut self, entity: u32) {
        self.left.push_back(entity);
        if self.left.len() > LEFT_MAX
            && let Some(oldest) = self.left.pop_front()
        {
            self.own.remove(&oldest);
        }
    }

    /// The bot of an entity was cut off, after its action with this order.
    pub(super) fn cut_off(&mut self, entity: u32, order: u64) {
        self.own.insert(entity, Some(order));
    }

    /// What comes of an entity by this order is no finding: its bot was cut off before.
    pub(super) fn is_excused(&self, entity: u32, order: u64) -> bool {
        self.own.get(&entity).copied().flatten().is_some_and(|last| order > last)
    }

    pub(super) fn add(&mut self, finding: Finding, entity: u32, order: u64) {
        match self.found.len() < FINDINGS_MAX {
            true => self.found.push((finding, entity, order)),
            false => self.more[finding as usize] += 1,
        }
    }

    /// Something was heard of an entity that is not the swarm's.
    pub(super) fn add_stranger(&mut self, entity: u32, order: u64) {
        self.strangers += 1;
        if self.is_alone {
            self.add(Finding::Foreign, entity, order);
        }
    }

    /// From now on a stranger may be one of the swarm's that does not know its entity, and may have been.
    pub(super) fn excuse_strangers(&mut self) {
        self.is_alone = false;
        self.found.retain(|(_, entity, _)| self.own.contains_key(entity));
    }

    /// What was heard of entities that are not the swarm's.
    pub(super) fn strangers(&self) -> u64 {
        self.strangers
    }

    /// How many of each kind: lost, duplicated, reordered, altered, foreign.
    pub(super) fn counts(&self) -> [u64; 5] {
        let mut counts = self.more;
        for (finding, entity, order) in &self.found {
            if !self.is_excused(*entity, *order) {
                counts[*finding as usize] += 1;
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_one_that_was_cut_off_nothing_later_counts() {
        let mut wrong = Wrong::new(true);
        wrong.own(7);
        wrong.add(Finding::Lost, 7, 10);
        wrong.add(Finding::Foreign, 7, 11);
        assert_eq!(wrong.counts(), [1, 0, 0, 0, 1]);
        wrong.cut_off(7, 10);
        assert_eq!(wrong.counts(), [1, 0, 0, 0, 0]);
    }

    #[test]
    fn of_strangers_only_one_that_is_alone_finds_something() {
        let counts = |is_alone, is_excused| {
            let mut wrong = Wrong::new(is_alone);
            wrong.own(7);
            wrong.add(Finding::Lost, 7, 3);
            wrong.add_stranger(8, 4);
            if is_excused {
                wrong.excuse_strangers();
            }
            wrong.add_stranger(9, 5);
            (wrong.counts(), wrong.strangers())
        };
        assert_eq!(counts(true, false), ([1, 0, 0, 0, 2], 2));
        assert_eq!(counts(false, false), ([1, 0, 0, 0, 0], 2));
        assert_eq!(counts(true, true), ([1, 0, 0, 0, 0], 2));
    }

    #[test]
    fn memory_is_bounded_and_nothing_is_forgotten() {
        let mut wrong = Wrong::new(true);
        for entity in 0..200_000 {
            wrong.own(entity);
            wrong.add(Finding::Altered, entity, 1);
            wrong.leave(entity);
        }
        assert_eq!((wrong.found.len(), wrong.own.len()), (FINDINGS_MAX, LEFT_MAX));
        assert_eq!(wrong.counts(), [0, 0, 0, 200_000, 0]);
        assert!(wrong.is_stranger(5) && !wrong.is_stranger(199_999));
    }
}
