//! Why a session ended, and whose fault it was.
//!
//! Every session ends with exactly one [`Cause`]: the first thing that made it end. Counters and logs count by
//! [`CauseKind`].

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use pogu_port::{OsError, OsErrorClass};
use pogu_wire::{ReadError, Violation};

/// Who is at fault, or who decided.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The peer closed, reset or misbehaved.
    Peer,
    /// A limit of ours was hit.
    Limit,
    /// The session's handler panicked or asked for it.
    Handler,
    /// The service is stopping.
    Service,
    /// The operating system failed.
    System,
}

/// Why a session ended.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The peer finished its stream in good order.
    PeerClosed,
    /// The peer, or the path to it, reset the connection.
    PeerReset(OsError),
    /// The peer broke the rules.
    PeerMisbehaved(Misbehaviour),
    /// A limit of ours was hit.
    LimitExceeded(LimitExceeded),
    /// The handler (or the factory, or a `Drop` of the session's type) panicked.
    HandlerPanicked,
    /// The handler asked for the end.
    HandlerAsked(Cow<'static, str>),
    /// The service's owner put the session out, for this reason.
    Kicked(Cow<'static, str>),
    /// The service is stopping.
    ServiceStopping,
    /// A client service could not reach its server.
    ConnectFailed(OsError),
    /// The name of the server could not be looked up, for this reason.
    Unresolved(Cow<'static, str>),
    /// The operating system failed.
    System(OsError),
}

/// What a peer did that it must not do: what was expected and what came.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Misbehaviour {
    /// A frame whose header no honest peer sends.
    Frame(Violation),
    /// A packet that could not be read.
    Packet {
        /// The packet's id.
        id: u16,
        /// What the reader found.
        error: ReadError,
    },
    /// Bytes that a layer between carrier and frames refused.
    Layer {
        /// What it expected and what came.
        what: Cow<'static, str>,
    },
    /// A packet that the handler refused.
    Refused {
        /// The packet's id.
        id: u16,
        /// What the handler expected and what came.
        what: Cow<'static, str>,
    },
}

/// The limits that can end a session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Limit {
    /// Nothing went over the connection in either direction for too long; milliseconds.
    IdleTimeout,
    /// A frame was begun and not finished in time; milliseconds.
    FrameTimeout,
    /// More bytes were queued to be sent than allowed; bytes.
    SendBytes,
    /// The oldest unsent byte waited too long; milliseconds.
    SendAge,
    /// A connection was not established in time; milliseconds.
    ConnectTimeout,
    /// Messages between workers piled up; messages.
    WorkerInbox,
    /// The first whole frame did not come in time; milliseconds.
    FirstFrameTimeout,
    /// A heartbeat was not answered in time; milliseconds.
    HeartbeatTimeout,
    /// More frames came at once than the rate allows; frames.
    MessageRate,
    /// More bytes came at once than the rate allows; bytes.
    ByteRate,
    /// Handlers charged more at once than the rate allows; units of the user's.
    CostRate,
}

/// Which limit, what was reached and what is allowed. The unit is the limit's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimitExceeded {
    /// Which.
    pub limit: Limit,
    /// What was reached.
    pub value: u64,
    /// What is allowed.
    pub maximum: u64,
}

/// A [`Cause`] without its particulars: what is counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
#[allow(missing_docs)] // the same names as in `Cause` and `Limit`
pub enum CauseKind {
    PeerClosed,
    PeerReset,
    PeerMisbehaved,
    IdleTimeout,
    FrameTimeout,
    SendBytes,
    SendAge,
    ConnectTimeout,
    WorkerInbox,
    HandlerPanicked,
    HandlerAsked,
    ServiceStopping,
    ConnectFailed,
    System,
    FirstFrameTimeout,
    HeartbeatTimeout,
    MessageRate,
    ByteRate,
    CostRate,
    Kicked,
    Unresolved,
}

