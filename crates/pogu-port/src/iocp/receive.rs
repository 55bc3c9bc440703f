//! The receiving direction: waiting without a buffer, and reading when there is something.
//!
//! ```text
//!   receive() --> receive of no bytes in flight (Armed) --packet--> Ready --reads, within the budget--> lent to the callback
//!                       ^                                            |  |
//!                       |                     a turn's budget is used +  + a read did not fill its space, or found nothing
//!                       |                     up: read on in the next |  |
//!                       +--------------------------------------------- <-+
//! ```
//!
//! A connection that waits costs an operation of some fifty bytes and no buffer; the one buffer of the port is lent to one read
//! after the other. A pause cancels nothing: the receive of no bytes may complete meanwhile, takes no byte, and is
//! remembered.
//!
//! **What it fails with is told behind what is there.** The packet of a failed receive of no bytes does not say whether bytes
//! came before the failure; so its code is kept as `trouble`, and told when a read finds nothing before it.

use std::io::{self, Read};

use socket2::Socket;

use super::connection::{Arm, Ended, Receive};
use super::operation::ReceiveOperation;
use super::pending::Pending;
use super::retry::is_worth_a_retry;
use super::table::{Table, Thing, cancelled};
use super::winsock;
use crate::codes;
use crate::error::{Operation, OsError};
use crate::faults::{FaultPoint, Faults};
use crate::identity::Name;
use crate::memory::Held;

impl Table {
    /// Sees to it that what comes is noticed: by a receive of no bytes, whether or not it is wanted now; or, if something is
    /// known to be there and is wanted, by a read in the next turn.
    pub(super) fn await_bytes(&mut self, name: Name) {
        let kept_max = self.receive_bytes_per_turn_max;
        let Some(connection) = self.connection(name) else { return };
        match connection.arm {
            Arm::Off if connection.awaits_bytes() => self.arm_receive(name),
            Arm::Ready if connection.wants_bytes(kept_max) && !connection.listed => {
                connection.listed = true;
                self.readable.push_back(name);
            }
            Arm::Off | Arm::Armed | Arm::Ready => {}
        }
    }

    /// Starts a receive of no bytes on a connection that has none in flight.
    fn arm_receive(&mut self, name: Name) {
        let Table { things, faults, memory, .. } = self;
        let Some(Thing::Connection(connection)) = things.get_mut(name) else { return };
        let new = ReceiveOperation::new(name);
        let operation = match &mut connection.operation {
            Some(held) => {
                held.renew(new, memory);
                held
            }
            none => none.insert(Held::new(new, memory)),
        };
        let started = match faults.at_call(FaultPoint::Arm) {
            Some(code) => Err(code),
            // SAFETY: the held operation stays where it is and is not touched before `receive_completed` (contract c); the
            // connection is removed only when it is not armed, and draining or leaking covers the end of the port (g).
            None => unsafe { winsock::receive_nothing(&connection.socket, operation) },
        };
        match started {
            Ok(()) => {
                connection.arm = Arm::Armed;
                self.in_flight += 1;
            }
            Err(code) if is_worth_a_retry(code) => {
                self.counters.refused_arms += 1;
                self.retry_later(name);
            }
            Err(code) => {
                connection.arm = Arm::Ready;
                connection.trouble = Some(code);
                self.await_bytes(name);
            }
        }
    }

    /// The packet of a receive of no bytes. Tells whether there is something to read now.
    pub(super) fn receive_completed(&mut self, name: Name, failure: Option<i32>) -> bool {
        let Some(connection) = self.connection(name).filter(|connection| connection.arm == Arm::Armed) else {
            self.late();
            return false;
        };
        connection.arm = Arm::Ready;
        connection.trouble = failure.filter(|&code| code != codes::CANCELLED);
        let (delivers, ends) = (connection.delivers(), !connection.is_open());
        self.in_flight -= 1;
        if ends {
            self.counters.late_completions += u64::from(failure.is_none());
            self.settle_ending(name);
        }
        delivers
    }

