//! Everything that the driver holds, and what becomes of it: the submitting half.
//!
//! A submit call may work on the network at once, but never delivers: what has completed is queued as [`Pending`], and the
//! turn delivers it in that order. Every operation therefore ends in one of two places: as an entry of that queue, or
//! directly in a turn (bytes, the end of a stream, accepted clients).
//!
//! **A name is stale only when its last completion is delivered.** And whoever leaves something for a later turn wakes the
//! port, for the clock moves only when all ports sleep.

use std::collections::VecDeque;

use super::Berth;
use super::connection::{Connection, Ended, Phase, Progress, Receive, Sending, Shut, cancelled, send_now};
use super::listener::Listener;
use super::network::State;
use super::pending::Pending;
use super::port::Watch;
use crate::clock::Time;
use crate::counters::Counters;
use crate::error::{Operation, OsError, SubmitError};
use crate::identity::{ConnectionId, Name};
use crate::options::PortConfig;
use crate::slots::Slots;

/// What a slot holds.
#[derive(Debug)]
pub(super) enum Thing {
    Connection(Connection),
    Listener(Listener),
}

/// See the [module](self).
pub(super) struct Table {
    pub(super) things: Slots<Thing>,
    /// What the network says to look at. A name goes only when it has been looked at: a callback that unwinds leaves it and
    /// those behind it for the next turn.
    pub(super) looks: VecDeque<Name>,
    pub(super) pending: VecDeque<Pending>,
    /// Connections that have kept bytes, or the end of the stream, to deliver; each stands here at most once.
    pub(super) leftovers: VecDeque<Name>,
    pub(super) now: Time,
    pub(super) counters: Counters,
    pub(super) receive_bytes_per_turn_max: usize,
    /// Last: what closes on drop still has a network to close in.
    pub(super) berth: Berth,
}

impl Table {
    pub(super) fn new(config: &PortConfig, berth: Berth) -> Table {
        Table {
            things: Slots::new(config.connections_max),
            looks: VecDeque::new(),
            pending: VecDeque::new(),
            leftovers: VecDeque::new(),
            now: berth.simulation.now(),
            counters: Counters::default(),
            receive_bytes_per_turn_max: config.receive_bytes_per_turn_max,
            berth,
        }
    }

    /// Puts a thing into a slot, or gives it back if there is none.
    pub(super) fn insert(&mut self, thing: Thing) -> Result<Name, Thing> {
        let mut thing = Some(thing);
        let name = self.things.try_insert_with(|_| thing.take());
        match (name, thing) {
            (Some(name), _) => Ok(name),
            (None, Some(thing)) => Err(thing),
            (None, None) => unreachable!("a thing is consumed only by the slot that it is put into"),
        }
    }

    /// What the port calls `name`, for the network.
    pub(super) fn watch(&self, name: Name) -> Option<Watch> {
        Some(Watch::new(self.berth.port, name))
    }

    /// Takes over the network's list; how much there is to look at in all.
    pub(super) fn take_list(&mut self) -> usize {
        let list = self.berth.simulation.with(|network| network.ports.take(self.berth.port));
        self.looks.extend(list);
        self.looks.len()
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
        self.connection(id.0).filter(|connection| connection.phase == Phase::Open).ok_or(SubmitError::Gone)
    }

    /// Something has completed; the next turn delivers it.
    pub(super) fn complete(&mut self, pending: Pending) {
        self.pending.push_back(pending);
        self.berth.wake();
    }

    /// Continues the send in flight, if there is one and it may still leave.
    pub(super) fn continue_send(&mut self, name: Name) {
        let Some(Thing::Connection(connection)) = self.things.get_mut(name) else { return };
        if !matches!(connection.phase, Phase::Open | Phase::Closing) {
            return;
        }
        let Sending::Leaving(gather) = &mut connection.sending else { return };
        match send_now(&connection.socket, gather, &mut self.counters) {
            Progress::Left => self.finish_send(name, None),
            Progress::Failed(error) => self.finish_send(name, Some(error)),
            Progress::Waits => {}
        }
    }

    /// The send in flight has ended; what waited behind it follows.
    fn finish_send(&mut self, name: Name, error: Option<OsError>) {
        let Some(connection) = self.connection(name) else { return };
        let gather = match std::mem::replace(&mut connection.sending, Sending::Left) {
            Sending::Leaving(gather) => gather,
            settled => {
                connection.sending = settled;
                return;
            }
        };
        if connection.shut == Shut::Requested {
            connection.shut_now();
        }
        let closing = connection.phase == Phase::Closing;
        self.complete(Pending::Sent(name, gather, error));
        if closing {
            self.end(name, false);
        }
    }

    /// Somebody may have answered.
    pub(super) fn look_whether_connected(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else { return };
        match connection.socket.state() {
            State::Connecting => {}
            State::Open => {
                connection.phase = Phase::Connecting { settled: true };
                self.complete(Pending::Connected(name));
            }
            State::Broken(failure) => self.connect_failed(name, failure.of(Operation::Connect)),
        }
    }

    pub(super) fn connect_failed(&mut self, name: Name, error: OsError) {
        self.complete(Pending::ConnectFailed(name, error));
        self.end(name, true);
    }

    /// The send in flight, if any, ends as cancelled.
    pub(super) fn cancel_send(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else { return };
        match std::mem::replace(&mut connection.sending, Sending::Left) {
            Sending::Leaving(gather) => {
                self.complete(Pending::Sent(name, gather, Some(cancelled(Operation::Send))));
            }
            settled => connection.sending = settled,
        }
    }

    /// A receive that is open ends as cancelled: nothing more is delivered.
    pub(super) fn cancel_receive(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else { return };
        let open = connection.receive_is_open();
        match &mut connection.receive {
            Receive::Pausing { resume, .. } => *resume = false,
            receive => *receive = Receive::Off,
        }
        if open {
            self.complete(Pending::ReceiveEnded(name, cancelled(Operation::Receive)));
        }
    }

    /// Every operation has ended or is on its way; the last word follows them.
    pub(super) fn end(&mut self, name: Name, aborted: bool) {
        if let Some(connection) = self.connection(name) {
            connection.phase = Phase::Ending { aborted };
            self.complete(Pending::Closed(name));
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
            self.deliver_later(name);
        }
    }

    /// Bytes came behind what is kept.
    pub(super) fn keep_behind(&mut self, name: Name, bytes: &[u8]) {
        self.counters.kept_bytes += bytes.len() as u64;
        if let Some(connection) = self.connection(name) {
            connection.kept.append(bytes);
            self.deliver_later(name);
        }
    }

    /// The incoming stream has ended behind what is kept, which has to be looked at for once more.
    pub(super) fn ended(&mut self, name: Name, ended: Ended) {
        if let Some(connection) = self.connection(name) {
            connection.ended = ended;
            connection.kept.wake();
        }
        self.deliver_later(name);
    }

    /// Lets a later turn deliver what the connection has kept, and look for more behind it.
    pub(super) fn deliver_later(&mut self, name: Name) {
        let kept_max = self.receive_bytes_per_turn_max;
        let Some(connection) = self.connection(name) else { return };
        if connection.reads(kept_max) {
            connection.socket.look_again();
        }
        if connection.has_leftovers() && !connection.left_over {
            connection.left_over = true;
            self.leftovers.push_back(name);
            self.berth.wake();
        }
    }
}
