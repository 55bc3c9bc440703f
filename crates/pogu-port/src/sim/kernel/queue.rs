//! The completion queue of one port: bounded, ordered, and as free as the kernel's.
//!
//! ```text
//!   operations --> [ entries: at most so many ] -- a turn begins --> [ taken ] -- one by one --> driver
//!        \-- no room --> [ aside ] --^                  \-- held back: next turn --^
//! ```
//!
//! Completions of one operation keep their order, however the others are shuffled.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::operation::Event;
use super::token::Token;
use crate::clock::Time;
use crate::sim::faults::{Fate, FaultClass};

/// See the [module](self).
#[derive(Debug, Default)]
pub(in crate::sim) struct Queue {
    entries: Vec<Event>,
    aside: Vec<Event>,
    taken: VecDeque<Event>,
}

impl Queue {
    /// True if one more completion fits.
    pub(super) fn has_room(&self, fate: &Fate) -> bool {
        let bound = fate.faults().completion_entries_max;
        fate.is_healed() || bound == 0 || self.entries.len() < bound
    }

    pub(super) fn push(&mut self, event: Event, fate: &mut Fate) {
        if self.has_room(fate) {
            self.entries.push(event);
        } else {
            fate.count(FaultClass::Overflow);
            self.aside.push(event);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Event> {
        self.entries.iter().chain(&self.aside).chain(&self.taken)
    }

    pub(super) fn into_events(self) -> impl Iterator<Item = Event> {
        self.taken.into_iter().chain(self.entries).chain(self.aside)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() + self.aside.len() + self.taken.len()
    }

    /// True if a turn would find something.
    pub(in crate::sim) fn is_due(&self, now: Time) -> bool {
        self.iter().any(|event| event.not_before <= now)
    }

    /// Nothing waits for its time any longer.
    pub(super) fn hurry(&mut self) {
        self.entries.iter_mut().chain(&mut self.aside).for_each(|event| event.not_before = Time::ZERO);
    }

    /// Everything is to be taken, in order. Never in a turn of a port with faults.
    pub(super) fn take_all(&mut self) {
        self.taken.extend(self.entries.drain(..));
    }

    /// Chooses what this turn takes. True if the queue had overflowed.
    pub(super) fn begin_turn(&mut self, now: Time, fate: &mut Fate) -> bool {
        let mut held = BTreeSet::new();
        let mut taken = Vec::new();
        let entries = std::mem::take(&mut self.entries);
        for event in entries {
            let waits = event.not_before > now || held.contains(&event.token);
            if waits || fate.throws(|faults| faults.held_completions) {
                if !waits {
                    fate.count(FaultClass::HeldCompletion);
                }
                held.insert(event.token);
                self.entries.push(event);
            } else {
                taken.push(event);
            }
        }
        if taken.len() > 1 && fate.throws(|faults| faults.shuffled_turns) {
            taken = shuffled(taken, fate);
        }
        self.taken.extend(taken);
        let overflowed = !self.aside.is_empty();
        self.entries.append(&mut self.aside);
        overflowed
    }

    pub(super) fn next(&mut self) -> Option<Event> {
        self.taken.pop_front()
    }
}

/// Another order, in which those of one token follow each other as before.
fn shuffled(events: Vec<Event>, fate: &mut Fate) -> Vec<Event> {
    let before: Vec<Token> = events.iter().map(|event| event.token).collect();
    let mut order = before.clone();
    for last in (1..order.len()).rev() {
        order.swap(last, fate.below(last + 1));
    }
    if order != before {
        fate.count(FaultClass::ShuffledTurn);
    }
    let mut queues: BTreeMap<Token, VecDeque<Event>> = BTreeMap::new();
    for event in events {
        queues.entry(event.token).or_default().push_back(event);
    }
    order.iter().filter_map(|token| queues.get_mut(token)?.pop_front()).collect()
}
