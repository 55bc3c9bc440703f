//! Winsock: its start-up and clean-up, the calls that start an operation, and the extension functions behind some of them.
//!
//! Every call that starts an operation publishes it first and does not look at it afterwards: the packet may be there before
//! the call returns. A call that says WSA_IO_PENDING or succeeds **queues a packet**: skip-on-success
//! (FILE_SKIP_COMPLETION_PORT_ON_SUCCESS) is not set, so that there is one way for an operation to end. A call that fails
//! otherwise queues none; whoever made it words the failure.

use std::io;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::windows::io::AsRawSocket;
use std::ptr::{self, NonNull};

use socket2::{SockAddr, SockAddrStorage, Socket};
use windows_sys::Win32::Foundation::{ERROR_NOT_FOUND, HANDLE};
use windows_sys::Win32::Networking::WinSock::{
    LPFN_ACCEPTEX, LPFN_CONNECTEX, LPFN_GETACCEPTEXSOCKADDRS, SIO_GET_EXTENSION_FUNCTION_POINTER, SO_EXCLUSIVEADDRUSE,
    SO_UPDATE_ACCEPT_CONTEXT, SO_UPDATE_CONNECT_CONTEXT, SOCKADDR, SOCKET, SOCKET_ERROR, SOL_SOCKET, WSA_IO_PENDING,
    WSABUF, WSACleanup, WSADATA, WSAGetLastError, WSAID_ACCEPTEX, WSAID_CONNECTEX, WSAID_GETACCEPTEXSOCKADDRS,
    WSAIoctl, WSARecv, WSASend, WSAStartup, setsockopt,
};
use windows_sys::Win32::System::IO::{CancelIoEx, OVERLAPPED};
use windows_sys::core::GUID;

use super::operation::{
    ADDRESS_BYTES, AcceptOperation, Addresses, ConnectOperation, ReceiveOperation, SendOperation, overlapped,
};
use crate::memory::Held;

/// What a provider names its extension function by, and what it answers with.
type Function = unsafe extern "system" fn();

/// The extension functions of one provider.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extensions {
    accept: LPFN_ACCEPTEX,
    connect: LPFN_CONNECTEX,
    accepted_addresses: LPFN_GETACCEPTEXSOCKADDRS,
}

/// Winsock, started. Cleaned up on drop.
pub(super) struct Winsock {
    /// Looked up once for each provider, which are two: one for each version of IP.
    ipv4: Option<Extensions>,
    ipv6: Option<Extensions>,
}

/// Version 2.2, the last one.
const VERSION: u16 = 0x0202;

impl Winsock {
    pub(super) fn start() -> io::Result<Winsock> {
        let mut data = WSADATA::default();
        // SAFETY: the system writes the structure during the call (WSAStartup).
        let code = unsafe { WSAStartup(VERSION, &raw mut data) };
        if code != 0 {
            return Err(io::Error::from_raw_os_error(code));
        }
        Ok(Winsock { ipv4: None, ipv6: None })
    }

    /// The extension functions of the provider of `socket`, which is of the family of `address`.
    pub(super) fn extensions(&mut self, socket: &Socket, address: SocketAddr) -> io::Result<Extensions> {
        let known = if address.is_ipv4() { &mut self.ipv4 } else { &mut self.ipv6 };
        if let Some(extensions) = known {
            return Ok(*extensions);
        }
        Ok(*known.insert(Extensions::look_up(socket)?))
    }
}

impl Drop for Winsock {
    fn drop(&mut self) {
        // SAFETY: it was started, and this is called once for that (WSACleanup counts).
        unsafe { WSACleanup() };
    }
}

impl Extensions {
    fn look_up(socket: &Socket) -> io::Result<Extensions> {
        let [accept, connect, addresses] =
            [WSAID_ACCEPTEX, WSAID_CONNECTEX, WSAID_GETACCEPTEXSOCKADDRS].map(|id| extension(socket, id));
        let (accept, connect, addresses) = (accept?, connect?, addresses?);
        Ok(Extensions {
            // SAFETY: the provider named this function by the identity of AcceptEx, whose signature this is (mswsock.h).
            accept: unsafe { std::mem::transmute::<Option<Function>, LPFN_ACCEPTEX>(accept) },
            // SAFETY: as above, ConnectEx.
            connect: unsafe { std::mem::transmute::<Option<Function>, LPFN_CONNECTEX>(connect) },
            // SAFETY: as above, GetAcceptExSockaddrs.
            accepted_addresses: unsafe {
                std::mem::transmute::<Option<Function>, LPFN_GETACCEPTEXSOCKADDRS>(addresses)
            },
        })
    }
}

