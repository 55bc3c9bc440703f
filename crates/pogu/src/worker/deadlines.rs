//! The times at which sessions want to be looked at.
//!
//! A session has one live entry; it is not moved when the session is active, but looked at when it is due and put back
//! for the time that is then right. An entry that was overtaken by an earlier one, or whose session has ended, is stale: it
//! is ignored when its time comes, or swept out before, when stale entries outnumber the sessions. A stale entry becomes a
//! copy when its session is put back for the same time, and of copies one is live. So neither connections that come and go
//! nor timers that do leave anything behind that grows.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use pogu_port::Time;
use pogu_port::slots::{Name, Slots};

use crate::worker::NEVER;

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

    /// Throws out all entries but one for each session, which is at its `armed_at`. As many pushes come before the next sweep as
    /// there are sessions, so it costs each of them little.
    pub(crate) fn sweep<T>(&mut self, sessions: &mut Slots<T>, armed_at: impl Fn(&mut T) -> &mut Time) {
        // A session whose entry was found is armed for no time until all were looked at: its copies are stale.
        self.heap.retain(|Reverse((at, name))| {
            let armed = sessions.get_mut(*name).map(&armed_at).filter(|armed| **armed == *at);
            armed.is_some_and(|armed| std::mem::replace(armed, NEVER) != NEVER)
        });
        for Reverse((at, name)) in &self.heap {
            if let Some(session) = sessions.get_mut(*name) {
                *armed_at(session) = *at;
            }
        }
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
        let mut sessions: Slots<Time> = Slots::new(2);
        let at = |index: u64| Time::from_nanos(1_000_000 + index);
        let live = sessions.insert_with(|_| at(0)).expect("a slot");
        let mut deadlines = Deadlines::default();
        deadlines.push(at(0), live);
        let mut most = 0;
        for index in 1..100_000 {
            deadlines.push(at(index), Name { slot: 1, generation: 7 });
            if deadlines.wants_sweep(1) {
                deadlines.sweep(&mut sessions, |armed_at| armed_at);
            }
            most = most.max(deadlines.heap.capacity());
        }
        assert!(most <= 4 * STALE_MIN, "{most}");
        assert_eq!(deadlines.next(), Some(at(0)), "the live one is still there");
        assert_eq!(sessions.get(live), Some(&at(0)));
    }

    #[test]
    fn a_sweep_is_worth_it_when_stale_entries_outnumber_the_sessions() {
        let name = Name { slot: 0, generation: 1 };
        for sessions in [0, 1, 100] {
            let mut deadlines = Deadlines::default();
            let worth = 2 * sessions + STALE_MIN;
            (0..worth).for_each(|_| deadlines.push(Time::ZERO, name));
            assert!(!deadlines.wants_sweep(sessions));
            deadlines.push(Time::ZERO, name);
            assert!(deadlines.wants_sweep(sessions));
        }
    }

    #[test]
    fn a_sweep_gives_memory_back_and_keeps_what_comes_before_the_next() {
        const SESSIONS: u32 = 100;
        let mut sessions: Slots<Time> = Slots::new(SESSIONS);
        let at = Time::from_nanos(1);
        let names: Vec<Name> = (0..SESSIONS).filter_map(|_| sessions.insert_with(|_| at)).collect();
        let mut deadlines = Deadlines::default();
        names.iter().cycle().take(100_000).for_each(|name| deadlines.push(at, *name));
        deadlines.sweep(&mut sessions, |armed_at| armed_at);
        assert_eq!(deadlines.heap.len(), names.len());
        let before_the_next = 2 * names.len() + STALE_MIN;
        assert!((before_the_next..2 * before_the_next).contains(&deadlines.heap.capacity()));
    }

    #[test]
    fn of_copies_one_is_kept() {
        const SESSIONS: u32 = 100;
        let mut sessions: Slots<Time> = Slots::new(SESSIONS);
        let (later, soon) = (Time::from_nanos(1_000_000), Time::from_nanos(10));
        let names: Vec<Name> = (0..SESSIONS).filter_map(|_| sessions.insert_with(|_| later)).collect();
        let mut deadlines = Deadlines::default();
        let mut most = 0;
        // Each has a timer that fires, and then waits for the same time as before, again and again.
        for name in names.iter().cycle().take(100 * STALE_MIN) {
            deadlines.push(soon, *name);
            assert_eq!(deadlines.pop_due(soon), Some((soon, *name)));
            deadlines.push(later, *name);
            if deadlines.wants_sweep(names.len()) {
                deadlines.sweep(&mut sessions, |armed_at| armed_at);
                assert_eq!(deadlines.heap.len(), names.len());
            }
            most = most.max(deadlines.heap.capacity());
        }
        assert!(most <= 4 * STALE_MIN, "{most}");
        assert!(names.iter().all(|name| sessions.get(*name) == Some(&later)), "they are armed as they were");
    }
}
