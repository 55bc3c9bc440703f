//! What the system refuses for now, and what is asked for again.
//!
//! A call that starts an operation may be turned away for want of memory, or because too many are in flight (WSAENOBUFS,
//! WSAEWOULDBLOCK), and so may the request to give one back (CancelIoEx). None of that is the peer's fault or the end of a
//! connection, and none may be forgotten: a receive that is not armed hears nothing, and an ending that was not asked for waits
//! for the peer. So the name is noted, and **everything that it lacks is asked for again** a little later, by what its state
//! says: there is no list of what exactly was refused.

use std::collections::BTreeSet;
use std::time::Duration;

use super::table::{Table, Thing};
use super::winsock;
use crate::clock::Time;
use crate::codes;
use crate::faults::FaultPoint;
use crate::identity::Name;

/// How long the system is left alone after a refusal: a hundred calls a second at most for each that is refused.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// True if a receive may well be armed a little later. (A send that finds no memory ends, as on every driver.)
pub(super) fn is_worth_a_retry(code: i32) -> bool {
    codes::is_transient(code) || codes::EXHAUSTED.contains(&code)
}

/// Connections and listeners of which something was refused.
#[derive(Default)]
pub(super) struct Retries {
    names: BTreeSet<Name>,
    at: Option<Time>,
    /// The log knows that the system refuses to give operations back.
    told: bool,
}

impl Retries {
    /// When the next ones are due.
    pub(super) fn next(&self) -> Option<Time> {
        self.at
    }
}

impl Table {
    /// Something of it was refused for now.
    pub(super) fn retry_later(&mut self, name: Name) {
        self.retries.names.insert(name);
        let at = self.now + RETRY_AFTER;
        self.retries.at.get_or_insert(at);
    }

    /// Asks again for what is due.
    pub(super) fn retry(&mut self) {
        if self.retries.at.is_none_or(|at| at > self.now) {
            return;
        }
        self.retries.at = None;
        for name in std::mem::take(&mut self.retries.names) {
            self.await_bytes(name);
            self.continue_send(name);
            self.ask_back(name);
        }
    }

    /// Asks the system to give back what it holds of a connection or a listener that is ending. Its packets say when it does.
    pub(super) fn ask_back(&mut self, name: Name) {
        let Table { things, faults, .. } = self;
        let mut refused = None;
        let mut cancel = |socket: &socket2::Socket, overlapped| {
            let answer = match faults.at_call(FaultPoint::Cancel) {
                Some(code) => Err(std::io::Error::from_raw_os_error(code)),
                None => winsock::cancel(socket, overlapped),
            };
            refused = answer.err().or(refused.take());
        };
        match things.get(name) {
            Some(Thing::Connection(connection)) => connection.asks_back(&mut cancel),
            Some(Thing::Listener(listener)) => listener.asks_back(&mut cancel),
            None => {}
        }
        if let Some(error) = refused {
            if !std::mem::replace(&mut self.retries.told, true) {
                tracing::warn!(%error, "an operation could not be cancelled: it is tried again, and so are later ones");
            }
            self.retry_later(name);
        }
    }
}
