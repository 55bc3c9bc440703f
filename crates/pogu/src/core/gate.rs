//! Whether anything new may come into a service.
//!
//! A flag that is never taken back, and not a message: it must arrive however full an inbox is. Workers look at it in every
//! turn, after the request to stop and thanks to the fence of that look; who closes it nudges them afterwards. Apart from the
//! rest of a service, because the models (`loom/`) compile this file as it stands.

use crate::sync::{AtomicBool, Ordering};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Gate {
    closed: AtomicBool,
}

impl Gate {
    pub(crate) fn open() -> Gate {
        Gate { closed: AtomicBool::new(false) }
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Whoever sees it closed sees what was done before it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}
