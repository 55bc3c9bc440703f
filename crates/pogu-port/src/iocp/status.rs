//! What the system says when an operation completes (NTSTATUS), as a code that the crate speaks of.
//!
//! A packet carries the NTSTATUS of its operation. The calls that would turn it into a Winsock code (WSAGetOverlappedResult)
//! need the socket and a call for each packet; so the codes that matter are in a table here, by the class of what they mean,
//! and RtlNtStatusToDosError words the others.

use windows_sys::Win32::Foundation as nt;
use windows_sys::Win32::Foundation::{NTSTATUS, RtlNtStatusToDosError};
use windows_sys::Win32::Networking::WinSock as winsock;

use crate::codes;

/// The code of a failure; `None` for a success. Statuses that are neither an error nor a warning are successes.
pub(super) fn failure(status: NTSTATUS) -> Option<i32> {
    (status < 0).then(|| code_of(status))
}

fn code_of(status: NTSTATUS) -> i32 {
    match status {
        // Cancelled by us, or because its thread or handle had gone: `HANDLES_CLOSED` is what Wine says of a socket that is closed
        // with a receive in flight.
        nt::STATUS_CANCELLED | nt::STATUS_HANDLES_CLOSED => codes::CANCELLED,
        // `NETWORK_NAME_DELETED` is what AcceptEx says of a client that had reset in the backlog.
        nt::STATUS_CONNECTION_RESET
        | nt::STATUS_REMOTE_DISCONNECT
        | nt::STATUS_CONNECTION_DISCONNECTED
        | nt::STATUS_NETWORK_NAME_DELETED
        | nt::STATUS_VIRTUAL_CIRCUIT_CLOSED => winsock::WSAECONNRESET,
        nt::STATUS_CONNECTION_ABORTED | nt::STATUS_LOCAL_DISCONNECT | nt::STATUS_TRANSACTION_ABORTED => {
            winsock::WSAECONNABORTED
        }
        nt::STATUS_GRACEFUL_DISCONNECT => winsock::WSAEDISCON,
        nt::STATUS_PIPE_DISCONNECTED => winsock::WSAESHUTDOWN,
        nt::STATUS_INVALID_CONNECTION | nt::STATUS_CONNECTION_INVALID => winsock::WSAENOTCONN,
        nt::STATUS_IO_TIMEOUT => winsock::WSAETIMEDOUT,
        nt::STATUS_CONNECTION_REFUSED | nt::STATUS_PORT_UNREACHABLE => winsock::WSAECONNREFUSED,
        nt::STATUS_HOST_UNREACHABLE | nt::STATUS_BAD_NETWORK_PATH => winsock::WSAEHOSTUNREACH,
        nt::STATUS_NETWORK_UNREACHABLE | nt::STATUS_PROTOCOL_UNREACHABLE => winsock::WSAENETUNREACH,
        nt::STATUS_INSUFFICIENT_RESOURCES
        | nt::STATUS_NO_MEMORY
        | nt::STATUS_QUOTA_EXCEEDED
        | nt::STATUS_PAGEFILE_QUOTA
        | nt::STATUS_WORKING_SET_QUOTA
        | nt::STATUS_COMMITMENT_LIMIT
        | nt::STATUS_TOO_MANY_ADDRESSES
        | nt::STATUS_REMOTE_RESOURCES => winsock::WSAENOBUFS,
        nt::STATUS_TOO_MANY_OPENED_FILES => winsock::WSAEMFILE,
        nt::STATUS_ACCESS_VIOLATION => codes::FAULT,
        nt::STATUS_ADDRESS_ALREADY_EXISTS | nt::STATUS_SHARING_VIOLATION => winsock::WSAEADDRINUSE,
        nt::STATUS_INVALID_ADDRESS | nt::STATUS_INVALID_ADDRESS_COMPONENT => winsock::WSAEADDRNOTAVAIL,
        nt::STATUS_ACCESS_DENIED => winsock::WSAEACCES,
        nt::STATUS_INVALID_PARAMETER => winsock::WSAEINVAL,
        other => words_of_the_system(other),
    }
}

fn words_of_the_system(status: NTSTATUS) -> i32 {
    // SAFETY: it takes any status by value (RtlNtStatusToDosError).
    let code = unsafe { RtlNtStatusToDosError(status) };
    // The same bits: codes of the system are small, and what is not known comes out as ERROR_MR_MID_NOT_FOUND.
    code.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Operation, OsError, OsErrorClass};

    #[test]
    fn every_status_of_the_table_has_its_class() {
        let classes = [
            (nt::STATUS_CANCELLED, OsErrorClass::Cancelled),
            (nt::STATUS_HANDLES_CLOSED, OsErrorClass::Cancelled),
            (nt::STATUS_CONNECTION_RESET, OsErrorClass::Reset),
            (nt::STATUS_NETWORK_NAME_DELETED, OsErrorClass::Reset),
            (nt::STATUS_CONNECTION_ABORTED, OsErrorClass::Reset),
            (nt::STATUS_LOCAL_DISCONNECT, OsErrorClass::Reset),
            (nt::STATUS_REMOTE_DISCONNECT, OsErrorClass::Reset),
            (nt::STATUS_CONNECTION_DISCONNECTED, OsErrorClass::Reset),
            (nt::STATUS_GRACEFUL_DISCONNECT, OsErrorClass::Reset),
            (nt::STATUS_PIPE_DISCONNECTED, OsErrorClass::Reset),
            (nt::STATUS_INVALID_CONNECTION, OsErrorClass::Reset),
            (nt::STATUS_IO_TIMEOUT, OsErrorClass::Reset),
            (nt::STATUS_CONNECTION_REFUSED, OsErrorClass::Unreachable),
            (nt::STATUS_HOST_UNREACHABLE, OsErrorClass::Unreachable),
            (nt::STATUS_NETWORK_UNREACHABLE, OsErrorClass::Unreachable),
            (nt::STATUS_INSUFFICIENT_RESOURCES, OsErrorClass::Exhausted),
            (nt::STATUS_NO_MEMORY, OsErrorClass::Exhausted),
            (nt::STATUS_QUOTA_EXCEEDED, OsErrorClass::Exhausted),
            (nt::STATUS_TOO_MANY_OPENED_FILES, OsErrorClass::Exhausted),
            (nt::STATUS_TOO_MANY_ADDRESSES, OsErrorClass::Exhausted),
            (nt::STATUS_INVALID_ADDRESS_COMPONENT, OsErrorClass::Exhausted),
            (nt::STATUS_INVALID_PARAMETER, OsErrorClass::Other),
            (nt::STATUS_ACCESS_VIOLATION, OsErrorClass::Other),
        ];
        for (status, class) in classes {
            let code = failure(status).expect("a failure");
            assert_eq!(OsError::from_code(Operation::Receive, code).class(), class, "{status:#x} is {code}");
        }
        assert_eq!(failure(nt::STATUS_ACCESS_VIOLATION), Some(codes::FAULT));
    }

    #[test]
    fn what_is_no_failure_is_none_and_what_is_not_known_is_one() {
        assert_eq!(failure(nt::STATUS_SUCCESS), None);
        assert_eq!(failure(nt::STATUS_PENDING), None);
        assert!(failure(nt::STATUS_BUFFER_OVERFLOW).is_some_and(|code| code != 0));
        assert!(failure(NTSTATUS::MIN).is_some_and(|code| code != 0));
    }
}