fn extension(socket: &Socket, id: GUID) -> io::Result<Option<Function>> {
    let mut function: Option<Function> = None;
    let mut written = 0;
    // SAFETY: the system reads the identity and writes one pointer during the call, which is not an overlapped one (WSAIoctl,
    // SIO_GET_EXTENSION_FUNCTION_POINTER).
    let answer = unsafe {
        WSAIoctl(
            raw(socket),
            SIO_GET_EXTENSION_FUNCTION_POINTER,
            (&raw const id).cast(),
            size_of::<GUID>() as u32,
            (&raw mut function).cast(),
            size_of::<Option<Function>>() as u32,
            &raw mut written,
            ptr::null_mut(),
            None,
        )
    };
    if answer == SOCKET_ERROR { Err(io::Error::last_os_error()) } else { Ok(function) }
}

fn raw(socket: &Socket) -> SOCKET {
    // A handle fits a pointer; the standard library keeps it in 64 bits on every system.
    socket.as_raw_socket() as SOCKET
}

/// The handle that a socket is to the rest of the system.
pub(super) fn handle(socket: &Socket) -> HANDLE {
    ptr::without_provenance_mut(raw(socket))
}

/// What a call that starts an operation came to: a packet comes, or the code that it failed with.
fn started(succeeded: bool) -> Result<(), i32> {
    if succeeded {
        return Ok(());
    }
    // SAFETY: it looks at a value of the calling thread (WSAGetLastError).
    match unsafe { WSAGetLastError() } {
        WSA_IO_PENDING => Ok(()),
        code => Err(code),
    }
}

/// Starts a receive of no bytes: it completes when there is something to receive.
///
/// # Safety
/// The operation stays where it is, and is not touched, until its packet has been taken.
pub(super) unsafe fn receive_nothing(socket: &Socket, operation: &Held<ReceiveOperation>) -> Result<(), i32> {
    let operation = operation.address();
    // Nothing is read or written there; it is merely an address that is valid.
    let buffer = WSABUF { len: 0, buf: operation.cast() };
    // SAFETY: the operation is held.
    let flags = unsafe { &raw mut (*operation).flags };
    // SAFETY: the array of buffers is captured before the call returns (WSARecv); what is written later, the flags and the
    // OVERLAPPED, lies in the operation, which the caller keeps.
    let answer = unsafe { WSARecv(raw(socket), &raw const buffer, 1, ptr::null_mut(), flags, operation.cast(), None) };
    started(answer != SOCKET_ERROR)
}

/// Starts a send of `buffers`.
///
/// # Safety
/// The operation and what the buffers point to stay where they are, and are not changed, until the packet has been taken.
pub(super) unsafe fn send(socket: &Socket, buffers: &[WSABUF], operation: &Held<SendOperation>) -> Result<(), i32> {
    let count = u32::try_from(buffers.len()).unwrap_or(u32::MAX);
    let overlapped = overlapped(operation);
    // SAFETY: the array of buffers is captured before the call returns (WSASend); the bytes and the OVERLAPPED are kept by the
    // caller.
    let answer = unsafe { WSASend(raw(socket), buffers.as_ptr(), count, ptr::null_mut(), 0, overlapped, None) };
    started(answer != SOCKET_ERROR)
}

/// Starts to accept a client of `listener` into `socket`.
///
/// # Safety
/// The operation stays where it is, and is not touched, and both sockets stay open, until the packet has been taken.
pub(super) unsafe fn accept(
    extensions: Extensions,
    listener: &Socket,
    socket: &Socket,
    operation: &Held<AcceptOperation>,
) -> Result<(), i32> {
    let Some(accept) = extensions.accept else { return Err(windows_sys::Win32::Networking::WinSock::WSAEOPNOTSUPP) };
    let operation = operation.address();
    // SAFETY: the operation is held.
    let addresses: *mut Addresses = unsafe { &raw mut (*operation).addresses };
    // SAFETY: as above.
    let received = unsafe { &raw mut (*operation).received };
    let (listener, socket, bytes) = (raw(listener), raw(socket), ADDRESS_BYTES as u32);
    // SAFETY: what is written, now or later, lies in the operation, which the caller keeps: two addresses of `bytes` bytes, the
    // count and the OVERLAPPED (AcceptEx).
    let answer = unsafe { accept(listener, socket, addresses.cast(), 0, bytes, bytes, received, operation.cast()) };
    started(answer != 0)
}

