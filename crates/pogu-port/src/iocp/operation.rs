//! Operations in flight: what the system is given of each, and how a packet finds its way back.
//!
//! The system names an operation by the address of its OVERLAPPED and nothing else: a handle value may be another socket by
//! then, and a key belongs to a socket, not to an operation. So every operation begins with its OVERLAPPED, and the token
//! behind it says what the operation is and whose.
//!
//! ```text
//!   Header            [ OVERLAPPED | token: kind, number, slot, generation ]
//!   ReceiveOperation  [ Header | flags            ]     <- the system may write the flags when it completes
//!   SendOperation     [ Header                    ]
//!   AcceptOperation   [ Header | count | addresses ]    <- the system writes both addresses
//!   ConnectOperation  [ Header | address          ]     <- the system reads the address
//! ```
//!
//! Each lies in a [`Held`](crate::memory::Held) of its connection or listener, at an address of its own from before the call
//! until its packet has been taken out of the queue. The port's own entry is therefore always there when a packet comes; a
//! generation that has gone would be a late packet, and is counted as one.

use std::mem::{offset_of, size_of};
use std::ptr::NonNull;

use socket2::{SockAddr, SockAddrStorage};
use windows_sys::Win32::Networking::WinSock::WSABUF;
use windows_sys::Win32::System::IO::{OVERLAPPED, OVERLAPPED_ENTRY};

use crate::identity::Name;
use crate::memory::Held;

/// The kind of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A receive of no bytes, which completes when there is something to receive.
    Receive,
    Send,
    Connect,
    /// One of the accepts of a listener: its number.
    Accept(u8),
}

/// What an operation is, and whose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) name: Name,
}

/// What every operation begins with.
#[repr(C)]
pub(super) struct Header {
    overlapped: OVERLAPPED,
    token: Token,
}

impl Header {
    fn new(kind: Kind, name: Name) -> Header {
        Header { overlapped: OVERLAPPED::default(), token: Token { kind, name } }
    }
}

/// A structure that begins with a [`Header`], and so with its OVERLAPPED.
///
/// # Safety
/// The structure is `repr(C)`, its first field is the header, and it has no drop glue.
pub(super) unsafe trait Overlapped {}

/// What the system is given to name the operation by. It may be in flight: only its address is taken.
pub(super) fn overlapped<T: Overlapped>(operation: &Held<T>) -> *mut OVERLAPPED {
    operation.address().cast()
}

/// The token of the operation that a packet names.
///
/// # Safety
/// The OVERLAPPED is that of an operation of this port whose packet is just being taken out of the queue.
pub(super) unsafe fn token_of(overlapped: NonNull<OVERLAPPED>) -> Token {
    let token = overlapped.as_ptr().cast::<u8>().wrapping_add(offset_of!(Header, token)).cast::<Token>();
    // SAFETY: the caller's promise: the header is there until its packet has been handled, and the system is done with it.
    unsafe { token.read() }
}

/// See the [module](self).
#[repr(C)]
pub(super) struct ReceiveOperation {
    header: Header,
    /// In and out (WSARecv, lpFlags). Some providers write it when the operation completes: it lies here, not on the stack.
    pub(super) flags: u32,
}

impl ReceiveOperation {
    pub(super) fn new(name: Name) -> ReceiveOperation {
        ReceiveOperation { header: Header::new(Kind::Receive, name), flags: 0 }
    }
}

/// See the [module](self). What is sent belongs to the gather beside it.
#[repr(C)]
pub(super) struct SendOperation {
    header: Header,
}

impl SendOperation {
    pub(super) fn new(name: Name) -> SendOperation {
        SendOperation { header: Header::new(Kind::Send, name) }
    }
}

/// Bytes of each of the two addresses: 16 more than the largest address (AcceptEx).
pub(super) const ADDRESS_BYTES: usize = size_of::<SockAddrStorage>() + 16;

/// See the [module](self).
#[repr(C)]
pub(super) struct AcceptOperation {
    header: Header,
    /// Bytes received: none are asked for. The system may write it.
    pub(super) received: u32,
    pub(super) addresses: Addresses,
}

