//! What can fail in a simulated network, in the system's own codes, so that whoever judges an error need not know where it
//! came from.

use std::io;

use crate::codes;
use crate::error::{Operation, OsError};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    /// Nobody listens there.
    Refused,
    /// The other side reset the connection.
    Reset,
    /// Nobody answered for too long.
    TimedOut,
    /// The write side is shut.
    BrokenPipe,
    /// It is not connected yet.
    NotConnected,
    AddressInUse,
    AddressNotAvailable,
    /// A router has no way there.
    Unreachable,
    /// The process has as many descriptors as it may have.
    NoDescriptor,
    /// By its submitter.
    Cancelled,
}

impl Failure {
    pub(super) fn code(self) -> i32 {
        match self {
            Failure::Refused => codes::CONNECTION_REFUSED,
            Failure::Reset => codes::CONNECTION_RESET,
            Failure::TimedOut => codes::TIMED_OUT,
            Failure::BrokenPipe => codes::BROKEN_PIPE,
            Failure::NotConnected => codes::NOT_CONNECTED,
            Failure::AddressInUse => codes::ADDRESS_IN_USE,
            Failure::AddressNotAvailable => codes::ADDRESS_NOT_AVAILABLE,
            Failure::Unreachable => codes::HOST_UNREACHABLE,
            Failure::NoDescriptor => codes::LACKS_DESCRIPTOR.first().copied().unwrap_or_default(),
            Failure::Cancelled => codes::CANCELLED,
        }
    }

    pub(super) fn of(self, operation: Operation) -> OsError {
        OsError::from_code(operation, self.code())
    }

    pub(super) fn io(self) -> io::Error {
        io::Error::from_raw_os_error(self.code())
    }
}
