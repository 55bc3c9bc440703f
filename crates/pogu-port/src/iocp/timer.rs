//! The period of the system's timer.
//!
//! Waits end with a tick of the timer, which comes every 15.6 ms unless somebody asks for more. A port asks for one every
//! millisecond while it lives: then a wait is late by a millisecond or two, instead of by a tick.

use windows_sys::Win32::Media::{timeBeginPeriod, timeEndPeriod};

const MILLISECONDS: u32 = 1;

/// A tick every millisecond, for as long as this lives.
#[derive(Debug)]
pub(super) struct FineTimer {
    granted: bool,
}

impl FineTimer {
    pub(super) fn begin() -> FineTimer {
        // SAFETY: it takes a number, and is answered by a number: 0 if it was granted (timeBeginPeriod).
        let refused = unsafe { timeBeginPeriod(MILLISECONDS) };
        if refused != 0 {
            tracing::debug!(refused, "the timer keeps its period: waits may be late by 16 ms");
        }
        FineTimer { granted: refused == 0 }
    }
}

impl Drop for FineTimer {
    fn drop(&mut self) {
        if self.granted {
            // SAFETY: the same number as at the beginning, once for it (timeEndPeriod).
            unsafe { timeEndPeriod(MILLISECONDS) };
        }
    }
}
