//! A table of slots with generations: how names reach things.
//!
//! Free slots are reused oldest first, so that a stale name meets an empty slot for as long as possible before it
//! meets another generation. Generations start at 1 and count up at every reuse; a slot whose generations have run
//! out is retired, so no name ever comes twice.
//!
//! ```text
//!   slots   [ occupied g3 | vacant g5 -> 3 | occupied g1 | vacant g2 -> none ]
//!   free     oldest = 1 -----------------^        newest = 3 ---^
//! ```

pub use crate::identity::Name;
use crate::plant::{self, Plant};

const NONE: u32 = u32::MAX;

/// Generations are cut to 24 bits where they travel through the kernel; a slot is retired after that many uses.
const GENERATION_LAST: u32 = (1 << 24) - 1;

#[derive(Debug)]
enum Content<T> {
    Occupied(T),
    /// Free; the next free slot, oldest first.
    Vacant {
        next: u32,
    },
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    content: Content<T>,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Slots<T> {
    slots: Vec<Slot<T>>,
    oldest: u32,
    newest: u32,
    occupied: u32,
    maximum: u32,
    generation_last: u32,
}

impl<T> Slots<T> {
    /// The memory of one slot.
    #[cfg(test)]
    pub(crate) const SLOT_BYTES: usize = std::mem::size_of::<Slot<T>>();

    /// An empty table of at most `maximum` slots, each used for as many generations as fit a name that travels through
    /// the kernel (2^24 - 1).
    pub fn new(maximum: u32) -> Slots<T> {
        Slots::with_generations(maximum, GENERATION_LAST)
    }

    /// An empty table of at most `maximum` slots, each used for `generation_last` generations and then retired.
    pub fn with_generations(maximum: u32, generation_last: u32) -> Slots<T> {
        let maximum = maximum.min(NONE - 1);
        Slots { slots: Vec::new(), oldest: NONE, newest: NONE, occupied: 0, maximum, generation_last }
    }

    /// Occupied slots.
    pub fn len(&self) -> usize {
        self.occupied as usize
    }

    /// True exactly when no slot is occupied.
    pub fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// The most slots that may be occupied.
    pub fn maximum(&self) -> u32 {
        self.maximum
    }

    /// Puts what `make` builds from its own name into the oldest free slot. `None` if all are occupied.
    pub fn insert_with(&mut self, make: impl FnOnce(Name) -> T) -> Option<Name> {
        self.try_insert_with(|name| Some(make(name)))
    }

    /// As [`Slots::insert_with`], unless `make` changes its mind: then nothing happened.
    pub fn try_insert_with(&mut self, make: impl FnOnce(Name) -> Option<T>) -> Option<Name> {
        let name = self.next_name()?;
        let content = Content::Occupied(make(name)?);
        match self.slots.get_mut(name.slot as usize) {
            Some(slot) => {
                if let Content::Vacant { next } = slot.content {
                    self.oldest = next;
                    if next == NONE {
                        self.newest = NONE;
                    }
                }
                *slot = Slot { generation: name.generation, content };
            }
            None => self.slots.push(Slot { generation: name.generation, content }),
        }
        self.occupied += 1;
        Some(name)
    }

    fn next_name(&self) -> Option<Name> {
        if let Some(slot) = self.slots.get(self.oldest as usize) {
            // Sessions alone: their names do not travel through the kernel, and are not cut.
            let is_skipped = plant::is(Plant::SkippedGeneration) && self.generation_last > GENERATION_LAST;
            let generation = if is_skipped { slot.generation } else { slot.generation + 1 };
            return Some(Name { slot: self.oldest, generation });
        }
        let slot = u32::try_from(self.slots.len()).ok().filter(|&slot| slot < self.maximum)?;
        Some(Name { slot, generation: 1 })
    }

    /// What `name` names, unless the name is stale.
    pub fn get(&self, name: Name) -> Option<&T> {
        match self.slots.get(name.slot as usize)? {
            Slot { generation, content: Content::Occupied(value) } if *generation == name.generation => Some(value),
            _ => None,
        }
    }

    /// What `name` names, unless the name is stale.
    pub fn get_mut(&mut self, name: Name) -> Option<&mut T> {
        match self.slots.get_mut(name.slot as usize)? {
            Slot { generation, content: Content::Occupied(value) } if *generation == name.generation => Some(value),
            _ => None,
        }
    }

    /// Takes out what `name` names and frees the slot, unless the name is stale.
    pub fn remove(&mut self, name: Name) -> Option<T> {
        let slot = self.slots.get_mut(name.slot as usize).filter(|slot| slot.generation == name.generation)?;
        if matches!(slot.content, Content::Vacant { .. }) {
            return None;
        }
        let content = std::mem::replace(&mut slot.content, Content::Vacant { next: NONE });
        let retired = slot.generation >= self.generation_last;
        self.occupied -= 1;
        if !retired {
            self.append_free(name.slot);
        }
        match content {
            Content::Occupied(value) => Some(value),
            Content::Vacant { .. } => None,
        }
    }

    fn append_free(&mut self, freed: u32) {
        match self.slots.get_mut(self.newest as usize) {
            Some(Slot { content: Content::Vacant { next }, .. }) => *next = freed,
            _ => self.oldest = freed,
        }
        self.newest = freed;
    }

