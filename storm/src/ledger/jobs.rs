//! Job queues, as those see them who push, and their jobs: which job runs next, and what becomes of all others, is known.
//!
//! ```text
//!   pushed ----------> ready, in order ----> runs, at the time at which it was pushed or is due, or late with its pool
//!   delayed -- due ------^   |   \--------> taken back, dropped for a newer one, or ended with its queue: runs no more
//!                            +-- of a question each of these makes an answer
//! ```
//!
//! Everything is on one thread, so nothing of this is left to chance: what the engine says of a push or a cancel is held against
//! the line as it has to be. Jobs take no time, and where no pool is late each runs at its time to the nanosecond.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use pogu::{JobCounts, JobOverflow, OnPanic, PushOutcome, PushRefusal, StopReason, Time, Unanswered};

use super::Ledger;
use super::answers::Answers;
use crate::jobs::{JobLine, QueuePlan};
use crate::judged::Check;
use crate::message::mixed;
use crate::violation::Violation;

/// A job that was just pushed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewJob {
    pub(crate) job: u64,
    pub(crate) delay: Duration,
    /// The host that gets an answer.
    pub(crate) asker: Option<usize>,
    /// Pushed by no worker and no job, between two rounds: what is due just now has not come yet.
    pub(crate) is_outside: bool,
}

/// A job that waits, or runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) queue: usize,
    /// From when on it may run.
    pub(super) due: Time,
    asker: Option<usize>,
}

/// A queue.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) plan: QueuePlan,
    ready: VecDeque<u64>,
    /// By time, and those of one time by number: numbers grow.
    delayed: BTreeSet<(Time, u64)>,
    pub(super) stopped: Option<StopReason>,
    running: Option<u64>,
    pub(super) counts: JobCounts,
}

/// See the [module](self).
#[derive(Default)]
pub(super) struct Jobs {
    pub(super) queues: Vec<Queue>,
    /// Those that wait or run.
    pub(super) jobs: BTreeMap<u64, Job>,
    numbers: u64,
    /// By core.
    pub(super) answers: BTreeMap<usize, Answers>,
    /// The queues themselves: cleared at the end.
    pub(super) lines: Vec<JobLine>,
    /// Where pools are late: by how much a task may be, each time.
    pub(super) held_max: Option<Duration>,
}

impl Jobs {
    pub(super) fn new(held_max: Option<Duration>) -> Jobs {
        Jobs { held_max, ..Jobs::default() }
    }
}

impl Queue {
    fn new(plan: &QueuePlan) -> Queue {
        Queue {
            plan: plan.clone(),
            ready: VecDeque::new(),
            delayed: BTreeSet::new(),
            stopped: None,
            running: None,
            counts: JobCounts::default(),
        }
    }

    fn waiting(&self) -> usize {
        self.ready.len() + self.delayed.len()
    }

    /// What was due by then has come. `is_outside`: not what is due just then.
    fn come(&mut self, now: Time, is_outside: bool) {
        while let Some((due, job)) = self.delayed.first().copied() {
            if due > now || due == now && is_outside {
                return;
            }
            self.delayed.pop_first();
            self.ready.push_back(job);
        }
    }

    /// Takes one out that waits.
    fn take(&mut self, job: u64, due: Time) -> bool {
        if self.delayed.remove(&(due, job)) {
            return true;
        }
        let index = self.ready.iter().position(|waiting| *waiting == job);
        index.and_then(|index| self.ready.remove(index)).is_some()
    }

    /// What the queue has to say to one more job; what is dropped for it.
    fn admit(&mut self) -> (Option<PushRefusal>, Option<u64>) {
        if let Some(reason) = self.stopped {
            return (Some(PushRefusal::Stopped(reason)), None);
        }
        // What is delayed counts where there is such a thing.
        if self.waiting() < self.plan.options.jobs_max {
            return (None, None);
        }
        match self.plan.options.overflow {
            JobOverflow::DropOldest if !self.ready.is_empty() => (None, self.ready.pop_front()),
            _ => (Some(PushRefusal::Full), None),
        }
    }
}

impl Ledger {
    pub(crate) fn value_made(&mut self) {
        self.values += 1;
    }

    pub(crate) fn value_dropped(&mut self) {
        self.values -= 1;
    }

