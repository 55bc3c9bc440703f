//! Everything that the driver holds, and what becomes of it: the submitting half.
//!
//! A submit call starts its operation at once, but never delivers: what has completed without a packet is queued as
//! [`Pending`], and the turn delivers it in that order. Every operation therefore ends in one of two places: as an entry of
//! that queue, or directly in a turn (bytes, the end of a stream, accepted clients, a connect).
//!
//! **A name is stale only when its last completion is delivered.** Until then its slot holds the connection with its socket, in
//! a phase that refuses what may not be submitted any more. And a slot is emptied only when the system holds nothing of it: an
//! ending connection waits for its operations first, and its socket is closed after that ([`Table::settle_ending`]).

use std::collections::VecDeque;
use std::time::Duration;

use super::connection::{Connection, GivenUp, Phase, Sending, Shut};
use super::listener::Listener;
use super::pending::Pending;
use super::queue::Queue;
use super::retry::Retries;
use super::send::SpareSends;
use super::winsock::Winsock;
use crate::clock::{Clock, Time};
use crate::codes;
use crate::counters::Counters;
use crate::error::{Operation, OsError, SubmitError};
use crate::exhaustion::Spare;
use crate::faults::Faults;
use crate::identity::{ConnectionId, Name};
use crate::memory::Memory;
use crate::options::PortConfig;
use crate::slots::Slots;

/// What a slot holds. Listeners are few and live elsewhere, so that a slot is as small as a connection.
pub(super) enum Thing {
    Connection(Connection),
    Listener(Box<Listener>),
}

/// See the [module](self).
pub(super) struct Table {
    pub(super) things: Slots<Thing>,
    pub(super) queue: Queue,
    pub(super) pending: VecDeque<Pending>,
    /// Connections that have kept bytes, or the end of the stream, to deliver; each stands here at most once.
    pub(super) leftovers: VecDeque<Name>,
    /// Connections that have something to be read; each stands here at most once.
    pub(super) readable: VecDeque<Name>,
    /// Listeners that wait for the end of a shortage.
    pub(super) paused: Vec<Name>,
    /// What the system refused for now.
    pub(super) retries: Retries,
    pub(super) spare: Spare,
    pub(super) spare_sends: SpareSends,
    pub(super) clock: Clock,
    pub(super) now: Time,
    pub(super) counters: Counters,
    /// Operations whose packet has not been handled.
    pub(super) in_flight: usize,
    pub(super) accepts: u8,
    pub(super) accept_pause: Duration,
    pub(super) receive_bytes_per_turn_max: usize,
    pub(super) faults: Faults,
    pub(super) memory: Memory,
    /// Cleaned up last.
    pub(super) winsock: Winsock,
}

impl Table {
    pub(super) fn new(config: &PortConfig, queue: Queue, winsock: Winsock) -> Table {
        let accepts = config.accepts_outstanding.min(config.accepts_per_turn_max).max(1);
        Table {
            things: Slots::new(config.connections_max),
            queue,
            pending: VecDeque::new(),
            leftovers: VecDeque::new(),
            readable: VecDeque::new(),
            paused: Vec::new(),
            retries: Retries::default(),
            spare: Spare::reserve(),
            spare_sends: SpareSends::default(),
            now: config.clock.now(),
            clock: config.clock.clone(),
            counters: Counters::default(),
            in_flight: 0,
            accepts: u8::try_from(accepts).unwrap_or(1),
            accept_pause: config.accept_pause,
            receive_bytes_per_turn_max: config.receive_bytes_per_turn_max,
            faults: config.faults(),
            memory: Memory::new(config.guarded),
            winsock,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.things.len() >= self.things.maximum() as usize
    }

    pub(super) fn full(&self) -> SubmitError {
        SubmitError::Full { maximum: self.things.maximum() }
    }

    pub(super) fn connection(&mut self, name: Name) -> Option<&mut Connection> {
        match self.things.get_mut(name) {
            Some(Thing::Connection(connection)) => Some(connection),
            _ => None,
        }
    }

    pub(super) fn listener(&mut self, name: Name) -> Option<&mut Listener> {
        match self.things.get_mut(name) {
            Some(Thing::Listener(listener)) => Some(listener),
            _ => None,
        }
    }

    /// The connection, if everything may be submitted on it.
    pub(super) fn open_connection(&mut self, id: ConnectionId) -> Result<&mut Connection, SubmitError> {
        self.connection(id.0).filter(|connection| connection.is_open()).ok_or(SubmitError::Gone)
    }

    /// Takes note of an error that says that the system could not touch the memory of an operation.
    pub(super) fn note_memory_fault(&mut self, error: OsError) {
        if error.code() != codes::FAULT {
            return;
        }
        self.counters.memory_faults += 1;
        if self.counters.memory_faults == 1 {
            tracing::error!(operation = %error.operation(), "the system could not touch the memory of an operation (WSAEFAULT)");
        }
        self.faults.note_memory_fault();
    }

    /// Counts a packet whose owner has gone, or has ended what it belongs to.
    pub(super) fn late(&mut self) {
        self.counters.late_completions += 1;
    }

    /// Goes on with an ending: when the system has given everything back, the last word follows what is on its way.
    pub(super) fn settle_ending(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else { return };
        let aborted = match connection.phase {
            Phase::Closing => false,
            Phase::Aborting => true,
            Phase::Connecting { .. } | Phase::Open | Phase::Ending { .. } => return,
        };
        if !connection.is_in_flight() {
            self.end(name, aborted);
        }
    }

    /// Every operation has ended or is on its way; the last word follows them.
    pub(super) fn end(&mut self, name: Name, aborted: bool) {
        if let Some(connection) = self.connection(name) {
            connection.phase = Phase::Ending { aborted };
            self.pending.push_back(Pending::Closed(name));
        }
    }

    /// Begins to end an open or closing connection without waiting for what is leaving.
    pub(super) fn cancel_all(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else { return };
        connection.phase = Phase::Aborting;
        self.end_receive(name);
        self.end_waiting_send(name);
        self.ask_back(name);
        self.settle_ending(name);
    }

    pub(super) fn connect_failed(&mut self, name: Name, error: OsError) {
        self.note_memory_fault(error);
        self.pending.push_back(Pending::ConnectFailed(name, error));
        self.end(name, true);
    }

    /// Ends everything, without waiting for what is leaving.
    pub(super) fn end_all(&mut self) {
        let names: Vec<Name> = self.things.names().collect();
        for name in names {
            match self.things.get_mut(name) {
                Some(Thing::Listener(_)) => self.stop_accepting(name),
                Some(Thing::Connection(connection)) => match connection.phase {
                    Phase::Connecting { .. } => self.give_up_connect(name, GivenUp::Closed),
                    Phase::Open | Phase::Closing | Phase::Aborting => self.cancel_all(name),
                    Phase::Ending { .. } => {}
                },
                None => {}
            }
        }
    }
}

/// The error of an operation that was cancelled because its connection is ending.
pub(super) fn cancelled(operation: Operation) -> OsError {
    OsError::from_code(operation, codes::CANCELLED)
}

/// Shuts the write side if that is asked for; no send may be in flight. A failure means that the connection has ended, which the
/// receiving side tells.
pub(super) fn shut_if_requested(connection: &mut Connection) {
    if connection.shut == Shut::Requested && !matches!(connection.sending, Sending::Leaving(_)) {
        let _ = connection.socket.shutdown(std::net::Shutdown::Write);
        connection.shut = Shut::Done;
    }
}
