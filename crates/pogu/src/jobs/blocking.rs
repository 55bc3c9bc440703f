//! Work that waits for something: a database, a file, another program. It has threads of its own, so that however many of
//! them wait, rooms go on.
//!
//! Several jobs of one queue run at a time, as many as there are threads; they begin in the order in which they were pushed.
//! There is a task for each that waits, and a task takes whatever stands first in the line.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pogu_port::Time;

use super::ask::{Job, Question, Reply, refusal_for};
use super::executor::{Executor, Work, hand_out};
use super::line::JobName;
use super::measure::{Batch, Row};
use super::outcome::{JobOverflow, JobTicket, OnPanic, PushOutcome, PushRefusal, StopReason, Unanswered};
use super::queue::QueueOptions;
use super::registry::Halt;
use super::slot::{Asked, slot};
use crate::context::Context;
use crate::core::Shared;
use crate::identity::{SessionId, SessionRef};
use crate::post::Errand;
use crate::session::Session;
use crate::worker::caught;

/// Jobs that may block: each runs on a thread of the pool for such jobs, beside others of the same queue. All blocking queues
/// of a core share its [threads](crate::CoreBuilder::blocking_threads), in the order in which jobs were pushed: one that has
/// much to do holds up the others, whatever their names. Clones are the same queue.
///
/// In a simulation they take no time and run one after the other.
#[derive(Clone)]
pub struct BlockingQueue {
    queue: Arc<Blocking>,
}

struct Blocking {
    shared: Arc<Shared>,
    executor: Option<Arc<dyn Executor>>,
    row: Arc<Row>,
    number: u64,
    state: Mutex<State>,
    jobs_max: usize,
    overflow: JobOverflow,
    on_panic: OnPanic,
}

enum State {
    /// `tasks`: how many are on their way to a thread; each comes for one job.
    Open {
        ready: VecDeque<Entry>,
        tasks: usize,
        next_number: u64,
    },
    Stopped(StopReason),
}

struct Entry {
    name: JobName,
    job: Errand<dyn Job<()>>,
    since: Time,
}

impl BlockingQueue {
    pub(super) fn new(shared: &Arc<Shared>, name: &str, options: &QueueOptions) -> BlockingQueue {
        let jobs = shared.jobs();
        let row = jobs.row(name);
        row.queues.fetch_add(1, Ordering::Relaxed);
        let executor = jobs.blocking_executor();
        let has_no_thread = executor.is_none();
        let queue = Arc::new(Blocking {
            shared: Arc::clone(shared),
            executor,
            row,
            number: jobs.number(),
            state: Mutex::new(State::Open { ready: VecDeque::new(), tasks: 0, next_number: 0 }),
            jobs_max: options.jobs_max.max(1),
            overflow: options.overflow,
            on_panic: options.on_panic,
        });
        let weak = Arc::downgrade(&queue);
        if !jobs.register(weak) {
            queue.halt(StopReason::CoreStopped);
        } else if has_no_thread {
            queue.halt(StopReason::NoThread);
        }
        BlockingQueue { queue }
    }

    /// Has `job` done as soon as a thread is free. Never blocks the caller.
    pub fn push(&self, job: impl FnOnce() + Send + 'static) -> PushOutcome {
        self.queue.push(Box::new(move |_: &mut ()| job()))
    }

    /// Takes back a job that has not begun: as [`JobQueue::cancel`](super::JobQueue::cancel).
    pub fn cancel(&self, ticket: JobTicket) -> bool {
        self.queue.cancel(ticket)
    }

