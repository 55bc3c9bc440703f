//! What systems answer, under the names of POSIX: the same scenario is told with the code that its system would use.
#![allow(dead_code)] // each test binary uses its own part

use std::fmt;

/// A code of this system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno {
    name: &'static str,
    code: i32,
}

impl Errno {
    pub const fn raw_os_error(self) -> i32 {
        self.code
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.code)
    }
}

/// Each with its nearest relative on Windows: Winsock's where Winsock has one, else that of the system below it.
macro_rules! codes {
    ($($name:ident = $windows:literal;)*) => {
        impl Errno {
            $(
                #[cfg(unix)]
                pub const $name: Errno =
                    Errno { name: stringify!($name), code: rustix::io::Errno::$name.raw_os_error() };
                #[cfg(windows)]
                pub const $name: Errno = Errno { name: stringify!($name), code: $windows };
            )*
        }
    };
}

codes! {
    INTR = 10004; // WSAEINTR
    FAULT = 10014; // WSAEFAULT
    INVAL = 10022; // WSAEINVAL
    MFILE = 10024; // WSAEMFILE
    AGAIN = 10035; // WSAEWOULDBLOCK
    OPNOTSUPP = 10045; // WSAEOPNOTSUPP
    ADDRINUSE = 10048; // WSAEADDRINUSE
    ADDRNOTAVAIL = 10049; // WSAEADDRNOTAVAIL
    NETUNREACH = 10051; // WSAENETUNREACH
    CONNABORTED = 10053; // WSAECONNABORTED
    CONNRESET = 10054; // WSAECONNRESET
    NOBUFS = 10055; // WSAENOBUFS
    PIPE = 10058; // WSAESHUTDOWN
    TIMEDOUT = 10060; // WSAETIMEDOUT
    CONNREFUSED = 10061; // WSAECONNREFUSED
    HOSTUNREACH = 10065; // WSAEHOSTUNREACH
    PERM = 5; // ERROR_ACCESS_DENIED
    BADF = 6; // ERROR_INVALID_HANDLE
    NOMEM = 8; // WSA_NOT_ENOUGH_MEMORY
    IO = 31; // ERROR_GEN_FAILURE
    NOSPC = 112; // ERROR_DISK_FULL
    BUSY = 170; // ERROR_BUSY
    NFILE = 4; // ERROR_TOO_MANY_OPEN_FILES
}
