//! Workers in which something may still be said, as a stop counts them.
//!
//! A session may speak to any room until its last handler has returned, and the home of that room may be a worker without a
//! session. So a worker that is told to stop gives its [`Voice`] back when nothing more will be said in it, and goes when all have
//! done so. One that nobody has started has no sessions, and no voice.
//!
//! Apart from the rest, because the models (`loom/`) compile this file as it stands.

use std::sync::Arc;

use crate::core::Shared;
use crate::sync::{AtomicUsize, Ordering};

/// How many workers have a [`Voice`].
#[derive(Debug, Default)]
pub(crate) struct Speakers(AtomicUsize);

/// What a worker has while something may be said in it. What it has posted before is in inboxes when it is given back.
///
/// Nobody is woken for the last one: its worker goes in its next turn, and wakes the others for that.
pub(crate) struct Voice(Arc<Shared>);

impl Voice {
    pub(crate) fn of(shared: &Arc<Shared>) -> Voice {
        shared.speakers.0.fetch_add(1, Ordering::Relaxed);
        Voice(Arc::clone(shared))
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        self.0.speakers.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Shared {
    /// True if nothing more will be said in any worker. Whoever sees that finds what was said before in its inbox.
    pub(crate) fn is_silent(&self) -> bool {
        self.speakers.0.load(Ordering::Acquire) == 0
    }
}
