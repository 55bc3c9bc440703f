//! One connection: its socket and the state of each of its two directions, as in the readiness driver.

use super::failure::Failure;
use super::socket::StreamSocket;
use crate::counters::Counters;
use crate::error::{Operation, OsError};
use crate::gather::Gather;
use crate::identity::Owner;
use crate::kept::Kept;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) owner: Owner,
    pub(super) socket: Box<StreamSocket>,
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
    /// Waits for the answer; once there is one (`settled`), `Connected` is on its way to the owner.
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

/// The end of the incoming stream as far as the network told; delivered when what came before it has been consumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    No,
    Finished,
    Failed(OsError),
}

/// The sending direction.
#[derive(Debug)]
pub(super) enum Sending {
    Idle,
    /// In flight: what has not left yet. Waits until there is room.
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
    pub(super) fn new(owner: Owner, socket: Box<StreamSocket>, phase: Phase) -> Connection {
        Connection {
            owner,
            socket,
            phase,
            receive: Receive::Off,
            sending: Sending::Idle,
            shut: Shut::No,
            left_over: false,
            ended: Ended::No,
            kept: Kept::default(),
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

    /// True exactly when something new may be received: behind less than `kept_max` bytes.
    pub(super) fn reads(&self, kept_max: usize) -> bool {
        self.delivers() && self.ended == Ended::No && self.kept.len() < kept_max
    }

    /// True exactly while a `receive` has not had its terminal completion, nor has one on its way.
    pub(super) fn receive_is_open(&self) -> bool {
        matches!(self.receive, Receive::On | Receive::Pausing { resume: true, .. })
    }

    pub(super) fn shut_now(&mut self) {
        self.shut = Shut::Done;
        self.socket.shut();
    }
}

/// How far a send came.
pub(super) enum Progress {
    Left,
    Waits,
    Failed(OsError),
}

/// Sends as much of `gather` as there is room for.
pub(super) fn send_now(socket: &StreamSocket, gather: &mut Gather, counters: &mut Counters) -> Progress {
    if gather.is_empty() {
        return Progress::Left;
    }
    let taken = match socket.send(gather) {
        Ok(taken) => taken,
        Err(failure) => return Progress::Failed(failure.of(Operation::Send)),
    };
    gather.advance(taken);
    counters.sent_bytes += taken as u64;
    if gather.is_empty() {
        return Progress::Left;
    }
    counters.short_sends += 1;
    Progress::Waits
}

pub(super) fn cancelled(operation: Operation) -> OsError {
    Failure::Cancelled.of(operation)
}