    pub(crate) fn queue_opened(&mut self, plan: &QueuePlan, line: JobLine) {
        self.jobs.queues.push(Queue::new(plan));
        self.jobs.lines.push(line);
    }

    pub(crate) fn next_job(&mut self) -> u64 {
        self.jobs.numbers += 1;
        self.jobs.numbers
    }

    fn wrong_job(&mut self, queue: usize, what: &str) {
        self.violate(Violation::WrongJob(format!("queue {queue}: {what}")));
    }

    /// A job ran on the value of another queue.
    pub(crate) fn wrong_desk(&mut self, job: u64, queue: usize) {
        self.wrong_job(queue, &format!("job {job} runs on its value, and was pushed to another"));
    }

    // ---- Pushed, taken back, stopped ----

    pub(crate) fn job_pushed(&mut self, queue: usize, new: NewJob, outcome: PushOutcome) {
        let NewJob { job, delay, asker, is_outside } = new;
        self.event(format_args!("queue {queue} is given {new:?}: {outcome:?}"), [34, queue as u64, job]);
        let now = self.now;
        let of_queue = &mut self.jobs.queues[queue];
        of_queue.come(now, is_outside);
        if let Some(asker) = asker.filter(|_| outcome.refusal() == Some(PushRefusal::Overloaded)) {
            of_queue.counts.refused += 1;
            return self.question_refused(asker, job);
        }
        let of_queue = &mut self.jobs.queues[queue];
        let (refusal, displaced) = of_queue.admit();
        if outcome.refusal() != refusal {
            return self.wrong_outcome("push", (queue, outcome, refusal));
        }
        if refusal.is_some() {
            of_queue.counts.refused += 1;
            return;
        }
        of_queue.counts.pushed += 1;
        let due = now + delay;
        if delay.is_zero() {
            of_queue.ready.push_back(job);
        } else {
            of_queue.delayed.insert((due, job));
        }
        of_queue.counts.dropped += u64::from(displaced.is_some());
        self.jobs.jobs.insert(job, Job { queue, due, asker });
        if let Some(displaced) = displaced {
            self.never_runs(displaced);
        }
    }

    /// It was taken, and will not run: whoever asked is told.
    fn never_runs(&mut self, job: u64) {
        if let Some(Job { asker, .. }) = self.jobs.jobs.remove(&job) {
            self.answer_given(asker, job, Err(Unanswered::NeverRan));
        }
    }

    /// Somebody has asked `queue` to take a job back.
    pub(crate) fn job_cancelled(&mut self, queue: usize, job: u64, was_taken_back: bool) {
        self.event(format_args!("queue {queue} takes job {job} back: {was_taken_back}"), [35, queue as u64, job]);
        let waiting = self.jobs.jobs.get(&job).filter(|waiting| waiting.queue == queue).copied();
        let of_queue = &mut self.jobs.queues[queue];
        let is_taken_back = waiting.is_some_and(|waiting| of_queue.take(job, waiting.due));
        if is_taken_back {
            of_queue.counts.cancelled += 1;
            self.never_runs(job);
        }
        if is_taken_back != was_taken_back {
            self.wrong_outcome("cancel of a job", (queue, job, was_taken_back));
        }
    }

    /// Somebody has ended a queue.
    pub(crate) fn queue_stopped(&mut self, queue: usize) {
        self.stop_queue(queue, StopReason::Asked);
    }

    pub(super) fn stop_queue(&mut self, queue: usize, reason: StopReason) {
        self.event(format_args!("queue {queue} stops: {reason:?}"), [36, queue as u64, 0]);
        let now = self.now;
        let of_queue = &mut self.jobs.queues[queue];
        if of_queue.stopped.is_some() {
            return;
        }
        of_queue.come(now, false);
        of_queue.stopped = Some(reason);
        let ready = std::mem::take(&mut of_queue.ready);
        let delayed = std::mem::take(&mut of_queue.delayed);
        let left: Vec<u64> = ready.into_iter().chain(delayed.into_iter().map(|(_, job)| job)).collect();
        of_queue.counts.abandoned += left.len() as u64;
        left.into_iter().for_each(|job| self.never_runs(job));
    }

    // ---- Run ----

