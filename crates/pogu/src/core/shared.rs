//! What the workers of a core share: inboxes, loads, published counters. Nothing that a session's message touches.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pogu_port::{Clock, Owner, PostError, Poster};

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
