//! What a port holds: connections, listeners, the ring, and lists of what is due. A callback submits to it while the
//! receive buffers stand beside it.
//!
//! Lists hold names, never references, and a name that has become stale meanwhile is skipped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use io_uring::{opcode, types};
use rustix::io::Errno;

use super::connection::{Arm, Connection};
use super::features::Features;
use super::listener::{Accepting, Listener};
use super::receive::Forms;
use super::ring::Ring;
use super::send::{SpareMessages, SpareOperations};
use super::token::{ACCEPTS_MAX, Kind, Token};
use super::wake::WakeEvent;
use super::writable::Writable;
use crate::clock::Time;
use crate::codes;
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
    /// Memory for sends.
    pub(super) spare_operations: SpareOperations,
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
    /// Sends that wait.
    pub(super) writable: Writable,
    wake: Arc<WakeEvent>,
    /// The read of the eventfd is in flight.
    pub(super) wake_armed: bool,
    /// What the read of the eventfd writes to.
    wake_count: Held<u64>,
    pub(super) memory: Memory,
    /// The port is being dropped: nothing is armed again.
    pub(super) draining: bool,
}

impl Table {
    pub(super) fn new(
        config: &PortConfig,
        features: &Features,
        ring: Ring,
        wake: Arc<WakeEvent>,
        writable: Writable,
    ) -> Table {
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
            spare_operations: SpareOperations::default(),
            spare_messages: SpareMessages::default(),
            forms: Forms { multishot: features.multishot, cap, buffer_bytes },
            counters: Counters::default(),
            now: config.clock.now(),
            turn: 0,
            in_flight: 0,
            receive_bytes_per_turn_max: u32::try_from(config.receive_bytes_per_turn_max).unwrap_or(u32::MAX - 1),
            accepts: u8::try_from(accepts).unwrap_or(ACCEPTS_MAX),
            accept_pause: config.accept_pause,
            writable,
            wake,
            wake_armed: false,
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
        due || !self.starved.is_empty() || self.ring.has_answers()
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
        self.ring.injector.faults.note_memory_fault();
    }

    /// Counts a completion whose owner has gone, or has ended what it belongs to.
    pub(super) fn late(&mut self) {
        self.counters.late_completions += 1;
    }

    /// Asks the kernel to give an operation back. The operation's own completion says when it does.
    pub(super) fn push_cancel(&mut self, target: Token) {
        self.ring.push_cancel(target);
    }

    /// Asks the kernel to give everything back.
    pub(super) fn push_cancel_all(&mut self) {
        let everything = types::CancelBuilder::any();
        let entry = opcode::AsyncCancel2::new(everything).build().user_data(Token::CANCEL_ALL.encode());
        // SAFETY: the entry points to nothing.
        unsafe { self.ring.push(entry) };
    }

    /// The kernel answered a cancel. It does not find an operation whose turn it is at that very moment (it has been taken
    /// from where it waited, and may wait again afterwards), so that a cancel that found nothing is repeated while its
    /// target is in flight. The repetition runs with the next entry into the kernel, behind what hid the target.
    pub(super) fn cancel_answered(&mut self, target: Token, result: i32) {
        if result == -Errno::NOENT.raw_os_error() && self.is_being_cancelled(target) {
            self.push_cancel(target);
        }
    }

    fn is_being_cancelled(&self, target: Token) -> bool {
        let connection = || self.connections.get(target.name);
        match target.kind {
            Kind::Receive => connection().is_some_and(|connection| connection.arm == Arm::Cancelling),
            Kind::Connect => connection().is_some_and(Connection::is_given_up),
            Kind::Accept(number) => {
                let listener = self.listeners.get(target.name);
                listener.is_some_and(|listener| listener.state == Accepting::Closing && listener.is_armed(number))
            }
            Kind::Wake => self.draining && self.wake_armed,
            Kind::Writable => self.draining && self.writable.armed,
            // A send never waits in the kernel.
            Kind::Send | Kind::Everything => false,
        }
    }

    /// Asks the kernel to give back what waits for the whole port.
    pub(super) fn cancel_waits(&mut self) {
        self.push_cancel(Token::WAKE);
        if self.writable.armed {
            self.push_cancel(Token::WRITABLE);
        }
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
        self.wake_armed = true;
    }
}

/// The error of an operation that was cancelled because its connection is ending.
pub(super) fn cancelled(operation: Operation) -> OsError {
    OsError::from_code(operation, codes::CANCELLED)
}
