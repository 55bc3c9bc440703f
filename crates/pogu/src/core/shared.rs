//! What the workers of a core share: inboxes, loads, published counters. Nothing that a session's message touches.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pogu_port::{Clock, Owner, PostError, Poster, Time};

use crate::counters::{Counters, Ledger};
use crate::message::Message;
use crate::service::Running;

/// What the workers of a core share with each other and with its handles.
pub(crate) struct Shared {
    pub(super) node: u16,
    pub(super) clock: Clock,
    pub(super) outbox_max: usize,
    pub(super) posters: Vec<Poster<Message>>,
    /// Sessions by worker: where the next one goes.
    pub(super) loads: Vec<AtomicUsize>,
    pub(super) ledgers: Vec<Mutex<Ledger>>,
    pub(super) services: Mutex<Vec<Arc<Running>>>,
    /// When a stop aborts what has not ended, in nanoseconds; [`NOT_STOPPING`] if none was asked for.
    pub(super) stop_at: AtomicU64,
    /// Workers that have not stopped.
    pub(super) present: AtomicUsize,
}

pub(super) const NOT_STOPPING: u64 = u64::MAX;

/// A worker's share in its core; given back when the worker has stopped or is dropped.
#[derive(Debug)]
pub(crate) struct Presence(Arc<Shared>);

impl Presence {
    pub(super) fn of(shared: &Arc<Shared>) -> Presence {
        shared.present.fetch_add(1, Ordering::Relaxed);
        Presence(Arc::clone(shared))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // What the worker did happens before somebody sees that it has stopped.
        self.0.present.fetch_sub(1, Ordering::Release);
    }
}

impl Shared {
    pub(crate) fn node(&self) -> u16 {
        self.node
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn workers(&self) -> usize {
        self.posters.len()
    }

    /// The worker that a service's listener lives on: any would do, services are spread.
    pub(crate) fn listener_worker(&self, running: &Running) -> usize {
        running.index % self.workers().max(1)
    }

    /// Messages that may wait for room in the inbox of another worker.
    pub(crate) fn outbox_max(&self) -> usize {
        self.outbox_max
    }

    /// Asks every worker to stop; a second request may bring the deadline forward.
    ///
    /// The request is looked at in every turn, and the message only wakes: a full inbox belongs to a worker that is awake.
    pub(super) fn request_stop(&self, deadline: Time) {
        let deadline = deadline.as_nanos().min(NOT_STOPPING - 1);
        self.stop_at.fetch_min(deadline, Ordering::Release);
        for worker in 0..self.workers() {
            let _ = self.post(worker, Message::Stop);
        }
    }

    /// The deadline of the stop, if one was asked for.
    pub(crate) fn stop_requested(&self) -> Option<Time> {
        let deadline = self.stop_at.load(Ordering::Acquire);
        (deadline != NOT_STOPPING).then(|| Time::from_nanos(deadline))
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.present.load(Ordering::Acquire) == 0
    }

    pub(crate) fn poster(&self, worker: usize) -> Option<&Poster<Message>> {
        self.posters.get(worker)
    }

    pub(crate) fn post(&self, worker: usize, message: Message) -> Result<(), PostError<Message>> {
        match self.posters.get(worker) {
            Some(poster) => poster.post(Owner(0), message),
            None => Err(PostError::Closed(message)),
        }
    }

    /// Chooses the worker with the fewest sessions and counts one more there.
    pub(crate) fn place(&self) -> usize {
        let loads = self.loads.iter().map(|load| load.load(Ordering::Relaxed)).enumerate();
        let worker = loads.min_by_key(|(_, load)| *load).map_or(0, |(worker, _)| worker);
        if let Some(load) = self.loads.get(worker) {
            load.fetch_add(1, Ordering::Relaxed);
        }
        worker
    }

    /// Counts one session less.
    pub(crate) fn unplace(&self, worker: usize) {
        if let Some(load) = self.loads.get(worker) {
            load.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Copies a worker's counters for others to read, unless somebody is reading just now.
    pub(crate) fn publish(&self, worker: usize, ledger: &Ledger) {
        if let Some(Ok(mut published)) = self.ledgers.get(worker).map(Mutex::try_lock) {
            published.copy_from(ledger);
        }
    }

    /// As [`Shared::publish`], for the last time: waits for whoever is reading.
    pub(crate) fn publish_last(&self, worker: usize, ledger: &Ledger) {
        if let Some(published) = self.ledgers.get(worker) {
            published.lock().unwrap_or_else(PoisonError::into_inner).copy_from(ledger);
        }
    }

    pub(crate) fn sum(&self, read: impl Fn(&Ledger) -> Counters) -> Counters {
        let mut total = Counters::default();
        for ledger in &self.ledgers {
            total.add(&read(&ledger.lock().unwrap_or_else(PoisonError::into_inner)));
        }
        total
    }

    pub(super) fn services(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Running>>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("node", &self.node).field("workers", &self.workers()).finish_non_exhaustive()
    }
}
