//! What the system refuses for now, and what is asked for again.
//!
//! A call that starts an operation may be turned away for want of memory, or because too many are in flight (WSAENOBUFS,
//! WSAEWOULDBLOCK), and so may the request to give one back (CancelIoEx). None of that is the peer's fault or the end of a
//! connection, and none may be forgotten: a receive that is not armed hears nothing, and an ending that was not asked for waits
//! for the peer. So the name is noted, and **everything that it lacks is asked for again** a little later, by what its state
//! says: there is no list of what exactly was refused. A system that goes on refusing is asked ever more rarely, and by few.

use std::collections::BTreeSet;
use std::io;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use socket2::Socket;

use super::table::{Table, Thing};
use super::winsock;
use crate::clock::Time;
use crate::codes;
use crate::exhaustion::SeldomLines;
use crate::faults::FaultPoint;
use crate::identity::Name;

/// How long the system is left alone after a refusal; twice as long after each further one, up to [`RETRY_AFTER_MAX`].
const RETRY_AFTER: Duration = Duration::from_millis(10);

const RETRY_AFTER_MAX: Duration = Duration::from_secs(1);

/// So many refusals stand for all others: a system that has no memory is not asked ten thousand times in one turn.
const REFUSALS_MAX: usize = 16;

/// True if a receive may well be armed a little later. (A send that finds no memory ends, as on every driver.)
pub(super) fn is_worth_a_retry(code: i32) -> bool {
    codes::is_transient(code) || codes::EXHAUSTED.contains(&code)
}

/// Connections and listeners of which something was refused.
pub(super) struct Retries {
    names: BTreeSet<Name>,
    at: Option<Time>,
    pause: Duration,
    /// The last one that was tried: the others come first.
    tried: Option<Name>,
    /// Of cancels that are refused, again and again perhaps.
    lines: SeldomLines,
}

impl Default for Retries {
    fn default() -> Retries {
        Retries { names: BTreeSet::new(), at: None, pause: RETRY_AFTER, tried: None, lines: SeldomLines::default() }
    }
}

impl Retries {
    /// When the next ones are due.
    pub(super) fn next(&self) -> Option<Time> {
        self.at
    }

    fn add(&mut self, name: Name, now: Time) {
        self.names.insert(name);
        self.at.get_or_insert(now + self.pause);
    }

    /// Takes all that wait, those first that were not tried the last time.
    fn take(&mut self) -> Vec<Name> {
        self.at = None;
        let names = std::mem::take(&mut self.names);
        let untried = self.tried.map(|tried| names.range((Excluded(tried), Unbounded)).copied().collect());
        let mut due: Vec<Name> = untried.unwrap_or_default();
        let all = names.iter().copied();
        due.extend(all.take(names.len() - due.len()));
        due
    }
}

impl Table {
    /// Something of it was refused for now.
    pub(super) fn retry_later(&mut self, name: Name) {
        self.retries.add(name, self.now);
    }

    /// Asks again for what is due.
    pub(super) fn retry(&mut self) {
        let now = self.now;
        if self.retries.at.is_none_or(|at| at > now) {
            return;
        }
        let (mut due, mut refusals) = (self.retries.take().into_iter(), 0);
        for name in due.by_ref() {
            self.await_bytes(name);
            self.continue_send(name);
            self.ask_back(name);
            refusals += usize::from(self.retries.names.contains(&name));
            self.retries.tried = Some(name);
            if refusals >= REFUSALS_MAX {
                break;
            }
        }
        let retries = &mut self.retries;
        retries.pause = if refusals == 0 { RETRY_AFTER } else { (2 * retries.pause).min(RETRY_AFTER_MAX) };
        retries.names.extend(due);
        retries.at = (!retries.names.is_empty()).then(|| now + retries.pause);
    }

    /// Asks the system to give back what it holds of a connection or a listener that is ending. Its packets say when it does.
    pub(super) fn ask_back(&mut self, name: Name) {
        let Table { things, faults, .. } = self;
        let mut refused = None;
        let mut cancel = |socket: &Socket, overlapped| {
            let answer = match faults.at_call(FaultPoint::Cancel) {
                Some(code) => Err(io::Error::from_raw_os_error(code)),
                None => winsock::cancel(socket, overlapped),
            };
            refused = answer.err().or(refused.take());
        };
        match things.get(name) {
            Some(Thing::Connection(connection)) => connection.asks_back(&mut cancel),
            Some(Thing::Listener(listener)) => listener.asks_back(&mut cancel),
            None => {}
        }
        let Some(error) = refused else { return };
        if self.retries.lines.allow(self.now) {
            tracing::warn!(%error, "an operation could not be cancelled: it is tried again");
        }
        self.retry_later(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_were_not_tried_come_first() {
        let name = |slot| Name { slot, generation: 1 };
        let mut retries = Retries::default();
        for (tried, expected) in [(None, [0, 1, 2, 3]), (Some(1), [2, 3, 0, 1]), (Some(3), [0, 1, 2, 3])] {
            (0..4).for_each(|slot| retries.add(name(slot), Time::ZERO));
            retries.tried = tried.map(name);
            assert_eq!(retries.take(), expected.map(name));
            assert_eq!(retries.next(), None);
        }
    }
}
