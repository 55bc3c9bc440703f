//! The simulated kernel: what stands between the driver of a port and the network.
//!
//! ```text
//!   table -- submit(token, what the kernel may touch) --> operations in flight -- attempt --> network
//!     ^                                                        |
//!     +---- one by one <---- completion queue <--- completion -+   (a receive takes a buffer out of the pool)
//! ```
//!
//! It does what io_uring does, as far as a driver can tell: an operation owns its memory from submit to its terminal
//! completion, a multishot receive has others before it, a cancel is an operation of its own that asks and does not take
//! back, and the queue and the pool are bounded. It lives in the network, so that whoever audits the simulation sees what is
//! in flight without asking the driver that might have lost it.
//!
//! **Prompt or free.** Without faults it is *prompt*: the driver takes each completion as it comes, so that everything
//! happens in the order in which it is submitted. With faults completions wait in the queue for the next turn, where
//! [fate](super::faults) may shuffle, hold or delay them.

mod accept;
mod ledger;
mod operation;
mod pool;
mod queue;
mod receive;
mod send;
mod token;

use std::collections::BTreeMap;

pub(super) use self::ledger::{COLUMNS, Ledger, add};
pub(super) use self::operation::{Event, Operation, Outcome, Work};
use self::pool::Pool;
use self::queue::Queue;
pub(super) use self::token::{Kind, Token};
use super::agenda;
use super::faults::FaultClass;
use super::network::{Network, State};
use crate::clock::Time;
use crate::codes;
use crate::slots::Name;

/// The most that one receive brings of a prompt kernel, as in the readiness driver.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// The kernel's half of one port. See the [module](self).
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) operations: BTreeMap<Token, Operation>,
    pub(super) queue: Queue,
    pub(super) pool: Pool,
    prompt: bool,
}

/// How much the kernel does when it is asked to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// One completion of a multishot.
    One,
    /// All that there are.
    All,
}

/// Sizes of a port's resources.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) receive_buffers: usize,
    pub(super) receive_buffer_bytes: usize,
    pub(super) receive_bytes_per_turn_max: usize,
}

impl Kernel {
    /// Operations that have not come back to the driver, cancels apart.
    pub(super) fn in_flight(&self) -> usize {
        let queued = self.queue.iter().filter(|event| !event.more && !event.token.cancels).count();
        self.operations.len() + queued
    }

    /// The same by kind, cancels included.
    pub(super) fn count_in_flight(&self, counts: &mut [u64; COLUMNS.len()]) {
        self.operations.keys().for_each(|token| add(counts, *token));
        self.queue.iter().filter(|event| !event.more).for_each(|event| add(counts, event.token));
    }

    /// Buffers that wait with their completions.
    pub(super) fn buffers_queued(&self) -> usize {
        self.queue.iter().filter(|event| matches!(event.outcome, Outcome::Received { .. })).count()
    }

    /// Server ends that wait with their completions.
    pub(super) fn accepted(&self) -> impl Iterator<Item = Name> {
        self.queue.iter().filter_map(|event| match event.outcome {
            Outcome::Accepted(end) => Some(end),
            _ => None,
        })
    }
}

impl Network {
    pub(super) fn open_kernel(&mut self, port: Name, sizes: Sizes) {
        let Sizes { receive_buffers, receive_buffer_bytes, receive_bytes_per_turn_max } = sizes;
        let prompt = self.fate.faults().is_none();
        let buffer_bytes = match prompt {
            true => receive_bytes_per_turn_max.min(BUFFER_BYTES_MAX).max(receive_buffer_bytes),
            false => receive_buffer_bytes,
        };
        let buffers = match self.fate.faults().receive_buffers_max {
            0 => receive_buffers,
            bound => receive_buffers.min(bound),
        };
        let pool = Pool::new(buffers, buffer_bytes);
        let kernel = Kernel { operations: BTreeMap::new(), queue: Queue::default(), pool, prompt };
        self.kernels.insert(port, kernel);
    }

    /// The port has gone: everything in flight has been drained, and what it carries is given back.
    pub(super) fn close_kernel(&mut self, port: Name) {
        let Some(Kernel { operations, queue, .. }) = self.kernels.remove(&port) else { return };
        operations.keys().for_each(|token| self.ledger.complete(*token));
        for event in queue.into_events() {
            if !event.more {
                self.ledger.complete(event.token);
            }
            if let Outcome::Accepted(end) = event.outcome {
                self.close(end);
            }
        }
    }