    /// Has `work` done on a session's behalf; `answer` runs in the session's worker with its result, as one more handler of that
    /// session. As [`JobQueue::ask`](super::JobQueue::ask), but answers come in the order in which the work ends.
    pub fn ask<S, R, Q, A>(&self, session: SessionRef<S>, work: Q, answer: A) -> PushOutcome
    where
        S: Session,
        R: Send + 'static,
        Q: FnOnce() -> R + Send + 'static,
        A: FnOnce(&mut S, &mut Context<'_>, Result<R, Unanswered>) + Send + 'static,
    {
        let reply = Reply::new(&self.queue.shared, session, answer);
        self.queue.ask(session.id(), Box::new(Question { question: move |_: &mut ()| work(), reply }))
    }

    /// Has `work` done for whoever awaits its result: as [`JobQueue::ask_future`](super::JobQueue::ask_future).
    pub fn ask_future<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> Asked<R> {
        let (mut giver, asked) = slot();
        let job = move || {
            giver.begin();
            giver.give(work());
        };
        match self.push(job) {
            PushOutcome::Pushed(_) => asked,
            PushOutcome::Refused(refusal) => Asked::refused(refusal),
        }
    }

    /// Ends the queue: jobs that wait never run, and what is pushed is refused. Those that run go on.
    pub fn stop(&self) {
        self.queue.halt(StopReason::Asked);
    }

    /// Why it takes no jobs any more; `None` as long as it does.
    pub fn stopped(&self) -> Option<StopReason> {
        match &*self.queue.lock() {
            State::Open { .. } => None,
            State::Stopped(reason) => Some(*reason),
        }
    }

    /// The name under which it is measured.
    pub fn name(&self) -> &str {
        self.queue.row.name()
    }
}

impl Blocking {
    fn push(self: &Arc<Self>, job: Box<dyn Job<()>>) -> PushOutcome {
        let since = self.shared.clock().now();
        let job = Errand::new(job);
        let mut state = self.lock();
        let refusal = match &mut *state {
            State::Stopped(reason) => PushRefusal::Stopped(*reason),
            State::Open { ready, .. } if ready.len() >= self.jobs_max && self.overflow == JobOverflow::RefuseNewest => {
                PushRefusal::Full
            }
            State::Open { ready, tasks, next_number } => {
                let displaced = if ready.len() < self.jobs_max { None } else { ready.pop_front() };
                let name = JobName::Pushed(*next_number);
                *next_number += 1;
                ready.push_back(Entry { name, job, since });
                // The task of a job that was cancelled or dropped comes for this one.
                let spawn = *tasks < ready.len();
                if spawn {
                    *tasks += 1;
                    // Under the lock: who stops the queue after this finds it counted.
                    self.shared.jobs().in_flight().begin();
                }
                drop(state);
                return self.taken(name, displaced, spawn);
            }
        };
        drop(state);
        self.refuse(job, refusal)
    }

    /// Pushes a question, if its answer can come to the session, and there will be room for it.
    fn ask(self: &Arc<Self>, session: SessionId, question: Box<dyn Job<()>>) -> PushOutcome {
        match refusal_for(&self.shared, session) {
            None => self.push(question),
            Some(refusal) => self.refuse(Errand::new(question), refusal),
        }
    }

    fn refuse(&self, job: Errand<dyn Job<()>>, refusal: PushRefusal) -> PushOutcome {
        self.row.refused.fetch_add(1, Ordering::Relaxed);
        caught(|| job.take().map(Job::refuse));
        PushOutcome::Refused(refusal)
    }

    fn taken(self: &Arc<Self>, name: JobName, displaced: Option<Entry>, spawn: bool) -> PushOutcome {
        self.row.pushed.fetch_add(1, Ordering::Relaxed);
        if displaced.is_some() {
            self.row.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if spawn {
            hand_out(self.executor.as_ref(), Arc::clone(self) as Arc<dyn Work>);
        }
        PushOutcome::Pushed(JobTicket { queue: self.number, name })
    }

    fn cancel(&self, ticket: JobTicket) -> bool {
        let cancelled = match &mut *self.lock() {
            State::Open { ready, .. } if ticket.queue == self.number => {
                let index = ready.iter().rposition(|waiting| waiting.name == ticket.name);
                index.and_then(|index| ready.remove(index))
            }
            _ => None,
        };
        self.row.cancelled.fetch_add(u64::from(cancelled.is_some()), Ordering::Relaxed);
        cancelled.is_some()
    }

    /// Does what stands first in the line, if it is still there.
    fn run_next(&self) {
        let next = match &mut *self.lock() {
            State::Open { ready, tasks, .. } => {
                *tasks = tasks.saturating_sub(1);
                ready.pop_front()
            }
            State::Stopped(_) => None,
        };
        let Some(entry) = next else { return };
        let Some(job) = entry.job.take() else { return };
        let clock = self.shared.clock();
        // It is expected to take long; only the end of the core asks for it.
        let entered = self.shared.jobs().runs().enter_patiently(&self.row, Duration::MAX);
        let begun = clock.now();
        entered.began(begun);
        let well = caught(|| job.run(&mut ())).is_some();
        Batch::new(&self.row).add(begun.since(entry.since), clock.now().since(begun));
        if !well {
            self.shared.jobs().panicked(&self.row);
            if self.on_panic == OnPanic::Stop {
                self.halt(StopReason::JobPanicked);
            }
        }
    }

    fn stop(&self, reason: StopReason) {
        let mut state = self.lock();
        let State::Open { .. } = *state else { return };
        let State::Open { ready, .. } = std::mem::replace(&mut *state, State::Stopped(reason)) else { return };
        drop(state);
        self.row.abandoned.fetch_add(ready.len() as u64, Ordering::Relaxed);
        drop(ready);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work for Blocking {
    fn work(self: Arc<Self>) {
        let _counted = self.shared.jobs().in_flight().take_over();
        self.run_next();
    }

    fn give_up(&self) {
        let _counted = self.shared.jobs().in_flight().take_over();
        self.halt(StopReason::NoThread);
    }
}

impl Halt for Blocking {
    fn halt(&self, reason: StopReason) {
        self.stop(reason);
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        self.row.queues.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for BlockingQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingQueue").field("name", &self.name()).finish_non_exhaustive()
    }
}
