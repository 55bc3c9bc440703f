//! A value that jobs are done on, one at a time.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::ask::{Question, Reply};
use super::outcome::{JobOverflow, JobTicket, OnPanic, PushOutcome, StopReason, Unanswered};
use super::registry::Halt;
use super::serial::Queue;
use super::slot::{Asked, slot};
use crate::context::Context;
use crate::core::Shared;
use crate::identity::SessionRef;
use crate::session::Session;

/// The time that a queue is worked at before it goes to the back of the pool, unless its options say otherwise: that of the
/// course, four frames at 60 Hz. Shorter slices cost more task switches, longer ones more waiting.
pub(super) const TIME_SLICE: Duration = Duration::from_millis(64);

/// Jobs that may wait in a queue unless its options say otherwise: a third of a second of a world of 5,000 players with ten
/// commands a second each, in 2 MiB or so. What comes when so many wait is refused, so that whoever pushes hears of it.
const JOBS_MAX: usize = 16 * 1024;

/// How a job queue works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueOptions {
    /// The time after which a queue with more to do goes to the back of the pool, so that others have their turns. It is
    /// looked at between two jobs; one job at least runs. Default 64 ms.
    pub time_slice: Duration,
    /// Jobs that may wait, delayed ones included; at least 1. Default 16,384.
    pub jobs_max: usize,
    /// What is done when so many wait. Default: the new one is refused.
    pub overflow: JobOverflow,
    /// What is done after a job has panicked. Default: the queue goes on.
    pub on_panic: OnPanic,
}

impl Default for QueueOptions {
    fn default() -> QueueOptions {
        QueueOptions {
            time_slice: TIME_SLICE,
            jobs_max: JOBS_MAX,
            overflow: JobOverflow::default(),
            on_panic: OnPanic::default(),
        }
    }
}

/// A value and the jobs that are to be done on it: a serial executor. One job at a time, whatever thread is free, with
/// `&mut` to the value and no lock. Jobs that one thread pushes run in the order in which it pushed them.
///
/// Clones are the same queue. It works as long as something is to be done; the value is dropped with the last clone, once the
/// last job has run. A value that holds a clone of its own queue holds itself, until the queue or its core stops: let it hold
/// a [`WeakJobQueue`].
///
/// The value of a queue that is idle is dropped on the thread that drops the last clone or calls [`JobQueue::stop`], which may be
/// a worker, in a handler: a `Drop` that takes long holds up every session there. Have what takes long done by a last job,
/// before that.
pub struct JobQueue<T> {
    queue: Arc<Queue<T>>,
}

