//! Every queue of a core that is not over: to be halted with it.
//!
//! The end of the core takes the list once, and under the same lock closes it. So a queue that is opened meanwhile is halted
//! in any case: by the end if it was in the list, by whoever opened it if it was not let in.
//!
//! Apart from the rest, because the models (`loom/`) compile this file as it stands.

use std::sync::{PoisonError, Weak};

use super::outcome::StopReason;
use crate::sync::{Mutex, MutexGuard};

/// Queues that a list of all has room for before those that are over are looked for.
const QUEUES_MIN: usize = 64;

/// A queue that can be stopped, with its type erased.
pub(crate) trait Halt: Send + Sync {
    /// Nothing more is taken, and what waits is dropped; with [`StopReason::CoreStopped`] a session whose handlers run on a pool
    /// may still be told of its end. To repeat it does no harm.
    fn halt(&self, reason: StopReason);
}

/// See the [module](self).
pub(crate) struct Registry {
    queues: Mutex<Queues>,
}

enum Queues {
    Open { all: Vec<Weak<dyn Halt>>, sweep_at: usize },
    Over,
}

impl Registry {
    pub(crate) fn new() -> Registry {
        Registry { queues: Mutex::new(Queues::Open { all: Vec::new(), sweep_at: QUEUES_MIN }) }
    }

    /// Keeps in mind that a queue has to be halted with the core. False if the core has ended: then nobody else halts it.
    #[must_use]
    pub(crate) fn register(&self, queue: Weak<dyn Halt>) -> bool {
        let mut queues = self.lock();
        let Queues::Open { all, sweep_at } = &mut *queues else { return false };
        if all.len() >= *sweep_at {
            all.retain(|queue| queue.strong_count() > 0);
            *sweep_at = (all.len() * 2).max(QUEUES_MIN);
        }
        all.push(queue);
        true
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(*self.lock(), Queues::Over)
    }

    /// No queue gets in any more. Gives those that have, once.
    pub(crate) fn close(&self) -> Option<Vec<Weak<dyn Halt>>> {
        match std::mem::replace(&mut *self.lock(), Queues::Over) {
            Queues::Open { all, .. } => Some(all),
            Queues::Over => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
