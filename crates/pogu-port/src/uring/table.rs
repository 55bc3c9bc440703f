//! What a port holds: connections, listeners, the ring, and lists of what is due. A callback submits to it while the
//! receive buffers stand beside it.
//!
//! Lists hold names, never references, and a name that has become stale meanwhile is skipped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use io_uring::{opcode, types};
use rustix::io::Errno;

use super::connection::{Arm, Connection, Phase, Sending};
use super::features::Features;
use super::listener::Listener;
use super::receive::Forms;
use super::ring::Ring;
use super::send::SpareMessages;
use super::token::{ACCEPTS_MAX, Kind, Token};
use super::wake::WakeEvent;
use crate::clock::Time;
use crate::counters::Counters;
use crate::error::{Operation, OsError};
use crate::exhaustion::Spare;
use crate::identity::Name;
use crate::memory::{Held, Memory};
use crate::options::PortConfig;
use crate::slots::Slots;

/// Something that a completion may be due for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Subject {
    Connection(Name),
    Listener(Name),
}

/// See the [module](self).
pub(super) struct Table {
    pub(super) ring: Ring,
    pub(super) connections: Slots<Connection>,
    pub(super) listeners: Slots<Listener>,
    pub(super) things_max: u32,
    /// To be looked at in this turn.
    pub(super) ready: VecDeque<Subject>,
    /// To be looked at in the next turn, which therefore does not sleep.
    pub(super) later: VecDeque<Name>,
    /// Connections that wait for a receive buffer, in order.
    pub(super) starved: VecDeque<Name>,
    /// Listeners that wait for the end of a shortage.
    pub(super) paused: Vec<Name>,
    /// A descriptor to give up for a moment.
    pub(super) spare: Spare,
    /// Memory for sends of several slices.
    pub(super) spare_messages: SpareMessages,
    pub(super) forms: Forms,
    pub(super) counters: Counters,
    pub(super) now: Time,
    pub(super) turn: u32,
    /// Operations on connections and listeners that the kernel has not given back.
    pub(super) in_flight: usize,
    pub(super) receive_bytes_per_turn_max: u32,
    pub(super) accepts: u8,
    pub(super) accept_pause: Duration,
    wake: Arc<WakeEvent>,
    /// What the read of the eventfd writes to.
    wake_count: Held<u64>,
    pub(super) memory: Memory,
    /// The port is being dropped: nothing is armed again.
    pub(super) draining: bool,
}

impl Table {
    pub(super) fn new(config: &PortConfig, features: &Features, ring: Ring, wake: Arc<WakeEvent>) -> Table {
        let buffer_bytes = config.receive_buffer_bytes;
        let cap = if features.length_cap { buffer_bytes } else { 0 };
        let accepts = config.accepts_per_turn_max.clamp(1, usize::from(ACCEPTS_MAX));
        let memory = Memory::new(config.guarded);
        Table {
            ring,
            connections: Slots::new(config.connections_max),
            listeners: Slots::new(config.connections_max),
            things_max: config.connections_max,
            ready: VecDeque::new(),
            later: VecDeque::new(),
            starved: VecDeque::new(),
            paused: Vec::new(),
            spare: Spare::reserve(),
            spare_messages: SpareMessages::default(),
            forms: Forms { multishot: features.multishot, cap, buffer_bytes },
            counters: Counters::default(),
            now: config.clock.now(),
            turn: 0,
            in_flight: 0,
            receive_bytes_per_turn_max: u32::try_from(config.receive_bytes_per_turn_max).unwrap_or(u32::MAX - 1),
            accepts: u8::try_from(accepts).unwrap_or(ACCEPTS_MAX),
            accept_pause: config.accept_pause,
            wake,
            wake_count: Held::new(0, &memory),
            memory,
            draining: false,
        }
    }

    /// Connections and listeners that have not ended.
    pub(super) fn things(&self) -> usize {
        self.connections.len() + self.listeners.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.things() >= self.things_max as usize
    }