    pub(super) fn kernel_is_prompt(&self, port: Name) -> bool {
        self.kernels.get(&port).is_none_or(|kernel| kernel.prompt)
    }

    pub(super) fn submit(&mut self, port: Name, operation: Operation) {
        let token = operation.token;
        let Some(kernel) = self.kernels.get_mut(&port) else { return };
        self.ledger.submit(token);
        if let Some(first) = kernel.operations.insert(token, operation) {
            // Two of one name: the bug is noted, and the first one comes back.
            self.ledger.double(token);
            self.push(port, token, first.failed(codes::CANCELLED), false, Time::ZERO);
        }
        if token.kind == Kind::Send {
            self.hold_send(port, token);
            self.attempt_send(port, token);
        }
    }

    /// Asks for an operation back. It answers by its own completion.
    pub(super) fn cancel(&mut self, port: Name, token: Token) {
        let cancel = Token { cancels: true, ..token };
        self.ledger.submit(cancel);
        self.push(port, cancel, Outcome::Heard, false, Time::ZERO);
        if self.loses_race(port, token) {
            return;
        }
        let Some(operation) = self.kernels.get_mut(&port).and_then(|kernel| kernel.operations.remove(&token)) else {
            return;
        };
        let mut not_before = Time::ZERO;
        if self.fate.throws(|faults| faults.late_cancels) {
            not_before = self.now() + self.fate.time(|faults| faults.late_cancels_max);
            self.agenda.add(not_before, agenda::Event::Look { port, thing: token.name });
            self.fate.count(FaultClass::LateCancel);
        }
        self.push(port, token, operation.failed(codes::CANCELLED), false, not_before);
    }

    /// Whether the operation goes on for a while, as if nobody had cancelled it.
    fn loses_race(&mut self, port: Name, token: Token) -> bool {
        let until = self.now() + self.fate.faults().late_cancels_max;
        let operation = self.kernels.get_mut(&port).and_then(|kernel| kernel.operations.get_mut(&token));
        let Some(operation) = operation.filter(|_| self.fate.throws(|faults| faults.lost_cancels)) else {
            return false;
        };
        operation.cancelled_at.get_or_insert(until);
        self.agenda.add(until, agenda::Event::Look { port, thing: token.name });
        true
    }

    /// A cancel that had lost the race reaches its operation.
    fn end_if_cancelled(&mut self, port: Name, token: Token) {
        let now = self.now();
        let Some(kernel) = self.kernels.get_mut(&port) else { return };
        let reached = |operation: &Operation| operation.cancelled_at.is_some_and(|at| at <= now);
        if kernel.operations.get(&token).is_some_and(reached)
            && let Some(operation) = kernel.operations.remove(&token)
        {
            self.push(port, token, operation.failed(codes::CANCELLED), false, Time::ZERO);
        }
    }

    /// What goes on although it was cancelled does so once: no kernel receives for ever while it is asked to stop.
    fn hurry_cancel(&mut self, port: Name, token: Token) {
        let now = self.now();
        let operation = self.kernels.get_mut(&port).and_then(|kernel| kernel.operations.get_mut(&token));
        if let Some(cancelled_at) = operation.and_then(|operation| operation.cancelled_at.as_mut()) {
            *cancelled_at = now;
        }
        self.end_if_cancelled(port, token);
    }

    /// An operation has done something although it was cancelled.
    fn count_if_cancelled(&mut self, port: Name, token: Token) {
        let operation = self.kernels.get(&port).and_then(|kernel| kernel.operations.get(&token));
        if operation.is_some_and(|operation| operation.cancelled_at.is_some()) {
            self.fate.count(FaultClass::LostCancel);
        }
    }