/// The address of the client that an accept has brought.
pub(super) fn accepted_peer(extensions: Extensions, addresses: &Addresses) -> Option<SocketAddr> {
    let look = extensions.accepted_addresses?;
    let (mut local, mut remote) = (ptr::null_mut::<SOCKADDR>(), ptr::null_mut::<SOCKADDR>());
    let (mut local_bytes, mut remote_bytes) = (0, 0);
    let (buffer, bytes) = (addresses.0.as_ptr().cast(), ADDRESS_BYTES as u32);
    // SAFETY: the buffer is what AcceptEx was given, with the same lengths; the system writes two pointers into it and two
    // lengths during the call (GetAcceptExSockaddrs).
    unsafe {
        look(buffer, 0, bytes, bytes, &raw mut local, &raw mut local_bytes, &raw mut remote, &raw mut remote_bytes)
    };
    let remote = NonNull::new(remote.cast::<u8>())?;
    let mut storage = SockAddrStorage::zeroed();
    let length = usize::try_from(remote_bytes).ok()?.min(size_of::<SockAddrStorage>());
    // SAFETY: the system says that so many bytes of an address are there, in the borrowed buffer; there is room for them.
    unsafe { ptr::copy_nonoverlapping(remote.as_ptr(), (&raw mut storage).cast(), length) };
    let length = i32::try_from(length).ok()?;
    // SAFETY: the system wrote an address of that length, and the rest is zero.
    let address = unsafe { SockAddr::new(storage, length) };
    address.as_socket()
}

/// Starts to connect `socket`, which is bound, to the address that the operation holds.
///
/// # Safety
/// The operation stays where it is, and is not touched, until its packet has been taken.
pub(super) unsafe fn connect(
    extensions: Extensions,
    socket: &Socket,
    operation: &Held<ConnectOperation>,
) -> Result<(), i32> {
    let Some(connect) = extensions.connect else { return Err(windows_sys::Win32::Networking::WinSock::WSAEOPNOTSUPP) };
    let (address, length) = (operation.address.as_ptr().cast::<SOCKADDR>(), operation.address.len());
    let operation = operation.address();
    // SAFETY: the operation is held.
    let sent = unsafe { &raw mut (*operation).sent };
    // SAFETY: the address, the count and the OVERLAPPED lie in the operation, which the caller keeps (ConnectEx).
    let answer = unsafe { connect(raw(socket), address, length, ptr::null(), 0, sent, operation.cast()) };
    started(answer != 0)
}

/// Asks the system to give an operation back. Its packet says when it does, cancelled or not: one that has completed already is
/// not found, and that is fine. An error: the system did not even try.
pub(super) fn cancel(socket: &Socket, overlapped: *const OVERLAPPED) -> io::Result<()> {
    // SAFETY: the address only names the operation; the system looks it up among those in flight (CancelIoEx).
    let answer = unsafe { CancelIoEx(handle(socket), overlapped) };
    if answer != 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(ERROR_NOT_FOUND as i32) => Ok(()),
        error => Err(error),
    }
}

/// Gives an accepted socket what a socket has: its names, `shutdown`, options of its listener.
pub(super) fn update_accept_context(socket: &Socket, listener: &Socket) -> io::Result<()> {
    set_option(socket, SO_UPDATE_ACCEPT_CONTEXT, &raw(listener))
}

/// Gives a connected socket what a socket has: its names, `shutdown`.
pub(super) fn update_connect_context(socket: &Socket) -> io::Result<()> {
    set_option(socket, SO_UPDATE_CONNECT_CONTEXT, &())
}

/// Takes the address that the socket will be bound to for itself alone.
pub(crate) fn set_exclusive_address_use(socket: &Socket) -> io::Result<()> {
    set_option(socket, SO_EXCLUSIVEADDRUSE, &1i32)
}

fn set_option<T>(socket: &Socket, option: i32, value: &T) -> io::Result<()> {
    let (length, value) = (i32::try_from(size_of::<T>()).unwrap_or(0), ptr::from_ref(value));
    let value = if length == 0 { ptr::null() } else { value.cast::<u8>() };
    // SAFETY: the system reads the value, of that length, during the call (setsockopt).
    let answer = unsafe { setsockopt(raw(socket), SOL_SOCKET, option, value, length) };
    if answer == SOCKET_ERROR { Err(io::Error::last_os_error()) } else { Ok(()) }
}
