//! Workers that have gone, as the others learn of it.
//!
//! Apart from the rest, because the models (`loom/`) compile this file as it stands.

use crate::sync::{AtomicBool, AtomicUsize, Ordering};

/// Of a worker that has gone comes nothing more than what is on its way already, and its sessions are nobody's members.
#[derive(Debug)]
pub(crate) struct Departures {
    gone: Vec<AtomicBool>,
    count: AtomicUsize,
}

impl Departures {
    pub(super) fn new(workers: usize) -> Departures {
        Departures { gone: (0..workers).map(|_| AtomicBool::new(false)).collect(), count: AtomicUsize::new(0) }
    }

    /// How many: all that a turn looks at. Whoever sees one counted sees which it is.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    pub(crate) fn has_gone(&self, worker: usize) -> bool {
        self.gone.get(worker).is_some_and(|gone| gone.load(Ordering::Acquire))
    }

    /// True if that is news.
    pub(super) fn note(&self, worker: usize) -> bool {
        let is_news = self.gone.get(worker).is_some_and(|gone| !gone.swap(true, Ordering::AcqRel));
        self.count.fetch_add(usize::from(is_news), Ordering::Release);
        is_news
    }
}