/// Local and remote, in the system's own form: see GetAcceptExSockaddrs.
#[repr(C, align(8))]
pub(super) struct Addresses(pub(super) [u8; 2 * ADDRESS_BYTES]);

impl AcceptOperation {
    pub(super) fn new(name: Name, number: u8) -> AcceptOperation {
        let addresses = Addresses([0; 2 * ADDRESS_BYTES]);
        AcceptOperation { header: Header::new(Kind::Accept(number), name), received: 0, addresses }
    }
}

/// See the [module](self).
#[repr(C)]
pub(super) struct ConnectOperation {
    header: Header,
    /// Bytes sent: none are given. The system may write it.
    pub(super) sent: u32,
    pub(super) address: SockAddr,
}

impl ConnectOperation {
    pub(super) fn new(name: Name, address: SockAddr) -> ConnectOperation {
        ConnectOperation { header: Header::new(Kind::Connect, name), sent: 0, address }
    }
}

// SAFETY: `repr(C)`, its header first (asserted below), plain values.
unsafe impl Overlapped for ReceiveOperation {}
// SAFETY: as above.
unsafe impl Overlapped for SendOperation {}
// SAFETY: as above.
unsafe impl Overlapped for AcceptOperation {}
// SAFETY: as above.
unsafe impl Overlapped for ConnectOperation {}

// The OVERLAPPED comes first in everything that the system is given one of.
const _: () = assert!(offset_of!(Header, overlapped) == 0);
const _: () = assert!(offset_of!(ReceiveOperation, header) == 0);
const _: () = assert!(offset_of!(SendOperation, header) == 0);
const _: () = assert!(offset_of!(AcceptOperation, header) == 0);
const _: () = assert!(offset_of!(ConnectOperation, header) == 0);

// What is shared with the system has the layout of minwinbase.h and ws2def.h on a system of 64 bits.
const _: () = assert!(size_of::<OVERLAPPED>() == 32 && align_of::<OVERLAPPED>() == 8);
const _: () = assert!(offset_of!(OVERLAPPED, Internal) == 0 && offset_of!(OVERLAPPED, InternalHigh) == 8);
const _: () = assert!(offset_of!(OVERLAPPED, Anonymous) == 16 && offset_of!(OVERLAPPED, hEvent) == 24);
const _: () = assert!(size_of::<OVERLAPPED_ENTRY>() == 32 && offset_of!(OVERLAPPED_ENTRY, lpCompletionKey) == 0);
const _: () = assert!(offset_of!(OVERLAPPED_ENTRY, lpOverlapped) == 8 && offset_of!(OVERLAPPED_ENTRY, Internal) == 16);
const _: () = assert!(offset_of!(OVERLAPPED_ENTRY, dwNumberOfBytesTransferred) == 24);
const _: () = assert!(size_of::<WSABUF>() == 16 && offset_of!(WSABUF, len) == 0 && offset_of!(WSABUF, buf) == 8);
const _: () = assert!(size_of::<SockAddrStorage>() == 128 && ADDRESS_BYTES == 144);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_finds_its_operation() {
        let name = Name { slot: 7, generation: 3 };
        let address: std::net::SocketAddr = "127.0.0.1:7777".parse().expect("an address");
        fn token<T: Overlapped>(operation: T) -> Token {
            let held = Held::new(operation, &crate::memory::Memory::new(false));
            let overlapped = NonNull::new(overlapped(&held)).expect("an address");
            assert_eq!(overlapped.as_ptr().cast::<T>(), held.address(), "it comes first");
            // SAFETY: the operation is held, and no system has it.
            unsafe { token_of(overlapped) }
        }
        let tokens = [
            (token(ReceiveOperation::new(name)), Kind::Receive),
            (token(SendOperation::new(name)), Kind::Send),
            (token(AcceptOperation::new(name, 31)), Kind::Accept(31)),
            (token(ConnectOperation::new(name, address.into())), Kind::Connect),
        ];
        for (token, kind) in tokens {
            assert_eq!(token, Token { kind, name });
        }
    }
}
