//! The times at which sessions want to be looked at.
//!
//! A session has one live entry; it is not moved when the session is active, but looked at when it is due and put back
//! for the time that is then right. An entry that was overtaken by an earlier one, or whose session has ended, stays until
//! its time and is then ignored (its time is not the carrier's `armed_at`); when such entries are the most, all of them are
//! thrown out, so that there are never more than a few per session.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use pogu_port::Time;
use pogu_port::slots::Name;

#[derive(Default)]
pub(crate) struct Deadlines {
    heap: BinaryHeap<Reverse<(Time, Name)>>,
}

impl Deadlines {
    /// Entries, stale ones included.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(crate) fn push(&mut self, at: Time, name: Name) {
        self.heap.push(Reverse((at, name)));
    }

    /// Throws out the entries that are not live.
    pub(crate) fn retain(&mut self, mut live: impl FnMut(Time, Name) -> bool) {
        self.heap.retain(|Reverse((at, name))| live(*at, *name));
    }

    /// The earliest entry's time, stale or not.
    pub(crate) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the earliest entry that is due.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<(Time, Name)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_out_when_due_and_earliest_first() {
        let name = |slot| Name { slot, generation: 1 };
        let mut deadlines = Deadlines::default();
        for nanoseconds in [30, 10, 20] {
            deadlines.push(Time::from_nanos(nanoseconds), name(nanoseconds as u32));
        }
        assert_eq!(deadlines.pop_due(Time::from_nanos(9)), None);
        let due: Vec<u32> =
            std::iter::from_fn(|| deadlines.pop_due(Time::from_nanos(20))).map(|(_, name)| name.slot).collect();
        assert_eq!(due, [10, 20]);
        assert_eq!(deadlines.next(), Some(Time::from_nanos(30)));
    }
}
