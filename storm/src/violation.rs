//! What must not happen, by name.

use std::fmt;
use std::time::Duration;

use pogu::CauseKind;

use crate::message::{Kind, Stamp};

/// What was broken. A storm reports the first.
#[derive(Clone, PartialEq, Debug)]
pub enum Violation {
    /// A packet that an honest side sent came as something else.
    Altered(Whereabouts),
    /// A packet came twice.
    Doubled(Whereabouts),
    /// A packet came before one that was sent earlier on the same way.
    OutOfOrder(Whereabouts),
    /// A packet came to somebody whom it was not for.
    Misdirected(Whereabouts),
    /// A packet came that nobody has sent there.
    Unsent(Whereabouts),
    /// A connection lives on, and a packet that was accepted for it has not come.
    Lost(Whereabouts),
    /// A stream was finished in good order, and something that was accepted for it before has not come.
    CutOff(Whereabouts),
    /// An acknowledged member did not get a later broadcast, though others did.
    Missed(Whereabouts),
    /// A broadcast reached a session that was not, or no longer, a member.
    NoMember(Whereabouts),
    /// Two members of a room saw its broadcasts in different orders.
    TwoOrders(Whereabouts),
    /// A call of a session that had ended.
    AfterTheEnd(Whereabouts),
    /// A session that went without `on_disconnected`.
    Untold(Whereabouts),
    /// A closure ran in another session than the one that it was posted to.
    WrongVisit(Whereabouts),
    /// The state of a room was told of a join or an end of membership that was none, or was not told of one.
    WrongMembers(String),
    /// A timer fired early, late, out of turn, or though it was not pending; or a job ran early or late.
    Untimely(String),
    /// A job ran though it was not its turn, or twice, or its answer came twice, or out of turn, or to another.
    WrongJob(String),
    /// A packet waited for company for longer than its window, by so much.
    Late(Duration, Whereabouts),
    /// A session ended for something that did not happen.
    WrongCause(CauseKind, Whereabouts),
    /// The engine said of something what cannot be.
    WrongOutcome(String),
    /// A counter of the engine and what was seen differ.
    Miscounted {
        /// Whose counter, and which.
        what: String,
        /// What the engine has counted.
        counted: u64,
        /// The least that it may be.
        least: u64,
        /// The most that it may be.
        most: u64,
    },
    /// The books of the simulated kernel do not balance.
    Imbalance(String),
    /// More is under way from a session than its limits allow.
    Unbounded(String),
    /// After the faults were over, not everything came to its end in time.
    Stuck(String),
    /// When everything was over, something was left.
    LeftOver(String),
    /// A core could not be started or dispatched.
    Engine(String),
    /// Something panicked.
    Panicked(String),
}

impl Violation {
    /// One word or two, for tables.
    pub fn name(&self) -> &'static str {
        match self {
            Violation::Altered(_) => "altered",
            Violation::Doubled(_) => "doubled",
            Violation::OutOfOrder(_) => "out of order",
            Violation::Misdirected(_) => "misdirected",
            Violation::Unsent(_) => "unsent",
            Violation::Lost(_) => "lost",
            Violation::CutOff(_) => "cut off",
            Violation::Missed(_) => "missed",
            Violation::NoMember(_) => "no member",
            Violation::TwoOrders(_) => "two orders",
            Violation::AfterTheEnd(_) => "after the end",
            Violation::Untold(_) => "untold",
            Violation::WrongVisit(_) => "wrong visit",
            Violation::WrongMembers(_) => "wrong members",
            Violation::Untimely(_) => "untimely",
            Violation::WrongJob(_) => "wrong job",
            Violation::Late(..) => "late",
            Violation::WrongCause(..) => "wrong cause",
            Violation::WrongOutcome(_) => "wrong outcome",
            Violation::Miscounted { .. } => "miscounted",
            Violation::Imbalance(_) => "imbalance",
            Violation::Unbounded(_) => "unbounded",
            Violation::Stuck(_) => "stuck",
            Violation::LeftOver(_) => "left over",
            Violation::Engine(_) => "engine",
            Violation::Panicked(_) => "panicked",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Violation::WrongCause(kind, at) => write!(f, ": {} at {at}", kind.label()),
            Violation::Miscounted { what, counted, least, most } if least == most => {
                write!(f, ": {what} is {counted}, and {least} were seen")
            }
            Violation::Miscounted { what, counted, least, most } => {
                write!(f, ": {what} is {counted}, and {least} to {most} were seen")
            }
            Violation::Late(by, at) => write!(f, " by {by:?} at {at}"),
            Violation::WrongOutcome(what)
            | Violation::WrongMembers(what)
            | Violation::Untimely(what)
            | Violation::WrongJob(what)
            | Violation::Imbalance(what)
            | Violation::Unbounded(what)
            | Violation::Stuck(what)
            | Violation::LeftOver(what)
            | Violation::Engine(what)
            | Violation::Panicked(what) => write!(f, ": {what}"),
            Violation::Altered(at)
            | Violation::Doubled(at)
            | Violation::OutOfOrder(at)
            | Violation::Misdirected(at)
            | Violation::Unsent(at)
            | Violation::Lost(at)
            | Violation::CutOff(at)
            | Violation::Missed(at)
            | Violation::NoMember(at)
            | Violation::TwoOrders(at)
            | Violation::AfterTheEnd(at)
            | Violation::Untold(at)
            | Violation::WrongVisit(at) => write!(f, " at {at}"),
        }
    }
}

/// A side of a connection, by the order in which they were made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    /// A session of a server service.
    Host(usize),
    /// A session of a client service.
    Guest(usize),
}

/// Where something was seen, and what it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Whereabouts {
    /// Who saw it.
    pub side: Side,
    /// What was said, if it could be read.
    pub said: Option<(Kind, Stamp, u32)>,
}

impl fmt::Display for Whereabouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.side {
            Side::Host(host) => write!(f, "host {host}")?,
            Side::Guest(guest) => write!(f, "guest {guest}")?,
        }
        let Some((kind, stamp, argument)) = self.said else { return Ok(()) };
        let Stamp { number, incarnation, sequence } = stamp;
        write!(f, ", {kind:?} {argument} of number {number}.{incarnation}, sequence {sequence}")
    }
}
