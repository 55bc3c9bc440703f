//! What the visitors of a run, and the thread that watches them, share besides what all sessions do.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pogu::{CauseKind, Time};

use super::super::Options;
use super::super::check::Order;
use super::super::state::Shared;
use super::visitor::Streams;
use super::{Visit, joined, parted};

/// What a visit leaves behind.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) visit: Visit,
    /// Why, if it ended before it was asked to.
    pub(super) ended_early: Option<CauseKind>,
    /// Messages, the introduction not counted.
    pub(super) sent: u64,
    pub(super) introduced: bool,
    /// In a room, once its JOIN was acknowledged: how far each member was then.
    pub(super) met: Option<Vec<(u32, u64)>>,
    pub(super) streams: Streams,
    pub(super) order: Order,
    pub(super) unsent: u64,
}

#[derive(Debug)]
pub(super) struct Crew {
    pub(super) shared: Arc<Shared>,
    /// By session: the number of the message that it will send next, as on the wire.
    next: Vec<AtomicU64>,
    places: Mutex<Places>,
    records: Mutex<Vec<Record>>,
}

#[derive(Debug)]
struct Places {
    /// Sessions whose visit has ended.
    free: VecDeque<usize>,
    /// How many visits each session has begun.
    visits: Vec<u32>,
}

impl Crew {
    pub(super) fn new(options: &Options, now: Time) -> Crew {
        Crew {
            shared: Arc::new(Shared::new(options, now)),
            next: (0..options.sessions).map(|_| AtomicU64::new(0)).collect(),
            places: Mutex::new(Places { free: VecDeque::new(), visits: vec![0; options.sessions] }),
            records: Mutex::new(Vec::new()),
        }
    }

    /// A place for a new connection; `None` if all are taken.
    pub(super) fn take_place(&self) -> Option<Visit> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let session = self.shared.take_number().or_else(|| places.free.pop_front())?;
        let begun = places.visits.get_mut(session)?;
        let visit = Visit { session, count: *begun };
        *begun += 1;
        self.set_next(visit, 0);
        Some(visit)
    }

    /// The visit has ended, and its place is free.
    pub(super) fn leave(&self, record: Record) {
        let session = record.visit.session;
        self.records.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        self.places.lock().unwrap_or_else(PoisonError::into_inner).free.push_back(session);
    }

    /// Set before the message can reach anybody.
    pub(super) fn set_next(&self, visit: Visit, message: u64) {
        if let Some(next) = self.next.get(visit.session) {
            next.store(joined(visit.count, message), Ordering::Release);
        }
    }

    /// Which visit a session is at, and which message is its next.
    pub(super) fn next(&self, session: usize) -> (u32, u64) {
        parted(self.next.get(session).map_or(0, |next| next.load(Ordering::Acquire)))
    }

    /// Everything that visits left behind, in their order, and how many visits there were.
    pub(super) fn take_records(&self) -> (Vec<Record>, u64) {
        let mut records = std::mem::take(&mut *self.records.lock().unwrap_or_else(PoisonError::into_inner));
        records.sort_unstable_by_key(|record| record.visit);
        let begun =
            self.places.lock().unwrap_or_else(PoisonError::into_inner).visits.iter().copied().map(u64::from).sum();
        (records, begun)
    }
}
