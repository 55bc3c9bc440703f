//! The receiving direction: arming, what a completion carries, and where bytes go that nobody consumes now.
//!
//! ```text
//!   completion -> buffer --(wanted, in budget, nothing kept)--> lent to the callback --(left over)-\
//!                        \--(otherwise)--------------------------------------------------> Kept <--/
//!                                                       a later turn <-- lent to the callback --/
//! ```
//!
//! Bytes are delivered in the order of their arrival, because nothing is lent past kept bytes, and kept bytes are appended
//! to in the order of completions.
//!
//! **The bound of what is kept.** When one turn's worth is kept, the operation is cancelled, and armed again only when less
//! is kept and the receiver waits for more. So a connection keeps less than one turn's worth, plus what the kernel had
//! received when the cancel reached it: what completed by the turn that noticed, which is no more than all buffers of the port
//! hold; and, where task work is not deferred to the next entry into the kernel, what came into the buffers that the same turn
//! gave back, which is no more than that again.

use std::os::fd::AsRawFd;

use io_uring::{opcode, squeue, types};
use rustix::io::Errno;

use super::buffers::GROUP;
use super::connection::{Arm, Connection, Ended, Receive};
use super::ring::Event;
use super::table::Table;
use super::token::Token;
use crate::identity::{Name, Owner};
use crate::kept::Taken;

/// `IORING_RECVSEND_POLL_FIRST` (io_uring_enter(2)): wait for data before trying to receive.
const POLL_FIRST: u16 = 1 << 0;
/// `IORING_RECV_MULTISHOT`.
const MULTISHOT: u16 = 1 << 1;

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
    /// Arms the receive of a connection that has none in flight.
    pub(super) fn arm_receive(&mut self, name: Name) {
        let Table { connections, ring, forms, .. } = self;
        let Some(connection) = connections.get_mut(name) else { return };
        let first = !connection.armed_before;
        connection.arm = Arm::Armed;
        connection.armed_before = true;
        connection.armed_step = forms.step();
        let entry = forms.receive(connection.socket.as_raw_fd(), first);
        self.in_flight += 1;
        let user_data = Token::receive(name).encode();
        if connection.armed_step > 0 && ring.refuses_form(user_data) {
            return;
        }
        // SAFETY: the entry points to nothing; the kernel writes only to provided buffers, which live until the ring has nothing
        // in flight (contract g).
        unsafe { ring.push(entry.user_data(user_data)) };
    }

    /// Asks the kernel to give the receive back, if it has one. A starved one stays in the list, where its name is skipped.
    pub(super) fn cancel_receive(&mut self, name: Name) {
        let Some(connection) = self.connections.get_mut(name) else { return };
        match connection.arm {
            Arm::Armed => {
                connection.arm = Arm::Cancelling;
                self.push_cancel(Token::receive(name));
            }
            Arm::Starved => connection.arm = Arm::Idle,
            Arm::Idle | Arm::Cancelling => {}
        }
    }

    /// Takes note of a completion of a receive and tells where its bytes go. `None` if it is late.
    pub(super) fn receive_completed(&mut self, name: Name, event: &Event) -> Option<Destination> {
        let Table { connections, counters, turn, .. } = self;
        let connection = connections.get_mut(name)?;
        if connection.receive_is_back() {
            return None;
        }
        let destination = match u64::try_from(event.result) {
            Ok(0) => Destination::Nowhere,
            Ok(count) => {
                counters.received_bytes += count;
                let destination = destination(connection, *turn, self.receive_bytes_per_turn_max);
                counters.late_completions += u64::from(matches!(destination, Destination::Nowhere));
                destination
            }
            Err(_) => Destination::Nowhere,
        };
        if !event.more() {
            self.receive_came_back(name, event.result);
        }
        Some(destination)
    }

    /// The kernel will say nothing more about the receive that is in flight.
    fn receive_came_back(&mut self, name: Name, result: i32) {
        self.in_flight -= 1;
        let multishot = self.forms.multishot;
        let Some(connection) = self.connections.get_mut(name) else { return };
        let cancelled = connection.arm == Arm::Cancelling;
        connection.arm = Arm::Idle;
        match result {
            0 => connection.end(Ended::Finished),
            1.. => self.counters.receive_rearms += u64::from(multishot && !cancelled),
            _ => match Errno::from_raw_os_error(-result) {
                Errno::NOBUFS => return self.starve(name),
                Errno::CANCELED | Errno::INTR | Errno::AGAIN => {}
                errno => self.receive_failed(name, errno),
            },
        }
        self.queue(name);
    }

    fn receive_failed(&mut self, name: Name, errno: Errno) {
        if self.steps_down(name, errno) {
            return;
        }
        if let Some(connection) = self.connections.get_mut(name) {
            connection.end(Ended::Failed(errno));
        }
    }

    /// True if the kernel refuses the form of the receive and there is an older one, which is used from now on. The probe asked
    /// about another kind of socket, so a refusal is possible.
    fn steps_down(&mut self, name: Name, errno: Errno) -> bool {
        let Some(connection) = self.connections.get(name) else { return false };
        let step = connection.armed_step;
        if step == 0 || ![Errno::INVAL, Errno::OPNOTSUPP, Errno::NOSYS].contains(&errno) {
            return false;
        }
        if step == self.forms.step() {
            self.forms.step_down();
            self.counters.refused_forms += 1;
            tracing::warn!(%errno, "the kernel refuses a form of receive that it knew; an older one is used");
        }
        true
    }

    fn starve(&mut self, name: Name) {
        self.counters.buffer_starvations += 1;
        let Some(connection) = self.connections.get_mut(name) else { return };
        if connection.delivers() && !connection.kept.is_due() {
            connection.arm = Arm::Starved;
            self.starved.push_back(name);
        } else {
            // It is not wanted now, or is about to be armed for another reason: after what is kept, after a pause.
            self.queue(name);
        }
    }

    /// Arms the connections that have waited longest for a buffer, one for each buffer. No buffer is held from one turn to
    /// the next, so all of them are back between turns.
    pub(super) fn rearm_starved(&mut self, buffers: usize) {
        let mut left = buffers;
        while left > 0 {
            let Some(name) = self.starved.pop_front() else { return };
            let starved = self.connections.get(name).is_some_and(|connection| connection.arm == Arm::Starved);
            if starved {
                self.arm_receive(name);
                left -= 1;
            }
        }
    }

    /// Keeps bytes that came behind everything that is kept already.
    pub(super) fn keep(&mut self, name: Name, bytes: &[u8]) {
        if let Some(connection) = self.keeping(name) {
            connection.kept.append(bytes);
            self.kept(name, bytes.len());
        }
    }

    /// Keeps bytes that were lent and not consumed. Nothing more is lent in this turn.
    pub(super) fn keep_unconsumed(&mut self, name: Name, bytes: &[u8]) {
        if let Some(connection) = self.keeping(name) {
            connection.kept.keep(bytes);
            self.kept_unconsumed(name, bytes.len());
        }
    }

    /// Puts back what was lent of the kept bytes and not consumed. Nothing more is lent in this turn.
    pub(super) fn put_back(&mut self, name: Name, lent: Taken, consumed: usize) {
        if let Some(connection) = self.keeping(name) {
            let count = connection.kept.put_back(lent, consumed);
            self.kept_unconsumed(name, count);
        }
    }

    fn keeping(&mut self, name: Name) -> Option<&mut Connection> {
        self.connections.get_mut(name).filter(|connection| connection.keeps())
    }

    fn kept_unconsumed(&mut self, name: Name, count: usize) {
        let turn = self.turn;
        if let Some(connection) = self.connections.get_mut(name).filter(|_| count > 0) {
            connection.charge_all(turn);
        }
        self.kept(name, count);
    }

    /// `count` bytes were kept.
    fn kept(&mut self, name: Name, count: usize) {
        if count == 0 {
            return;
        }
        let Some(connection) = self.connections.get_mut(name) else { return };
        let full = connection.kept.len() >= self.receive_bytes_per_turn_max as usize;
        self.counters.kept_bytes += count as u64;
        if full {
            self.cancel_receive(name);
        }
        self.queue(name);
    }
}

