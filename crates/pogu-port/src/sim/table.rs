//! Everything that the driver holds, and what becomes of it: the submitting half.
//!
//! A submit call hands operations to the [simulated kernel](super::kernel) and never delivers. What a completion of it means
//! for the owner is queued as [`Pending`], and the turn delivers it in that order; bytes, the end of a stream and accepted
//! clients are delivered as they are taken.
//!
//! **A name is stale only when its last completion is delivered**, and that is on its way only when the kernel has given
//! every operation of it back. And whoever leaves something for a later turn wakes the port, for the clock moves only when
//! all ports sleep.

use std::collections::VecDeque;
use std::time::Duration;

use super::Berth;
use super::connection::{Connection, Ended, GivenUp, Phase, cancelled};
use super::kernel::{Event, Kind, Operation as InFlight, Outcome, Token};
use super::listener::Listener;
use super::pending::Pending;
use super::port::Watch;
use crate::clock::Time;
use crate::counters::Counters;
use crate::error::{Operation, OsError, SubmitError};
use crate::identity::{ConnectionId, Name};
use crate::options::PortConfig;
use crate::plant::{self, Plant};
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
    /// Connections whose receive found no buffer, oldest first.
    pub(super) starved: VecDeque<Name>,
    /// Listeners that wait for the end of a shortage.
    pub(super) paused: Vec<Name>,
    pub(super) now: Time,
    pub(super) counters: Counters,
    pub(super) receive_bytes_per_turn_max: usize,
    pub(super) accept_pause: Duration,
    /// The kernel's completions are taken as they come.
    pub(super) prompt: bool,
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
            starved: VecDeque::new(),
            paused: Vec::new(),
            now: berth.simulation.now(),
            counters: Counters::default(),
            receive_bytes_per_turn_max: config.receive_bytes_per_turn_max,
            accept_pause: config.accept_pause,
            prompt: berth.simulation.with(|network| network.kernel_is_prompt(berth.port)),
            berth,
        }
    }

    /// Puts a thing into a slot, or gives it back if there is none.
    #[allow(clippy::result_large_err)] // the thing comes back as it was handed in
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

    // ---- The kernel ----

    pub(super) fn submit(&mut self, operation: InFlight) {
        let port = self.berth.port;
        self.berth.simulation.with(|network| network.submit(port, operation));
        self.reap();
    }

    pub(super) fn cancel(&mut self, token: Token) {
        let port = self.berth.port;
        self.berth.simulation.with(|network| network.cancel(port, token));
        self.reap();
    }

    pub(super) fn next_completion(&self) -> Option<Event> {
        let port = self.berth.port;
        self.berth.simulation.with(|network| network.next_completion(port))
    }

    /// Of a prompt kernel, takes what a submit call has brought about. No bytes and no clients are among it: those come in
    /// turns.
    fn reap(&mut self) {
        if !self.prompt {
            return;
        }
        while let Some(event) = self.next_completion() {
            self.absorb(event);
        }
    }

    /// Takes note of a completion that is not delivered as it is.
    pub(super) fn absorb(&mut self, event: Event) {
        let Event { token, outcome, .. } = event;
        let name = token.name;
        match outcome {
            Outcome::Heard => {}
            Outcome::Connected => self.connect_completed(name, Ok(())),
            Outcome::Failed(code) if token.kind == Kind::Connect => self.connect_completed(name, Err(code)),
            Outcome::Sent { gather, result } => self.send_completed(name, gather, result),
            Outcome::Starved => self.receive_came_back(name, true),
            Outcome::Failed(_) if token.kind == Kind::Receive => self.receive_came_back(name, false),
            Outcome::Failed(code) if token.kind == Kind::Accept => {
                // Cancelled: nobody is told of anything but the end.
                let completion = self.accept_completed::<()>(name, Err(code));
                debug_assert!(completion.is_none(), "a prompt accept fails only when it is cancelled");
            }
            Outcome::Received { .. } | Outcome::Finished | Outcome::Accepted(_) | Outcome::Failed(_) => {
                debug_assert!(false, "{token:?} was answered outside of a turn");
            }
        }
    }

    /// The kernel answered a connect.
    fn connect_completed(&mut self, name: Name, result: Result<(), i32>) {
        let Some(connection) = self.connection(name) else { return self.late() };
        let Phase::Connecting(given_up) = connection.phase else { return self.late() };
        match (result, given_up) {
            (Ok(()), GivenUp::No) => {
                connection.phase = Phase::Connected;
                return self.complete(Pending::Connected(name));
            }
            (Ok(()), _) => self.complete(Pending::ConnectFailed(name, cancelled(Operation::Connect))),
            (Err(code), _) => {
                let error = OsError::from_code(Operation::Connect, code);
                self.complete(Pending::ConnectFailed(name, error));
            }
        }
        self.end(name, true);
    }

    /// Nobody waits for this completion any more.
    pub(super) fn late(&mut self) {
        self.counters.late_completions += 1;
    }

    // ---- Ending ----

    /// Tells the owner what could not be told before the receive had come back, and ends what waited for the last operation.
    pub(super) fn came_back(&mut self, name: Name) {
        let Some(connection) = self.connection(name).filter(|connection| connection.receive_is_back()) else { return };
        let owed = std::mem::take(&mut connection.owed);
        for _ in 0..owed.pauses {
            self.complete(Pending::Paused(name));
        }
        if owed.cancelled {
            self.complete(Pending::ReceiveEnded(name, cancelled(Operation::Receive)));
        }
        let Some(connection) = self.connection(name).filter(|connection| !connection.is_sending()) else { return };
        match connection.phase {
            Phase::Closing => self.end(name, false),
            Phase::Aborting => self.end(name, true),
            Phase::Detaching => {
                connection.phase = Phase::Leaving;
                self.complete(Pending::Detached(name));
            }
            _ => {}
        }
    }

    /// Every operation has come back; the last word follows what is on its way.
    pub(super) fn end(&mut self, name: Name, aborted: bool) {
        if let Some(connection) = self.connection(name) {
            connection.phase = Phase::Ending { aborted };
            self.complete(Pending::Closed(name));
        }
    }

    // ---- Keeping ----

    /// The receiver did not consume `rest`.
    pub(super) fn keep(&mut self, name: Name, rest: &[u8]) {
        if rest.is_empty() {
            return;
        }
        self.counters.kept_bytes += rest.len() as u64;
        let keeps = |connection: &&mut Connection| connection.delivers() || !plant::is(Plant::RestDropped);
        if let Some(connection) = self.connection(name).filter(keeps) {
            connection.kept.keep(rest);
            self.deliver_later(name);
        }
    }

    /// Bytes came behind what is kept.
    pub(super) fn keep_behind(&mut self, name: Name, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
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

    /// Lets a later turn deliver what the connection has kept, and receive more behind it, if there may be more.
    pub(super) fn deliver_later(&mut self, name: Name) {
        self.receive_more(name);
        let Some(connection) = self.connection(name) else { return };
        if connection.has_leftovers() && !connection.left_over {
            connection.left_over = true;
            self.leftovers.push_back(name);
            self.berth.wake();
        }
    }
}