impl<T: Send + 'static> JobQueue<T> {
    pub(super) fn new(shared: &Arc<Shared>, name: &str, value: T, options: &QueueOptions) -> JobQueue<T> {
        JobQueue { queue: Queue::new(shared, name, value, options) }
    }

    /// Has `job` done, after all that were pushed before it. Never blocks; called from a job of the same queue, too.
    ///
    /// A job that panics is counted, written to the log, and followed by what [`QueueOptions::on_panic`] says. It must not take
    /// long: it keeps a thread of the pool from other queues, and is named in the log while it still does, in at most one line
    /// a second, once that is longer than [`CoreBuilder::stall_limit`](crate::CoreBuilder::stall_limit). What has to wait (a
    /// database, a file) belongs into a [`BlockingQueue`](super::BlockingQueue).
    pub fn push(&self, job: impl FnOnce(&mut T) + Send + 'static) -> PushOutcome {
        self.queue.push(Box::new(job))
    }

    /// Has `job` done once `delay` is over, never before, after all that wait in the queue then.
    pub fn push_after(&self, delay: Duration, job: impl FnOnce(&mut T) + Send + 'static) -> PushOutcome {
        self.queue.push_after(delay, Box::new(job))
    }

    /// Takes back a job that has not begun. True: it never runs, and was dropped. False: it has begun or run, was dropped for a
    /// newer one, or is of another queue. Of a cancel and the beginning of the job exactly one wins.
    ///
    /// Walks along the jobs that wait.
    pub fn cancel(&self, ticket: JobTicket) -> bool {
        self.queue.cancel(ticket)
    }

    /// Asks the value something on a session's behalf: `question` is done as a job, and `answer` runs in the session's worker
    /// with what it gave, as one more handler of that session. Exactly one of these happens: the outcome is a refusal; or
    /// `answer` runs, with an error if the question was cancelled, dropped or panicked; or the session has ended when the answer
    /// comes (or is not an `S`), which is then dropped and counted as
    /// [`Counters::posts_to_gone`](crate::Counters::posts_to_gone).
    ///
    /// Answers of one queue to one session arrive in the order of the questions. If the inbox of the session's worker is full,
    /// they wait for room, however many they are: the answer to a question that was taken is never dropped for want of it. But while as
    /// many wait as fit into that inbox, no further question is taken for sessions of that worker:
    /// [`PushRefusal::Overloaded`](super::PushRefusal::Overloaded). For a session of another core than the queue's none is ever
    /// taken: [`PushRefusal::OtherCore`](super::PushRefusal::OtherCore).
    pub fn ask<S, R, Q, A>(&self, session: SessionRef<S>, question: Q, answer: A) -> PushOutcome
    where
        S: Session,
        R: Send + 'static,
        Q: FnOnce(&mut T) -> R + Send + 'static,
        A: FnOnce(&mut S, &mut Context<'_>, Result<R, Unanswered>) + Send + 'static,
    {
        let reply = Reply::new(self.queue.shared(), session, answer);
        self.queue.ask(session.id(), Box::new(Question { question, reply }))
    }

    /// Asks the value something, for whoever awaits the answer, or looks for it every now and then: [`Asked::try_take`]. A
    /// question that is refused, cancelled, dropped, or panics is an error.
    pub fn ask_future<R: Send + 'static>(&self, question: impl FnOnce(&mut T) -> R + Send + 'static) -> Asked<R> {
        let (mut giver, asked) = slot();
        let job = move |value: &mut T| {
            giver.begin();
            giver.give(question(value));
        };
        match self.push(job) {
            PushOutcome::Pushed(_) => asked,
            PushOutcome::Refused(refusal) => Asked::refused(refusal),
        }
    }

    /// Ends the queue: jobs that wait never run (they are counted as [`JobCounts::abandoned`](super::JobCounts::abandoned)), what is
    /// pushed is refused, and the value is dropped: after the job that is running, on its thread; else here and now. To repeat it
    /// does no harm.
    pub fn stop(&self) {
        self.queue.halt(StopReason::Asked);
    }

    /// Why it takes no jobs any more; `None` as long as it does.
    pub fn stopped(&self) -> Option<StopReason> {
        self.queue.stopped()
    }

    /// The same queue, for the value itself to hold, and for others that must not keep it alive.
    pub fn downgrade(&self) -> WeakJobQueue<T> {
        WeakJobQueue { queue: Arc::downgrade(&self.queue) }
    }
}

impl<T> JobQueue<T> {
    /// The name under which it is measured.
    pub fn name(&self) -> &str {
        self.queue.name()
    }
}

impl<T> Clone for JobQueue<T> {
    fn clone(&self) -> JobQueue<T> {
        JobQueue { queue: Arc::clone(&self.queue) }
    }
}

impl<T> fmt::Debug for JobQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobQueue").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// The name of a [`JobQueue`] that does not keep it alive.
pub struct WeakJobQueue<T> {
    queue: Weak<Queue<T>>,
}

impl<T> WeakJobQueue<T> {
    /// The queue, if it is still there.
    pub fn upgrade(&self) -> Option<JobQueue<T>> {
        Some(JobQueue { queue: self.queue.upgrade()? })
    }
}

impl<T> Clone for WeakJobQueue<T> {
    fn clone(&self) -> WeakJobQueue<T> {
        WeakJobQueue { queue: Weak::clone(&self.queue) }
    }
}

impl<T> fmt::Debug for WeakJobQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakJobQueue").finish_non_exhaustive()
    }
}
