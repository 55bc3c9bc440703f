//! The operating system's codes that this crate looks at, by what they mean. A system is told apart here, and nowhere above.
//!
//! A code is an `errno` on Unix. On Windows it is a Winsock code (`WSA...`) or one of the system (`ERROR_...`): calls answer with
//! either, and one fact may have a code of both kinds.

pub(crate) use system::*;

/// Nothing has happened, and the next try may well succeed: the call was interrupted, or found nothing.
pub(crate) fn is_transient(code: i32) -> bool {
    code == INTERRUPTED || WOULD_BLOCK.contains(&code)
}

#[cfg(unix)]
mod system {
    use rustix::io::Errno;

    /// By its submitter.
    pub(crate) const CANCELLED: i32 = Errno::CANCELED.raw_os_error();
    pub(crate) const INTERRUPTED: i32 = Errno::INTR.raw_os_error();
    /// The kernel could not touch the memory of an operation.
    pub(crate) const FAULT: i32 = Errno::FAULT.raw_os_error();
    /// Two names, one number on most systems.
    pub(crate) const WOULD_BLOCK: &[i32] = &[Errno::AGAIN.raw_os_error(), Errno::WOULDBLOCK.raw_os_error()];
    /// A descriptor, given back, would end it.
    pub(crate) const LACKS_DESCRIPTOR: &[i32] = &[Errno::MFILE.raw_os_error(), Errno::NFILE.raw_os_error()];
    /// This machine or process ran out of something.
    pub(crate) const EXHAUSTED: &[i32] = &[
        Errno::MFILE.raw_os_error(),
        Errno::NFILE.raw_os_error(),
        Errno::NOBUFS.raw_os_error(),
        Errno::NOMEM.raw_os_error(),
    ];
    /// What the standard library has no kind for, or calls otherwise: nothing here.
    pub(crate) const RESET_TOO: &[i32] = &[];
    /// As above.
    pub(crate) const UNREACHABLE_TOO: &[i32] = &[];

    pub(crate) const CONNECTION_REFUSED: i32 = Errno::CONNREFUSED.raw_os_error();
    pub(crate) const CONNECTION_RESET: i32 = Errno::CONNRESET.raw_os_error();
    pub(crate) const TIMED_OUT: i32 = Errno::TIMEDOUT.raw_os_error();
    pub(crate) const BROKEN_PIPE: i32 = Errno::PIPE.raw_os_error();
    pub(crate) const NOT_CONNECTED: i32 = Errno::NOTCONN.raw_os_error();
    pub(crate) const ADDRESS_IN_USE: i32 = Errno::ADDRINUSE.raw_os_error();
    pub(crate) const ADDRESS_NOT_AVAILABLE: i32 = Errno::ADDRNOTAVAIL.raw_os_error();
    pub(crate) const CONNECTION_ABORTED: i32 = Errno::CONNABORTED.raw_os_error();
    pub(crate) const HOST_UNREACHABLE: i32 = Errno::HOSTUNREACH.raw_os_error();
    pub(crate) const NO_BUFFERS: i32 = Errno::NOBUFS.raw_os_error();
}

#[cfg(windows)]
mod system {
    use windows_sys::Win32::Foundation as system;
    use windows_sys::Win32::Networking::WinSock as winsock;

    /// By its submitter. The standard library calls it a timeout.
    pub(crate) const CANCELLED: i32 = system::ERROR_OPERATION_ABORTED as i32;
    pub(crate) const INTERRUPTED: i32 = winsock::WSAEINTR;
    /// The system could not touch the memory of an operation.
    pub(crate) const FAULT: i32 = winsock::WSAEFAULT;
    pub(crate) const WOULD_BLOCK: &[i32] = &[winsock::WSAEWOULDBLOCK];
    /// A handle, given back, would end it.
    pub(crate) const LACKS_DESCRIPTOR: &[i32] = &[winsock::WSAEMFILE, system::ERROR_TOO_MANY_OPEN_FILES as i32];
    /// This machine or process ran out of something.
    pub(crate) const EXHAUSTED: &[i32] = &[
        winsock::WSAEMFILE,
        winsock::WSAENOBUFS,
        winsock::WSAEPROCLIM,
        system::ERROR_TOO_MANY_OPEN_FILES as i32,
        system::ERROR_NOT_ENOUGH_MEMORY as i32,
        system::ERROR_OUTOFMEMORY as i32,
        system::ERROR_NO_SYSTEM_RESOURCES as i32,
        system::ERROR_NONPAGED_SYSTEM_RESOURCES as i32,
        system::ERROR_PAGED_SYSTEM_RESOURCES as i32,
        system::ERROR_WORKING_SET_QUOTA as i32,
        system::ERROR_PAGEFILE_QUOTA as i32,
        system::ERROR_COMMITMENT_LIMIT as i32,
        system::ERROR_NOT_ENOUGH_QUOTA as i32,
    ];
    /// What the standard library has no kind for.
    pub(crate) const RESET_TOO: &[i32] = &[
        winsock::WSAENETRESET,
        winsock::WSAESHUTDOWN,
        winsock::WSAEDISCON,
        system::ERROR_NETNAME_DELETED as i32,
        system::ERROR_CONNECTION_ABORTED as i32,
        system::ERROR_GRACEFUL_DISCONNECT as i32,
    ];
    /// As above.
    pub(crate) const UNREACHABLE_TOO: &[i32] = &[
        winsock::WSAENETDOWN,
        winsock::WSAEHOSTDOWN,
        system::ERROR_CONNECTION_REFUSED as i32,
        system::ERROR_PORT_UNREACHABLE as i32,
        system::ERROR_PROTOCOL_UNREACHABLE as i32,
    ];

    pub(crate) const CONNECTION_REFUSED: i32 = winsock::WSAECONNREFUSED;
    pub(crate) const CONNECTION_RESET: i32 = winsock::WSAECONNRESET;
    pub(crate) const TIMED_OUT: i32 = winsock::WSAETIMEDOUT;
    /// The nearest that there is: the write side is shut.
    pub(crate) const BROKEN_PIPE: i32 = winsock::WSAESHUTDOWN;
    pub(crate) const NOT_CONNECTED: i32 = winsock::WSAENOTCONN;
    pub(crate) const ADDRESS_IN_USE: i32 = winsock::WSAEADDRINUSE;
    pub(crate) const ADDRESS_NOT_AVAILABLE: i32 = winsock::WSAEADDRNOTAVAIL;
    pub(crate) const CONNECTION_ABORTED: i32 = winsock::WSAECONNABORTED;
    pub(crate) const HOST_UNREACHABLE: i32 = winsock::WSAEHOSTUNREACH;
    pub(crate) const NO_BUFFERS: i32 = winsock::WSAENOBUFS;
}
