//! The receiving direction: arming, cancelling, and what a receive that comes back means.

use super::connection::{Arm, Connection, Receive};
use super::kernel::{Kind, Operation as InFlight, Token, Work};
use super::table::Table;
use crate::identity::{Name, Owner};
use crate::plant::{self, Plant};

/// Where the bytes of a completion go.
pub(super) enum Destination {
    /// Nobody wants them: they are late.
    Nowhere,
    /// They wait behind what is kept already.
    Kept,
    /// The owner is lent at most this many; the rest waits.
    Lent { owner: Owner, at_most: usize },
}

impl Table {
    /// Arms the receive of a connection that has none in flight. What is there already is found in the next turn.
    pub(super) fn arm_receive(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else { return };
        connection.arm = Arm::Armed;
        let operation = InFlight::new(Token::new(Kind::Receive, name), connection.socket.end(), Work::Receive);
        self.submit(operation);
        if let Some(connection) = self.connection(name) {
            connection.socket.look_again();
        }
    }

    /// Lets the kernel receive exactly if more may be received.
    pub(super) fn receive_more(&mut self, name: Name) {
        let kept_max = self.receive_bytes_per_turn_max;
        let Some(connection) = self.connection(name) else { return };
        match (connection.reads(kept_max), connection.arm) {
            (true, Arm::Idle) => self.arm_receive(name),
            (true, Arm::Armed) => connection.socket.look_again(),
            (true, Arm::Cancelling) if plant::is(Plant::DoubleRearm) => self.arm_receive(name),
            (false, Arm::Armed) => self.cancel_receive(name),
            (_, Arm::Cancelling | Arm::Starved) | (false, Arm::Idle) => {}
        }
    }

    /// Asks the kernel to give the receive back, if it has one. A starved one stays in the list, where its name is skipped.
    pub(super) fn cancel_receive(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else { return };
        match connection.arm {
            Arm::Armed => {
                connection.arm = if plant::is(Plant::BelievedCancel) { Arm::Idle } else { Arm::Cancelling };
                self.cancel(Token::new(Kind::Receive, name));
            }
            Arm::Starved => connection.arm = Arm::Idle,
            Arm::Idle | Arm::Cancelling => {}
        }
    }

    /// Takes the receiving direction away from its owner, who is told when the operation has come back.
    pub(super) fn stop_receiving(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else { return };
        connection.owed.cancelled |= connection.receive_is_open();
        match &mut connection.receive {
            Receive::Pausing { resume, .. } => *resume = false,
            receive => *receive = Receive::Off,
        }
    }

    /// Bytes that the kernel may bring in one step. A prompt one: none past the turn's budget, none past what may be kept. A free
    /// one asks nobody, and stops when its cancel reaches it.
    pub(super) fn receive_limit(&mut self, name: Name) -> usize {
        let (turn, most) = (self.counters.turns, self.receive_bytes_per_turn_max);
        if !self.prompt {
            return most;
        }
        let Some(connection) = self.connection(name).filter(|connection| connection.reads(most)) else { return 0 };
        connection.budget(turn, most).min(most - connection.kept.len())
    }

    /// Takes note of bytes that came, and tells where they go. `None` if they are late.
    pub(super) fn receive_brought(&mut self, name: Name, bytes: usize, more: bool) -> Option<Destination> {
        let (turn, most) = (self.counters.turns, self.receive_bytes_per_turn_max);
        let connection = self.connection(name).filter(|connection| !connection.receive_is_back())?;
        let destination = destination(connection, turn, most);
        connection.charge(turn, bytes);
        self.counters.received_bytes += bytes as u64;
        self.counters.late_completions += u64::from(matches!(destination, Destination::Nowhere));
        if !more
            && !plant::is(Plant::IgnoredMore)
            && let Some(connection) = self.connection(name)
        {
            let cancelled = connection.arm == Arm::Cancelling;
            connection.arm = Arm::Idle;
            self.counters.receive_rearms += u64::from(!cancelled);
        }
        Some(destination)
    }

    /// The connection of a receive that the kernel gives back just now.
    pub(super) fn take_back_receive(&mut self, name: Name) -> Option<&mut Connection> {
        let connection = self.connection(name).filter(|connection| !connection.receive_is_back())?;
        connection.arm = Arm::Idle;
        Some(connection)
    }

    /// The receive has come back without bytes, though the stream goes on.
    pub(super) fn receive_came_back(&mut self, name: Name, starved: bool) {
        if self.take_back_receive(name).is_none() {
            return self.late();
        }
        if starved {
            self.starve(name);
        } else {
            self.deliver_later(name);
        }
        self.came_back(name);
    }

    fn starve(&mut self, name: Name) {
        self.counters.buffer_starvations += 1;
        let most = self.receive_bytes_per_turn_max;
        if let Some(connection) = self.connection(name).filter(|connection| connection.reads(most)) {
            connection.arm = Arm::Starved;
            if !plant::is(Plant::StarvedForGood) {
                self.starved.push_back(name);
            }
            self.berth.wake();
        }
    }

    /// Arms the connections again that have waited longest for a buffer, one for each buffer. No buffer is held from one turn
    /// to the next, so all of them are back between turns.
    pub(super) fn rearm_starved(&mut self) {
        if self.starved.is_empty() {
            return;
        }
        let port = self.berth.port;
        let simulation = &self.berth.simulation;
        let mut left = simulation.look(|network| network.kernels.get(&port).map_or(0, |kernel| kernel.pool.total()));
        while left > 0 {
            let Some(name) = self.starved.pop_front() else { return };
            let Some(connection) = self.connection(name).filter(|connection| connection.arm == Arm::Starved) else {
                continue;
            };
            connection.arm = Arm::Idle;
            self.deliver_later(name);
            left -= 1;
        }
    }
}

fn destination(connection: &Connection, turn: u64, most: usize) -> Destination {
    if !connection.keeps() {
        return Destination::Nowhere;
    }
    let at_most = connection.budget(turn, most);
    if !connection.delivers() || !connection.kept.is_empty() || at_most == 0 {
        return Destination::Kept;
    }
    Destination::Lent { owner: connection.owner, at_most }
}
