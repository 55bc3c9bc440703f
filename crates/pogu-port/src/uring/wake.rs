//! Ending a wait from another thread: an eventfd, and a read of it that is always in flight while the port runs.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use rustix::event::EventfdFlags;

use crate::error::{Operation, OsError};
use crate::post::Wake;

/// The eventfd. Lives as long as whoever may wake, even if the port has gone.
pub(super) struct WakeEvent {
    event: OwnedFd,
}

impl WakeEvent {
    pub(super) fn open() -> Result<Arc<WakeEvent>, OsError> {
        // Blocking mode: some kernels answer a read of a non-blocking eventfd at once instead of waiting. A write blocks only
        // when 2^64 - 2 wakes have not been read.
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)
            .map_err(|errno| OsError::from_code(Operation::OpenPort, errno.raw_os_error()))?;
        Ok(Arc::new(WakeEvent { event }))
    }

    pub(super) fn raw(&self) -> RawFd {
        self.event.as_fd().as_raw_fd()
    }
}

impl Wake for WakeEvent {
    fn wake(&self) {
        // An eventfd takes every addition of 1 (eventfd(2)); an interrupted one is tried again.
        while rustix::io::write(&self.event, &1u64.to_ne_bytes()) == Err(rustix::io::Errno::INTR) {}
    }
}
