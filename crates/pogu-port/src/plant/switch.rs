//! The switch: one plant at a time, for the calling thread alone. Storms run on several threads at once, and everything of a
//! storm is on its own.

use std::cell::Cell;

use super::Plant;

thread_local! {
    static SOWN: Cell<Option<Plant>> = const { Cell::new(None) };
}

/// True if this bug is switched on in the calling thread.
pub fn is(plant: Plant) -> bool {
    sown() == Some(plant)
}

/// The bug that is switched on in the calling thread.
pub fn sown() -> Option<Plant> {
    SOWN.get()
}

/// Runs `work` with this bug, and without it afterwards, however `work` ends.
pub fn with<R>(plant: Plant, work: impl FnOnce() -> R) -> R {
    struct Before(Option<Plant>);

    impl Drop for Before {
        fn drop(&mut self) {
            SOWN.set(self.0);
        }
    }

    let _before = Before(SOWN.replace(Some(plant)));
    work()
}
