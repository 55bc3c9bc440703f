//! The completion port itself: what is associated with it, what waits on it, what is posted to it.
//!
//! ```text
//!   associated sockets -- packets (key SOCKET, OVERLAPPED) --\
//!                                                            +--> GetQueuedCompletionStatusEx --> events
//!   wakers ------------- packets (key WAKE, no OVERLAPPED) --/      at most PACKETS_MAX at once
//! ```
//!
//! A key says only whether a packet is an operation's; which one it is, its OVERLAPPED says ([`operation`](super::operation)).
//! A packet without an OVERLAPPED is a wake, whatever its key.

use std::collections::VecDeque;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use socket2::Socket;
use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE, NTSTATUS, WAIT_TIMEOUT};
use windows_sys::Win32::System::IO::{
    CreateIoCompletionPort, GetQueuedCompletionStatusEx, OVERLAPPED_ENTRY, PostQueuedCompletionStatus,
};

use super::operation::{Token, token_of};
use super::{status, winsock};
use crate::codes;
use crate::error::{Operation, OsError};
use crate::faults::{FaultPoint, Faults};

/// Packets that one call takes out. More wait for the next turn.
pub(super) const PACKETS_MAX: usize = 256;

/// Keys.
const SOCKET: usize = 1;
const WAKE: usize = 2;

/// One thread at a time: the one that dispatches.
const CONCURRENCY: u32 = 1;

/// The longest single wait. A wake that the system refused to post is missed for no longer than this.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(1);

/// The handle. Lives as long as whoever may wake, even if the port has gone.
pub(super) struct CompletionPort {
    handle: OwnedHandle,
}

impl CompletionPort {
    pub(super) fn open() -> io::Result<CompletionPort> {
        // SAFETY: no handle is given, and the new one is nobody else's (CreateIoCompletionPort).
        let handle = unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, ptr::null_mut(), 0, CONCURRENCY) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle was just opened, and is not an invalid one.
        let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
        Ok(CompletionPort { handle })
    }

    fn raw(&self) -> HANDLE {
        self.handle.as_raw_handle()
    }

    /// Packets of the socket's operations come here from now on. There is no way back.
    pub(super) fn associate(&self, socket: &Socket) -> io::Result<()> {
        // SAFETY: both handles are open, for their owners are borrowed (CreateIoCompletionPort).
        let port = unsafe { CreateIoCompletionPort(winsock::handle(socket), self.raw(), SOCKET, 0) };
        if port.is_null() { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Ends the current or the next wait.
    pub(super) fn post_wake(&self) -> io::Result<()> {
        // SAFETY: the packet carries no address (PostQueuedCompletionStatus).
        let posted = unsafe { PostQueuedCompletionStatus(self.raw(), 0, WAKE, ptr::null()) };
        if posted == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Takes packets out, waiting for at least one for so long.
    fn take<'e>(&self, entries: &'e mut [OVERLAPPED_ENTRY], milliseconds: u32) -> io::Result<&'e [OVERLAPPED_ENTRY]> {
        let (count, mut taken) = (u32::try_from(entries.len()).unwrap_or(u32::MAX), 0);
        // SAFETY: the system writes at most so many entries, and their number, during the call
        // (GetQueuedCompletionStatusEx).
        let answer = unsafe {
            GetQueuedCompletionStatusEx(self.raw(), entries.as_mut_ptr(), count, &raw mut taken, milliseconds, 0)
        };
        if answer != 0 {
            return Ok(entries.get(..taken as usize).unwrap_or_default());
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(WAIT_TIMEOUT as i32) => Ok(&[]),
            error => Err(error),
        }
    }
}

/// An operation that has completed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) token: Token,
    /// What it failed with, if it did.
    pub(super) failure: Option<i32>,
    /// Bytes that it moved.
    pub(super) bytes: usize,
}

/// The receiving end.
pub(super) struct Queue {
    port: Arc<CompletionPort>,
    entries: Box<[OVERLAPPED_ENTRY; PACKETS_MAX]>,
    faults: Faults,
}

