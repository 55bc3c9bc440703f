//! What the workers of a core share: inboxes, loads, published counters. Nothing that a session's message touches.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pogu_port::{Clock, Owner, PostError, Poster, Time};

use crate::core::Resolver;
use crate::counters::{Counters, Ledger};
use crate::message::Message;
use crate::service::Running;

/// The load of a worker that takes no more sessions: more than any other can have.
const RETIRED: usize = usize::MAX / 2;

/// What the workers of a core share with each other and with its handles.
pub(crate) struct Shared {
    pub(super) node: u16,
    /// Tells the names of this core from those of every other, also in the same process and after a restart.
    pub(super) incarnation: u32,
    pub(super) clock: Clock,
    pub(super) outbox_max: usize,
    /// Where the randomness of its workers begins.
    pub(super) seed: u64,
    pub(super) resolver: Resolver,
    pub(super) posters: Vec<Poster<Message>>,
    /// Sessions by worker: where the next one goes.
    pub(super) loads: Vec<AtomicUsize>,
    pub(super) ledgers: Vec<Mutex<Ledger>>,
    pub(super) services: Mutex<Vec<Weak<Running>>>,
    /// When what has not ended is to be aborted, in nanoseconds of the clock; [`NOT_STOPPING`] while the core runs. Not a
    /// message, because it must arrive however full an inbox is.
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

    pub(crate) fn incarnation(&self) -> u32 {
        self.incarnation
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

    /// Where the randomness of a worker begins.
    pub(crate) fn seed(&self, worker: usize) -> u64 {
        self.seed.wrapping_add(worker as u64)
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Asks every worker to stop; a second request may bring the deadline forward.
    ///
    /// The request is looked at in every turn, and the message only wakes.
    pub(super) fn request_stop(&self, deadline: Time) {
        let deadline = deadline.as_nanos().min(NOT_STOPPING - 1);
        self.stop_at.fetch_min(deadline, Ordering::AcqRel);
        (0..self.workers()).for_each(|worker| self.nudge(worker));
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.present.load(Ordering::Acquire) == 0
    }

    pub(crate) fn post(&self, worker: usize, message: Message) -> Result<(), PostError<Message>> {
        match self.posters.get(worker) {
            Some(poster) => poster.post(Owner(0), message),
            None => Err(PostError::Closed(message)),
        }
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
        let nanoseconds = self.stop_at.load(Ordering::Acquire);
        (nanoseconds != NOT_STOPPING).then_some(Time::from_nanos(nanoseconds))
    }

    /// Copies what has changed of a worker's counters for others to read. False if somebody is reading just now.
    pub(crate) fn publish(&self, worker: usize, ledger: &mut Ledger) -> bool {
        let Some(Ok(mut published)) = self.ledgers.get(worker).map(Mutex::try_lock) else { return false };
        ledger.copy_changes_to(&mut published);
        true
    }

    /// As [`Shared::publish`], for the last time: waits for whoever is reading.
    pub(crate) fn publish_last(&self, worker: usize, ledger: &mut Ledger) {
        if let Some(published) = self.ledgers.get(worker) {
            ledger.copy_changes_to(&mut published.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    pub(crate) fn sum(&self, read: impl Fn(&Ledger) -> Counters) -> Counters {
        let mut total = Counters::default();
        for ledger in &self.ledgers {
            total.add(&read(&ledger.lock().unwrap_or_else(PoisonError::into_inner)));
        }
        total
    }

    pub(super) fn services(&self) -> MutexGuard<'_, Vec<Weak<Running>>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("node", &self.node).field("workers", &self.workers()).finish_non_exhaustive()
    }
}
