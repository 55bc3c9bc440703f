//! One connection: its socket and the state of each of its two directions.
//!
//! What the user wants of the receiving direction ([`Receive`]) and what the system does about it ([`Arm`]) are two things: a
//! pause leaves the receive of no bytes in flight, for all that it can do is to say that there is something. The changes are
//! in [`submit`](super::submit) (what a call does), [`receive`](super::receive) and [`send`](super::send) (what a packet does),
//! and [`delivery`](super::delivery) (what a turn does).

use socket2::Socket;
use windows_sys::Win32::System::IO::OVERLAPPED;

use super::operation::{ConnectOperation, ReceiveOperation, overlapped};
use super::send::Leaving;
use crate::error::OsError;
use crate::identity::Owner;
use crate::kept::Kept;
use crate::memory::Held;

/// See the [module](self).
pub(super) struct Connection {
    pub(super) owner: Owner,
    pub(super) socket: Socket,
    pub(super) phase: Phase,
    pub(super) receive: Receive,
    pub(super) arm: Arm,
    /// What the receive of no bytes failed with: told when nothing is there to be received before it.
    pub(super) trouble: Option<i32>,
    pub(super) sending: Sending,
    pub(super) shut: Shut,
    /// True exactly while the name stands in the table's list of leftovers.
    pub(super) left_over: bool,
    /// True exactly while the name stands in the table's list of those to be read.
    pub(super) listed: bool,
    /// The end of the incoming stream, if it waits behind what is kept.
    pub(super) ended: Ended,
    pub(super) kept: Kept,
    /// Made with the first receive.
    pub(super) operation: Option<Held<ReceiveOperation>>,
}

/// The life of a connection.
pub(super) enum Phase {
    /// The connect is in flight.
    Connecting { operation: Held<ConnectOperation>, given_up: GivenUp },
    /// Everything may be submitted.
    Open,
    /// Receives nothing more; waits for the send in flight, and for what was cancelled.
    Closing,
    /// Waits for what was cancelled.
    Aborting,
    /// Nothing is in flight, and `Closed` is on its way to the owner.
    Ending { aborted: bool },
}

/// Whether a connect is still wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum GivenUp {
    No,
    Closed,
    Aborted,
}

/// The receiving direction as its user wants it.
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

/// What the system does about the receiving direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arm {
    /// Nothing, and nothing is known to be there.
    Off,
    /// The receive of no bytes is in flight.
    Armed,
    /// It has completed, and no read has found the end of what is there.
    Ready,
}

/// The end of the incoming stream as far as the system told; delivered when what came before it has been consumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    No,
    Finished,
    /// With this code.
    Failed(i32),
}

/// The sending direction.
pub(super) enum Sending {
    Idle,
    /// In flight: owns what has not left.
    Leaving(Box<Leaving>),
    /// `Sent` is on its way to the owner; until then the send counts as in flight.
    Left,
}

impl Sending {
    /// What names the operation that the system holds.
    fn in_flight(&self) -> Option<*const OVERLAPPED> {
        match self {
            Sending::Leaving(leaving) => leaving.in_flight(),
            Sending::Idle | Sending::Left => None,
        }
    }
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
            phase,
            receive: Receive::Off,
            arm: Arm::Off,
            trouble: None,
            sending: Sending::Idle,
            shut: Shut::No,
            left_over: false,
            listed: false,
            ended: Ended::No,
            kept: Kept::default(),
            operation: None,
        }
    }

    /// True exactly when an abort has nothing to do any more.
    pub(super) fn is_aborted(&self) -> bool {
        match self.phase {
            Phase::Connecting { given_up, .. } => given_up == GivenUp::Aborted,
            Phase::Aborting | Phase::Ending { aborted: true } => true,
            Phase::Open | Phase::Closing | Phase::Ending { aborted: false } => false,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// True exactly while the system holds an operation of either direction.
    pub(super) fn is_in_flight(&self) -> bool {
        self.arm == Arm::Armed || matches!(self.sending, Sending::Leaving(_))
    }

    /// Names what the system holds and is to give back.
    pub(super) fn asks_back(&self, cancel: &mut impl FnMut(&Socket, *const OVERLAPPED)) {
        let (receive, send) = match &self.phase {
            Phase::Connecting { given_up: GivenUp::No, .. } | Phase::Open | Phase::Ending { .. } => return,
            Phase::Connecting { operation, .. } => return cancel(&self.socket, overlapped(operation)),
            // What is leaving may leave.
            Phase::Closing => (&self.operation, None),
            Phase::Aborting => (&self.operation, self.sending.in_flight()),
        };
        if let Some(operation) = receive.as_ref().filter(|_| self.arm == Arm::Armed) {
            cancel(&self.socket, overlapped(operation));
        }
        if let Some(operation) = send {
            cancel(&self.socket, operation);
        }
    }

    /// True exactly while more may come.
    pub(super) fn awaits_bytes(&self) -> bool {
        let over = matches!(self.receive, Receive::Finished | Receive::Failed(_)) || self.ended != Ended::No;
        self.is_open() && !over
    }

    /// True exactly when bytes are to be received. `kept_max`: bytes behind which nothing is.
    pub(super) fn wants_bytes(&self, kept_max: usize) -> bool {
        self.delivers() && self.ended == Ended::No && self.kept.len() < kept_max
    }

    /// True exactly when bytes or the end of the stream may be delivered.
    pub(super) fn delivers(&self) -> bool {
        self.is_open() && self.receive == Receive::On
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
