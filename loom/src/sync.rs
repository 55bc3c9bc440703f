//! What `crate::sync` of pogu-port and that of pogu are here.

use std::cell::Cell;
use std::panic::Location;
use std::sync::LockResult;
use std::time::Duration;

pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub(crate) use loom::sync::{Mutex, MutexGuard};
pub(crate) use loom::thread::{ThreadId, current as current_thread};

pub(crate) use crate::queue::ArrayQueue;

thread_local! {
    /// The file whose fences do nothing. The threads of a model are coroutines of the thread that runs it.
    static WITHOUT_FENCES: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Runs `model`, which must notice that the fences of this file are missing.
#[cfg(test)]
pub(crate) fn without_fences_of(file: &'static str, model: impl FnOnce()) {
    /// The same thread may run the next test.
    struct Restored;

    impl Drop for Restored {
        fn drop(&mut self) {
            WITHOUT_FENCES.set(None);
        }
    }

    let _restored = Restored;
    WITHOUT_FENCES.set(Some(file));
    model();
}

#[track_caller]
pub(crate) fn fence(ordering: Ordering) {
    let caller = Location::caller().file();
    if WITHOUT_FENCES.get().is_none_or(|file| !caller.ends_with(file)) {
        loom::sync::atomic::fence(ordering);
    }
}

/// Time does not pass here: only a notification ends a wait.
#[derive(Debug)]
pub(crate) struct Condvar(loom::sync::Condvar);

impl Condvar {
    pub(crate) fn new() -> Condvar {
        Condvar(loom::sync::Condvar::new())
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