    pub(crate) fn job_begins(&mut self, queue: usize, job: u64) {
        self.event(format_args!("queue {queue} runs job {job}"), [37, queue as u64, job]);
        let now = self.now;
        let Some(known) = self.jobs.jobs.get(&job).copied().filter(|known| known.queue == queue) else {
            return self.wrong_job(queue, &format!("job {job} runs, and waits no more"));
        };
        let of_queue = &mut self.jobs.queues[queue];
        of_queue.come(now, false);
        let beside = of_queue.running.replace(job);
        let first = of_queue.ready.front().copied();
        of_queue.take(job, known.due);
        if now < known.due || now > known.due && !self.is_pool_late(known.due) {
            let how = if now < known.due { "early" } else { "late" };
            let by = if now < known.due { known.due.since(now) } else { now.since(known.due) };
            return self.violate(Violation::Untimely(format!("job {job} of queue {queue} is {how} by {by:?}")));
        }
        self.tally.judged.add(Check::LateJob, u64::from(now > known.due));
        if first != Some(job) {
            return self.wrong_job(queue, &format!("job {job} runs, and {first:?} is the first"));
        }
        self.tally.judged.count(Check::Job);
        if let Some(beside) = beside {
            self.wrong_job(queue, &format!("job {job} runs while job {beside} does"));
        }
    }

    /// Whether a job that may run from then on may have to wait for its pool.
    fn is_pool_late(&self, due: Time) -> bool {
        // In the calm no task is held up any more: what was by then has run when its time is over.
        let has_healed = |held_max| self.calm_since.is_some_and(|since| due > since + held_max);
        self.jobs.held_max.is_some_and(|held_max| !has_healed(held_max))
    }

    /// Tells the answer, for whoever has asked.
    pub(crate) fn job_ends(&mut self, queue: usize, job: u64) -> u64 {
        let of_queue = &mut self.jobs.queues[queue];
        of_queue.running = None;
        of_queue.counts.ran += 1;
        let answer = mixed(of_queue.counts.ran, job);
        if let Some(Job { asker, .. }) = self.jobs.jobs.remove(&job) {
            self.answer_given(asker, job, Ok(answer));
        }
        answer
    }

