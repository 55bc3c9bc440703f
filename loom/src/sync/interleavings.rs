//! Loom: every interleaving is tried, with every value that the memory model allows a load to see.

use std::cell::Cell;
use std::panic::Location;

pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
pub(crate) use loom::sync::{Condvar as Waiters, Mutex, MutexGuard};
pub(crate) use loom::thread::{Builder as ThreadBuilder, JoinHandle, ThreadId, current as current_thread, yield_now};

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
