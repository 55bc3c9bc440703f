//! The tasks of a simulated core: they wait until its [`Lockstep`](crate::Lockstep) gives them their turns, as it does workers.
//! In a simulation with faults a task may be held up, as one is that finds no free thread: others go before it, and time goes on.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pogu_port::Time;

use super::executor::{Executor, Task};

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Stepped {
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    ready: VecDeque<Task>,
    /// Those that are held up, and until when.
    held: Vec<(Time, Task)>,
}

impl Stepped {
    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a task is to be taken: now, or when the first of those that are held up no longer is.
    pub(crate) fn next_due(&self, now: Time) -> Option<Time> {
        let tasks = self.lock();
        match tasks.ready.is_empty() {
            true => tasks.held.iter().map(|(until, _)| *until).min(),
            false => Some(now),
        }
    }

    /// Takes all that are to run now: those that were held up until now, and of the others, oldest first, those that `hold`
    /// lets go.
    pub(crate) fn take(&self, now: Time, mut hold: impl FnMut() -> Option<Time>) -> Vec<Task> {
        let mut tasks = self.lock();
        let mut taken: Vec<Task> =
            tasks.held.extract_if(.., |(until, _)| *until <= now).map(|(_, task)| task).collect();
        for task in std::mem::take(&mut tasks.ready) {
            match hold() {
                Some(until) => tasks.held.push((until, task)),
                None => taken.push(task),
            }
        }
        taken
    }

    /// The core has ended and queues have stopped: runs what is left, until nothing is.
    pub(super) fn run_out(&self) {
        loop {
            let Tasks { ready, held } = std::mem::take(&mut *self.lock());
            if ready.is_empty() && held.is_empty() {
                return;
            }
            held.into_iter().map(|(_, task)| task).chain(ready).for_each(Task::run);
        }
    }
}

impl Executor for Stepped {
    fn spawn(&self, task: Task) {
        self.lock().ready.push_back(task);
    }
}
