//! The sending direction: one operation per connection, which owns its gather until its completion.
//!
//! ```text
//!   Connection --owns--> SendOperation --owns--> Gather --owns--> the bytes          <- the kernel reads these
//!                                      \-owns--> Message: header -> slices -^        <- and, for several slices, these
//! ```
//!
//! A send never waits in the kernel: it takes what the socket has room for, and completes. If that is less than it was
//! offered, the operation stalls until the socket takes more ([`writable`](super::writable)), and continues with the rest,
//! under the same name, so that its owner sees one `Sent`.
//!
//! Guarded, the kernel is offered a copy of the bytes instead, which is released with the completion.

use std::os::fd::{AsRawFd, RawFd};

use io_uring::{opcode, squeue, types};
use rustix::io::Errno;
use socket2::Socket;

use super::connection::{Connection, Phase, Sending, Shut};
use super::table::{Table, cancelled};
use super::token::Token;
use crate::error::{Operation, OsError};
use crate::faults::FaultPoint;
use crate::gather::Gather;
use crate::identity::Name;
use crate::memory::{Block, Held, Memory};
use crate::spares::Spares;

/// Slices of one submission. More do not make it faster.
const SLICES_MAX: usize = 64;

/// Messages kept for the next sends at most: a turn seldom has more several-slice sends in flight.
const SPARE_MESSAGES_MAX: usize = 64;

/// Send operations kept for the next sends at most: a broadcast starts hundreds in one turn, and an allocator that gets hundreds
/// back at once spends more on each than the driver does. 1,024 are some 200 KiB; more are freed, and so are those of connections
/// that have gone.
const SPARE_OPERATIONS_MAX: usize = 1024;

/// Bytes of one submission in guarded mode: what is not taken is copied again.
const COPIED_MAX: usize = 256 * 1024;

/// No signal for a connection that has ended, and no wait in the kernel: see [`writable`](super::writable).
const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;

/// A send in flight, or one whose `Sent` is due.
pub(super) struct SendOperation {
    pub(super) gather: Gather,
    pub(super) error: Option<OsError>,
    /// Bytes of the submission that is in flight.
    offered: usize,
    message: Option<Held<Message>>,
    /// What the kernel reads in guarded mode.
    copy: Option<Block>,
}

/// What sendmsg(2) is given for several slices.
struct Message {
    header: libc::msghdr,
    slices: [libc::iovec; SLICES_MAX],
}

impl Message {
    fn new() -> Message {
        let slice = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // SAFETY: all-zero is a valid msghdr: null pointers and zero lengths (its padding forbids a literal).
        let header = unsafe { std::mem::zeroed() };
        Message { header, slices: [slice; SLICES_MAX] }
    }

    /// Points to the slices, of which there are at most `SLICES_MAX`; tells how many bytes they have.
    fn point_to<'a>(&mut self, slices: impl Iterator<Item = &'a [u8]>) -> usize {
        let mut used = 0;
        let mut bytes = 0;
        for (place, slice) in self.slices.iter_mut().zip(slices) {
            *place = libc::iovec { iov_base: slice.as_ptr().cast_mut().cast(), iov_len: slice.len() };
            used += 1;
            bytes += slice.len();
        }
        self.header.msg_iov = self.slices.as_mut_ptr();
        self.header.msg_iovlen = used;
        bytes
    }
}

/// Messages that no operation uses now.
pub(super) struct SpareMessages(Spares<Held<Message>>);

impl Default for SpareMessages {
    fn default() -> SpareMessages {
        SpareMessages(Spares::at_most(SPARE_MESSAGES_MAX))
    }
}

impl SpareMessages {
    fn take(&mut self, memory: &Memory) -> Held<Message> {
        self.0.take().unwrap_or_else(|| Held::new(Message::new(), memory))
    }

    /// A guarded one is released.
    fn put(&mut self, message: Held<Message>, connections: usize) {
        if message.is_plain() {
            self.0.keep(message, connections);
        }
    }

    /// A connection has gone, and so many are left.
    pub(super) fn give_back(&mut self, connections: usize) {
        self.0.give_back(connections);
    }
}

/// Operations that nothing uses now, as empty as new ones. In their boxes: those are what is kept.
pub(super) struct SpareOperations(Spares<Box<SendOperation>>);

impl Default for SpareOperations {
    fn default() -> SpareOperations {
        SpareOperations(Spares::at_most(SPARE_OPERATIONS_MAX))
    }
}

impl SpareOperations {
    fn take(&mut self, gather: Gather) -> Box<SendOperation> {
        match self.0.take() {
            Some(mut spare) => {
                spare.gather = gather;
                spare
            }
            None => Box::new(SendOperation { gather, error: None, offered: 0, message: None, copy: None }),
        }
    }

