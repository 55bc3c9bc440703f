//! What is behind a [`JobQueue`](super::JobQueue): its [line](super::line), whoever works at it, and what is counted of that.
//!
//! A queue is held by its clones, by its task while one is on its way, and by each of its appointments; the core knows it by a
//! weak reference, to stop it. When nobody holds it any more, its value goes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pogu_port::Time;
use pogu_port::plant::{self, Plant};

use super::ask::{Job, refusal_for};
use super::delays::Due;
use super::executor::{Executor, Work, hand_out};
use super::line::{JobName, Line, Next, Paused, Pushed, Remains};
use super::measure::{Batch, Row};
use super::outcome::{JobTicket, OnPanic, PushOutcome, PushRefusal, StopReason};
use super::queue::QueueOptions;
use super::registry::Halt;
use crate::core::Shared;
use crate::identity::SessionId;
use crate::post::Errand;
use crate::worker::{caught, drop_quietly};

/// See the [module](self).
pub(super) struct Queue<T> {
    shared: Arc<Shared>,
    executor: Option<Arc<dyn Executor>>,
    row: Arc<Row>,
    number: u64,
    line: Line<T, Entry<T>>,
    time_slice: Duration,
    /// Jobs in one time slice, where time stands still.
    slice_jobs_max: usize,
    on_panic: OnPanic,
    stall_limit: Option<Duration>,
}

/// A job that waits.
struct Entry<T> {
    job: Errand<dyn Job<T>>,
    /// From when on it waits.
    since: Time,
}

impl<T: Send + 'static> Queue<T> {
    pub(super) fn new(shared: &Arc<Shared>, name: &str, value: T, options: &QueueOptions) -> Arc<Queue<T>> {
        let jobs = shared.jobs();
        let row = jobs.row(name);
        row.queues.fetch_add(1, Ordering::Relaxed);
        let executor = jobs.executor();
        let has_no_thread = executor.is_none();
        let queue = Arc::new(Queue {
            shared: Arc::clone(shared),
            executor,
            row,
            number: jobs.number(),
            line: Line::new(value, options.jobs_max, options.overflow, Arc::clone(jobs.in_flight())),
            time_slice: options.time_slice,
            slice_jobs_max: jobs.slice_jobs_max(),
            on_panic: options.on_panic,
            stall_limit: shared.stall_limit(),
        });
        let weak = Arc::downgrade(&queue);
        if !jobs.register(weak) {
            queue.halt(StopReason::CoreStopped);
        } else if has_no_thread {
            queue.halt(StopReason::NoThread);
        }
        queue
    }

    pub(super) fn push(self: &Arc<Self>, job: Box<dyn Job<T>>) -> PushOutcome {
        let since = self.shared.clock().now();
        let pushed = self.line.push(Entry { job: Errand::new(job), since });
        self.note(pushed)
    }

    /// Pushes a question, if its answer can come to the session, and there will be room for it.
    pub(super) fn ask(self: &Arc<Self>, session: SessionId, question: Box<dyn Job<T>>) -> PushOutcome {
        let Some(refusal) = refusal_for(&self.shared, session) else { return self.push(question) };
        let job = Entry { job: Errand::new(question), since: Time::ZERO };
        self.note(Pushed::Refused { refusal, job })
    }

    pub(super) fn push_after(self: &Arc<Self>, delay: Duration, job: Box<dyn Job<T>>) -> PushOutcome {
        if delay.is_zero() {
            return self.push(job);
        }
        let delays = self.shared.jobs().delays();
        let (mut due, number) = (self.shared.clock().now() + delay, delays.number());
        if plant::is(Plant::DelayedJobEarly) {
            due = Time::from_nanos(due.as_nanos() / 1_000_000 * 1_000_000);
        }
        let pushed = self.line.push_at(due, number, Entry { job: Errand::new(job), since: due });
        let appointed = match &pushed {
            Pushed::Taken { .. } => delays.add(due, number, Arc::clone(self) as Arc<dyn Due>),
            Pushed::Refused { .. } => Ok(()),
        };
        if self.line.stopped().is_some() {
            // In between, perhaps: then whoever stopped it found no appointment.
            delays.remove(due, number);
        }
        let outcome = self.note(pushed);
        // Nobody looks at the clock: the job is taken back, unless it went with its queue meanwhile.
        let Err(reason) = appointed else { return outcome };
        let Some(job) = self.line.cancel(JobName::Delayed(due, number)) else { return outcome };
        self.row.pushed.fetch_sub(1, Ordering::Relaxed);
        self.note(Pushed::Refused { refusal: PushRefusal::Stopped(reason), job })
    }

    /// Counts what became of a job, drops what had to go for it, and has somebody come if nobody is there.
    fn note(self: &Arc<Self>, pushed: Pushed<Entry<T>>) -> PushOutcome {
        match pushed {
            Pushed::Taken { name, schedule, displaced } => {
                self.row.pushed.fetch_add(1, Ordering::Relaxed);
                if schedule {
                    self.schedule();
                }
                if displaced.is_some() && !plant::is(Plant::DroppedJobUncounted) {
                    self.row.dropped.fetch_add(1, Ordering::Relaxed);
                }
                PushOutcome::Pushed(JobTicket { queue: self.number, name })
            }
            Pushed::Refused { refusal, job } => {
                self.row.refused.fetch_add(1, Ordering::Relaxed);
                caught(|| job.job.take().map(Job::refuse));
                PushOutcome::Refused(refusal)
            }
        }
    }

    fn schedule(self: &Arc<Self>) {
        hand_out(self.executor.as_ref(), Arc::clone(self) as Arc<dyn Work>);
    }

    pub(super) fn cancel(&self, ticket: JobTicket) -> bool {
        let ours = ticket.queue == self.number;
        if let JobName::Delayed(due, number) = ticket.name
            && ours
            && plant::is(Plant::CancelledJobStays)
        {
            self.row.cancelled.fetch_add(1, Ordering::Relaxed);
            self.shared.jobs().delays().remove(due, number);
            return true;
        }
        let Some(cancelled) = ours.then(|| self.line.cancel(ticket.name)).flatten() else { return false };
        self.row.cancelled.fetch_add(1, Ordering::Relaxed);
        if let JobName::Delayed(due, number) = ticket.name {
            self.shared.jobs().delays().remove(due, number);
        }
        drop(cancelled);
        true
    }

    /// Does one job. True if the queue goes on.
    fn run(&self, entry: Entry<T>, value: &mut T) -> bool {
        let Some(job) = entry.job.take() else { return true };
        if caught(|| job.run(value)).is_some() {
            return true;
        }
        self.shared.jobs().panicked(&self.row);
        if self.on_panic == OnPanic::Stop {
            self.halt(StopReason::JobPanicked);
        }
        self.on_panic == OnPanic::GoOn
    }
}