fn destination(connection: &mut Connection, turn: u32, most: u32) -> Destination {
    if !connection.keeps() {
        return Destination::Nowhere;
    }
    let at_most = connection.budget(turn, most);
    if !connection.delivers() || !connection.kept.is_empty() || at_most == 0 {
        return Destination::Kept;
    }
    debug_assert_eq!(connection.receive, Receive::On);
    Destination::Lent { owner: connection.owner, at_most }
}

/// The form of receive that the kernel knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forms {
    pub(super) multishot: bool,
    /// Bytes that one round of a multishot receive may bring; 0: not capped.
    pub(super) cap: u32,
    pub(super) buffer_bytes: u32,
}

impl Forms {
    /// How many older forms there are.
    fn step(&self) -> u8 {
        u8::from(self.multishot) + u8::from(self.multishot && self.cap > 0)
    }

    fn step_down(&mut self) {
        if self.cap > 0 {
            self.cap = 0;
        } else {
            self.multishot = false;
        }
    }

    /// `first`: nothing is known about the socket yet, so waiting is likelier to be right than trying.
    pub(super) fn receive(&self, descriptor: i32, first: bool) -> squeue::Entry {
        let length = if self.multishot { self.cap } else { self.buffer_bytes };
        let mut how = if self.multishot { MULTISHOT } else { 0 };
        if first {
            how |= POLL_FIRST;
        }
        opcode::Recv::new(types::Fd(descriptor), std::ptr::null_mut(), length)
            .ioprio(how)
            .buf_group(GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT)
    }
}
