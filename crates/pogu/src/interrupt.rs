//! Ctrl-C, SIGTERM, a closed console and their like: opt-in, one handler per process.

use std::fmt;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use pogu_port::interrupt::{Installed, on_interrupt};
use pogu_port::{Clock, Time};

use crate::error::{Error, Result};

/// The process's interrupt handler, once installed. Keep it until the cores have stopped: on Windows the end of the console, of
/// the user's session and of the machine waits until it is dropped, for as long as the system lets it ([`Interrupt::granted`]).
pub struct Interrupt {
    signals: Mutex<Receiver<()>>,
    clock: Clock,
    ends_at: Arc<OnceLock<Time>>,
    _installed: Installed,
}

impl Interrupt {
    /// Catches Ctrl-C (and SIGTERM, SIGHUP on Unix; console close and shutdown on Windows) from now on.
    ///
    /// # Errors
    /// There is a handler already, or the system refused.
    pub fn install() -> Result<Interrupt> {
        let (sender, receiver) = channel();
        let ends_at = Arc::<OnceLock<Time>>::default();
        let clock = Clock::monotonic();
        let (told, watch) = (Arc::clone(&ends_at), clock.clone());
        let installed = on_interrupt(move |granted| {
            // The first one counts.
            granted.map(|granted| told.set(watch.now() + granted));
            // Nobody waits any more.
            let _ = sender.send(());
        });
        let installed = installed.map_err(Error::Interrupt)?;
        Ok(Interrupt { signals: Mutex::new(receiver), clock, ends_at, _installed: installed })
    }

    /// How long the system still lets the process live, after an interrupt that announced its end: a closed console, the end of a
    /// user's session, a shutdown of Windows. `None`: no such interrupt has come.
    pub fn granted(&self) -> Option<Duration> {
        self.ends_at.get().map(|ends_at| ends_at.since(self.clock.now()))
    }

    /// Waits for an interrupt.
    pub fn wait(&self) {
        // The sender lives as long as the process.
        let _ = self.signals.lock().unwrap_or_else(PoisonError::into_inner).recv();
    }

    /// Waits for an interrupt, at most `timeout`. True if there was one.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(timeout).is_ok()
    }
}

/// Of the time that the system grants, what is kept for aborting what has not ended, and for the last words of the program.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a drain may take.
pub(crate) fn drain_within(granted: Option<Duration>, drain_timeout: Duration) -> Duration {
    granted.map_or(drain_timeout, |granted| drain_timeout.min(granted.saturating_sub(LAST_WORDS)))
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupt").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_ends_before_the_system_ends_the_process() {
        let seconds = Duration::from_secs;
        for (granted, wanted, expected) in
            [(None, 10, 10), (Some(5), 10, 4), (Some(5), 3, 3), (Some(20), 10, 10), (Some(0), 10, 0)]
        {
            assert_eq!(drain_within(granted.map(seconds), seconds(wanted)), seconds(expected));
        }
    }
}
