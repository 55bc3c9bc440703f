//! What a turn does with what the network says to look at: reads, accepts, continues sends, and hands the completions out.
//!
//! The table is what a callback submits to; the receive buffer stands beside it, so that the callback can read lent bytes
//! while it submits. **Before every callback the table is as it should be after it**, for a callback may do anything,
//! even unwind: nothing is found again through a reference from before, only by name. And no callback runs while the
//! network is locked.

use super::connection::{Ended, Phase, Receive};
use super::listener::Accepting;
use super::network::Arrival;
use super::table::{Table, Thing};
use crate::completion::{Completion, Lent};
use crate::driver::{Operations, Sink};
use crate::error::{Operation, OsError};
use crate::identity::{ConnectionId, ListenerId, Name, Owner};
use crate::options::PortConfig;
use crate::stream::Detached;

/// The most that one `Received` lends, as in the readiness driver.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// See the [module](self).
pub(super) struct Delivery {
    pub(super) table: Table,
    buffer: Box<[u8]>,
    receive_bytes_per_turn_max: usize,
    accepts_per_turn_max: usize,
    /// Completions delivered in this turn.
    pub(super) delivered: usize,
}

impl Delivery {
    pub(super) fn new(config: &PortConfig, table: Table) -> Delivery {
        let least = config.receive_buffer_bytes as usize;
        let bytes = config.receive_bytes_per_turn_max.min(BUFFER_BYTES_MAX).max(least);
        Delivery {
            table,
            buffer: vec![0; bytes].into_boxed_slice(),
            receive_bytes_per_turn_max: config.receive_bytes_per_turn_max,
            accepts_per_turn_max: config.accepts_per_turn_max,
            delivered: 0,
        }
    }

    fn hand_out<M>(&mut self, sink: &mut Sink<'_, M>, completion: Completion<'_, M>) {
        self.delivered += 1;
        sink(&mut Operations::new(&mut self.table), completion);
    }

    /// Something has happened at what `name` names.
    pub(super) fn look<M>(&mut self, name: Name, sink: &mut Sink<'_, M>) {
        match self.table.things.get(name) {
            Some(Thing::Connection(connection)) => {
                connection.socket.heard();
                if matches!(connection.phase, Phase::Connecting { settled: false }) {
                    return self.table.look_whether_connected(name);
                }
                if matches!(connection.phase, Phase::Ending { .. }) {
                    self.table.counters.late_completions += 1;
                    return;
                }
                self.table.continue_send(name);
                self.read(name, sink);
            }
            Some(Thing::Listener(listener)) => {
                listener.socket.heard();
                self.accept(name, sink);
            }
            // It has ended meanwhile.
            None => self.table.counters.late_completions += 1,
        }
    }

    /// Receives (behind what is kept, if there is something) until nothing is left, the budget is used up, or the receiver
    /// has had enough.
    fn read<M>(&mut self, name: Name, sink: &mut Sink<'_, M>) {
        let most = self.receive_bytes_per_turn_max;
        let mut budget = most;
        loop {
            let Some(connection) = self.table.connection(name).filter(|connection| connection.reads(most)) else {
                return;
            };
            if budget == 0 {
                return connection.socket.look_again();
            }
            let behind = !connection.kept.is_empty();
            let room = self.buffer.len().min(budget).min(most - connection.kept.len());
            let Some(space) = self.buffer.get_mut(..room) else { return };
            let owner = connection.owner;
            let count = match connection.socket.receive(space) {
                Arrival::Bytes(count) => count,
                Arrival::Nothing => return,
                Arrival::End if behind => return self.table.ended(name, Ended::Finished),
                Arrival::End => return self.receive_ended(name, owner, None, sink),
                Arrival::Failed(failure) => {
                    let error = failure.of(Operation::Receive);
                    if behind {
                        return self.table.ended(name, Ended::Failed(error));
                    }
                    return self.receive_ended(name, owner, Some(error), sink);
                }
            };
            budget -= count;
            self.table.counters.received_bytes += count as u64;
            if behind {
                self.table.keep_behind(name, self.buffer.get(..count).unwrap_or_default());
            } else {
                self.lend(name, owner, count, sink);
            }
        }
    }

    /// Lends the first `count` bytes of the buffer, and keeps what the receiver does not consume.
    fn lend<M>(&mut self, name: Name, owner: Owner, count: usize, sink: &mut Sink<'_, M>) {
        let Some(bytes) = self.buffer.get_mut(..count) else { return };
        let mut kept_from = 0;
        let lent = Lent::new(bytes, &mut kept_from);
        let completion = Completion::Received { connection: ConnectionId(name), owner, bytes: lent };
        self.delivered += 1;
        sink(&mut Operations::new(&mut self.table), completion);
        self.table.keep(name, self.buffer.get(kept_from..count).unwrap_or_default());
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
                self.table.deliver_later(name);
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
        // A callback that unwinds takes the bytes with it; what came behind them can still be received.
        connection.socket.look_again();
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
            Ended::Failed(error) => Some(error),
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

    /// Accepts until nobody waits or the budget is used up.
    fn accept<M>(&mut self, name: Name, sink: &mut Sink<'_, M>) {
        for _ in 0..self.accepts_per_turn_max {
            let Some(listener) = self.table.open_listener(name) else { return };
            let owner = listener.owner;
            let Some(socket) = listener.socket.accept() else { return };
            self.table.counters.accepted += 1;
            let peer = socket.peer_address();
            let stream = Detached::new(socket, peer);
            self.hand_out(sink, Completion::Accepted { listener: ListenerId(name), owner, stream });
        }
        if let Some(listener) = self.table.open_listener(name) {
            listener.socket.look_again();
        }
    }
}

impl Table {
    fn open_listener(&mut self, name: Name) -> Option<&mut super::listener::Listener> {
        self.listener(name).filter(|listener| listener.state == Accepting::Open)
    }
}
