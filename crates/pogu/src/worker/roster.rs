//! The live sessions of each service that live in this worker: what is meant for a service concerns only them, however many
//! sessions of other services are here.

use pogu_port::slots::Name;
use rustc_hash::FxHashMap;

use crate::trim::trim_list;
use crate::worker::State;

/// The place of a carrier that is on no roster.
pub(crate) const NOWHERE: u32 = u32::MAX;

#[derive(Default)]
pub(crate) struct Rosters {
    /// By the service's index. A service without live sessions has no entry.
    live: FxHashMap<usize, Vec<Name>>,
    /// The memory of the list that is walked.
    walk: Vec<Name>,
}

impl Rosters {
    pub(super) fn of(&self, service: usize) -> &[Name] {
        self.live.get(&service).map_or(&[], Vec::as_slice)
    }

    /// A copy of a roster, to be walked while sessions end; [`Rosters::walked`] takes its memory back.
    pub(super) fn walk(&mut self, service: usize) -> Vec<Name> {
        let mut walk = std::mem::take(&mut self.walk);
        walk.clear();
        walk.extend_from_slice(self.of(service));
        walk
    }

    pub(super) fn walked(&mut self, mut walk: Vec<Name>) {
        let count = walk.len();
        trim_list(&mut walk, count);
        self.walk = walk;
    }
}

impl State {
    /// The session has begun to live.
    pub(super) fn enlist(&mut self, name: Name) {
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let roster = self.rosters.live.entry(carrier.running().index).or_default();
        carrier.roster_place = u32::try_from(roster.len()).unwrap_or(NOWHERE);
        roster.push(name);
    }

    /// The session has begun to end.
    pub(super) fn strike(&mut self, name: Name) {
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let place = std::mem::replace(&mut carrier.roster_place, NOWHERE);
        let (service, index) = (carrier.running().index, place as usize);
        let Some(roster) = self.rosters.live.get_mut(&service).filter(|roster| index < roster.len()) else { return };
        roster.swap_remove(index);
        let moved = roster.get(index).copied();
        if roster.is_empty() {
            self.rosters.live.remove(&service);
        }
        if let Some(carrier) = moved.and_then(|moved| self.carriers.get_mut(moved)) {
            carrier.roster_place = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_is_a_copy_in_memory_that_is_used_again() {
        let name = |slot| Name { slot, generation: 1 };
        let mut rosters = Rosters::default();
        rosters.live.insert(7, (0..100).map(name).collect());
        assert_eq!(rosters.of(8), []);
        let walk = rosters.walk(7);
        assert_eq!(walk, rosters.of(7));
        rosters.walked(walk);
        assert!(rosters.walk.capacity() >= 100, "it is kept for the next walk");
        assert_eq!(rosters.walk(9), [], "and forgotten what was in it");
    }
}
