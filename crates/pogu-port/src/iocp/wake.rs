//! Ending a wait from another thread: a packet without an operation.

use std::sync::Arc;

use super::queue::CompletionPort;
use crate::faults::{FaultPoint, Faults};
use crate::post::Wake;

/// Tries in a row. The system refuses a packet only if it has no memory for it, which passes.
const TRIES: usize = 3;

/// Posts to a port. **A refused post loses nothing**: what the port is woken for is in its inbox already, and its waits are
/// bounded ([`WAIT_MAX`](super::queue::WAIT_MAX)), after each of which it looks there; it is late by that at most.
pub(super) struct Waker {
    pub(super) port: Arc<CompletionPort>,
    pub(super) faults: Faults,
}

impl Waker {
    fn post(&self) -> std::io::Result<()> {
        match self.faults.at_call(FaultPoint::Wake) {
            Some(code) => Err(std::io::Error::from_raw_os_error(code)),
            None => self.port.post_wake(),
        }
    }
}

impl Wake for Waker {
    fn wake(&self) {
        for _ in 0..TRIES {
            match self.post() {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "a wake was refused"),
            }
            std::thread::yield_now();
        }
        tracing::error!("a sleeping port could not be woken; it wakes by itself within a second");
    }
}
