//! One connection: its socket and the state of each of its two directions, as in the uring driver.
//!
//! What the user wants of the receiving direction ([`Receive`]) and what the kernel does about it ([`Arm`]) are two things,
//! because the kernel may answer later: a pause is over only when the operation has come back, and bytes may come before that.

use super::failure::Failure;
use super::socket::StreamSocket;
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
    pub(super) arm: Arm,
    pub(super) owed: Owed,
    pub(super) sending: Sending,
    pub(super) shut: Shut,
    /// True exactly while the name stands in the table's list of leftovers.
    pub(super) left_over: bool,
    /// The end of the incoming stream, if it waits behind what is kept.
    pub(super) ended: Ended,
    pub(super) kept: Kept,
    budget: Budget,
}

/// The life of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// The connect is in flight.
    Connecting(GivenUp),
    /// `Connected` is on its way to the owner.
    Connected,
    /// Everything may be submitted.
    Open,
    /// Receives nothing more; waits for the send in flight.
    Closing,
    /// Waits for what was cancelled.
    Aborting,
    /// `Closed` is on its way to the owner.
    Ending { aborted: bool },
    /// Waits for what was cancelled; the rest of both directions leaves with the stream.
    Detaching,
    /// `Detached` is on its way to the owner.
    Leaving,
}

/// Whether a connect is still wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum GivenUp {
    No,
    Closed,
    Aborted,
}

/// What the user wants of the receiving direction.
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

/// What the kernel does about the receiving direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arm {
    Idle,
    /// Ended for want of a buffer; stands in the table's list.
    Starved,
    /// An operation is in flight.
    Armed,
    /// It is in flight, and its cancel too.
    Cancelling,
}

/// What the owner is told when the receive has come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Owed {
    /// Confirmations of a pause.
    pub(super) pauses: u16,
    /// That receiving was cancelled.
    pub(super) cancelled: bool,
}

/// The end of the incoming stream as far as the kernel told; delivered when what came before it has been consumed.
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
    /// In flight; the kernel holds the bytes.
    Leaving,
    /// `Sent` is on its way to the owner; until then the send counts as in flight.
    Left,
    /// Was in flight when the connection was detached: what has not left goes along with the stream.
    GoesAlong(Gather),
}

/// Whether the write side is shut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shut {
    No,
    /// As soon as the send in flight has left.
    Requested,
    Done,
}

/// Bytes lent in a turn.
#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    turn: u64,
    used: usize,
}

impl Connection {
    pub(super) fn new(owner: Owner, socket: Box<StreamSocket>, phase: Phase) -> Connection {
        Connection {
            owner,
            socket,
            phase,
            receive: Receive::Off,
            arm: Arm::Idle,
            owed: Owed::default(),
            sending: Sending::Idle,
            shut: Shut::No,
            left_over: false,
            ended: Ended::No,
            kept: Kept::default(),
            budget: Budget::default(),
        }
    }

    /// True exactly when bytes or the end of the stream may be delivered.
    pub(super) fn delivers(&self) -> bool {
        self.phase == Phase::Open && self.receive == Receive::On
    }

    /// True exactly while received bytes are for somebody.
    pub(super) fn keeps(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Detaching)
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

    /// True exactly when the kernel holds no receive of this connection.
    pub(super) fn receive_is_back(&self) -> bool {
        matches!(self.arm, Arm::Idle | Arm::Starved)
    }

    pub(super) fn shut_now(&mut self) {
        self.shut = Shut::Done;
        self.socket.shut();
    }

    /// Bytes that may still be lent in `turn`, of `most` in all.
    pub(super) fn budget(&self, turn: u64, most: usize) -> usize {
        let used = if self.budget.turn == turn { self.budget.used } else { 0 };
        most.saturating_sub(used)
    }

    /// Takes `bytes` from the budget of `turn`.
    pub(super) fn charge(&mut self, turn: u64, bytes: usize) {
        let used = if self.budget.turn == turn { self.budget.used } else { 0 };
        self.budget = Budget { turn, used: used.saturating_add(bytes) };
    }
}

pub(super) fn cancelled(operation: Operation) -> OsError {
    Failure::Cancelled.of(operation)
}
