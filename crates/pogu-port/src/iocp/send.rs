//! The sending direction: one operation per connection, which owns its gather until its packet.
//!
//! ```text
//!   Connection --owns--> Leaving --owns--> Gather --owns--> the bytes             <- the system reads these
//!                             \--owns--> SendOperation (OVERLAPPED)               <- and writes here
//! ```
//!
//! A send waits in the system until it has taken everything, so short counts are rare; one that comes is continued under the
//! same name, as is what one operation does not hold. Its owner sees one `Sent`.
//!
//! Guarded, the system is given a copy of the bytes instead, which is released with the packet.

use windows_sys::Win32::Networking::WinSock::WSABUF;
use windows_sys::Win32::System::IO::OVERLAPPED;

use super::connection::{Phase, Sending};
use super::operation::{SendOperation, overlapped};
use super::pending::Pending;
use super::table::{Table, Thing, cancelled, shut_if_requested};
use super::winsock;
use crate::codes;
use crate::error::{Operation, OsError};
use crate::faults::FaultPoint;
use crate::gather::Gather;
use crate::identity::Name;
use crate::memory::{Block, Held, Memory};
use crate::spares::Spares;
use socket2::Socket;

/// Slices of one operation. More do not make it faster, and the array lives on the stack: it is captured by the call.
const SLICES_MAX: usize = 64;

/// Bytes of one operation: the system may lock the pages of all of them for as long as it takes, and those that were taken are
/// counted only at its end.
const BYTES_MAX: usize = 1 << 20;

/// The same in guarded mode, where they are copied.
const COPIED_MAX: usize = 256 * 1024;

/// Tries of one operation in a row that the system turned away for now: for about two thirds of a second.
const TRIES_MAX: u32 = 64;

/// Sends kept for the next ones at most.
const SPARE_MAX: usize = 64;

/// A send in flight.
pub(super) struct Leaving {
    pub(super) gather: Gather,
    operation: Held<SendOperation>,
    /// What the system reads in guarded mode.
    copy: Option<Block>,
    /// Bytes of the operation.
    offered: usize,
    /// The system holds the operation. If not, the next try is on its way.
    started: bool,
    tries: u32,
}

/// The memory of sends that have ended.
pub(super) struct SpareSends(Spares<Box<Leaving>>);

impl Default for SpareSends {
    fn default() -> SpareSends {
        SpareSends(Spares::at_most(SPARE_MAX))
    }
}

impl SpareSends {
    fn take(&mut self, name: Name, gather: Gather, memory: &Memory) -> Box<Leaving> {
        match self.0.take() {
            Some(mut spare) => {
                spare.gather = gather;
                spare.tries = 0;
                spare
            }
            None => {
                let operation = Held::new(SendOperation::new(name), memory);
                Box::new(Leaving { gather, operation, copy: None, offered: 0, started: false, tries: 0 })
            }
        }
    }

    /// Gives the gather back. A guarded operation is released.
    fn put(&mut self, mut leaving: Box<Leaving>, things: usize) -> Gather {
        let gather = std::mem::take(&mut leaving.gather);
        if leaving.operation.is_plain() {
            self.0.keep(leaving, things);
        }
        gather
    }

    /// A connection has gone, and so many things are left, listeners among them.
    pub(super) fn give_back(&mut self, things: usize) {
        self.0.give_back(things);
    }
}

impl Leaving {
    /// What names the operation, if the system holds it.
    pub(super) fn in_flight(&self) -> Option<*const OVERLAPPED> {
        self.started.then(|| overlapped(&self.operation).cast_const())
    }

    /// Gives the system what is unsent. `planted`: what a guarded one reads is released before it.
    fn start(&mut self, name: Name, socket: &Socket, memory: &Memory, planted: bool) -> Result<(), i32> {
        self.operation.renew(SendOperation::new(name), memory);
        let most = if memory.is_guarded() { COPIED_MAX } else { BYTES_MAX };
        let slices = cut(self.gather.slices(), most);
        let mut buffers = [WSABUF { len: 0, buf: std::ptr::null_mut() }; SLICES_MAX];
        let mut used = 0;
        self.offered = slices.clone().map(<[u8]>::len).sum();
        self.copy = memory.copy(slices.clone());
        if let Some(copy) = &mut self.copy {
            // A cut has no more bytes than a length of 32 bits can say.
            buffers = [buffer(copy.bytes()); SLICES_MAX];
            used = 1;
            if planted {
                copy.shut_early();
            }
        } else {
            for (place, slice) in buffers.iter_mut().zip(slices) {
                *place = buffer(slice);
                used += 1;
            }
        }
        let buffers = buffers.get(..used).unwrap_or_default();
        // SAFETY: the held operation and the bytes of the gather (or their copy) belong to this boxed send, which neither moves
        // nor changes them before `send_completed` (contract c); draining or leaking covers the end of the port (g).
        unsafe { winsock::send(socket, buffers, &self.operation) }
    }
}

