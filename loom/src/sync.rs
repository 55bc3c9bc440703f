//! What `crate::sync` of pogu-port is here, and the atomics of the engine.

use std::cell::Cell;

pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

pub(crate) use crate::queue::ArrayQueue;

thread_local! {
    /// Whether fences do nothing. The threads of a model are coroutines of the thread that runs it.
    static FENCES_ARE_LEFT_OUT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `model`, which must notice that the fences of the code under test are missing.
#[cfg(test)]
pub(crate) fn without_fences(model: impl FnOnce()) {
    FENCES_ARE_LEFT_OUT.set(true);
    model();
}

pub(crate) fn fence(ordering: Ordering) {
    if !FENCES_ARE_LEFT_OUT.get() {
        loom::sync::atomic::fence(ordering);
    }
}
