//! Ctrl-C, SIGTERM, a closed console and their like: opt-in, one handler per process.

use std::fmt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use pogu_port::interrupt::{Installed, on_interrupt};

use crate::error::{Error, Result};

/// The process's interrupt handler, once installed. Keep it until the cores have stopped: on Windows the end of the console, of
/// the user's session and of the machine wait until it is dropped, for as long as the system lets them (about 5 s for a
/// console).
pub struct Interrupt {
    signals: Mutex<Receiver<()>>,
    _installed: Installed,
}

impl Interrupt {
    /// Catches Ctrl-C (and SIGTERM, SIGHUP on Unix; console close and shutdown on Windows) from now on.
    ///
    /// # Errors
    /// There is a handler already, or the system refused.
    pub fn install() -> Result<Interrupt> {
        let (sender, receiver) = channel();
        let installed = on_interrupt(move || {
            // Nobody waits any more.
            let _ = sender.send(());
        });
        Ok(Interrupt { signals: Mutex::new(receiver), _installed: installed.map_err(Error::Interrupt)? })
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

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupt").finish_non_exhaustive()
    }
}