fn buffer(slice: &[u8]) -> WSABUF {
    WSABUF { len: u32::try_from(slice.len()).unwrap_or(u32::MAX), buf: slice.as_ptr().cast_mut() }
}

/// The first slices, as many as one operation takes, and of them the first `most` bytes.
fn cut<'a>(slices: impl Iterator<Item = &'a [u8]> + Clone, most: usize) -> impl Iterator<Item = &'a [u8]> + Clone {
    let cut = move |left: &mut usize, slice: &'a [u8]| {
        let slice = slice.get(..*left).unwrap_or(slice);
        *left -= slice.len();
        (!slice.is_empty()).then_some(slice)
    };
    slices.take(SLICES_MAX).scan(most, cut)
}

impl Table {
    /// Starts a send on a connection that has none.
    pub(super) fn start_send(&mut self, name: Name, gather: Gather) {
        let Table { things, spare_sends, memory, .. } = self;
        let Some(Thing::Connection(connection)) = things.get_mut(name) else { return };
        let empty = gather.is_empty();
        connection.sending = Sending::Leaving(spare_sends.take(name, gather, memory));
        if empty {
            self.finish_send(name, None);
        } else {
            self.continue_send(name);
        }
    }

    /// Gives the system what has not left of the send.
    pub(super) fn continue_send(&mut self, name: Name) {
        let Table { things, faults, memory, .. } = self;
        let Some(Thing::Connection(connection)) = things.get_mut(name) else { return };
        let Sending::Leaving(leaving) = &mut connection.sending else { return };
        if leaving.started {
            return;
        }
        let started = match faults.at_call(FaultPoint::Send) {
            Some(code) => Err(code),
            None => leaving.start(name, &connection.socket, memory, faults.releases_early(FaultPoint::Send)),
        };
        match started {
            Ok(()) => {
                leaving.started = true;
                self.in_flight += 1;
            }
            Err(code) if codes::is_transient(code) && leaving.tries < TRIES_MAX => {
                leaving.tries += 1;
                self.retry_later(name);
            }
            Err(code) => self.finish_send(name, Some(OsError::from_code(Operation::Send, code))),
        }
    }

    /// The packet of a send.
    pub(super) fn send_completed(&mut self, name: Name, failure: Option<i32>, bytes: usize) {
        let failure = failure.or_else(|| self.faults.at_result(FaultPoint::Send));
        let Some(connection) = self.connection(name) else { return self.late() };
        let stops = matches!(connection.phase, Phase::Aborting);
        let Sending::Leaving(leaving) = &mut connection.sending else { return self.late() };
        if !std::mem::take(&mut leaving.started) {
            return self.late();
        }
        leaving.copy = None;
        let (bytes, offered) = (bytes.min(leaving.offered), leaving.offered);
        let error = |code| Some(OsError::from_code(Operation::Send, code));
        let next = match failure {
            Some(code) => Next::End(error(code)),
            None => {
                leaving.gather.advance(bytes);
                leaving.tries = 0;
                match (leaving.gather.is_empty(), bytes) {
                    (true, _) => Next::End(None),
                    // A stream takes something or fails; trying for ever would spin.
                    (false, 0) => Next::End(error(codes::BROKEN_PIPE)),
                    (false, _) if stops => Next::End(Some(cancelled(Operation::Send))),
                    (false, _) => Next::GoOn,
                }
            }
        };
        self.in_flight -= 1;
        if failure.is_none() {
            self.counters.sent_bytes += bytes as u64;
            self.counters.short_sends += u64::from(bytes < offered);
        }
        match next {
            Next::GoOn => self.continue_send(name),
            Next::End(error) => self.finish_send(name, error),
        }
    }

    /// The send has ended; what waited behind it follows.
    pub(super) fn finish_send(&mut self, name: Name, error: Option<OsError>) {
        let Table { things, spare_sends, .. } = self;
        let users = things.len();
        let Some(Thing::Connection(connection)) = things.get_mut(name) else { return };
        let gather = match std::mem::replace(&mut connection.sending, Sending::Left) {
            Sending::Leaving(leaving) => spare_sends.put(leaving, users),
            settled => {
                connection.sending = settled;
                return;
            }
        };
        shut_if_requested(connection);
        self.pending.push_back(Pending::Sent(name, gather, error));
        if let Some(error) = error {
            self.note_memory_fault(error);
        }
        self.settle_ending(name);
    }

    /// A send that the system does not hold ends as cancelled.
    pub(super) fn end_waiting_send(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else { return };
        if matches!(&connection.sending, Sending::Leaving(leaving) if !leaving.started) {
            self.finish_send(name, Some(cancelled(Operation::Send)));
        }
    }
}

/// How a send goes on.
enum Next {
    End(Option<OsError>),
    GoOn,
}
