//! Loom: every interleaving is tried, with every value that the memory model allows a load to see.

use std::cell::Cell;
use std::panic::Location;

pub(crate) use loom::sync::atomic::Ordering;
pub(crate) use loom::sync::{Condvar as Waiters, Mutex, MutexGuard};
pub(crate) use loom::thread::{Builder as ThreadBuilder, JoinHandle, ThreadId, current as current_thread, yield_now};

/// What a file does without.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    Fences,
    /// Whatever it does with an atomic is relaxed.
    Orders,
}

thread_local! {
    /// The file, and what it does without. The threads of a model are coroutines of the thread that runs it.
    static WITHOUT: Cell<Option<(Without, &'static str)>> = const { Cell::new(None) };
}

/// Runs `model`, which must notice that the fences of this file are missing.
#[cfg(test)]
pub(crate) fn without_fences_of(file: &'static str, model: impl FnOnce()) {
    without(Without::Fences, file, model);
}

/// Runs `model`, which must notice that the atomics of this file order nothing.
#[cfg(test)]
pub(crate) fn without_orders_of(file: &'static str, model: impl FnOnce()) {
    without(Without::Orders, file, model);
}

#[cfg(test)]
fn without(what: Without, file: &'static str, model: impl FnOnce()) {
    /// The same thread may run the next test.
    struct Restored;

    impl Drop for Restored {
        fn drop(&mut self) {
            WITHOUT.set(None);
        }
    }

    let _restored = Restored;
    WITHOUT.set(Some((what, file)));
    model();
}

#[track_caller]
fn is_without(what: Without) -> bool {
    let caller = Location::caller().file();
    WITHOUT.get().is_some_and(|(left_out, file)| left_out == what && caller.ends_with(file))
}

#[track_caller]
pub(crate) fn fence(ordering: Ordering) {
    if !is_without(Without::Fences) {
        loom::sync::atomic::fence(ordering);
    }
}

/// The order that the caller asks for, unless it is to do without.
#[track_caller]
fn asked(ordering: Ordering) -> Ordering {
    if is_without(Without::Orders) { Ordering::Relaxed } else { ordering }
}

/// Loom's atomic, as far as the code under test uses it.
macro_rules! atomic {
    ($name:ident, $value:ty $(, $method:ident)*) => {
        #[derive(Debug, Default)]
        pub(crate) struct $name(loom::sync::atomic::$name);

        impl $name {
            pub(crate) fn new(value: $value) -> $name {
                $name(loom::sync::atomic::$name::new(value))
            }

            #[track_caller]
            pub(crate) fn load(&self, ordering: Ordering) -> $value {
                self.0.load(asked(ordering))
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $value, ordering: Ordering) {
                self.0.store(value, asked(ordering));
            }

            $(
                #[track_caller]
                pub(crate) fn $method(&self, value: $value, ordering: Ordering) -> $value {
                    self.0.$method(value, asked(ordering))
                }
            )*
        }
    };
}

/// Those that change a value if it is as expected.
macro_rules! exchange {
    ($name:ident, $value:ty) => {
        impl $name {
            #[track_caller]
            pub(crate) fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.0.compare_exchange(current, new, asked(success), asked(failure))
            }
        }
    };
}

atomic!(AtomicBool, bool, swap);
atomic!(AtomicU64, u64, fetch_add, fetch_min);
atomic!(AtomicUsize, usize, fetch_add, fetch_sub);
exchange!(AtomicBool, bool);
exchange!(AtomicUsize, usize);

impl AtomicUsize {
    #[track_caller]
    pub(crate) fn fetch_update(
        &self,
        set: Ordering,
        fetch: Ordering,
        change: impl FnMut(usize) -> Option<usize>,
    ) -> Result<usize, usize> {
        self.0.fetch_update(asked(set), asked(fetch), change)
    }
}
