//! What a worker waits for when it has asked for the addresses of a name.

use std::net::SocketAddr;
use std::sync::PoisonError;

use crate::core::Shared;
use crate::sync::{Mutex, MutexGuard};

/// The addresses of a name, at least one and in the system's order of preference; or why there are none.
pub(crate) type Answer = Result<Vec<SocketAddr>, String>;

/// A name that is being looked up.
#[derive(Debug, Default)]
pub(crate) struct Question {
    answer: Mutex<Option<Answer>>,
}

impl Question {
    /// Takes the answer, if it is there.
    pub(crate) fn take_answer(&self) -> Option<Answer> {
        self.lock().take()
    }

    pub(super) fn answer(&self, answer: Answer) {
        *self.lock() = Some(answer);
    }

    /// Answers a worker that may sleep. The nudge comes second: a worker that it wakes finds the answer.
    pub(super) fn answer_to(&self, shared: &Shared, worker: usize, answer: Answer) {
        self.answer(answer);
        shared.nudge(worker);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Answer>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