    /// What is in all occupied slots, in slot order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| match &slot.content {
            Content::Occupied(value) => Some(value),
            Content::Vacant { .. } => None,
        })
    }

    /// The names of all occupied slots, in slot order.
    pub fn names(&self) -> impl Iterator<Item = Name> {
        self.slots.iter().zip(0u32..).filter_map(|(slot, index)| match slot.content {
            Content::Occupied(_) => Some(Name { slot: index, generation: slot.generation }),
            Content::Vacant { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn freed_slots_are_reused_oldest_first_under_a_new_generation() {
        let mut slots = Slots::new(3);
        let names: Vec<Name> = (0..3).map(|value| slots.insert_with(|_| value).expect("room")).collect();
        assert!(slots.insert_with(|_| 9).is_none(), "the maximum holds");
        assert_eq!(slots.remove(names[2]), Some(2));
        assert_eq!(slots.remove(names[0]), Some(0));
        let first = slots.insert_with(|_| 10).expect("room");
        let second = slots.insert_with(|_| 11).expect("room");
        assert_eq!((first.slot, first.generation), (2, 2));
        assert_eq!((second.slot, second.generation), (0, 2));
        assert_eq!(slots.len(), 3);
    }

    #[test]
    fn a_stale_name_reaches_nobody() {
        let mut slots = Slots::new(8);
        let old = slots.insert_with(|_| "old").expect("room");
        assert_eq!(slots.remove(old), Some("old"));
        assert_eq!(slots.remove(old), None);
        let new = slots.insert_with(|_| "new").expect("room");
        assert_eq!(new.slot, old.slot);
        assert_eq!(slots.get(old), None);
        assert_eq!(slots.get_mut(old), None);
        assert_eq!(slots.remove(old), None);
        assert_eq!(slots.get(new), Some(&"new"));
        assert_eq!(slots.get_mut(new), Some(&mut "new"));
    }

    #[test]
    fn where_generations_are_not_cut_each_use_is_a_generation_too() {
        let mut slots = Slots::with_generations(1, u32::MAX);
        for generation in 1..100 {
            let name = slots.insert_with(|_| ()).expect("room");
            assert_eq!((name.slot, name.generation), (0, generation));
            assert_eq!(slots.remove(name), Some(()));
        }
    }

    /// What the table says in its head, kept as plainly as can be.
    struct Model {
        free: std::collections::VecDeque<Name>,
        occupied: Vec<Name>,
        slots: u32,
    }

    #[test]
    fn every_order_of_comings_and_goings_is_that_of_the_model() {
        const MAXIMUM: u32 = 5;
        const LAST: u32 = 40;
        let mut slots = Slots::with_generations(MAXIMUM, LAST);
        let mut model = Model { free: Default::default(), occupied: Vec::new(), slots: 0 };
        let mut random = Random::new(1);
        for _ in 0..2000 {
            if random.below(2) == 0 {
                let expected = model.free.pop_front().or_else(|| {
                    let slot = model.slots;
                    model.slots = (slot + 1).min(MAXIMUM);
                    (slot < MAXIMUM).then_some(Name { slot, generation: 1 })
                });
                assert_eq!(slots.insert_with(|name| name.generation), expected);
                model.occupied.extend(expected);
            } else if !model.occupied.is_empty() {
                let name = model.occupied.swap_remove(random.below(model.occupied.len() as u64) as usize);
                assert_eq!(slots.remove(name), Some(name.generation));
                let next = Name { generation: name.generation + 1, ..name };
                model.free.extend((next.generation <= LAST).then_some(next));
            }
            model.occupied.sort();
            assert_eq!(slots.names().collect::<Vec<_>>(), model.occupied);
            assert!(slots.values().copied().eq(model.occupied.iter().map(|name| name.generation)));
            assert_eq!((slots.len(), slots.is_empty()), (model.occupied.len(), model.occupied.is_empty()));
        }
        assert_eq!((model.slots, model.free.len()), (MAXIMUM, 0), "all slots have had their generations");
        assert!(slots.is_empty());
    }

    #[test]
    fn what_changes_its_mind_leaves_no_trace() {
        let mut slots: Slots<()> = Slots::new(1);
        assert_eq!(slots.try_insert_with(|_| None), None);
        assert!(slots.is_empty());
        assert_eq!(slots.insert_with(|_| ()), Some(Name { slot: 0, generation: 1 }));
    }

    #[test]
    fn bounds_are_what_a_name_can_express() {
        assert_eq!(GENERATION_LAST, 0xFF_FFFF);
        assert_eq!(Slots::<()>::new(7).maximum(), 7);
        assert_eq!(Slots::<()>::new(u32::MAX).maximum(), NONE - 1, "the last number says that there is none");
    }

    #[test]
    fn a_slot_whose_generations_ran_out_is_retired() {
        let mut slots = Slots::new(2);
        let mut name = slots.insert_with(|_| ()).expect("room");
        for _ in 1..GENERATION_LAST {
            slots.remove(name);
            name = slots.insert_with(|_| ()).expect("room");
        }
        assert_eq!((name.slot, name.generation), (0, GENERATION_LAST));
        slots.remove(name);
        let next = slots.insert_with(|_| ()).expect("room");
        assert_eq!((next.slot, next.generation), (1, 1));
    }
}