    /// Something may have happened at what the port calls `name`: its operations go on, a receive by at most `limit` bytes. True
    /// if there is more to be received than that.
    pub(super) fn progress(&mut self, port: Name, name: Name, limit: usize) -> bool {
        let step = if self.kernel_is_prompt(port) { Step::One } else { Step::All };
        let mut left_over = false;
        for kind in [Kind::Connect, Kind::Send, Kind::Receive, Kind::Accept] {
            let token = Token::new(kind, name);
            self.end_if_cancelled(port, token);
            let before = self.kernels.get(&port).map(|kernel| kernel.queue.len());
            left_over |= self.attempt(port, token, limit, step);
            if self.kernels.get(&port).map(|kernel| kernel.queue.len()) > before {
                self.hurry_cancel(port, token);
            }
            // A prompt kernel has one completion at a time outstanding.
            if step == Step::One && self.kernels.get(&port).is_some_and(|kernel| kernel.queue.len() > 0) {
                break;
            }
        }
        left_over
    }

    fn attempt(&mut self, port: Name, token: Token, limit: usize, step: Step) -> bool {
        match token.kind {
            Kind::Connect => self.attempt_connect(port, token),
            Kind::Send => self.attempt_send(port, token),
            Kind::Receive => return self.attempt_receive(port, token, limit, step),
            Kind::Accept => self.attempt_accept(port, token),
        }
        false
    }

    /// What an operation in flight works on.
    fn works_on(&self, port: Name, token: Token) -> Option<Name> {
        Some(self.kernels.get(&port)?.operations.get(&token)?.on)
    }

    fn attempt_connect(&mut self, port: Name, token: Token) {
        let Some(end) = self.works_on(port, token) else { return };
        let outcome = match self.ends.get(end).map(|end| end.state) {
            Some(State::Connecting) => return,
            Some(State::Open) => Outcome::Connected,
            Some(State::Broken(failure)) => Outcome::Failed(failure.code()),
            None => Outcome::Failed(codes::NOT_CONNECTED),
        };
        self.complete(port, token, outcome);
    }

    /// The operation is over.
    fn complete(&mut self, port: Name, token: Token, outcome: Outcome) {
        self.count_if_cancelled(port, token);
        if let Some(kernel) = self.kernels.get_mut(&port) {
            kernel.operations.remove(&token);
        }
        self.push(port, token, outcome, false, Time::ZERO);
    }

    fn push(&mut self, port: Name, token: Token, outcome: Outcome, more: bool, not_before: Time) {
        let Some(kernel) = self.kernels.get_mut(&port) else { return };
        kernel.queue.push(Event { token, outcome, more, not_before }, &mut self.fate);
        if not_before <= self.time.now() && !kernel.prompt {
            self.wake(port);
        }
    }

    /// Chooses the completions of a turn. True if the queue had overflowed.
    pub(super) fn begin_turn(&mut self, port: Name) -> bool {
        let now = self.now();
        self.kernels.get_mut(&port).is_some_and(|kernel| kernel.queue.begin_turn(now, &mut self.fate))
    }

    /// The next completion that the driver is to handle.
    pub(super) fn next_completion(&mut self, port: Name) -> Option<Event> {
        let kernel = self.kernels.get_mut(&port)?;
        if kernel.prompt {
            kernel.queue.take_all();
        }
        let event = kernel.queue.next()?;
        if !event.more {
            self.ledger.complete(event.token);
        }
        if matches!(event.outcome, Outcome::Received { .. }) {
            kernel.pool.lent += 1;
        }
        Some(event)
    }

    /// The driver has done with a buffer.
    pub(super) fn give_back(&mut self, port: Name, buffer: Vec<u8>) {
        if let Some(kernel) = self.kernels.get_mut(&port) {
            kernel.pool.lent = kernel.pool.lent.saturating_sub(1);
            kernel.pool.put(buffer);
        }
    }

    /// Nothing is held or delayed any longer.
    pub(super) fn hurry_kernels(&mut self) {
        let ports: Vec<Name> = self.kernels.keys().copied().collect();
        for port in ports {
            let Some(kernel) = self.kernels.get_mut(&port) else { continue };
            kernel.queue.hurry();
            let mut held = Vec::new();
            for operation in kernel.operations.values_mut() {
                if operation.not_before > Time::ZERO || operation.cancelled_at.is_some() {
                    operation.not_before = Time::ZERO;
                    operation.cancelled_at = operation.cancelled_at.and(Some(Time::ZERO));
                    held.push(operation.token.name);
                }
            }
            held.into_iter().for_each(|thing| self.ports.look(port, thing));
            self.ports.release(port);
        }
    }
}