    /// A job is about to panic.
    pub(crate) fn job_panics(&mut self, queue: usize, job: u64) {
        self.event(format_args!("job {job} of queue {queue} panics"), [38, queue as u64, job]);
        let of_queue = &mut self.jobs.queues[queue];
        of_queue.running = None;
        of_queue.counts.ran += 1;
        of_queue.counts.panicked += 1;
        let ends_queue = of_queue.plan.options.on_panic == OnPanic::Stop;
        if let Some(Job { asker, .. }) = self.jobs.jobs.remove(&job) {
            self.answer_given(asker, job, Err(Unanswered::Panicked));
        }
        if ends_queue {
            self.stop_queue(queue, StopReason::JobPanicked);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use pogu::QueueOptions;

    use super::super::tests::Scene;
    use super::*;

    /// A scene with a queue for so many jobs.
    pub(in super::super) fn scene(jobs_max: usize, overflow: JobOverflow) -> Scene {
        let mut scene = Scene::new();
        let mut options = QueueOptions::default();
        (options.jobs_max, options.overflow, options.on_panic) = (jobs_max, overflow, OnPanic::Stop);
        let plan = QueuePlan { core: 0, name: "desk", is_blocking: false, options };
        scene.ledger.jobs.queues.push(Queue::new(&plan));
        scene
    }

    /// What a real queue says to a push.
    pub(in super::super) fn outcome(is_taken: bool) -> PushOutcome {
        let mut lockstep = pogu::Lockstep::new(&pogu::sim::Simulation::new());
        let core = lockstep.start(pogu::Core::builder().workers(1)).expect("a core");
        let mut options = QueueOptions::default();
        options.jobs_max = 1;
        let queue = core.jobs().queue_with("desk", (), &options);
        let taken = queue.push(|()| ());
        if is_taken { taken } else { queue.push(|()| ()) }
    }

    pub(in super::super) fn push(ledger: &mut Ledger, delay: u64, asker: Option<usize>, is_taken: bool) -> u64 {
        let job = ledger.next_job();
        let delay = Duration::from_millis(delay);
        ledger.job_pushed(0, NewJob { job, delay, asker, is_outside: false }, outcome(is_taken));
        job
    }

    /// What is found when this happens in a queue for two jobs that drops the oldest.
    fn found(overflow: JobOverflow, what: impl Fn(&mut Ledger)) -> Option<&'static str> {
        let mut scene = scene(2, overflow);
        scene.ledger.now = Time::ZERO;
        what(&mut scene.ledger);
        scene.ledger.violation().map(|(_, violation)| violation.name())
    }

    fn run(ledger: &mut Ledger, job: u64) {
        ledger.job_begins(0, job);
        ledger.job_ends(0, job);
    }

    const DROPS: JobOverflow = JobOverflow::DropOldest;
    const REFUSES: JobOverflow = JobOverflow::RefuseNewest;

    #[test]
    fn jobs_run_in_order_and_once() {
        let in_order = |ledger: &mut Ledger| {
            let jobs = [push(ledger, 0, None, true), push(ledger, 0, None, true)];
            jobs.into_iter().for_each(|job| run(ledger, job));
        };
        let overtaken = |ledger: &mut Ledger| {
            let jobs = [push(ledger, 0, None, true), push(ledger, 0, None, true)];
            run(ledger, jobs[1]);
        };
        let twice = |ledger: &mut Ledger| {
            let job = push(ledger, 0, None, true);
            (0..2).for_each(|_| run(ledger, job));
        };
        let beside = |ledger: &mut Ledger| {
            let jobs = [push(ledger, 0, None, true), push(ledger, 0, None, true)];
            jobs.into_iter().for_each(|job| ledger.job_begins(0, job));
        };
        assert_eq!(found(REFUSES, in_order), None);
        assert_eq!([found(REFUSES, overtaken), found(REFUSES, twice)], [Some("wrong job"); 2]);
        assert_eq!(found(REFUSES, beside), Some("wrong job"));
    }

    #[test]
    fn a_delayed_job_runs_at_its_time() {
        let at = |milliseconds: u64| {
            move |ledger: &mut Ledger| {
                let job = push(ledger, 50, None, true);
                ledger.now = Time::ZERO + Duration::from_millis(milliseconds);
                run(ledger, job);
            }
        };
        assert_eq!([49, 50, 51].map(|time| found(REFUSES, at(time))), [Some("untimely"), None, Some("untimely")]);
    }

    #[test]
    fn where_a_pool_is_late_jobs_are_and_in_the_calm_they_are_not() {
        let late = |calm_since: Option<u64>| {
            move |ledger: &mut Ledger| {
                ledger.jobs.held_max = Some(Duration::from_millis(9));
                ledger.calm_since = calm_since.map(|since| Time::ZERO + Duration::from_millis(since));
                let job = push(ledger, 50, None, true);
                ledger.now = Time::ZERO + Duration::from_millis(70);
                run(ledger, job);
            }
        };
        assert_eq!([None, Some(45), Some(40)].map(|calm| found(REFUSES, late(calm))), [None, None, Some("untimely")]);
    }

    #[test]
    fn a_full_queue_refuses_or_drops_the_oldest() {
        let third = |is_taken: bool| {
            move |ledger: &mut Ledger| {
                let jobs = [true, true, is_taken].map(|is_taken| push(ledger, 0, None, is_taken));
                run(ledger, jobs[1]);
            }
        };
        assert_eq!([found(DROPS, third(true)), found(DROPS, third(false))], [None, Some("wrong outcome")]);
        assert_eq!(found(REFUSES, third(true)), Some("wrong outcome"));
        let delayed = |ledger: &mut Ledger| {
            for (delay, is_taken) in [(50, true), (50, true), (0, false)] {
                push(ledger, delay, None, is_taken);
            }
        };
        assert_eq!([found(DROPS, delayed), found(REFUSES, delayed)], [None, None], "none of them has come");
    }

    #[test]
    fn a_cancel_tells_the_truth_and_holds() {
        let cancelled = |delay: u64, was_taken_back: bool, runs: bool| {
            move |ledger: &mut Ledger| {
                let job = push(ledger, delay, None, true);
                ledger.job_cancelled(0, job, was_taken_back);
                if runs {
                    run(ledger, job);
                }
            }
        };
        assert_eq!([0, 9].map(|delay| found(REFUSES, cancelled(delay, true, false))), [None; 2]);
        assert_eq!([0, 9].map(|delay| found(REFUSES, cancelled(delay, false, false))), [Some("wrong outcome"); 2]);
        assert_eq!(found(REFUSES, cancelled(0, true, true)), Some("wrong job"));
    }
}
