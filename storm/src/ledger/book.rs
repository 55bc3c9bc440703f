//! The ledger, in the hands of everybody who writes into it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pogu::sim::Simulation;
use pogu::{RoomRef, ServiceHandle, Time};

use super::Ledger;
use crate::hall::Hall;
use crate::jobs::JobLine;
use crate::plan::Plan;

/// The ledger, shared by all sessions of a storm and by who drives it.
#[derive(Clone)]
pub(crate) struct Book(Arc<Mutex<Ledger>>);

impl Book {
    pub(crate) fn new(plan: &Plan, trace: Option<Simulation>) -> Book {
        Book(Arc::new(Mutex::new(Ledger::new(plan, trace))))
    }

    /// Opens it at this time. Nothing that is called while it is open may open it.
    pub(crate) fn open(&self, now: Time) -> MutexGuard<'_, Ledger> {
        let mut ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.now = now;
        ledger
    }

    /// Opens it at the time at which it was opened last.
    pub(crate) fn reopen(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handle of a server service.
    pub(crate) fn handle(&self, now: Time, service: usize) -> ServiceHandle {
        self.open(now).handles[service].clone()
    }

    /// A room of a core that has a state.
    pub(crate) fn hall(&self, now: Time, core: usize, room: u32) -> Option<RoomRef<Hall>> {
        self.open(now).halls.get(&(core, room)).cloned()
    }

    /// A job queue.
    pub(crate) fn line(&self, now: Time, queue: usize) -> JobLine {
        self.open(now).jobs.lines[queue].clone()
    }

    /// Whether that is done: what goes on then is the end of a storm that broke something.
    pub(crate) fn has_let_go(&self) -> bool {
        self.reopen().handles.is_empty()
    }

    /// Gives back what keeps the cores and this ledger alive by each other.
    pub(crate) fn let_go(&self) {
        let kept = {
            let ledger = &mut *self.reopen();
            let (handles, halls) = (std::mem::take(&mut ledger.handles), std::mem::take(&mut ledger.halls));
            (handles, halls, std::mem::take(&mut ledger.jobs.lines))
        };
        drop(kept);
    }
}
