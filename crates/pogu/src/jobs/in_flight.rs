//! How much is on its way to a thread, or on one: what the end of a core waits for.
//!
//! Apart from the rest, because the models (`loom/`) compile this file as it stands.

use std::sync::PoisonError;
use std::time::Duration;

use crate::sync::{AtomicUsize, Condvar, Mutex, Ordering};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct InFlight {
    count: AtomicUsize,
    /// Held for an instant by whoever was the last, so that one who waits either sees that there is nothing, or is told.
    lock: Mutex<()>,
    nothing: Condvar,
}

impl InFlight {
    pub(crate) fn new() -> InFlight {
        InFlight { count: AtomicUsize::new(0), lock: Mutex::new(()), nothing: Condvar::new() }
    }

    pub(crate) fn begin(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted with [`InFlight::begin`] goes on until this is dropped.
    pub(crate) fn take_over(&self) -> Counted<'_> {
        Counted(self)
    }

    fn end(&self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.nothing.notify_all();
        }
    }

    /// True if nothing is in flight. Whoever sees that sees everything that was done.
    pub(crate) fn is_none(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Waits until nothing is in flight, at most `timeout`. True if it came to that.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.nothing.wait_timeout_while(lock, timeout, |()| !self.is_none());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.is_none()
    }
}

/// One of those that are counted, as long as it lives.
pub(crate) struct Counted<'a>(&'a InFlight);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
