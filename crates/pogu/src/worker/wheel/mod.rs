//! A hierarchical timing wheel: a million timers, each started, cancelled and fired at the same small cost.
//!
//! ```text
//!               64 ticks of 1 ms     64 of 64 ms       64 of 4 s          ...  8 levels: all of a Time
//!   level 0   [ . x . . x . . . ]  [ . . x . . ]  1  [ . . . x . . . ]  2
//!               |     moved down <-------+ <---------------+   when the wheel reaches the slot
//!               v
//!   due       [ timers in the order in which they fire ]   fresh [ started when their time had come already ]
//! ```
//!
//! A heap costs log n for each of these, and keeps what was cancelled until its time comes. Here a timer is in one list of a
//! slot. Its level is that of the highest of its base-64 digits that differs from the tick that the wheel has reached, so
//! everything on a lower level is due before everything on a higher one, and the first occupied slot is found by a bitmap per
//! level. It moves down a level at most seven times.
//!
//! **Order.** Timers of one tick fire in the order in which they were started. They stand in one slot, one behind the other:
//! which one it is depends on their tick and on the reached one alone, and as soon as a slot is reached it is emptied, first
//! timer first. That may take several calls; until then it takes newcomers at its end.
//!
//! **Time.** No clock is in here: time is what [`Wheel::advance`] was told. A timer is due at the first tick that begins at its
//! time or after it, so never early. A slot may hold a million timers: no call moves more of them than it is told.

mod slab;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroU64;

use pogu_port::Time;
use pogu_port::plant::{self, Plant};

use slab::{NOWHERE, Slab};

/// The resolution.
const TICK_NANOSECONDS: u64 = 1_000_000;

/// Bits of a digit: a level has a slot for each of its values, and a bitmap of one word.
const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;

/// Eight digits are 48 bits; the last tick of a [`Time`] has 45.
const LEVELS: usize = 8;

/// The lists behind those of the slots.
const DUE: usize = LEVELS * SLOTS;
const FRESH: usize = DUE + 1;

/// Names one start of a timer. No two starts of a wheel have the same generation, so a stale one reaches nobody.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Handle {
    place: u32,
    generation: NonZeroU64,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.place, self.generation)
    }
}

/// All timers of one owner. It is the owner's, and the wheel's to change: one that is dropped leaves its timers behind.
#[derive(Debug)]
pub(crate) struct Chain {
    first: u32,
}

impl Default for Chain {
    fn default() -> Chain {
        Chain { first: NOWHERE }
    }
}

struct Node<T> {
    /// A tick.
    due: u64,
    generation: NonZeroU64,
    /// Which list it is in, and its neighbours there.
    list: u16,
    previous: u32,
    next: u32,
    chain_previous: u32,
    chain_next: u32,
    /// Timers of the chain; right in the first one only.
    chain_length: u32,
    payload: T,
}

struct List {
    first: u32,
    last: u32,
    /// No timer that came since the list was empty is due before that tick.
    earliest: u64,
}

/// See the [module](self). `T` is what a timer carries.
pub(crate) struct Wheel<T> {
    nodes: Slab<Node<T>>,
    /// Those of the slots by level, then [`DUE`] and [`FRESH`].
    lists: Vec<List>,
    /// A bit for each slot with timers, by level.
    occupied: [u64; LEVELS],
    /// The tick up to which everything is due.
    reached: u64,
    /// The slot that begins at `reached` and is being emptied.
    emptied: Option<usize>,
    /// That of the next timer.
    generation: NonZeroU64,
    /// Timers that were put into a list or taken out of one: what everything costs.
    #[cfg(test)]
    steps: u64,
}

impl<T> Wheel<T> {
    /// The memory of a timer.
    #[cfg(test)]
    pub(crate) fn timer_bytes() -> usize {
        slab::place_bytes::<Node<T>>()
    }

    pub(crate) fn new() -> Wheel<T> {
        let lists = (0..=FRESH).map(|_| List { first: NOWHERE, last: NOWHERE, earliest: 0 }).collect();
        Wheel {
            nodes: Slab::default(),
            lists,
            occupied: [0; LEVELS],
            reached: 0,
            emptied: None,
            generation: NonZeroU64::MIN,
            #[cfg(test)]
            steps: 0,
        }
    }

