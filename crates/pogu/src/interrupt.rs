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
    heard: Heard,
    _installed: Installed,
}

/// What the handler has to say.
pub(crate) struct Heard {
    signals: Mutex<Receiver<()>>,
    clock: Clock,
    /// When the system ends the process, once it has said so.
    ends_at: Arc<OnceLock<Time>>,
}

impl Heard {
    /// As [`Interrupt::granted`].
    pub(crate) fn granted(&self) -> Option<Duration> {
        self.ends_at.get().map(|ends_at| ends_at.since(self.clock.now()))
    }

    /// True if there was an interrupt since it was asked last.
    pub(crate) fn is_new(&self) -> bool {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner).try_recv().is_ok()
    }
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
        let heard = Heard { signals: Mutex::new(receiver), clock, ends_at };
        Ok(Interrupt { heard, _installed: installed })
    }

    /// How long the system still lets the process live, after an interrupt that announced its end: a closed console, the end of a
    /// user's session, a shutdown of Windows. `None`: no such interrupt has come.
    pub fn granted(&self) -> Option<Duration> {
        self.heard.granted()
    }

    pub(crate) fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Waits for an interrupt.
    pub fn wait(&self) {
        // The sender lives as long as the process.
        let _ = self.heard.signals.lock().unwrap_or_else(PoisonError::into_inner).recv();
    }

    /// Waits for an interrupt, at most `timeout`. True if there was one.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.heard.signals.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(timeout).is_ok()
    }
}

/// Of the time that the system grants, what is kept for the last words of the program.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Of the time that the system grants, what is kept for what follows a drain: aborting what has not ended, and jobs.
const AFTER_DRAIN: Duration = Duration::from_millis(500);

/// How long a drain may take.
pub(crate) fn drain_within(granted: Option<Duration>, drain_timeout: Duration) -> Duration {
    granted.map_or(drain_timeout, |granted| drain_timeout.min(stop_within(granted).saturating_sub(AFTER_DRAIN)))
}

/// How long a stop may take, all of it.
pub(crate) fn stop_within(granted: Duration) -> Duration {
    granted.saturating_sub(LAST_WORDS)
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupt").finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Heard {
    /// What is sent is an interrupt, and what is set when the process is ended by that clock.
    pub(crate) fn of_test(clock: Clock) -> (Heard, std::sync::mpsc::Sender<()>, Arc<OnceLock<Time>>) {
        let (signals, ends_at) = (channel(), Arc::<OnceLock<Time>>::default());
        (Heard { signals: Mutex::new(signals.1), clock, ends_at: Arc::clone(&ends_at) }, signals.0, ends_at)
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
        assert_eq!(stop_within(seconds(5)), Duration::from_millis(4500));
        assert_eq!(stop_within(Duration::from_millis(200)), Duration::ZERO);
    }
}