impl CauseKind {
    /// All kinds, in the order in which they are counted.
    pub const ALL: [CauseKind; 21] = [
        CauseKind::PeerClosed,
        CauseKind::PeerReset,
        CauseKind::PeerMisbehaved,
        CauseKind::IdleTimeout,
        CauseKind::FrameTimeout,
        CauseKind::SendBytes,
        CauseKind::SendAge,
        CauseKind::ConnectTimeout,
        CauseKind::WorkerInbox,
        CauseKind::HandlerPanicked,
        CauseKind::HandlerAsked,
        CauseKind::ServiceStopping,
        CauseKind::ConnectFailed,
        CauseKind::System,
        CauseKind::FirstFrameTimeout,
        CauseKind::HeartbeatTimeout,
        CauseKind::MessageRate,
        CauseKind::ByteRate,
        CauseKind::CostRate,
        CauseKind::Kicked,
        CauseKind::Unresolved,
    ];

    /// Its place in [`CauseKind::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Who is at fault.
    pub fn fault(self) -> Fault {
        match self {
            CauseKind::PeerClosed | CauseKind::PeerReset | CauseKind::PeerMisbehaved => Fault::Peer,
            CauseKind::IdleTimeout
            | CauseKind::FrameTimeout
            | CauseKind::SendBytes
            | CauseKind::SendAge
            | CauseKind::ConnectTimeout
            | CauseKind::WorkerInbox
            | CauseKind::FirstFrameTimeout
            | CauseKind::HeartbeatTimeout
            | CauseKind::MessageRate
            | CauseKind::ByteRate
            | CauseKind::CostRate => Fault::Limit,
            CauseKind::HandlerPanicked | CauseKind::HandlerAsked => Fault::Handler,
            CauseKind::ServiceStopping | CauseKind::Kicked => Fault::Service,
            CauseKind::ConnectFailed | CauseKind::Unresolved | CauseKind::System => Fault::System,
        }
    }

    /// A few words for tables.
    pub fn label(self) -> &'static str {
        match self {
            CauseKind::PeerClosed => "peer closed",
            CauseKind::PeerReset => "peer reset",
            CauseKind::PeerMisbehaved => "peer misbehaved",
            CauseKind::IdleTimeout => "idle timeout",
            CauseKind::FrameTimeout => "frame timeout",
            CauseKind::SendBytes => "send queue bytes",
            CauseKind::SendAge => "send queue age",
            CauseKind::ConnectTimeout => "connect timeout",
            CauseKind::WorkerInbox => "worker inbox full",
            CauseKind::HandlerPanicked => "handler panicked",
            CauseKind::HandlerAsked => "handler asked",
            CauseKind::ServiceStopping => "service stopping",
            CauseKind::ConnectFailed => "connect failed",
            CauseKind::System => "system error",
            CauseKind::FirstFrameTimeout => "first frame timeout",
            CauseKind::HeartbeatTimeout => "heartbeat timeout",
            CauseKind::MessageRate => "message rate",
            CauseKind::ByteRate => "byte rate",
            CauseKind::CostRate => "cost rate",
            CauseKind::Kicked => "kicked",
            CauseKind::Unresolved => "name not found",
        }
    }
}

impl Cause {
    /// The kind, for counting.
    pub fn kind(&self) -> CauseKind {
        match self {
            Cause::PeerClosed => CauseKind::PeerClosed,
            Cause::PeerReset(_) => CauseKind::PeerReset,
            Cause::PeerMisbehaved(_) => CauseKind::PeerMisbehaved,
            Cause::LimitExceeded(exceeded) => match exceeded.limit {
                Limit::IdleTimeout => CauseKind::IdleTimeout,
                Limit::FrameTimeout => CauseKind::FrameTimeout,
                Limit::SendBytes => CauseKind::SendBytes,
                Limit::SendAge => CauseKind::SendAge,
                Limit::ConnectTimeout => CauseKind::ConnectTimeout,
                Limit::WorkerInbox => CauseKind::WorkerInbox,
                Limit::FirstFrameTimeout => CauseKind::FirstFrameTimeout,
                Limit::HeartbeatTimeout => CauseKind::HeartbeatTimeout,
                Limit::MessageRate => CauseKind::MessageRate,
                Limit::ByteRate => CauseKind::ByteRate,
                Limit::CostRate => CauseKind::CostRate,
            },
            Cause::HandlerPanicked => CauseKind::HandlerPanicked,
            Cause::HandlerAsked(_) => CauseKind::HandlerAsked,
            Cause::Kicked(_) => CauseKind::Kicked,
            Cause::ServiceStopping => CauseKind::ServiceStopping,
            Cause::ConnectFailed(_) => CauseKind::ConnectFailed,
            Cause::Unresolved(_) => CauseKind::Unresolved,
            Cause::System(_) => CauseKind::System,
        }
    }

