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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_on_in_one_thread_and_only_as_long_as_it_is_wanted() {
        with(Plant::MissedWake, || {
            assert!(is(Plant::MissedWake) && !is(Plant::LostCancel));
            let elsewhere = std::thread::spawn(sown).join().expect("no panic");
            assert_eq!(elsewhere, None);
            let broken = std::panic::catch_unwind(|| with(Plant::LostCancel, || panic!("it was found")));
            assert!(broken.is_err() && is(Plant::MissedWake));
        });
        assert_eq!(sown(), None);
    }

    #[test]
    fn there_are_enough_each_once() {
        let mut names: Vec<&str> = Plant::ALL.iter().map(|plant| plant.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Plant::ALL.len());
        assert!(names.len() >= 18);
    }
}
