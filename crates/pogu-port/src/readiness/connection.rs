//! One connection: its socket and the state of each of its two directions.
//!
//! The directions are independent, and so are their states: [`Receive`] and [`Sending`] are enums whose variants own
//! what is valid in them, [`Phase`] is the life of the connection as a whole. The changes between them are in
//! [`table`](super::table) (what a submit call does) and [`delivery`](super::delivery) (what a turn does).

use std::io::IoSlice;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use socket2::Socket;

use super::poll::Interest;
use crate::codes;
use crate::counters::Counters;
use crate::error::{Operation, OsError};
use crate::faults::{FaultPoint, Faults};
use crate::gather::Gather;
use crate::identity::Owner;
use crate::kept::Kept;
use crate::memory::Memory;

/// Slices that one system call is given. More do not make it faster, and the array lives on the stack.
const SLICES_MAX: usize = 64;

/// System calls that one send may take in a row; afterwards others have their turn. Only a peer that reads as fast as we
/// write gets there.
const SENDS_IN_A_ROW_MAX: usize = 32;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) owner: Owner,
    pub(super) socket: Socket,
    /// What the poller reports of the socket now.
    pub(super) armed: Interest,
    pub(super) phase: Phase,
    pub(super) receive: Receive,
    pub(super) sending: Sending,
    pub(super) shut: Shut,
    /// True exactly while the name stands in the table's list of leftovers.
    pub(super) left_over: bool,
    /// The end of the incoming stream, if it waits behind what is kept.
    pub(super) ended: Ended,
    pub(super) kept: Kept,
}

/// The life of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Waits for the handshake; once it is over (`settled`), `Connected` is on its way to the owner.
    Connecting { settled: bool },
    /// Everything may be submitted.
    Open,
    /// Receives nothing more; waits for the send in flight.
    Closing,
    /// `Closed` is on its way to the owner.
    Ending { aborted: bool },
    /// `Detached` is on its way to the owner.
    Detaching,
}

/// The receiving direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Receive {
    Off,
    On,
    /// `owed` confirmations of a pause are on their way; nothing is delivered before them. `resume`: `receive` was called
    /// meanwhile.
    Pausing {
        owed: u16,
        resume: bool,
    },
    /// `PeerFinished` was delivered.
    Finished,
    /// It failed, and would fail again.
    Failed(OsError),
}

/// The end of the incoming stream as far as the kernel told; delivered when what came before it has been consumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    No,
    Finished,
    /// With this `errno`.
    Failed(i32),
}

/// The sending direction.
#[derive(Debug)]
pub(super) enum Sending {
    Idle,
    /// In flight: what has not left yet. Waits until the socket takes more.
    Leaving(Gather),
    /// `Sent` is on its way to the owner; until then the send counts as in flight.
    Left,
}

/// Whether the write side is shut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shut {
    No,
    /// As soon as the send in flight has left.
    Requested,
    Done,
}

impl Connection {
    pub(super) fn new(owner: Owner, socket: Socket, phase: Phase) -> Connection {
        Connection {
            owner,
            socket,
            armed: Interest::NONE,
            phase,
            receive: Receive::Off,
            sending: Sending::Idle,
            shut: Shut::No,
            left_over: false,
            ended: Ended::No,
            kept: Kept::default(),
        }
    }

    /// What the poller must report for the connection to make progress. `kept_max`: bytes behind which nothing is received.
    pub(super) fn wanted(&self, kept_max: usize) -> Interest {
        let leaving = matches!(self.sending, Sending::Leaving(_));
        match self.phase {
            Phase::Connecting { settled } => Interest { read: false, write: !settled },
            Phase::Open => {
                let goes_on = self.ended == Ended::No && self.kept.len() < kept_max;
                Interest { read: goes_on && self.receive_is_open(), write: leaving }
            }
            Phase::Closing => Interest { read: false, write: leaving },
            Phase::Ending { .. } | Phase::Detaching => Interest::NONE,
        }
    }

    /// True exactly when bytes or the end of the stream may be delivered.
    pub(super) fn delivers(&self) -> bool {
        self.phase == Phase::Open && self.receive == Receive::On
    }

    /// True exactly when something is to be delivered before anything new is received.
    pub(super) fn has_leftovers(&self) -> bool {
        self.delivers() && (self.kept.is_due() || self.ended != Ended::No)
    }

