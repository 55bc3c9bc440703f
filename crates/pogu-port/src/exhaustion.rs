//! What a listener does when the system has run out of descriptors, memory or buffers: pause, and try again.
//!
//! Trying at once would spin (a full descriptor table refuses an accept without waiting for a client), giving up would
//! leave a dead listener. So the listener pauses. If the *descriptors* are what is missing and the shortage outlasts the
//! first pause, each further try gives up a spare descriptor for a moment, accepts one waiting client with it and resets
//! it: the client learns at once what it would otherwise learn by a timeout, at most one per pause.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::clock::Time;
use crate::error::{OsError, OsErrorClass};

/// What to do about a failed accept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// The failure concerned one client (it had reset the connection): accept the next one.
    Skip,
    /// Wait until the time, then try again. `begins` is true at the first failure of a shortage.
    Pause { until: Time, begins: bool },
}

/// The state of one listener.
#[derive(Debug, Default)]
pub(crate) struct Shortage {
    /// Failed tries since the last success.
    tries: u32,
}

impl Shortage {
    /// A connection was accepted: the shortage, if there was one, is over.
    pub(crate) fn over(&mut self) {
        self.tries = 0;
    }

    /// Judges a failed accept. Anything that is not known to concern a single client is treated as a shortage: a pause
    /// is always safe, a retry at once is not.
    pub(crate) fn judge(&mut self, error: OsError, now: Time, pause: Duration) -> Verdict {
        if matches!(error.class(), OsErrorClass::Reset) {
            return Verdict::Skip;
        }
        self.tries = self.tries.saturating_add(1);
        Verdict::Pause { until: now + pause, begins: self.tries == 1 }
    }

    /// True if the shortage has outlasted a pause, so that a waiting client should be told.
    pub(crate) fn lasts(&self) -> bool {
        self.tries >= 2
    }
}

/// A descriptor held in reserve.
#[derive(Debug)]
pub(crate) struct Spare(Option<OwnedFd>);

impl Spare {
    /// Takes one, if the system has one to give.
    pub(crate) fn reserve() -> Spare {
        Spare(File::open("/dev/null").ok().map(OwnedFd::from))
    }

    /// Gives the descriptor up for the length of `use_it`, then takes one again.
    pub(crate) fn lend<R>(&mut self, use_it: impl FnOnce() -> R) -> R {
        self.0 = None;
        let result = use_it();
        *self = Spare::reserve();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Operation;
    use rustix::io::Errno;

    fn failed(errno: Errno) -> OsError {
        OsError::from_code(Operation::Accept, errno.raw_os_error())
    }

    #[test]
    fn a_client_that_reset_is_skipped_and_a_shortage_pauses() {
        let mut shortage = Shortage::default();
        let pause = Duration::from_millis(50);
        assert_eq!(shortage.judge(failed(Errno::CONNABORTED), Time::ZERO, pause), Verdict::Skip);
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::PERM] {
            let mut shortage = Shortage::default();
            let until = Time::ZERO + pause;
            assert_eq!(shortage.judge(failed(errno), Time::ZERO, pause), Verdict::Pause { until, begins: true });
            assert!(!shortage.lasts());
            assert_eq!(shortage.judge(failed(errno), Time::ZERO, pause), Verdict::Pause { until, begins: false });
            assert!(shortage.lasts());
            shortage.over();
            assert!(!shortage.lasts());
        }
    }
}
