//! What a turn does with what has completed: reads, and hands the completions out.
//!
//! The table is what a callback submits to; the receive buffer stands beside it, so that the callback can read lent bytes
//! while it submits. **Before every callback the table is as it should be after it**, for a callback may do anything,
//! even unwind: nothing is found again through a reference from before, only by name. (What a read that was cut short by an
//! unwinding callback would still have done is done by the next turn: [`Delivery::reading`].)

use std::io;

use super::connection::{Arm, Ended, Receive};
use super::operation::Kind;
use super::queue::Event;
use super::receive::{Arrival, explain, receive_now};
use super::table::{Table, Thing};
use crate::completion::{Completion, Lent};
use crate::driver::{Operations, Sink};
use crate::error::{Operation, OsError};
use crate::faults::FaultPoint;
use crate::identity::{ConnectionId, Name, Owner};
use crate::memory::Space;
use crate::options::PortConfig;

/// The most that one system call receives: what a connection may receive in one turn, if that is not more than this.
/// The buffer is one per port, whatever the number of connections.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// See the [module](self).
pub(super) struct Delivery {
    pub(super) table: Table,
    buffer: Space,
    receive_bytes_per_turn_max: usize,
    /// The connection that is being read. Between turns: the one whose read did not come to its end.
    reading: Option<Name>,
    /// Completions delivered in this turn.
    pub(super) delivered: usize,
}

/// What was there to be received.
struct Found {
    arrival: Arrival,
    owner: Owner,
    /// Bytes that there was room for.
    room: usize,
    /// Something is kept, which it comes behind.
    behind: bool,
}

impl Delivery {
    /// # Errors
    /// The system has no pages for guarded memory.
    pub(super) fn new(config: &PortConfig, table: Table) -> io::Result<Delivery> {
        let least = config.receive_buffer_bytes as usize;
        let bytes = config.receive_bytes_per_turn_max.min(BUFFER_BYTES_MAX).max(least);
        Ok(Delivery {
            table,
            buffer: Space::new(bytes, config.guarded)?,
            receive_bytes_per_turn_max: config.receive_bytes_per_turn_max,
            reading: None,
            delivered: 0,
        })
    }

    /// True exactly when a turn has something to deliver without waiting.
    pub(super) fn has_work(&self) -> bool {
        !self.table.pending.is_empty() || !self.table.leftovers.is_empty() || !self.table.readable.is_empty()
    }

    /// A turn begins. What an unwinding callback has cut short goes on.
    pub(super) fn begin(&mut self) {
        self.delivered = 0;
        if let Some(name) = self.reading.take() {
            self.table.await_bytes(name);
        }
    }

    fn hand_out<M>(&mut self, sink: &mut Sink<'_, M>, completion: Completion<'_, M>) {
        self.delivered += 1;
        sink(&mut Operations::new(&mut self.table), completion);
    }

    /// An operation has completed.
    pub(super) fn event<M>(&mut self, event: Event, sink: &mut Sink<'_, M>) {
        let Event { token, failure, bytes } = event;
        let name = token.name;
        let completion = match token.kind {
            Kind::Receive => {
                if self.table.receive_completed(name, failure) {
                    self.read(name, sink);
                }
                None
            }
            Kind::Send => {
                self.table.send_completed(name, failure, bytes);
                None
            }
            Kind::Connect => self.table.connect_completed(name, failure),
            Kind::Accept(number) => self.table.accept_completed(name, number, failure),
        };
        if let Some(completion) = completion {
            self.hand_out(sink, completion);
        }
    }

    /// Reads on where an earlier turn stopped, for the first `count` connections on the list.
    pub(super) fn read_on<M>(&mut self, count: usize, sink: &mut Sink<'_, M>) {
        for _ in 0..count {
            let Some(name) = self.table.readable.pop_front() else { return };
            let Some(connection) = self.table.connection(name) else { continue };
            connection.listed = false;
            if connection.arm == Arm::Ready {
                self.read(name, sink);
            }
        }
    }

    /// Receives (behind what is kept, if there is something) until nothing is left, the budget is used up, or the receiver has
    /// had enough.
    fn read<M>(&mut self, name: Name, sink: &mut Sink<'_, M>) {
        self.reading = Some(name);
        let mut budget = self.receive_bytes_per_turn_max;
        while budget > 0 {
            match self.read_once(name, budget, sink) {
                Some(count) => budget = budget.saturating_sub(count),
                None => break,
            }
        }
        self.reading = None;
        self.table.await_bytes(name);
    }

    /// One read, and what comes of it. `None`: it was the last of this turn. One that does not fill the space is: if more has
    /// come meanwhile, the next receive of no bytes says so.
    fn read_once<M>(&mut self, name: Name, budget: usize, sink: &mut Sink<'_, M>) -> Option<usize> {
        let Found { arrival, owner, room, behind } = self.look(name, budget)?;
        let error = match arrival {
            Arrival::Bytes(count) => {
                self.table.counters.received_bytes += count as u64;
                if behind {
                    self.table.keep_behind(name, self.buffer.bytes().get(..count).unwrap_or_default());
                    self.buffer.renew();
                } else {
                    self.lend(name, owner, count, sink);
                }
                return (count >= room).then_some(count);
            }
            Arrival::Nothing => return None,
            Arrival::End => None,
            Arrival::Failed(error) => {
                self.table.note_memory_fault(error);
                Some(error)
            }
        };
        if behind {
            self.table.ended(name, error.map_or(Ended::Finished, |error| Ended::Failed(error.code())));
        } else {
            self.receive_ended(name, owner, error, sink);
        }
        None
    }