    /// Timers of an owner.
    pub(crate) fn count(&self, chain: &Chain) -> usize {
        self.nodes.get(chain.first).map_or(0, |first| first.chain_length as usize)
    }

    /// Starts a timer. One whose tick has been reached already is due after the next [`Wheel::admit_fresh`]. `None` if there are
    /// 2^32 timers.
    pub(crate) fn start(&mut self, at: Time, payload: T, chain: &mut Chain) -> Option<Handle> {
        let due = match plant::is(Plant::EarlyTick) {
            true => at.as_nanos() / TICK_NANOSECONDS,
            false => at.as_nanos().div_ceil(TICK_NANOSECONDS),
        };
        let chain_length = u32::try_from(self.count(chain)).unwrap_or(u32::MAX).saturating_add(1);
        let generation = self.generation;
        let place = self.nodes.insert(Node {
            due,
            generation,
            list: 0,
            previous: NOWHERE,
            next: NOWHERE,
            chain_previous: NOWHERE,
            chain_next: chain.first,
            chain_length,
            payload,
        })?;
        self.generation = generation.saturating_add(1);
        if let Some(second) = self.nodes.get_mut(chain.first) {
            second.chain_previous = place;
        }
        chain.first = place;
        self.link(place, self.list_of_new(due), due);
        Some(Handle { place, generation })
    }

    /// What a pending timer carries.
    pub(crate) fn get(&self, handle: Handle) -> Option<&T> {
        self.nodes.get(handle.place).filter(|node| node.generation == handle.generation).map(|node| &node.payload)
    }

    /// Takes a timer out. `chain` is the one that it was started with. `None` if it is not pending any more.
    pub(crate) fn remove(&mut self, handle: Handle, chain: &mut Chain) -> Option<T> {
        self.get(handle)?;
        self.unlink(handle.place);
        let node = self.nodes.remove(handle.place)?;
        let rest = match self.nodes.get_mut(node.chain_previous) {
            Some(previous) => {
                previous.chain_next = node.chain_next;
                self.count(chain).saturating_sub(1)
            }
            None => {
                debug_assert_eq!(chain.first, handle.place, "a timer of another owner");
                chain.first = node.chain_next;
                node.chain_length.saturating_sub(1) as usize
            }
        };
        if let Some(next) = self.nodes.get_mut(node.chain_next) {
            next.chain_previous = node.chain_previous;
        }
        if let Some(first) = self.nodes.get_mut(chain.first) {
            first.chain_length = u32::try_from(rest).unwrap_or(u32::MAX);
        }
        Some(node.payload)
    }

    /// Takes out all timers of an owner; gives their number.
    pub(crate) fn remove_all(&mut self, chain: &mut Chain) -> usize {
        let mut removed = 0;
        while self.nodes.get(chain.first).is_some() {
            self.unlink(chain.first);
            chain.first = self.nodes.remove(chain.first).map_or(NOWHERE, |node| node.chain_next);
            removed += 1;
        }
        removed
    }

    /// Makes due what is due by `now`; if that takes more than `moves_max` moves, a part of it.
    pub(crate) fn advance(&mut self, now: Time, moves_max: usize) {
        let now = now.as_nanos() / TICK_NANOSECONDS;
        let mut moves_left = moves_max;
        loop {
            if let Some(slot) = self.emptied {
                if !self.empty(slot, &mut moves_left) {
                    return;
                }
                self.emptied = None;
            }
            match self.first_slot().filter(|(_, begins)| *begins <= now) {
                Some((slot, begins)) => {
                    self.reached = begins;
                    self.emptied = Some(slot);
                }
                None => {
                    self.reached = self.reached.max(now);
                    return;
                }
            }
        }
    }

    /// The timer that fires next, of those that are due.
    pub(crate) fn first_due(&self) -> Option<(Handle, &T)> {
        let place = self.lists.get(DUE)?.first;
        let node = self.nodes.get(place)?;
        Some((Handle { place, generation: node.generation }, &node.payload))
    }

    /// Makes due what was started when its tick had been reached already.
    pub(crate) fn admit_fresh(&mut self) {
        while let Some((place, due)) = self.first_of(FRESH) {
            self.unlink(place);
            self.link(place, DUE, due);
        }
    }

