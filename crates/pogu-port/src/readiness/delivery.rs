//! What a turn does with what is ready: reads, accepts, continues sends, and hands the completions out.
//!
//! The table is what a callback submits to; the receive buffer stands beside it, so that the callback can read lent bytes
//! while it submits. **Before every callback the table is as it should be after it**, for a callback may do anything,
//! even unwind: nothing is found again through a reference from before, only by name.

use std::io;

use super::connection::{Arrival, Connection, Ended, Phase, Receive, receive_now};
use super::listener::{Accepting, Attempt};
use super::poll::Interest;
use super::table::{Table, Thing};
use crate::completion::{Completion, Lent};
use crate::driver::{Operations, Sink};
use crate::error::{Operation, OsError};
use crate::faults::FaultPoint;
use crate::identity::{ConnectionId, ListenerId, Name, Owner};
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
    accepts_per_turn_max: usize,
    /// Completions delivered in this turn.
    pub(super) delivered: usize,
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
            accepts_per_turn_max: config.accepts_per_turn_max,
            delivered: 0,
        })
    }

    /// True exactly when a turn has something to deliver without waiting.
    pub(super) fn has_work(&self) -> bool {
        !self.table.pending.is_empty() || !self.table.leftovers.is_empty()
    }

    fn hand_out<M>(&mut self, sink: &mut Sink<'_, M>, completion: Completion<'_, M>) {
        self.delivered += 1;
        sink(&mut Operations::new(&mut self.table), completion);
    }

    /// Something is ready on what `name` names.
    pub(super) fn event<M>(&mut self, name: Name, ready: Interest, sink: &mut Sink<'_, M>) {
        match self.table.things.get(name) {
            Some(Thing::Connection(connection)) => match connection.phase {
                Phase::Connecting { settled: false } => self.table.connect_settled(name),
                _ => self.connection_event(name, ready, sink),
            },
            Some(Thing::Listener(_)) => self.accept(name, sink),
            // Its slot was emptied by a callback of this very turn.
            None => self.table.counters.late_completions += 1,
        }
    }

    fn connection_event<M>(&mut self, name: Name, ready: Interest, sink: &mut Sink<'_, M>) {
        let ends = |connection: &mut Connection| matches!(connection.phase, Phase::Closing | Phase::Ending { .. });
        if ready.read && self.table.connection(name).is_some_and(ends) {
            self.table.counters.late_completions += 1;
        }
        if ready.write {
            self.table.continue_send(name);
        }
        if ready.read {
            self.read(name, sink);
        }
        let most = self.receive_bytes_per_turn_max;
        // Level-triggered: what is reported and not wanted would be reported for ever.
        if let Some(connection) = self.table.connection(name) {
            let wanted = connection.wanted(most);
            if (ready.read && !wanted.read) || (ready.write && !wanted.write) {
                self.table.arm(name);
            }
        }
    }

    /// Receives (behind what is kept, if there is something) until nothing is left, the budget is used up, or the receiver
    /// has had enough. A read that does not fill the space was the last: if more has come meanwhile, the poller reports it
    /// again.
    fn read<M>(&mut self, name: Name, sink: &mut Sink<'_, M>) {
        let mut budget = self.receive_bytes_per_turn_max;
        while budget > 0 {
            let Table { things, faults, .. } = &mut self.table;
            let Some(Thing::Connection(connection)) = things.get_mut(name) else { return };
            if !connection.delivers() || connection.ended != Ended::No {
                return;
            }
            let behind = !connection.kept.is_empty();
            let full = self.receive_bytes_per_turn_max;
            let planted = faults.releases_early(FaultPoint::Receive);
            if planted {
                self.buffer.release_early();
            }
            let buffer = self.buffer.bytes();
            let room = buffer.len().min(budget).min(full.saturating_sub(connection.kept.len()));
            let Some(space) = buffer.get_mut(..room).filter(|space| !space.is_empty()) else { return };
            let owner = connection.owner;
            let arrival = receive_now(&connection.socket, space, faults);
            if planted {
                self.buffer.renew();
            }
            let count = match arrival {
                Arrival::Bytes(count) => count,
                Arrival::Nothing => return,
                Arrival::End if behind => return self.table.ended(name, Ended::Finished),
                Arrival::End => return self.receive_ended(name, owner, None, sink),
                Arrival::Failed(error) => {
                    self.table.note_memory_fault(error);
                    if behind {
                        return self.table.ended(name, Ended::Failed(error.code()));
                    }
                    return self.receive_ended(name, owner, Some(error), sink);
                }
            };
            budget -= count;
            self.table.counters.received_bytes += count as u64;
            if behind {
                self.table.keep_behind(name, self.buffer.bytes().get(..count).unwrap_or_default());
                self.buffer.renew();
            } else {
                self.lend(name, owner, count, sink);
            }
            if count < room {
                return;
            }
        }
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
        self.table.arm(name);
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
                self.table.arm(name);
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

    /// Accepts until nobody waits or the budget is used up; then the poller reports the rest again.
    fn accept<M>(&mut self, name: Name, sink: &mut Sink<'_, M>) {
        for _ in 0..self.accepts_per_turn_max {
            let Table { things, spare, now, accept_pause, faults, .. } = &mut self.table;
            let Some(Thing::Listener(listener)) = things.get_mut(name) else { return };
            if listener.state != Accepting::Open {
                return self.table.arm(name);
            }
            let owner = listener.owner;
            match listener.attempt(*now, *accept_pause, spare, faults) {
                Attempt::Client(stream) => {
                    self.table.counters.accepted += 1;
                    self.hand_out(sink, Completion::Accepted { listener: ListenerId(name), owner, stream });
                }
                Attempt::Skipped => self.table.counters.accept_failures += 1,
                Attempt::Nothing => return,
                Attempt::Paused(pause) => {
                    self.table.arm(name);
                    if let Some(error) = self.table.accept_paused(name, pause) {
                        let retry_after = self.table.accept_pause;
                        let listener = ListenerId(name);
                        self.hand_out(sink, Completion::AcceptPaused { listener, owner, error, retry_after });
                    }
                    return;
                }
            }
        }
    }
}
