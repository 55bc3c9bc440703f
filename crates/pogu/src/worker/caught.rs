//! The user's code, called so that a panic ends here.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a panic threw may panic when it is dropped, and what that throws may too. After so many times it is leaked instead.
const PAYLOADS_MAX: usize = 8;

/// Calls code of the user's. `None` if it panicked; what it threw is gone, even if its drop panics in turn.
pub(super) fn caught<R>(code: impl FnOnce() -> R) -> Option<R> {
    let mut thrown = match catch_unwind(AssertUnwindSafe(code)) {
        Ok(result) => return Some(result),
        Err(payload) => payload,
    };
    for _ in 0..PAYLOADS_MAX {
        match catch_unwind(AssertUnwindSafe(|| drop(thrown))) {
            Ok(()) => return None,
            Err(payload) => thrown = payload,
        }
    }
    std::mem::forget(thrown);
    None
}

/// Drops a value of the user's; true if that went well.
pub(crate) fn drop_quietly<T>(value: T) -> bool {
    caught(|| drop(value)).is_some()
}