impl<T> Queue<T> {
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn name(&self) -> &str {
        self.row.name()
    }

    pub(super) fn stopped(&self) -> Option<StopReason> {
        self.line.stopped()
    }

    /// Drops what never runs.
    fn abandon(&self, jobs: impl IntoIterator<Item = Entry<T>>) {
        for job in jobs {
            self.row.abandoned.fetch_add(1, Ordering::Relaxed);
            drop(job);
        }
    }

    fn dispose(&self, remains: Option<Remains<T, Entry<T>>>) {
        let Some(Remains { value, jobs, delayed }) = remains else { return };
        // Each of them holds this queue.
        self.shared.jobs().delays().remove_all(&delayed);
        self.abandon(jobs);
        drop_quietly(value);
    }
}

impl<T: Send + 'static> Work for Queue<T> {
    fn work(self: Arc<Self>) {
        // Counted until everything is done and handed in.
        let Some((mut value, _counted)) = self.line.begin() else { return };
        let clock = self.shared.clock();
        let mut batch = Batch::new(&self.row);
        let entered = self.shared.jobs().runs().enter(&self.row);
        let begun = clock.now();
        let (mut now, mut jobs) = (begun, 0);
        loop {
            let entry = match self.line.next(value) {
                Next::Job(taken, entry) => {
                    value = taken;
                    entry
                }
                Next::Idle => return,
                Next::Stopped(value) => {
                    drop_quietly(value);
                    return;
                }
            };
            let (began, delay) = (now, now.since(entry.since));
            entered.began(began);
            self.run(entry, &mut value);
            now = clock.now();
            batch.add(delay, now.since(began));
            if self.stall_limit.is_some_and(|limit| now.since(began) > limit) {
                self.row.long.fetch_add(1, Ordering::Relaxed);
            }
            jobs += 1;
            if now.since(begun) >= self.time_slice || jobs >= self.slice_jobs_max {
                // Before somebody else goes on, perhaps, and has less to tell.
                batch.hand_in();
                match self.line.pause(value) {
                    Paused::Scheduled if plant::is(Plant::QueueForgotten) => {}
                    Paused::Scheduled => self.schedule(),
                    Paused::Idle => {}
                    Paused::Stopped(value) => {
                        drop_quietly(value);
                    }
                }
                return;
            }
        }
    }

    fn give_up(&self) {
        self.halt(StopReason::NoThread);
        // Of what is stopped nothing is there to begin with: this only says that the task has come to its end.
        drop(self.line.begin());
    }
}

impl<T: Send + 'static> Halt for Queue<T> {
    fn halt(&self, reason: StopReason) {
        self.dispose(self.line.stop(reason));
    }
}

impl<T: Send + 'static> Due for Queue<T> {
    fn due(self: Arc<Self>, now: Time) {
        if self.line.due(now) {
            self.schedule();
        }
        let executor = self.executor.clone();
        // Who looks at the clock for all must not be the one who drops a value of the user's.
        if let Some(last) = Arc::into_inner(self) {
            last.shared.jobs().in_flight().begin();
            hand_out(executor.as_ref(), Arc::new(Remnant(last)));
        }
    }
}

/// A queue that only its appointment has held, and that is dropped where its jobs would have run.
struct Remnant<T>(Queue<T>);

impl<T: Send + 'static> Work for Remnant<T> {
    fn work(self: Arc<Self>) {
        let shared = Arc::clone(&self.0.shared);
        let _counted = shared.jobs().in_flight().take_over();
        drop(self);
    }

    fn give_up(&self) {
        drop(self.0.shared.jobs().in_flight().take_over());
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        self.dispose(self.line.stop(StopReason::Asked));
        self.row.queues.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Core, sim::Simulation};

    #[test]
    fn a_value_that_only_an_appointment_has_kept_is_dropped_where_jobs_run() {
        let (core, _seeds) = Core::builder().simulated(&Simulation::new()).hand_out().expect("a core");
        let (shared, alive) = (core.shared(), Arc::new(()));
        let queue = Queue::new(shared, "kept", Arc::clone(&alive), &QueueOptions::default());
        // Its jobs have run meanwhile, and its clones have gone.
        queue.due(Time::ZERO);
        assert_eq!(Arc::strong_count(&alive), 2, "not in this thread, which looks at the clock");
        assert!(!shared.jobs().are_idle(), "the end of a core waits for it");
        let tasks = shared.jobs().stepped().map(|stepped| stepped.take(Time::ZERO, || None)).unwrap_or_default();
        tasks.into_iter().for_each(crate::Task::run);
        assert_eq!((Arc::strong_count(&alive), shared.jobs().are_idle()), (1, true));
    }
}