    /// True exactly when a turn has something to do without waiting.
    pub(super) fn has_work(&self) -> bool {
        let due = !self.ready.is_empty() || !self.later.is_empty();
        due || !self.starved.is_empty() || self.ring.has_backlog()
    }

    /// Puts a connection into the list of what is due, once.
    pub(super) fn queue(&mut self, name: Name) {
        let Some(connection) = self.connections.get_mut(name) else { return };
        if !connection.queued {
            connection.queued = true;
            self.ready.push_back(Subject::Connection(name));
        }
    }

    /// Takes note of a completion that says that the kernel could not touch the memory of an operation.
    pub(super) fn memory_fault(&mut self, operation: &'static str) {
        self.counters.memory_faults += 1;
        if self.counters.memory_faults == 1 {
            tracing::error!(operation, "the kernel could not touch the memory of an operation (EFAULT)");
        }
    }

    /// Counts a completion whose owner has gone.
    pub(super) fn late(&mut self) {
        self.counters.late_completions += 1;
    }

    /// Asks the kernel to give an operation back. The operation's own completion says when it does.
    pub(super) fn push_cancel(&mut self, target: Token) {
        self.ring.push_cancel(target.encode());
    }

    /// The kernel answered a request to cancel. One that comes while the operation is between two of its tries finds nothing
    /// (ENOENT) or is too late for this try (EALREADY), and the operation goes on: so ask again until it has come back.
    pub(super) fn cancel_answered(&mut self, user_data: u64, result: i32) {
        let missed = [Errno::NOENT, Errno::ALREADY].iter().any(|errno| errno.raw_os_error() == -result);
        let target = Token::target_of_cancel(user_data).filter(|_| missed);
        if let Some(target) = target.filter(|target| self.is_being_cancelled(*target)) {
            self.push_cancel(target);
        }
    }

    fn is_being_cancelled(&self, target: Token) -> bool {
        let connection = self.connections.get(target.name);
        match target.kind {
            Kind::Receive => connection.is_some_and(|connection| connection.arm == Arm::Cancelling),
            Kind::Send => connection.is_some_and(|connection| {
                let leaving = matches!(connection.sending, Sending::Leaving(_));
                leaving && matches!(connection.phase, Phase::Aborting | Phase::Detaching)
            }),
            Kind::Connect => connection.is_some_and(|connection| connection.has_given_up()),
            Kind::Accept(number) => self.listeners.get(target.name).is_some_and(|listener| listener.awaits(number)),
            Kind::Wake | Kind::Cancel => false,
        }
    }

    /// Asks the kernel to give everything back.
    pub(super) fn push_cancel_all(&mut self) {
        let everything = types::CancelBuilder::any();
        let entry = opcode::AsyncCancel2::new(everything).build().user_data(Token::CANCEL.encode());
        // SAFETY: the entry points to nothing.
        unsafe { self.ring.push(entry) };
    }

    /// Asks the kernel to give the read of the eventfd back.
    pub(super) fn cancel_wake(&mut self) {
        self.push_cancel(Token::WAKE);
    }

    /// Reads the eventfd, so that a wake ends the wait.
    pub(super) fn arm_wake(&mut self) {
        if self.draining {
            return;
        }
        self.wake_count.renew(0, &self.memory);
        let count: *mut u64 = &raw mut *self.wake_count;
        let entry = opcode::Read::new(types::Fd(self.wake.raw()), count.cast(), 8).build();
        // SAFETY: the held count lives as long as the table, which outlives what is in flight (contract g), and nobody reads it.
        unsafe { self.ring.push(entry.user_data(Token::WAKE.encode())) };
    }
}

/// The error of an operation that was cancelled because its connection is ending.
pub(super) fn cancelled(operation: Operation) -> OsError {
    OsError::from_code(operation, Errno::CANCELED.raw_os_error())
}
