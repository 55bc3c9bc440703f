//! What can fail in a simulated network, in the system's own codes, so that whoever judges an error need not know where it
//! came from.

use std::io;

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
    /// By its submitter.
    Cancelled,
}

impl Failure {
    #[cfg(unix)]
    fn code(self) -> i32 {
        use rustix::io::Errno;
        let errno = match self {
            Failure::Refused => Errno::CONNREFUSED,
            Failure::Reset => Errno::CONNRESET,
            Failure::TimedOut => Errno::TIMEDOUT,
            Failure::BrokenPipe => Errno::PIPE,
            Failure::NotConnected => Errno::NOTCONN,
            Failure::AddressInUse => Errno::ADDRINUSE,
            Failure::AddressNotAvailable => Errno::ADDRNOTAVAIL,
            Failure::Cancelled => Errno::CANCELED,
        };
        errno.raw_os_error()
    }

    pub(super) fn of(self, operation: Operation) -> OsError {
        OsError::from_code(operation, self.code())
    }

    pub(super) fn io(self) -> io::Error {
        io::Error::from_raw_os_error(self.code())
    }
}
