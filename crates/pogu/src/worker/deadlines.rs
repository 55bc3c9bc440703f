//! The times at which sessions want to be looked at.
//!
//! A session has one live entry; it is not moved when the session is active, but looked at when it is due and put back
//! for the time that is then right. An entry that was overtaken by an earlier one, or whose session has ended, is stale: it is ignored when its time comes, or swept out
//! before, when stale entries outnumber the sessions. So connections that come and go leave nothing behind that grows.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use pogu_port::Time;
use pogu_port::slots::Name;

#[derive(Default)]
pub(crate) struct Deadlines {
    heap: BinaryHeap<Reverse<(Time, Name)>>,
}

impl Deadlines {
    pub(crate) fn push(&mut self, at: Time, name: Name) {
        self.heap.push(Reverse((at, name)));
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

/// Stale entries that are not worth a sweep.
const STALE_MIN: usize = 1024;

impl Deadlines {
    /// Whether most entries must be stale, if each of `sessions` has one that is not.
    pub(crate) fn wants_sweep(&self, sessions: usize) -> bool {
        self.heap.len() > 2 * sessions + STALE_MIN
    }

    /// Throws out the entries that are not `alive`. As many pushes come before the next sweep as there are sessions, so it
    /// costs each of them little.
    pub(crate) fn sweep(&mut self, alive: impl Fn(Time, Name) -> bool) {
        self.heap.retain(|Reverse((at, name))| alive(*at, *name));
        self.heap.shrink_to(2 * self.heap.len() + STALE_MIN);
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
    #[test]
    fn what_sessions_leave_behind_does_not_grow() {
        let live = Name { slot: 0, generation: 1 };
        let at = |index: u32| Time::from_nanos(1_000_000 + u64::from(index));
        let mut deadlines = Deadlines::default();
        deadlines.push(at(0), live);
        let mut most = 0;
        for index in 1..100_000 {
            deadlines.push(at(index), Name { slot: 1, generation: index });
            if deadlines.wants_sweep(1) {
                deadlines.sweep(|_, name| name == live);
            }
            most = most.max(deadlines.heap.capacity());
        }
        assert!(most <= 4 * STALE_MIN, "{most}");
        assert_eq!(deadlines.next(), Some(at(0)), "the live one is still there");
    }
}