    /// When there is something to be done: a time that has come, or at which a timer becomes due. Early only if the timer that
    /// was to be the first has been cancelled, and then once.
    pub(crate) fn next_due(&self) -> Option<Time> {
        let waits = [DUE, FRESH].into_iter().any(|list| self.first_of(list).is_some());
        let tick = match self.emptied.is_some() || waits {
            true => self.reached,
            false => self.lists.get(self.first_slot()?.0)?.earliest,
        };
        Some(Time::from_nanos(tick.saturating_mul(TICK_NANOSECONDS)))
    }

    fn first_of(&self, list: usize) -> Option<(u32, u64)> {
        let place = self.lists.get(list)?.first;
        self.nodes.get(place).map(|node| (place, node.due))
    }

    /// The first occupied slot, and the tick at which it begins.
    fn first_slot(&self) -> Option<(usize, u64)> {
        let (level, bits) = self.occupied.iter().enumerate().find(|(_, bits)| **bits != 0)?;
        let digit = bits.trailing_zeros();
        let shift = DIGIT_BITS * level as u32;
        // The digits above are those of the reached tick, the ones below are zero.
        let above = self.reached >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
        Some((level * SLOTS + digit as usize, above | u64::from(digit) << shift))
    }

    /// Moves the timers of a slot to where they belong now that it has been reached. False if that was too much at one time.
    fn empty(&mut self, slot: usize, moves_left: &mut usize) -> bool {
        while let Some((place, due)) = self.first_of(slot) {
            let Some(left) = moves_left.checked_sub(1) else { return false };
            *moves_left = left;
            self.unlink(place);
            self.link(place, if due > self.reached { self.slot_of(due) } else { DUE }, due);
        }
        true
    }

    fn list_of_new(&self, due: u64) -> usize {
        if due <= self.reached {
            return FRESH;
        }
        let covers = |slot: &usize| {
            let shift = DIGIT_BITS * (*slot / SLOTS) as u32;
            due >> shift == self.reached >> shift
        };
        self.emptied.filter(covers).unwrap_or_else(|| self.slot_of(due))
    }

    /// The slot of a tick that has not been reached.
    fn slot_of(&self, due: u64) -> usize {
        let differs = (due ^ self.reached) | 1;
        let level = (u64::BITS - 1 - differs.leading_zeros()) / DIGIT_BITS;
        let digit = due >> (DIGIT_BITS * level) & (SLOTS as u64 - 1);
        level as usize * SLOTS + digit as usize
    }

    /// Puts a timer at the end of a list.
    fn link(&mut self, place: u32, list: usize, due: u64) {
        self.count_step();
        let Some(ends) = self.lists.get_mut(list) else { return };
        let previous = std::mem::replace(&mut ends.last, place);
        if previous == NOWHERE {
            ends.first = place;
            ends.earliest = due;
        }
        ends.earliest = ends.earliest.min(due);
        if let Some(bits) = self.occupied.get_mut(list / SLOTS) {
            *bits |= 1 << (list % SLOTS);
        }
        if let Some(last) = self.nodes.get_mut(previous) {
            last.next = place;
        }
        if let Some(node) = self.nodes.get_mut(place) {
            (node.list, node.previous, node.next) = (list as u16, previous, NOWHERE);
        }
    }

    /// Takes a timer out of its list.
    fn unlink(&mut self, place: u32) {
        self.count_step();
        let Some(node) = self.nodes.get(place) else { return };
        let (list, previous, next) = (usize::from(node.list), node.previous, node.next);
        let Some(ends) = self.lists.get_mut(list) else { return };
        match self.nodes.get_mut(previous) {
            Some(node) => node.next = next,
            None => ends.first = next,
        }
        match self.nodes.get_mut(next) {
            Some(node) => node.previous = previous,
            None => ends.last = previous,
        }
        if ends.first == NOWHERE
            && let Some(bits) = self.occupied.get_mut(list / SLOTS)
        {
            *bits &= !(1 << (list % SLOTS));
        }
    }

    fn count_step(&mut self) {
        #[cfg(test)]
        {
            self.steps += 1;
        }
    }
}