    /// Takes an operation apart that the kernel has given back: what has not left, and why.
    pub(super) fn take_apart(
        &mut self,
        mut operation: Box<SendOperation>,
        connections: usize,
    ) -> (Gather, Option<OsError>) {
        let SendOperation { gather, error, offered, message, copy } = &mut *operation;
        let (gather, error) = (std::mem::take(gather), error.take());
        *offered = 0;
        debug_assert!(message.is_none() && copy.is_none(), "a send that has left holds memory of a submission");
        if message.is_none() && copy.is_none() {
            self.0.keep(operation, connections);
        }
        (gather, error)
    }

    /// A connection has gone, and so many are left.
    pub(super) fn give_back(&mut self, connections: usize) {
        self.0.give_back(connections);
    }
}

impl SendOperation {
    /// The entry for what is unsent. Points into this operation.
    fn entry(&mut self, descriptor: RawFd, spare_messages: &mut SpareMessages, memory: &Memory) -> squeue::Entry {
        let descriptor = types::Fd(descriptor);
        let offered = cut(self.gather.slices(), if memory.is_guarded() { COPIED_MAX } else { usize::MAX });
        let (first, more) = (offered.clone().next().unwrap_or_default(), offered.clone().nth(1).is_some());
        self.copy = memory.copy(offered.clone());
        if !more {
            let length = i32::try_from(first.len()).unwrap_or(i32::MAX).unsigned_abs();
            self.offered = length as usize;
            let start = self.copy.as_ref().map_or(first.as_ptr(), |copy| copy.bytes().as_ptr());
            return opcode::Send::new(descriptor, start, length).flags(FLAGS).build();
        }
        let message = self.message.get_or_insert_with(|| spare_messages.take(memory));
        self.offered = match &self.copy {
            None => message.point_to(offered),
            Some(copy) => {
                let mut rest = copy.bytes();
                message.point_to(offered.map_while(|slice| rest.split_off(..slice.len())))
            }
        };
        opcode::SendMsg::new(descriptor, &raw const message.header).flags(FLAGS.unsigned_abs()).build()
    }

    /// Nothing is in flight: memory that is there for the length of one submission is released.
    fn release(&mut self, spare_messages: &mut SpareMessages, connections: usize) {
        self.copy = None;
        if let Some(message) = self.message.take() {
            spare_messages.put(message, connections);
        }
    }

    /// For tests of the guard: releases what the kernel is about to read.
    fn release_early(&mut self) {
        self.copy.iter_mut().for_each(Block::shut_early);
        self.message.iter_mut().for_each(Held::release_early);
    }

    /// Counts what the kernel took, and tells how it goes on.
    fn took(&mut self, result: i32) -> Next {
        let code = match usize::try_from(result) {
            // A stream socket takes something or fails; trying for ever would spin.
            Ok(0) => Errno::PIPE.raw_os_error(),
            Ok(count) => {
                self.gather.advance(count);
                return if self.gather.is_empty() {
                    Next::End
                } else if count < self.offered {
                    Next::Wait
                } else {
                    Next::Continue
                };
            }
            Err(_) if -result == Errno::AGAIN.raw_os_error() => return Next::Wait,
            Err(_) if -result == Errno::INTR.raw_os_error() => return Next::Continue,
            Err(_) => -result,
        };
        self.error = Some(OsError::from_code(Operation::Send, code));
        Next::End
    }
}

/// How a send goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    /// Everything has left, or it failed.
    End,
    /// There is more than one submission holds.
    Continue,
    /// The socket takes no more now.
    Wait,
}

impl Connection {
    /// True exactly while a send has not left.
    pub(super) fn is_sending(&self) -> bool {
        matches!(self.sending, Sending::Leaving(_) | Sending::Stalled(_))
    }
}

