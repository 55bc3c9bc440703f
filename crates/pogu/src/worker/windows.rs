//! Sessions whose frames wait for company, by how long they may wait.
//!
//! ```text
//!   list      window         due       sessions
//!    3     8 to 16 ms     12.0037 s    a b c d e      all flushed in one turn, when the first of them is due
//!    6    64 to 128 ms    12.0900 s    b              b's longer window; it may have left with the shorter one before
//! ```
//!
//! A list is due when the first of its sessions is, so adding one costs nothing but a place, and sessions that are spoken to
//! together fall into step: they leave in one turn, with one submission. Being flushed early is no harm, so nothing is taken out:
//! an entry whose session has nothing left, or has ended, is passed over.

use std::time::Duration;

use pogu_port::Time;
use pogu_port::slots::Name;

use crate::delivery::WINDOW_MAX;
use crate::trim::trim_list;
use crate::worker::NEVER;

/// Lists, for windows from below 2 ms up to [`WINDOW_MAX`], each twice as long as the one before.
const LISTS: usize = 12;

const _: () = assert!(WINDOW_MAX.as_millis() < 1 << LISTS && LISTS <= u16::BITS as usize);

/// The list for a window.
fn list_of(window: Duration) -> usize {
    let milliseconds = window.as_millis().clamp(1, (1 << LISTS) - 1);
    milliseconds.ilog2() as usize
}

struct List {
    due: Time,
    sessions: Vec<Name>,
}

/// See the [module](self).
pub(super) struct Windows {
    lists: [List; LISTS],
    next: Time,
}

impl Default for Windows {
    fn default() -> Windows {
        let lists = std::array::from_fn(|_| List { due: NEVER, sessions: Vec::new() });
        Windows { lists, next: NEVER }
    }
}

impl Windows {
    /// Lets a session wait until `due` at the longest. `lists` are those that it is in, a bit each; gives the bit of this one.
    pub(super) fn wait(&mut self, session: Name, window: Duration, due: Time, lists: u16) -> u16 {
        let number = list_of(window);
        let Some(list) = self.lists.get_mut(number) else { return 0 };
        let bit = 1 << number;
        if lists & bit == 0 {
            list.sessions.push(session);
        }
        list.due = list.due.min(due);
        self.next = self.next.min(due);
        bit
    }

    /// When the first list is due.
    pub(super) fn next(&self) -> Option<Time> {
        (self.next != NEVER).then_some(self.next)
    }

    /// Takes the sessions of a list that is due, and its number.
    pub(super) fn take_due(&mut self, now: Time) -> Option<(usize, Vec<Name>)> {
        if now < self.next {
            return None;
        }
        let (number, list) = self.lists.iter_mut().enumerate().find(|(_, list)| list.due <= now)?;
        list.due = NEVER;
        let mut sessions = std::mem::take(&mut list.sessions);
        let count = sessions.len();
        trim_list(&mut sessions, count);
        self.next = self.lists.iter().map(|list| list.due).min().unwrap_or(NEVER);
        Some((number, sessions))
    }

    /// Gives back the memory of a list.
    pub(super) fn walked(&mut self, list: usize, mut sessions: Vec<Name>) {
        sessions.clear();
        if let Some(list) = self.lists.get_mut(list).filter(|list| list.sessions.is_empty()) {
            list.sessions = sessions;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::from_nanos(milliseconds * 1_000_000)
    }

    fn name(slot: u32) -> Name {
        Name { slot, generation: 1 }
    }

    #[test]
    fn windows_fall_into_lists_of_twice_the_length() {
        let of = |milliseconds| list_of(Duration::from_millis(milliseconds));
        assert_eq!([0, 1, 2, 3, 4, 10, 15, 16].map(of), [0, 0, 1, 1, 2, 3, 3, 4]);
        assert_eq!((list_of(WINDOW_MAX), list_of(Duration::MAX)), (LISTS - 1, LISTS - 1));
    }

    #[test]
    fn a_list_is_due_when_its_first_session_is() {
        let mut windows = Windows::default();
        assert_eq!(windows.next(), None);
        let wait = |windows: &mut Windows, slot, milliseconds, due, lists| {
            windows.wait(name(slot), Duration::from_millis(milliseconds), at(due), lists)
        };
        assert_eq!(wait(&mut windows, 1, 10, 20, 0), 1 << 3);
        assert_eq!(wait(&mut windows, 2, 8, 15, 0), 1 << 3);
        assert_eq!(wait(&mut windows, 1, 100, 90, 1 << 3), 1 << 6);
        assert_eq!(windows.next(), Some(at(15)));
        assert_eq!(windows.take_due(at(14)), None);
        assert_eq!(windows.take_due(at(15)), Some((3, vec![name(1), name(2)])));
        assert_eq!((windows.take_due(at(15)), windows.next()), (None, Some(at(90))));
        assert_eq!(wait(&mut windows, 1, 64, 30, 1 << 6), 1 << 6, "it is there once, and earlier");
        assert_eq!(windows.take_due(at(31)), Some((6, vec![name(1)])), "late is due as well");
        assert_eq!(windows.next(), None);
    }

    #[test]
    fn the_memory_of_a_list_is_used_again() {
        let mut windows = Windows::default();
        let window = Duration::from_millis(10);
        for slot in 0..100 {
            windows.wait(name(slot), window, at(1), 0);
        }
        let (list, sessions) = windows.take_due(at(1)).expect("it is due");
        let memory = sessions.capacity();
        windows.walked(list, sessions);
        windows.wait(name(1), window, at(2), 0);
        let (_, sessions) = windows.take_due(at(2)).expect("it is due");
        assert_eq!((sessions.len(), sessions.capacity()), (1, memory));
    }
}
