//! What `crate::sync` of pogu-port and that of pogu are here: made of loom's pieces, or, with the feature `schedules`, of
//! shuttle's.

mod channel;
#[cfg(not(feature = "schedules"))]
mod interleavings;
#[cfg(feature = "schedules")]
mod schedules;

use std::sync::LockResult;
use std::time::Duration;

pub(crate) use channel::{Receiver, RecvTimeoutError, Sender, channel};
#[cfg(not(feature = "schedules"))]
pub(crate) use interleavings::*;
#[cfg(feature = "schedules")]
pub(crate) use schedules::*;

pub(crate) use crate::queue::ArrayQueue;

/// Time does not pass here: only a notification ends a wait.
#[derive(Debug)]
pub(crate) struct Condvar(Waiters);

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar(Waiters::new())
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(crate) fn wait_timeout_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        _: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        while condition(&mut guard) {
            guard = self.0.wait(guard)?;
        }
        Ok(guard)
    }
}