    /// A receive that is open ends as cancelled: nothing more is delivered.
    pub(super) fn end_receive(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else { return };
        let open = connection.receive_is_open();
        match &mut connection.receive {
            Receive::Pausing { resume, .. } => *resume = false,
            receive => *receive = Receive::Off,
        }
        if open {
            self.pending.push_back(Pending::ReceiveEnded(name, cancelled(Operation::Receive)));
        }
    }

    /// The receiver did not consume `rest`.
    pub(super) fn keep(&mut self, name: Name, rest: &[u8]) {
        if rest.is_empty() {
            return;
        }
        self.counters.kept_bytes += rest.len() as u64;
        if let Some(connection) = self.connection(name) {
            connection.kept.keep(rest);
            self.deliver_kept_later(name);
        }
    }

    /// Bytes came behind what is kept.
    pub(super) fn keep_behind(&mut self, name: Name, bytes: &[u8]) {
        self.counters.kept_bytes += bytes.len() as u64;
        if let Some(connection) = self.connection(name) {
            connection.kept.append(bytes);
            self.deliver_kept_later(name);
        }
    }

    /// The incoming stream has ended behind what is kept, which has to be looked at for once more.
    pub(super) fn ended(&mut self, name: Name, ended: Ended) {
        if let Some(connection) = self.connection(name) {
            connection.ended = ended;
            connection.kept.wake();
        }
        self.deliver_kept_later(name);
    }

    /// Puts the connection on the list of leftovers if it has something to deliver.
    pub(super) fn deliver_kept_later(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else { return };
        if connection.has_leftovers() && !connection.left_over {
            connection.left_over = true;
            self.leftovers.push_back(name);
        }
    }
}

/// What an attempt to receive found.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arrival {
    Bytes(usize),
    End,
    Nothing,
    Failed(OsError),
}

/// Receives what is there into `space`, which is not empty. Never blocks: sockets of a port are in non-blocking mode. An
/// interrupted call found nothing: if something is there, the next receive of no bytes says so.
pub(super) fn receive_now(mut socket: &Socket, space: &mut [u8], faults: &Faults) -> Arrival {
    let called = match faults.at_call(FaultPoint::Receive) {
        Some(code) => Err(io::Error::from_raw_os_error(code)),
        None => socket.read(space).map(|count| count.min(space.len())),
    };
    let answered = match called {
        Ok(count @ 1..) => return Arrival::Bytes(count),
        nothing => match faults.at_result(FaultPoint::Receive) {
            Some(code) => Err(io::Error::from_raw_os_error(code)),
            None => nothing,
        },
    };
    let error = match answered {
        Ok(_) => match hidden_reset(socket) {
            None => return Arrival::End,
            Some(error) => error,
        },
        Err(error) => error,
    };
    let error = OsError::from_io(Operation::Receive, &error);
    if codes::is_transient(error.code()) { Arrival::Nothing } else { Arrival::Failed(error) }
}

/// Whether the end of the stream is one. Wine may have told of a reset already, to itself, and then answers with an end; but
/// nothing can be sent on such a connection, not even no bytes. (Windows answers with the reset in the first place.)
fn hidden_reset(socket: &Socket) -> Option<io::Error> {
    if let Some(error) = socket.take_error().unwrap_or_else(Some) {
        return Some(error);
    }
    let error = socket.send(&[]).err()?;
    (error.raw_os_error() == Some(codes::CONNECTION_RESET)).then_some(error)
}

/// What a read found, given what the receive of no bytes failed with.
pub(super) fn explain(arrival: Arrival, trouble: Option<i32>) -> Arrival {
    match (arrival, trouble) {
        // Whatever the packet said of it: the peer has finished.
        (Arrival::End, Some(windows_sys::Win32::Networking::WinSock::WSAEDISCON)) => Arrival::End,
        (Arrival::End | Arrival::Nothing, Some(code)) => Arrival::Failed(OsError::from_code(Operation::Receive, code)),
        (arrival, _) => arrival,
    }
}
