//! The workers of a core as other threads reach them: by messages, by what they look at in every turn, by their loads.
//!
//! Apart from the rest of [`Shared`], because the models (`loom/`) compile this file as it stands.

use pogu_port::{Owner, PostError, Time};

use crate::core::Shared;
use crate::core::departures::Departures;
use crate::message::Message;
use crate::service_handle::FanOutOutcome;
use crate::sync::{Ordering, fence};
use crate::worker_set::WorkerSet;

/// The load of a worker that takes no more sessions: more than any other can have.
const RETIRED: usize = usize::MAX / 2;

pub(super) const NOT_STOPPING: u64 = u64::MAX;

impl Shared {
    pub(crate) fn workers(&self) -> usize {
        self.posters.len()
    }

    /// Asks every worker to stop; a second request may bring the deadline forward.
    ///
    /// The request is looked at in every turn, and the message only wakes.
    pub(super) fn request_stop(&self, deadline: Time) {
        let deadline = deadline.as_nanos().min(NOT_STOPPING - 1);
        self.stop_at.fetch_min(deadline, Ordering::AcqRel);
        (0..self.workers()).for_each(|worker| self.nudge(worker));
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.attendance.is_over()
    }

    pub(crate) fn post(&self, worker: usize, message: Message) -> Result<(), PostError<Message>> {
        match self.posters.get(worker) {
            Some(poster) => poster.post(Owner(0), message),
            None => Err(PostError::Closed(message)),
        }
    }

    /// As [`Shared::post`], for who holds a lock: if the worker goes meanwhile, what others have posted to it may be left to this
    /// thread, and may want that lock as it is dropped. So it is put into `left`, for when the lock is free.
    pub(crate) fn post_under_lock(
        &self,
        worker: usize,
        message: Message,
        left: &mut Vec<Message>,
    ) -> Result<(), PostError<Message>> {
        match self.posters.get(worker) {
            Some(poster) => poster.post_with(Owner(0), message, |other| left.push(other)),
            None => Err(PostError::Closed(message)),
        }
    }

    /// True if a further message to any worker would find room in its inbox, just now.
    pub(crate) fn have_room(&self) -> bool {
        self.posters.iter().all(|poster| poster.waiting() < self.outbox_max.max(1))
    }

    /// One message per worker: to all, or, as far as can be seen beforehand, to none.
    pub(crate) fn fan_out(&self, mut message: impl FnMut() -> Message) -> FanOutOutcome {
        if self.has_stopped() {
            return FanOutOutcome::Gone;
        }
        if !self.have_room() {
            return FanOutOutcome::Overloaded;
        }
        let (mut posted, mut workers_missed) = (0, WorkerSet::default());
        for worker in 0..self.workers() {
            match self.post(worker, message()) {
                Ok(()) => posted += 1,
                Err(PostError::Full(_)) => workers_missed.insert(worker),
                // It has no sessions.
                Err(PostError::Closed(_)) => {}
            }
        }
        match (posted, workers_missed.is_empty()) {
            (0, true) => FanOutOutcome::Gone,
            (0, false) => FanOutOutcome::Overloaded,
            (_, true) => FanOutOutcome::Posted,
            (_, false) => FanOutOutcome::Partial { workers_missed },
        }
    }

    /// Tells every worker that limits have changed.
    pub(crate) fn announce_limits(&self) {
        self.limits_changes.fetch_add(1, Ordering::Release);
        (0..self.workers()).for_each(|worker| self.nudge(worker));
    }

    /// How many times limits have changed; whoever sees a change here sees the new limits.
    pub(crate) fn limits_changes(&self) -> u64 {
        self.limits_changes.load(Ordering::Acquire)
    }

    /// Makes a worker look at what it shares. One whose inbox is full is awake, or will be.
    pub(crate) fn nudge(&self, worker: usize) {
        let _ = self.post(worker, Message::Look);
    }

    /// Chooses the worker with the fewest sessions and counts one more there. `None` if all have gone.
    pub(super) fn place(&self) -> Option<u16> {
        let loads = self.loads.iter().map(|load| load.load(Ordering::Relaxed));
        let (worker, load) = loads.enumerate().min_by_key(|(_, load)| *load)?;
        if load >= RETIRED {
            return None;
        }
        self.loads.get(worker)?.fetch_add(1, Ordering::Relaxed);
        u16::try_from(worker).ok()
    }

    /// Counts one session less.
    pub(super) fn unplace(&self, worker: usize) {
        if let Some(load) = self.loads.get(worker) {
            load.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The worker has gone: it is never chosen again.
    pub(crate) fn retire(&self, worker: usize) {
        if let Some(load) = self.loads.get(worker) {
            load.store(RETIRED + RETIRED / 2, Ordering::Relaxed);
        }
    }

    /// When the core is to have stopped, once it has been told to.
    pub(crate) fn stop_at(&self) -> Option<Time> {
        // Pairs with the fence of a push that finds the inbox full, which wakes nobody: what is looked at after the inbox was
        // emptied must not be older than what was written before it was found full.
        fence(Ordering::SeqCst);
        let nanoseconds = self.stop_at.load(Ordering::Acquire);
        (nanoseconds != NOT_STOPPING).then_some(Time::from_nanos(nanoseconds))
    }

    pub(crate) fn departures(&self) -> &Departures {
        &self.departures
    }

    /// Nothing comes from this worker any more. Every other one strikes its sessions from its rooms.
    pub(crate) fn note_departure(&self, worker: usize) {
        if self.departures.note(worker) {
            (0..self.workers()).filter(|other| *other != worker).for_each(|other| self.nudge(other));
        }
    }

    pub(crate) fn note_service_over(&self) {
        self.services_over.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn services_over(&self) -> u64 {
        self.services_over.load(Ordering::Acquire)
    }
}
