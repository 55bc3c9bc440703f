//! Which workers of a core have not stopped, and whose threads they are on.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::core::Shared;
use crate::sync::{AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, ThreadId, current_thread};

/// Where a worker is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// Nobody has started it.
    Seed,
    /// On this thread.
    On(ThreadId),
    /// It has stopped or was dropped.
    Gone,
}

/// The workers of a core, by number.
#[derive(Debug)]
pub(super) struct Attendance {
    places: Mutex<Vec<Place>>,
    /// How many are not gone: every post to the core asks, and must not wait for anybody.
    present: AtomicUsize,
    someone_left: Condvar,
}

impl Attendance {
    pub(super) fn new(workers: usize) -> Attendance {
        Attendance {
            places: Mutex::new(vec![Place::Seed; workers]),
            present: AtomicUsize::new(workers),
            someone_left: Condvar::new(),
        }
    }

    /// True once every worker has stopped. Whoever sees that sees everything that they did.
    pub(super) fn is_over(&self) -> bool {
        self.present.load(Ordering::Acquire) == 0
    }

    pub(super) fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, worker: usize, place: Place) {
        if let Some(of_worker) = self.places().get_mut(worker) {
            *of_worker = place;
        }
    }

    /// The worker has stopped.
    fn leave(&self, worker: usize) {
        let mut places = self.places();
        if let Some(of_worker) = places.get_mut(worker) {
            *of_worker = Place::Gone;
        }
        // Before the lock is released: whoever waited for the last worker finds it over.
        self.present.fetch_sub(1, Ordering::AcqRel);
        drop(places);
        self.someone_left.notify_all();
    }

    /// Those that have not stopped.
    pub(super) fn absent(&self) -> Vec<usize> {
        let places = self.places();
        places.iter().enumerate().filter(|(_, place)| **place != Place::Gone).map(|(worker, _)| worker).collect()
    }

    /// Waits until every worker has stopped, at most `timeout`. Those of the calling thread are not waited for: they cannot
    /// stop while it waits.
    pub(super) fn wait(&self, timeout: Duration) {
        let waited = self.someone_left.wait_timeout_while(self.places(), timeout, |places| others_are_here(places));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// True if nobody is left who could be waited for.
    pub(super) fn others_have_gone(&self) -> bool {
        !others_are_here(&self.places())
    }
}

/// Whether there is a worker that has not stopped and is not on the calling thread.
fn others_are_here(places: &[Place]) -> bool {
    let own = Place::On(current_thread().id());
    places.iter().any(|place| *place != Place::Gone && *place != own)
}

/// A worker's share in its core; given back when the worker has stopped or is dropped.
#[derive(Debug)]
pub(crate) struct Presence {
    shared: Arc<Shared>,
    worker: usize,
}

impl Presence {
    pub(super) fn of(shared: &Arc<Shared>, worker: usize) -> Presence {
        Presence { shared: Arc::clone(shared), worker }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The worker lives on the calling thread from now on.
    pub(crate) fn started(&self) {
        self.shared.attendance.set(self.worker, Place::On(current_thread().id()));
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.shared.attendance.leave(self.worker);
    }
}
