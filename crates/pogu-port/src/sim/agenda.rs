//! What the network will do, and when.
//!
//! Entries of one time come in the order in which they were made, so that a connection's bytes, its end and its reset
//! arrive as they were sent, and so that two runs of one program do the same.

use std::collections::BTreeMap;

use super::failure::Failure;
use crate::clock::Time;
use crate::slots::Name;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// A client's request to connect reaches the listener's machine. `attempt` counts from 0.
    Request { from: Name, attempt: u32 },
    /// The listener's answer reaches the client.
    Established(Name),
    /// The end learns that there is no connection, or none any more: it was refused, or has asked often enough.
    Failed(Name, Failure),
    /// Bytes reach `at`.
    Arrived { from: Name, at: Name, bytes: usize },
    /// The other side's end of stream arrives.
    Finished(Name),
    /// A reset arrives.
    Reset(Name),
    /// Something that the kernel of a port has held back is due.
    Look { port: Name, thing: Name },
}

#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: BTreeMap<(Time, u64), Event>,
    made: u64,
}

impl Agenda {
    pub(super) fn add(&mut self, at: Time, event: Event) {
        self.made += 1;
        self.entries.insert((at, self.made), event);
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.entries.first_key_value().map(|((at, _), _)| *at)
    }

    /// Nothing that is on its way takes longer than until `soon`; the order stays. Who asks again does so in its own time.
    pub(super) fn hurry(&mut self, soon: Time) {
        for ((at, made), event) in std::mem::take(&mut self.entries) {
            let asks_again = matches!(event, Event::Request { .. } | Event::Failed(..));
            let at = if asks_again { at } else { at.min(soon) };
            self.entries.insert((at, made), event);
        }
    }

    pub(super) fn take_due(&mut self, now: Time) -> Option<Event> {
        let entry = self.entries.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_when_due_and_those_of_one_time_in_their_order() {
        let name = |slot| Name { slot, generation: 1 };
        let mut agenda = Agenda::default();
        for (at, slot) in [(20, 1), (10, 2), (20, 3), (10, 4)] {
            agenda.add(Time::from_nanos(at), Event::Finished(name(slot)));
        }
        assert_eq!(agenda.take_due(Time::from_nanos(9)), None);
        assert_eq!(agenda.next(), Some(Time::from_nanos(10)));
        let due = std::iter::from_fn(|| agenda.take_due(Time::from_nanos(20)));
        assert!(due.eq([2, 4, 1, 3].map(|slot| Event::Finished(name(slot)))));
        assert_eq!(agenda.next(), None);
    }
}