impl Queue {
    pub(super) fn new(port: Arc<CompletionPort>, faults: Faults) -> Queue {
        Queue { port, entries: Box::new([OVERLAPPED_ENTRY::default(); PACKETS_MAX]), faults }
    }

    pub(super) fn associate(&self, socket: &Socket) -> io::Result<()> {
        self.port.associate(socket)
    }

    /// Waits until there is a packet, for at most `wait`, and appends what has completed to `events`. Tells whether there was one,
    /// a wake or an interruption included.
    pub(super) fn wait(&mut self, wait: Duration, events: &mut VecDeque<Event>) -> Result<bool, OsError> {
        if let Some(code) = self.faults.at_call(FaultPoint::Wait) {
            return judge(code);
        }
        let taken = match self.port.take(&mut *self.entries, milliseconds(wait)) {
            Ok(taken) => taken,
            Err(error) => return Err(OsError::from_io(Operation::Dispatch, &error)),
        };
        // SAFETY: the packet was just taken out of the port's own queue.
        events.extend(taken.iter().filter_map(|entry| unsafe { event_of(entry) }));
        match self.faults.at_result(FaultPoint::Wait) {
            Some(code) => judge(code),
            None => Ok(!taken.is_empty()),
        }
    }
}

/// A wait that was interrupted has found nothing.
fn judge(code: i32) -> Result<bool, OsError> {
    if code == codes::INTERRUPTED { Ok(true) } else { Err(OsError::from_code(Operation::Dispatch, code)) }
}

/// What a packet says. `None`: it is not an operation's.
///
/// # Safety
/// The packet was just taken out of a queue that only operations of this driver and wakes come to.
unsafe fn event_of(entry: &OVERLAPPED_ENTRY) -> Option<Event> {
    let overlapped = NonNull::new(entry.lpOverlapped).filter(|_| entry.lpCompletionKey == SOCKET)?;
    // SAFETY: packets of that key are those of associated sockets, on which this driver alone starts operations; each of
    // those stays where it is until its event has been handled.
    let token = unsafe { token_of(overlapped) };
    // The NTSTATUS of the operation: the low half of a word (OVERLAPPED, Internal).
    let failure = status::failure(entry.Internal as NTSTATUS);
    Some(Event { token, failure, bytes: entry.dwNumberOfBytesTransferred as usize })
}

/// Whole milliseconds, rounded up: a wait that ends early would find nothing and be followed by another.
fn milliseconds(wait: Duration) -> u32 {
    let milliseconds = wait.min(WAIT_MAX).as_nanos().div_ceil(1_000_000);
    u32::try_from(milliseconds).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_rounded_up_and_bounded() {
        let waits = [(0, 0), (1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2), (u64::MAX, 1_000)];
        for (nanoseconds, expected) in waits {
            assert_eq!(milliseconds(Duration::from_nanos(nanoseconds)), expected);
        }
    }

    #[test]
    fn a_wake_is_no_event_and_does_not_get_lost() {
        let port = Arc::new(CompletionPort::open().expect("a port"));
        let mut queue = Queue::new(Arc::clone(&port), Faults::default());
        let mut events = VecDeque::new();
        port.post_wake().expect("it is taken");
        assert!(queue.wait(WAIT_MAX, &mut events).expect("it waits"), "before the wait");
        assert!(!queue.wait(Duration::ZERO, &mut events).expect("it waits"), "once");
        assert!(events.is_empty());
    }

    /// As another library of the process could post one.
    #[test]
    fn a_packet_without_an_operation_is_passed_over() {
        let nobody = OVERLAPPED_ENTRY { lpCompletionKey: SOCKET, ..OVERLAPPED_ENTRY::default() };
        // SAFETY: there is no OVERLAPPED to look at.
        assert!(unsafe { event_of(&nobody) }.is_none());
        let mut place = windows_sys::Win32::System::IO::OVERLAPPED::default();
        let foreign = OVERLAPPED_ENTRY { lpCompletionKey: WAKE, lpOverlapped: &raw mut place, ..nobody };
        // SAFETY: what is not of a socket is not looked at.
        assert!(unsafe { event_of(&foreign) }.is_none());
    }
}
