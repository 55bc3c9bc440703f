//! What a turn does: lets the kernel go on where something has happened, takes its completions, and hands them out.
//!
//! The table is what a callback submits to; a lent receive buffer stands beside it, so that the callback can read the bytes
//! while it submits. **Before every callback the table is as it should be after it**, for a callback may do anything,
//! even unwind: nothing is found again through a reference from before, only by name. And no callback runs while the
//! network is locked.

use super::Berth;
use super::connection::{Ended, Phase, Receive};
use super::kernel::{Event, Kind, Outcome};
use super::receive::Destination;
use super::simulation::Simulation;
use super::socket::StreamSocket;
use super::table::{Table, Thing};
use crate::codes;
use crate::completion::{Completion, Lent};
use crate::driver::{Operations, Sink};
use crate::error::{Operation, OsError};
use crate::identity::{ConnectionId, Name, Owner};
use crate::options::PortConfig;
use crate::plant::{self, Plant};

/// See the [module](self).
pub(super) struct Delivery {
    pub(super) table: Table,
    receive_bytes_per_turn_max: usize,
    accepts_per_turn_max: usize,
    /// Completions delivered in this turn.
    pub(super) delivered: usize,
}

/// A receive buffer in the hands of the driver. Goes back to the pool however its use ends.
struct Loan {
    simulation: Simulation,
    port: Name,
    buffer: Vec<u8>,
    bytes: usize,
}

impl Loan {
    fn bytes(&mut self) -> &mut [u8] {
        self.buffer.get_mut(..self.bytes).unwrap_or_default()
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        self.simulation.with(|network| network.give_back(self.port, buffer));
    }
}

impl Delivery {
    pub(super) fn new(config: &PortConfig, table: Table) -> Delivery {
        Delivery {
            table,
            receive_bytes_per_turn_max: config.receive_bytes_per_turn_max,
            accepts_per_turn_max: config.accepts_per_turn_max,
            delivered: 0,
        }
    }

    fn hand_out<M>(&mut self, sink: &mut Sink<'_, M>, completion: Completion<'_, M>) {
        self.delivered += 1;
        sink(&mut Operations::new(&mut self.table), completion);
    }

    /// Something has happened at what `name` names: its operations go on.
    pub(super) fn look<M>(&mut self, name: Name, sink: &mut Sink<'_, M>) {
        match self.table.things.get(name) {
            Some(Thing::Connection(connection)) => {
                connection.socket.heard();
                if matches!(connection.phase, Phase::Ending { .. }) {
                    return self.table.late();
                }
                self.go_on(name, usize::MAX, sink);
                self.look_again_if_over_budget(name);
            }
            Some(Thing::Listener(listener)) => {
                listener.socket.heard();
                if self.go_on(name, self.accepts_per_turn_max, sink)
                    && let Some(listener) = self.table.listener(name)
                {
                    listener.socket.look_again();
                }
            }
            // It has ended meanwhile.
            None => self.table.late(),
        }
    }

    /// Lets the kernel go on until nothing comes of it; a prompt one tells of each thing that it does. True if it could do
    /// more than `steps_max`.
    fn go_on<M>(&mut self, name: Name, steps_max: usize, sink: &mut Sink<'_, M>) -> bool {
        for _ in 0..steps_max {
            let limit = self.table.receive_limit(name);
            let Berth { simulation, port } = &self.table.berth;
            let left_over = simulation.with(|network| network.progress(*port, name, limit));
            if !self.table.prompt {
                if left_over && let Some(connection) = self.table.connection(name) {
                    connection.socket.look_again();
                }
                return false;
            }
            if !self.handle_completions(sink) {
                return false;
            }
        }
        true
    }

    /// What one turn may not bring waits for the next.
    fn look_again_if_over_budget(&mut self, name: Name) {
        let (turn, most) = (self.table.counters.turns, self.receive_bytes_per_turn_max);
        let Some(connection) = self.table.connection(name).filter(|connection| connection.reads(most)) else { return };
        if connection.budget(turn, most) == 0 {
            connection.socket.look_again();
        }
    }

