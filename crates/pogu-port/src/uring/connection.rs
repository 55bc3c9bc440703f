//! One connection: its socket and the state of each of its two directions.
//!
//! What the user wants of the receiving direction ([`Receive`]) and what the kernel does about it ([`Arm`]) are two things,
//! because the kernel answers later: a pause is over only when the operation has come back, and bytes may come before
//! that. The changes are in [`submit`](super::submit) (what a call does), [`receive`](super::receive) and
//! [`send`](super::send) (what a completion does), and [`due`](super::due) (what is to be delivered next).

use rustix::io::Errno;
use socket2::{SockAddr, Socket};

use super::send::SendOperation;
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
    /// A receive was armed before: what is to come may be there already.
    pub(super) armed_before: bool,
    /// The step of the form that it was armed with last.
    pub(super) armed_step: u8,
    pub(super) ended: Ended,
    pub(super) sending: Sending,
    pub(super) shut: Shut,
    /// The socket is known to [`Writable`](super::writable::Writable).
    pub(super) watched: bool,
    /// True exactly while the name stands in one of the table's lists of what is due.
    pub(super) queued: bool,
    pub(super) kept: Kept,
    /// The turn in which something was received last, as far as that was looked at.
    pub(super) heard_in: u32,
    budget: Budget,
}

/// The life of a connection.
pub(super) enum Phase {
    /// The connect is in flight.
    Connecting(Box<Connecting>),
    /// Everything may be submitted.
    Open,
    /// Receives nothing more; waits for the send in flight.
    Closing,
    /// Waits for what was cancelled.
    Aborting,
    /// Waits for what was cancelled; the rest of both directions leaves with the stream.
    Detaching,
}

/// A connect in flight: it owns its address.
pub(super) struct Connecting {
    pub(super) address: Held<SockAddr>,
    pub(super) given_up: GivenUp,
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
    /// `owed` confirmations of a pause are due when the operation has come back; nothing is delivered before them.
    /// `resume`: `receive` was called meanwhile.
    Pausing {
        owed: u16,
        resume: bool,
    },
    /// `PeerFinished` was delivered.
    Finished,
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

/// The end of the incoming stream as far as the kernel told; delivered when what came before it has been consumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    No,
    Finished,
    Failed(Errno),
}

/// The sending direction.
pub(super) enum Sending {
    Idle,
    /// In flight.
    Leaving(Box<SendOperation>),
    /// In flight for its owner, but in nobody's hands: waits until the socket takes more.
    Stalled(Box<SendOperation>),
    /// `Sent` is due; until then the send counts as in flight.
    Left(Box<SendOperation>),
    /// Was in flight when the connection was detached: what has not left goes along with the stream.
    GoesAlong(Box<SendOperation>),
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
#[derive(Clone, Copy, Default)]
struct Budget {
    turn: u32,
    used: u32,
}

impl Connection {
    pub(super) fn new(owner: Owner, socket: Socket, phase: Phase) -> Connection {
        Connection {
            owner,
            socket,
            phase,
            receive: Receive::Off,
            arm: Arm::Idle,
            armed_before: false,
            armed_step: 0,
            ended: Ended::No,
            sending: Sending::Idle,
            shut: Shut::No,
            watched: false,
            queued: false,
            kept: Kept::default(),
            heard_in: 0,
            budget: Budget::default(),
        }
    }

    /// The incoming stream has ended, which what is kept has to be looked at for once more.
    pub(super) fn end(&mut self, ended: Ended) {
        self.ended = ended;
        self.kept.wake();
    }

    /// True exactly when the kernel holds no receive of this connection.
    pub(super) fn receive_is_back(&self) -> bool {
        matches!(self.arm, Arm::Idle | Arm::Starved)
    }

    /// True exactly while a connect is in flight that nobody wants any more.
    pub(super) fn is_given_up(&self) -> bool {
        matches!(&self.phase, Phase::Connecting(connecting) if connecting.given_up != GivenUp::No)
    }

    /// True exactly when bytes or the end of the stream may be delivered.
    pub(super) fn delivers(&self) -> bool {
        matches!(self.phase, Phase::Open) && self.receive == Receive::On
    }

    /// True exactly while received bytes are for somebody.
    pub(super) fn keeps(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Detaching)
    }

    /// Bytes that may still be lent in `turn`, of `most` in all.
    pub(super) fn budget(&self, turn: u32, most: u32) -> usize {
        let used = if self.budget.turn == turn { self.budget.used } else { 0 };
        most.saturating_sub(used) as usize
    }

    /// Takes `bytes` from the budget of `turn`.
    pub(super) fn charge(&mut self, turn: u32, bytes: usize) {
        let used = if self.budget.turn == turn { self.budget.used } else { 0 };
        let used = used.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.budget = Budget { turn, used };
    }

    /// Nothing more is lent in `turn`: the receiver has had enough.
    pub(super) fn charge_all(&mut self, turn: u32) {
        self.budget = Budget { turn, used: u32::MAX };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Connection>() <= 80, "{} bytes", size_of::<Connection>());
    }

    #[test]
    fn the_budget_is_one_of_each_turn() {
        let (socket, _) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let socket = Socket::from(std::os::fd::OwnedFd::from(socket));
        let mut connection = Connection::new(Owner(0), socket, Phase::Open);
        connection.charge(7, 60);
        assert_eq!(connection.budget(7, 100), 40);
        connection.charge(7, 60);
        assert_eq!(connection.budget(7, 100), 0);
        assert_eq!(connection.budget(8, 100), 100);
        connection.charge_all(8);
        assert_eq!(connection.budget(8, 100), 0);
    }
}