    /// Receives into the buffer, and leaves the connection as it is to be while what came is delivered. `None`: nothing is to be
    /// received.
    fn look(&mut self, name: Name, budget: usize) -> Option<Found> {
        let Table { things, faults, .. } = &mut self.table;
        let Some(Thing::Connection(connection)) = things.get_mut(name) else { return None };
        if !connection.delivers() || connection.ended != Ended::No || connection.arm != Arm::Ready {
            return None;
        }
        let behind = !connection.kept.is_empty();
        let unkept = self.receive_bytes_per_turn_max.saturating_sub(connection.kept.len());
        let room = self.buffer.bytes().len().min(budget).min(unkept);
        if room == 0 {
            return None;
        }
        let planted = faults.releases_early(FaultPoint::Receive);
        if planted {
            self.buffer.release_early();
        }
        let space = self.buffer.bytes().get_mut(..room).unwrap_or_default();
        let arrival = receive_now(&connection.socket, space, faults);
        if planted {
            self.buffer.renew();
        }
        let arrival = explain(arrival, connection.trouble);
        let goes_on = match arrival {
            // What the receive of no bytes failed with is still to be told.
            Arrival::Bytes(count) => count >= room || connection.trouble.is_some(),
            Arrival::End | Arrival::Nothing | Arrival::Failed(_) => false,
        };
        if !goes_on {
            connection.arm = Arm::Off;
            connection.trouble = None;
        }
        Some(Found { arrival, owner: connection.owner, room, behind })
    }

    /// Lends the first `count` bytes of the buffer, and keeps what the receiver does not consume.
    fn lend<M>(&mut self, name: Name, owner: Owner, count: usize, sink: &mut Sink<'_, M>) {
        let Some(bytes) = self.buffer.bytes().get_mut(..count) else { return };
        let mut kept_from = 0;
        let lent = Lent::new(bytes, &mut kept_from);
        let completion = Completion::Received { connection: ConnectionId(name), owner, bytes: lent };
        self.delivered += 1;
        sink(&mut Operations::new(&mut self.table), completion);
        self.table.keep(name, self.buffer.bytes().get(kept_from..count).unwrap_or_default());
        self.buffer.renew();
    }

    fn receive_ended<M>(&mut self, name: Name, owner: Owner, error: Option<OsError>, sink: &mut Sink<'_, M>) {
        if let Some(connection) = self.table.connection(name) {
            connection.receive = error.map_or(Receive::Finished, Receive::Failed);
            connection.ended = Ended::No;
        }
        let connection = ConnectionId(name);
        match error {
            None => self.hand_out(sink, Completion::PeerFinished { connection, owner }),
            Some(_) => self.hand_out(sink, Completion::ReceiveEnded { connection, owner, error }),
        }
    }

    /// Delivers what the first `count` connections on the list of leftovers have kept, no more of each than one turn may bring.
    pub(super) fn deliver_kept<M>(&mut self, count: usize, sink: &mut Sink<'_, M>) {
        for _ in 0..count {
            let Some(name) = self.table.leftovers.pop_front() else { return };
            let Some(connection) = self.table.connection(name) else { continue };
            connection.left_over = false;
            if !connection.has_leftovers() {
                continue;
            }
            self.lend_kept(name, sink);
            if !self.deliver_end(name, sink) {
                self.table.deliver_kept_later(name);
                self.table.await_bytes(name);
            }
        }
    }

    fn lend_kept<M>(&mut self, name: Name, sink: &mut Sink<'_, M>) {
        let most = self.receive_bytes_per_turn_max;
        let Some(connection) = self.table.connection(name).filter(|connection| connection.kept.is_due()) else {
            return;
        };
        let owner = connection.owner;
        let Some(mut taken) = connection.kept.take(most) else { return };
        let mut kept_from = 0;
        let lent = Lent::new(taken.bytes(), &mut kept_from);
        self.hand_out(sink, Completion::Received { connection: ConnectionId(name), owner, bytes: lent });
        if let Some(connection) = self.table.connection(name) {
            let count = connection.kept.put_back(taken, kept_from);
            self.table.counters.kept_bytes += count as u64;
        }
    }

    /// Delivers the end of the stream if nothing is kept before it, or nothing that the receiver wants.
    fn deliver_end<M>(&mut self, name: Name, sink: &mut Sink<'_, M>) -> bool {
        let Some(connection) = self.table.connection(name) else { return false };
        if !connection.delivers() || connection.kept.is_due() {
            return false;
        }
        let error = match connection.ended {
            Ended::No => return false,
            Ended::Finished => None,
            Ended::Failed(code) => Some(OsError::from_code(Operation::Receive, code)),
        };
        let owner = connection.owner;
        self.receive_ended(name, owner, error, sink);
        true
    }

    /// Delivers what was queued when it began; what is queued meanwhile waits for the next turn.
    pub(super) fn deliver_pending<M>(&mut self, sink: &mut Sink<'_, M>) {
        for _ in 0..self.table.pending.len() {
            let Some(pending) = self.table.pending.pop_front() else { return };
            if let Some(completion) = self.table.settle(pending) {
                self.hand_out(sink, completion);
            }
        }
    }
}