    /// Chooses the completions of this turn, of a kernel that is not prompt, and handles them.
    pub(super) fn handle_turn<M>(&mut self, sink: &mut Sink<'_, M>) {
        let Berth { simulation, port } = &self.table.berth;
        let (overflowed, mut next) =
            simulation.with(|network| (network.begin_turn(*port), network.next_completion(*port)));
        self.table.counters.completion_overflows += u64::from(overflowed);
        while let Some(event) = next {
            self.handle(event, sink);
            next = self.table.next_completion();
        }
    }

    /// True if there was one.
    fn handle_completions<M>(&mut self, sink: &mut Sink<'_, M>) -> bool {
        let mut any = false;
        while let Some(event) = self.table.next_completion() {
            any = true;
            self.handle(event, sink);
        }
        any
    }

    fn handle<M>(&mut self, event: Event, sink: &mut Sink<'_, M>) {
        let Event { token, outcome, more, not_before } = event;
        let name = token.name;
        match outcome {
            Outcome::Received { buffer, bytes } => {
                let Berth { simulation, port } = &self.table.berth;
                let loan = Loan { simulation: simulation.clone(), port: *port, buffer, bytes };
                self.received(name, loan, more, sink);
            }
            Outcome::Accepted(end) => {
                let Some(socket) = StreamSocket::of(&self.table.berth.simulation, end) else { return };
                self.accepted(name, Ok(socket), sink);
            }
            Outcome::Failed(code) if token.kind == Kind::Accept => self.accepted(name, Err(code), sink),
            Outcome::Finished => self.stream_ended(name, None, sink),
            Outcome::Failed(code) if token.kind == Kind::Receive && code != codes::CANCELLED => {
                self.stream_ended(name, Some(OsError::from_code(Operation::Receive, code)), sink);
            }
            outcome => self.table.absorb(Event { token, outcome, more, not_before }),
        }
    }

    fn accepted<M>(&mut self, name: Name, result: Result<Box<StreamSocket>, i32>, sink: &mut Sink<'_, M>) {
        if let Some(completion) = self.table.accept_completed(name, result) {
            self.hand_out(sink, completion);
        }
    }

    /// Lends what was received to its owner, and keeps what is not for now.
    fn received<M>(&mut self, name: Name, mut loan: Loan, more: bool, sink: &mut Sink<'_, M>) {
        let Some(destination) = self.table.receive_brought(name, loan.bytes, more) else { return self.table.late() };
        if matches!(destination, Destination::Nowhere) && plant::is(Plant::EarlyRelease) {
            loan.simulation.with(|network| network.give_back(loan.port, Vec::new()));
        }
        let bytes = loan.bytes();
        let (lent, kept) = match destination {
            Destination::Nowhere => (None, None),
            Destination::Kept => (None, Some(&*bytes)),
            Destination::Lent { owner, at_most } => {
                let (now, later) = bytes.split_at_mut(at_most.min(bytes.len()));
                (Some((owner, now)), Some(&*later))
            }
        };
        self.table.keep_behind(name, kept.unwrap_or_default());
        if !more {
            self.table.deliver_later(name);
            self.table.came_back(name);
        }
        if let Some((owner, bytes)) = lent {
            self.lend(name, owner, bytes, sink);
        }
    }

    /// Lends bytes, and keeps what the receiver does not consume.
    fn lend<M>(&mut self, name: Name, owner: Owner, bytes: &mut [u8], sink: &mut Sink<'_, M>) {
        let mut kept_from = 0;
        let lent = Lent::new(bytes, &mut kept_from);
        let completion = Completion::Received { connection: ConnectionId(name), owner, bytes: lent };
        self.hand_out(sink, completion);
        self.table.keep(name, bytes.get(kept_from..).unwrap_or_default());
    }

    /// The incoming stream has ended: said at once if nothing is kept before it.
    fn stream_ended<M>(&mut self, name: Name, error: Option<OsError>, sink: &mut Sink<'_, M>) {
        let Some(connection) = self.table.take_back_receive(name) else { return self.table.late() };
        let owner = connection.owner;
        if connection.delivers() && (connection.kept.is_empty() || plant::is(Plant::EndBeforeRest)) {
            self.receive_ended(name, owner, error, sink);
        } else {
            self.table.ended(name, error.map_or(Ended::Finished, Ended::Failed));
            self.table.came_back(name);
        }
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
        self.table.receive_more(name);
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
}
