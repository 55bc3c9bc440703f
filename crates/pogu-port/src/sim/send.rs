//! The sending direction: one operation per connection, which the kernel holds with its gather until its completion. What it
//! took in part is continued under the same name, so that its owner sees one `Sent`.

use super::connection::{Connection, Phase, Sending, Shut, cancelled};
use super::kernel::{Kind, Operation as InFlight, Token, Work};
use super::pending::Pending;
use super::table::Table;
use crate::error::{Operation, OsError};
use crate::gather::Gather;
use crate::identity::Name;
use crate::plant::{self, Plant};

impl Connection {
    /// True exactly while a send has not come back.
    pub(super) fn is_sending(&self) -> bool {
        matches!(self.sending, Sending::Leaving)
    }
}

impl Table {
    /// Starts a send on a connection that has none, or goes on with it.
    pub(super) fn start_send(&mut self, name: Name, gather: Gather) {
        let Some(connection) = self.connection(name) else { return };
        connection.sending = Sending::Leaving;
        if gather.is_empty() {
            return self.send_left(name, gather, None);
        }
        let operation = InFlight::new(Token::new(Kind::Send, name), connection.socket.end(), Work::Send(gather));
        self.submit(operation);
    }

    /// Asks the kernel for the send back, if it has one.
    pub(super) fn cancel_send(&mut self, name: Name) {
        if self.connection(name).is_some_and(|connection| connection.is_sending()) {
            self.cancel(Token::new(Kind::Send, name));
        }
    }

    /// The kernel answered a send.
    pub(super) fn send_completed(&mut self, name: Name, mut gather: Gather, result: Result<usize, i32>) {
        let Some(connection) = self.connection(name).filter(|connection| connection.is_sending()) else {
            return self.late();
        };
        let stops = matches!(connection.phase, Phase::Aborting | Phase::Detaching);
        let error = match result {
            Ok(bytes) => {
                gather.advance(bytes);
                if plant::is(Plant::ShortSendTaken) {
                    gather = Gather::new();
                }
                self.counters.sent_bytes += bytes as u64;
                if !gather.is_empty() && !stops {
                    self.counters.short_sends += 1;
                    return self.start_send(name, gather);
                }
                (!gather.is_empty()).then(|| cancelled(Operation::Send))
            }
            Err(code) => Some(OsError::from_code(Operation::Send, code)),
        };
        self.send_left(name, gather, error);
    }

    /// Nothing more leaves of a send that the kernel has given back; what waited behind it follows.
    fn send_left(&mut self, name: Name, gather: Gather, error: Option<OsError>) {
        let Some(connection) = self.connection(name) else { return };
        if connection.phase == Phase::Detaching {
            connection.sending = Sending::GoesAlong(gather);
        } else {
            connection.sending = Sending::Left;
            if connection.shut == Shut::Requested {
                connection.shut_now();
            }
            self.complete(Pending::Sent(name, gather, error));
        }
        self.came_back(name);
    }
}
