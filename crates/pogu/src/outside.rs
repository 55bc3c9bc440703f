//! What handles of services count: they work on any thread, where no worker counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::counters::Counters;

/// Of one service, or of a core. Touched only by what does not get to a worker.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    pub(crate) frames_to_gone: AtomicU64,
    pub(crate) frames_unencodable: AtomicU64,
    pub(crate) frames_refused: AtomicU64,
    pub(crate) posts_to_gone: AtomicU64,
    pub(crate) posts_refused: AtomicU64,
    pub(crate) broadcasts_refused: AtomicU64,
    pub(crate) room_calls_to_gone: AtomicU64,
}

/// What is counted.
pub(crate) type Which = fn(&Outside) -> &AtomicU64;

impl Outside {
    pub(crate) fn count(&self, which: Which) {
        self.count_many(which, 1);
    }

    pub(crate) fn count_many(&self, which: Which, number: u64) {
        which(self).fetch_add(number, Ordering::Relaxed);
    }

    pub(crate) fn add_to(&self, counters: &mut Counters) {
        let read = |which: Which| which(self).load(Ordering::Relaxed);
        counters.frames_to_gone += read(|outside| &outside.frames_to_gone);
        counters.frames_unencodable += read(|outside| &outside.frames_unencodable);
        counters.frames_refused += read(|outside| &outside.frames_refused);
        counters.posts_to_gone += read(|outside| &outside.posts_to_gone);
        counters.posts_refused += read(|outside| &outside.posts_refused);
        counters.broadcasts_refused += read(|outside| &outside.broadcasts_refused);
        counters.room_calls_to_gone += read(|outside| &outside.room_calls_to_gone);
    }
}
