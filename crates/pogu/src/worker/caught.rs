//! The user's code, called so that a panic ends here.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a panic threw may panic when it is dropped, and what that throws may too. After so many times it is leaked instead.
const PAYLOADS_MAX: usize = 8;

/// Calls code of the user's. `None` if it panicked; what it threw is gone, even if its drop panics in turn.
pub(crate) fn caught<R>(code: impl FnOnce() -> R) -> Option<R> {
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

#[cfg(test)]
mod tests {
    use std::panic::{panic_any, resume_unwind};

    use super::*;

    /// Panics when it is dropped, and throws what does the same, so many times.
    struct Thrower(usize);

    impl Drop for Thrower {
        fn drop(&mut self) {
            if let Some(rest) = self.0.checked_sub(1) {
                // Without the hook of panics: nothing is to be read in the output of a test that goes well.
                resume_unwind(Box::new(Thrower(rest)));
            }
        }
    }

    /// As [`drop_quietly`]. What escapes it is kept from the harness, which would drop it, and so on.
    fn is_dropped_well(value: Thrower) -> bool {
        let dropped = catch_unwind(AssertUnwindSafe(|| drop_quietly(value)));
        dropped.unwrap_or_else(|thrown| {
            std::mem::forget(thrown);
            panic!("a drop has thrown");
        })
    }

    #[test]
    fn what_goes_well_is_answered_and_what_panics_is_not() {
        assert_eq!(caught(|| 7), Some(7));
        assert_eq!(caught(|| if true { panic_any(Thrower(0)) } else { 7 }), None);
    }

    #[test]
    fn what_was_thrown_may_throw_in_turn() {
        for throws in [1, PAYLOADS_MAX - 1, PAYLOADS_MAX] {
            assert!(!is_dropped_well(Thrower(throws)), "{throws}");
        }
        assert!(is_dropped_well(Thrower(0)));
    }

    #[test]
    fn what_throws_without_end_is_leaked() {
        assert!(!is_dropped_well(Thrower(10 * PAYLOADS_MAX)));
    }
}
