//! What the port can fail with. Every error names the operation and the operating system's own reason.

use std::fmt;
use std::io;

use crate::codes;

/// The operation that an [`OsError`] happened in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Operation {
    /// Setting up a port: ring, poller, buffers, wake-up.
    OpenPort,
    /// Waiting for completions.
    Dispatch,
    /// Creating a socket.
    OpenSocket,
    /// Setting a socket option.
    SetOption,
    /// Giving a listener its address.
    Bind,
    /// Starting to listen.
    Listen,
    /// Taking a connection from a listener's backlog.
    Accept,
    /// Taking a stream into a port.
    Adopt,
    /// Connecting to a peer.
    Connect,
    /// Receiving.
    Receive,
    /// Sending.
    Send,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::OpenPort => "opening the port",
            Operation::Dispatch => "waiting for completions",
            Operation::OpenSocket => "opening a socket",
            Operation::SetOption => "setting a socket option",
            Operation::Bind => "binding the address",
            Operation::Listen => "listening",
            Operation::Accept => "accepting",
            Operation::Adopt => "adopting a stream",
            Operation::Connect => "connecting",
            Operation::Receive => "receiving",
            Operation::Send => "sending",
        })
    }
}

/// What an operating system's error means for a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum OsErrorClass {
    /// The peer reset the connection, or the path to it did (ECONNRESET, EPIPE, ECONNABORTED, ETIMEDOUT, ...; on Windows the
    /// `WSA` codes of these names, and ERROR_NETNAME_DELETED).
    Reset,
    /// Nobody listens there, or the peer cannot be reached (ECONNREFUSED, EHOSTUNREACH, ENETUNREACH).
    Unreachable,
    /// This machine or process ran out of something: descriptors, memory, buffers, ports.
    Exhausted,
    /// The operation was cancelled by its submitter.
    Cancelled,
    /// Anything else.
    Other,
}

/// A failed system call or operation: which, and the operating system's code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OsError {
    operation: Operation,
    code: i32,
}

impl OsError {
    /// An error with the operating system's `code`: `errno`, or on Windows a code of Winsock or of the system.
    pub const fn from_code(operation: Operation, code: i32) -> OsError {
        OsError { operation, code }
    }

    /// Keeps the code of `error`, or 0 if it did not come from the operating system.
    pub fn from_io(operation: Operation, error: &io::Error) -> OsError {
        OsError { operation, code: error.raw_os_error().unwrap_or(0) }
    }

    /// The operation that failed.
    pub const fn operation(&self) -> Operation {
        self.operation
    }

    /// The operating system's code.
    pub const fn code(&self) -> i32 {
        self.code
    }

    /// What it means for a connection.
    pub fn class(&self) -> OsErrorClass {
        use io::ErrorKind as Kind;
        // Before its kind: the standard library calls a cancelled operation of Windows a timeout.
        if self.code == codes::CANCELLED {
            return OsErrorClass::Cancelled;
        }
        if codes::EXHAUSTED.contains(&self.code) {
            return OsErrorClass::Exhausted;
        }
        match io::Error::from_raw_os_error(self.code).kind() {
            Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::TimedOut
            | Kind::NotConnected => OsErrorClass::Reset,
            Kind::ConnectionRefused | Kind::HostUnreachable | Kind::NetworkUnreachable => OsErrorClass::Unreachable,
            Kind::OutOfMemory | Kind::AddrNotAvailable => OsErrorClass::Exhausted,
            _ if codes::RESET_TOO.contains(&self.code) => OsErrorClass::Reset,
            _ if codes::UNREACHABLE_TOO.contains(&self.code) => OsErrorClass::Unreachable,
            _ => OsErrorClass::Other,
        }
    }
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.operation, io::Error::from_raw_os_error(self.code))
    }
}

impl std::error::Error for OsError {}

/// Why a submit call was refused. Nothing was started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The name is stale: what it named has ended or is ending.
    #[error("the name is stale: what it named has ended or is ending")]
    Gone,
    /// A send of this connection is still in flight; wait for its `Sent`.
    #[error("a send of this connection is still in flight")]
    SendInFlight,
    /// The port holds as many connections and listeners as it was configured for.
    #[error("the port is full: {maximum} connections and listeners")]
    Full {
        /// The configured maximum.
        maximum: u32,
    },
    /// The socket is of another kind than the port: one of the system given to a simulated port, one of a simulation given
    /// to a port of the system or of another simulation.
    #[error("the socket and the port are of different kinds: system and simulation, or two simulations")]
    Foreign,
    /// The connection cannot be taken out of its port alive: Windows has no documented way to undo the association of a
    /// socket with a completion port. Nothing has happened to it; it can be used on, or closed.
    #[error(
        "a connection cannot leave its completion port: the system offers no documented way to undo the association"
    )]
    CannotDetach,
    /// The operating system refused.
    #[error(transparent)]
    Os(#[from] OsError),
}

/// A refused submit call that gives back what it was given.
#[derive(Debug)]
pub struct Refused<T> {
    /// Why.
    pub error: SubmitError,
    /// What was handed in, untouched.
    pub returned: T,
}

/// Why a value could not be posted. It is given back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PostError<V> {
    /// The inbox of the port is full.
    #[error("the inbox of the port is full")]
    Full(V),
    /// The port has gone.
    #[error("the port has gone")]
    Closed(V),
}
