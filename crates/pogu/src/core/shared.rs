//! What the workers of a core share: inboxes, loads, published counters. Nothing that a session's message touches.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use pogu_port::{Clock, Counters as PortCounters, Poster};

use crate::core::Resolver;
use crate::core::departures::Departures;
use crate::core::presence::Attendance;
use crate::core::speakers::Speakers;
use crate::core::watch::{Stall, Stalls};
use crate::counters::{Counters, Ledger};
use crate::identity::Room;
use crate::jobs::SharedJobs;
use crate::message::Message;
use crate::outside::Outside;
use crate::progress::{Call, Marker, Progress, Turns};
use crate::room_kinds::RoomKinds;
use crate::service::Running;

/// What the workers of a core share with each other and with its handles.
pub(crate) struct Shared {
    pub(super) node: u16,
    /// Tells the names of this core from those of every other, also in the same process and after a restart.
    pub(super) incarnation: u32,
    pub(super) clock: Clock,
    pub(super) outbox_max: usize,
    pub(super) latency_budget: Duration,
    /// Where the randomness of its workers begins.
    pub(super) seed: u64,
    pub(super) resolver: Resolver,
    pub(super) room_kinds: RoomKinds,
    pub(super) posters: Vec<Poster<Message>>,
    /// Sessions by worker: where the next one goes.
    pub(super) loads: Vec<AtomicUsize>,
    pub(super) ledgers: Vec<Mutex<Ledger>>,
    /// Workers that have gone. Not a message either, and for the same reason as `stop_at`.
    pub(super) departures: Departures,
    /// Workers in which something may still be said.
    pub(super) speakers: Speakers,
    /// What handles of services count.
    pub(crate) outside: Outside,
    pub(super) services: Mutex<Vec<Weak<Running>>>,
    /// When what has not ended is to be aborted, in nanoseconds of the clock; [`NOT_STOPPING`](super::crew::NOT_STOPPING) while
    /// the core runs. Not a message, because it must arrive however full an inbox is.
    pub(super) stop_at: AtomicU64,
    pub(super) attendance: Attendance,
    /// What each worker is doing.
    pub(super) progress: Vec<Arc<Progress>>,
    /// How long a handler may run; `None`: nobody looks.
    pub(super) stall_limit: Option<Duration>,
    pub(super) stalls: Mutex<Stalls>,
    /// Counts changes of limits. Not a message either: deadlines must follow them however full an inbox is.
    pub(super) limits_changes: AtomicU64,
    /// Counts services of which nothing is left: what was counted for them by name concerns nobody any more.
    pub(super) services_over: AtomicU64,
    pub(super) jobs: SharedJobs,
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

    pub(crate) fn jobs(&self) -> &SharedJobs {
        &self.jobs
    }

    /// The end of a worker's [`Progress`] that writes.
    pub(crate) fn marker(&self, worker: usize) -> Marker {
        Marker::new(self.progress.get(worker).map(Arc::clone).unwrap_or_default(), self.stall_limit)
    }

    /// How long a handler, or a job, may run.
    pub(crate) fn stall_limit(&self) -> Option<Duration> {
        self.stall_limit
    }

    /// The handler that a worker is in.
    pub(super) fn call_of(&self, worker: usize) -> Call {
        self.progress.get(worker).map_or(Call::NONE, |progress| progress.call())
    }

    /// The room whose state a worker is in.
    pub(super) fn room_of(&self, worker: usize, call: Call) -> Option<Room> {
        self.progress.get(worker)?.room_of(call)
    }

    pub(super) fn turns(&self) -> Turns {
        self.progress.iter().fold(Turns::default(), |turns, progress| turns.and(progress.turns()))
    }

    /// The address of a service that is not over.
    pub(super) fn address_of(&self, service: usize) -> Option<SocketAddr> {
        let running = self.services().get(service)?.upgrade()?;
        Some(running.address.address())
    }

    /// Keeps a stall as the last one if it is news, or is the last one still.
    pub(super) fn note_stall(&self, is_new: bool, stall: Option<Stall>) {
        let Some(stall) = stall else { return };
        let mut stalls = self.stalls.lock().unwrap_or_else(PoisonError::into_inner);
        stalls.count += u64::from(is_new);
        if is_new || stalls.last.as_ref().is_some_and(|last| last.worker == stall.worker) {
            stalls.last = Some(stall);
        }
    }

    pub(super) fn stalls(&self) -> Stalls {
        self.stalls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The worker that a service's listener lives on: any would do, services are spread.
    pub(crate) fn listener_worker(&self, running: &Running) -> usize {
        running.index % self.workers().max(1)
    }

    /// Messages that may wait for room in the inbox of another worker.
    pub(crate) fn outbox_max(&self) -> usize {
        self.outbox_max
    }

    /// How long a worker waits for more before its turn.
    pub(crate) fn latency_budget(&self) -> Duration {
        self.latency_budget
    }

    /// Where the randomness of a worker begins.
    pub(crate) fn seed(&self, worker: usize) -> u64 {
        self.seed.wrapping_add(worker as u64)
    }

    /// Rooms with a state.
    pub(crate) fn room_kinds(&self) -> &RoomKinds {
        &self.room_kinds
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        &self.resolver
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

    /// What all workers and all handles of services have counted.
    pub(super) fn totals(&self) -> Counters {
        let mut total = self.sum(Ledger::total);
        self.outside.add_to(&mut total);
        total
    }

    /// What the port of a worker counts. What its inbox refused is as new as can be: a worker that is never dispatched has
    /// published nothing, and refuses most.
    pub(super) fn port_counters(&self, worker: usize) -> PortCounters {
        let published =
            self.ledgers.get(worker).map(|ledger| ledger.lock().unwrap_or_else(PoisonError::into_inner).port);
        let refused_posts = self.posters.get(worker).map_or(0, Poster::refused);
        let mut counters = published.unwrap_or_default();
        counters.refused_posts = refused_posts;
        counters
    }

    /// Clears a worker's books of the services that are over. False if somebody else is at the list of services just now.
    pub(crate) fn retire_services(&self, ledger: &mut Ledger) -> bool {
        let Ok(services) = self.services.try_lock() else { return false };
        ledger.retire(|service| services.get(service).is_some_and(|running| running.strong_count() == 0));
        true
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::Core;
    use crate::sim::Simulation;

    #[test]
    fn who_asks_whether_a_core_has_stopped_waits_for_nobody() {
        let builder = Core::builder().simulated(&Simulation::new()).workers(2);
        let (core, seeds) = builder.hand_out().expect("a core");
        let places = core.shared.attendance.places();
        let (answer, answered) = channel();
        let asking = std::thread::spawn({
            let shared = Arc::clone(&core.shared);
            move || answer.send(shared.has_stopped())
        });
        let answered = answered.recv_timeout(Duration::from_secs(10));
        drop(places);
        asking.join().expect("no panic").expect("it is waited for");
        assert_eq!(answered, Ok(false));
        drop(seeds);
        assert!(core.has_stopped());
    }
}