    /// Who is at fault.
    pub fn fault(&self) -> Fault {
        self.kind().fault()
    }

    /// A receive or a send failed.
    pub(crate) fn from_os(error: OsError) -> Cause {
        match error.class() {
            OsErrorClass::Reset => Cause::PeerReset(error),
            _ => Cause::System(error),
        }
    }

    pub(crate) fn limit(limit: Limit, value: u64, maximum: u64) -> Cause {
        Cause::LimitExceeded(LimitExceeded { limit, value, maximum })
    }

    pub(crate) fn timeout(limit: Limit, waited: Duration, maximum: Duration) -> Cause {
        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Cause::limit(limit, milliseconds(waited), milliseconds(maximum))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::PeerClosed => f.write_str("the peer closed the connection"),
            Cause::PeerReset(error) => write!(f, "the peer reset the connection ({error})"),
            Cause::PeerMisbehaved(misbehaviour) => misbehaviour.fmt(f),
            Cause::LimitExceeded(exceeded) => exceeded.fmt(f),
            Cause::HandlerPanicked => f.write_str("the session's code panicked"),
            Cause::HandlerAsked(reason) => write!(f, "the session's code asked for it: {reason}"),
            Cause::Kicked(reason) => write!(f, "it was put out: {reason}"),
            Cause::ServiceStopping => f.write_str("the service is stopping"),
            Cause::ConnectFailed(error) => write!(f, "the connection could not be made ({error})"),
            Cause::Unresolved(reason) => write!(f, "the server's name could not be looked up: {reason}"),
            Cause::System(error) => write!(f, "the operating system failed ({error})"),
        }
    }
}

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misbehaviour::Frame(violation) => violation.fmt(f),
            Misbehaviour::Packet { id, error } => write!(f, "the peer sent a broken packet {id}: {error}"),
            Misbehaviour::Layer { what } => write!(f, "the peer sent what no honest peer sends: {what}"),
            Misbehaviour::Refused { id, what } => write!(f, "the peer sent packet {id}: {what}"),
        }
    }
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LimitExceeded { limit, value, maximum } = self;
        match limit {
            Limit::IdleTimeout => write!(f, "nothing was sent or received for {value} ms, allowed are {maximum}"),
            Limit::FrameTimeout => write!(f, "a frame stayed unfinished for {value} ms, allowed are {maximum}"),
            Limit::SendBytes => write!(f, "{value} bytes waited to be sent, allowed are {maximum}"),
            Limit::SendAge => write!(f, "a byte waited {value} ms to be sent, allowed are {maximum}"),
            Limit::ConnectTimeout => write!(f, "connecting took {value} ms, allowed are {maximum}"),
            Limit::WorkerInbox => write!(f, "{value} messages waited between workers, allowed are {maximum}"),
            Limit::FirstFrameTimeout => write!(f, "no whole frame had come after {value} ms, allowed are {maximum}"),
            Limit::HeartbeatTimeout => write!(f, "a heartbeat had no answer after {value} ms, allowed are {maximum}"),
            Limit::MessageRate => write!(f, "{value} frames came at once, allowed are {maximum}"),
            Limit::ByteRate => write!(f, "{value} bytes came at once, allowed are {maximum}"),
            Limit::CostRate => write!(f, "handlers charged {value} at once, allowed are {maximum}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_counted_in_its_own_place() {
        for (index, kind) in CauseKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
        }
    }
}
