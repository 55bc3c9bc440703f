//! What runs the tasks of job queues: the seam behind which threads stand.
//!
//! A task is "somebody has to come to this queue": whoever runs it works at the queue for a time slice. So an executor knows
//! nothing of jobs, values or sessions; it needs a queue of tasks and threads. A core brings its own pools; in a simulation
//! tasks are stepped by the [`Lockstep`](crate::Lockstep), and there is no thread.

use std::fmt;
use std::sync::Arc;

use crate::worker::caught;

/// Runs tasks on threads of its own choosing. For those who have a pool already: see
/// [`CoreBuilder::executor`](crate::CoreBuilder::executor).
///
/// ```
/// use std::sync::Mutex;
/// use std::sync::mpsc::Sender;
///
/// use pogu::{Executor, Task};
///
/// /// Hands tasks to a thread that calls `Task::run` on each.
/// struct OneThread(Mutex<Sender<Task>>);
///
/// impl Executor for OneThread {
///     fn spawn(&self, task: Task) {
///         // A task that is dropped instead of run stops its queue.
///         let _ = self.0.lock().expect("nobody panics").send(task);
///     }
/// }
/// ```
pub trait Executor: Send + Sync {
    /// Has `task` run soon, after those that were spawned before. Must not run it inside this call, nor block: it is called
    /// by whoever pushes a job, a handler of a session, say.
    fn spawn(&self, task: Task);
}

/// A job queue that somebody has to come to. Run it; if it is dropped instead, the queue stops with
/// [`StopReason::NoThread`](super::StopReason::NoThread), and jobs that wait are dropped.
pub struct Task(Option<Arc<dyn Work>>);

/// What is behind a task.
pub(super) trait Work: Send + Sync {
    /// Works until nothing is left, or for a time slice.
    fn work(self: Arc<Self>);

    /// Nobody will come.
    fn give_up(&self);
}

/// Has somebody come to a queue. An executor that panics has dropped its task.
pub(super) fn hand_out(executor: Option<&Arc<dyn Executor>>, work: Arc<dyn Work>) {
    let task = Task(Some(work));
    match executor {
        Some(executor) => caught(|| executor.spawn(task)).unwrap_or_default(),
        None => drop(task),
    }
}

impl Task {
    /// Works at the queue, on this thread: one job at least, then others of the same queue for a time slice at most. Returns,
    /// however jobs end.
    pub fn run(mut self) {
        if let Some(work) = self.0.take() {
            work.work();
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(work) = self.0.take() {
            work.give_up();
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").finish_non_exhaustive()
    }
}