    /// True exactly while a `receive` has not had its terminal completion, nor has one on its way.
    pub(super) fn receive_is_open(&self) -> bool {
        matches!(self.receive, Receive::On | Receive::Pausing { resume: true, .. })
    }
}

/// What an attempt to receive found.
pub(super) enum Arrival {
    Bytes(usize),
    End,
    Nothing,
    Failed(OsError),
}

/// Receives what is there into `space`, which is not empty. Never blocks, whatever the mode of the socket.
/// An interrupted call found nothing: if something is there, the poller reports it again.
pub(super) fn receive_now(socket: &Socket, space: &mut [u8], faults: &Faults) -> Arrival {
    let called = match faults.at_call(FaultPoint::Receive) {
        Some(code) => Err(Errno::from_raw_os_error(code)),
        None => rustix::net::recv(socket, &mut *space, RecvFlags::DONTWAIT).map(|(_, count)| count.min(space.len())),
    };
    let answered = match called {
        Ok(count @ 1..) => return Arrival::Bytes(count),
        nothing => faults.at_result(FaultPoint::Receive).map_or(nothing, |code| Err(Errno::from_raw_os_error(code))),
    };
    match answered {
        Ok(_) => Arrival::End,
        Err(errno) if would_block(errno) || errno == Errno::INTR => Arrival::Nothing,
        Err(errno) => Arrival::Failed(OsError::from_code(Operation::Receive, errno.raw_os_error())),
    }
}

/// How far a send came.
pub(super) enum Progress {
    Left,
    Waits,
    Failed(OsError),
}

/// Sends as much of `gather` as the socket takes. Never blocks, whatever the mode of the socket.
pub(super) fn send_now(
    socket: &Socket,
    gather: &mut Gather,
    counters: &mut Counters,
    faults: &Faults,
    memory: &Memory,
) -> Progress {
    for _ in 0..SENDS_IN_A_ROW_MAX {
        if gather.is_empty() {
            return Progress::Left;
        }
        let (taken, offered) = match faults.at_call(FaultPoint::Send) {
            Some(code) => (Err(Errno::from_raw_os_error(code)), gather.len()),
            None => send_once(socket, gather, memory, faults.releases_early(FaultPoint::Send)),
        };
        let taken = faults.at_result(FaultPoint::Send).map_or(taken, |code| Err(Errno::from_raw_os_error(code)));
        let taken = match taken {
            Ok(taken) => taken,
            Err(Errno::INTR) => continue,
            Err(errno) if would_block(errno) => 0,
            Err(errno) => return Progress::Failed(OsError::from_code(Operation::Send, errno.raw_os_error())),
        };
        gather.advance(taken);
        counters.sent_bytes += taken as u64;
        if taken < offered {
            counters.short_sends += 1;
            return Progress::Waits;
        }
    }
    if gather.is_empty() { Progress::Left } else { Progress::Waits }
}

/// One system call; also tells how many bytes it was offered. `planted`: what a guarded one reads is released before it.
fn send_once(socket: &Socket, gather: &Gather, memory: &Memory, planted: bool) -> (rustix::io::Result<usize>, usize) {
    if let Some(mut copy) = memory.copy(gather.slices().take(SLICES_MAX)) {
        let (start, length) = (copy.bytes().as_ptr(), copy.bytes().len());
        if planted {
            copy.shut_early();
        }
        // SAFETY: the block lives until the end of the call, and nobody writes to it. A planted release leaves pages that only
        // the kernel is told to read, which answers that it cannot.
        let slices = [IoSlice::new(unsafe { std::slice::from_raw_parts(start, length) })];
        let sent = rustix::net::sendmsg(socket, &slices, &mut SendAncillaryBuffer::default(), send_flags());
        return (sent, length);
    }
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let mut used = 0;
    let mut offered = 0;
    for (place, slice) in slices.iter_mut().zip(gather.slices()) {
        *place = IoSlice::new(slice);
        used += 1;
        offered += slice.len();
    }
    let slices = slices.get(..used).unwrap_or_default();
    (rustix::net::sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), send_flags()), offered)
}

/// No signal for a connection that has ended. Apple's systems have a socket option for that instead, which is set where
/// the socket is made.
fn send_flags() -> SendFlags {
    #[cfg(not(target_vendor = "apple"))]
    return SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    #[cfg(target_vendor = "apple")]
    return SendFlags::DONTWAIT;
}

fn would_block(errno: Errno) -> bool {
    codes::WOULD_BLOCK.contains(&errno.raw_os_error())
}