/// The first slices, as many as one submission takes, and of them the first `most` bytes.
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
        let Some(connection) = self.connections.get_mut(name) else { return };
        let operation = self.spare_operations.take(gather);
        if operation.gather.is_empty() {
            connection.sending = Sending::Left(operation);
            self.queue(name);
        } else {
            connection.sending = Sending::Leaving(operation);
            self.push_send(name);
        }
    }

    pub(super) fn push_send(&mut self, name: Name) {
        let Table { connections, ring, spare_messages, memory, .. } = self;
        let Some(connection) = connections.get_mut(name) else { return };
        let Sending::Leaving(operation) = &mut connection.sending else { return };
        let entry = operation.entry(connection.socket.as_raw_fd(), spare_messages, memory);
        // SAFETY: the entry points into the boxed operation and the memory of its gather, which are neither moved nor changed
        // before `send_completed` (contract c); draining or leaking covers the end of the port (contract g).
        unsafe { ring.push(entry.user_data(Token::send(name).encode())) };
        if ring.injector.faults.releases_early(FaultPoint::Send) {
            operation.release_early();
        }
        self.in_flight += 1;
    }

    /// The kernel answered a send.
    pub(super) fn send_completed(&mut self, name: Name, result: i32) {
        let connections = self.connections.len();
        let Some(connection) = self.connections.get_mut(name) else { return self.late() };
        let Sending::Leaving(operation) = &mut connection.sending else { return self.late() };
        self.in_flight -= 1;
        operation.release(&mut self.spare_messages, connections);
        let next = operation.took(result);
        self.counters.sent_bytes += u64::try_from(result).unwrap_or(0);
        self.counters.short_sends += u64::from(next == Next::Wait);
        let stops = matches!(connection.phase, Phase::Aborting | Phase::Detaching);
        match next {
            Next::Continue if !stops => return self.push_send(name),
            Next::Wait if !stops => return self.stall(name),
            Next::Continue | Next::Wait => operation.error = Some(cancelled(Operation::Send)),
            Next::End => {}
        }
        self.send_left(name);
    }

    /// Nothing more leaves of a send that the kernel has given back.
    pub(super) fn send_left(&mut self, name: Name) {
        let Some(connection) = self.connections.get_mut(name) else { return };
        let detaching = matches!(connection.phase, Phase::Detaching);
        connection.sending = match std::mem::replace(&mut connection.sending, Sending::Idle) {
            Sending::Leaving(operation) if detaching => Sending::GoesAlong(operation),
            Sending::Leaving(operation) => Sending::Left(operation),
            other => other,
        };
        self.queue(name);
    }
}

/// Shuts the write side if that is asked for; no send may be in flight. A failure means that the connection has ended,
/// which its own operations will report.
pub(super) fn shut_if_requested(shut: &mut Shut, socket: &Socket) {
    if *shut == Shut::Requested {
        let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Write);
        *shut = Shut::Done;
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::driver::Submit;
    use crate::uring::tests::if_allowed;
    use crate::uring::{Seed, Uring};
    use crate::{
        Completion, ConnectionId, Detached, DriverChoice, Operations, Owner, PortConfig, Selection, StreamOptions,
    };

    /// A connection, and its peer.
    fn connect(table: &mut Table) -> (ConnectionId, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let ours = TcpStream::connect(listener.local_addr().expect("an address")).expect("connects");
        let (theirs, _) = listener.accept().expect("accepts");
        let stream = Detached::new(Socket::from(ours), None);
        let adopted = table.adopt(Owner(1), stream, &StreamOptions::default());
        (adopted.map_err(|refused| refused.error).expect("adopts"), theirs)
    }

    fn run_until(uring: &mut Uring, done: impl Fn(&Table) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !done(&uring.table) {
            assert!(Instant::now() < deadline, "stuck");
            let until = Some(uring.clock.now() + Duration::from_millis(20));
            let ignore = &mut |_: &mut Operations<'_>, _: Completion<'_, ()>| {};
            uring.take_turn(until, &|| true, ignore).expect("dispatches");
        }
    }

    #[test]
    fn what_the_sends_of_a_crowd_used_goes_with_it() {
        let chosen = if_allowed(Selection::choose(DriverChoice::Uring));
        let Some(features) = chosen.and_then(|selection| selection.features) else { return };
        // What is guarded is released instead.
        let config = PortConfig { guarded: false, ..PortConfig::default() };
        let mut uring = Seed::open(&config, features).and_then(Seed::start).expect("starts");
        let crowd: Vec<_> = (0..100).map(|_| connect(&mut uring.table)).collect();
        for (connection, _) in &crowd {
            let mut gather = Gather::new();
            gather.push_vec(vec![1; 5_000]);
            gather.push_shared(bytes::Bytes::from_static(&[2; 5_000]));
            uring.table.send(*connection, gather).map_err(|refused| refused.error).expect("sends");
        }
        let kept = |table: &Table| (table.spare_operations.0.len(), table.spare_messages.0.len());
        run_until(&mut uring, |table| table.counters.sent_bytes == 100 * 10_000 && kept(table).0 == 100);
        assert_eq!(kept(&uring.table), (100, SPARE_MESSAGES_MAX), "each may send again");
        for (connection, _) in &crowd {
            uring.table.close(*connection).expect("closes");
        }
        run_until(&mut uring, |table| table.connections.is_empty());
        assert_eq!(kept(&uring.table), (8, 8), "a few, for whoever comes next");
    }
}
