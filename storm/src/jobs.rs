//! Job queues of a storm: which there are, and what sessions, jobs and others have done in them.
//!
//! ```text
//!   host, job, owner -- push, push_after, ask, cancel, stop --> line of jobs --> slip: what its job does, once
//!                                                                                   \--> answer: in the host that asked
//! ```
//!
//! A job is a *slip*: it tells the ledger when it begins and ends, and it counts as a value until it has run or was dropped.
//! What queues do with slips is predicted by the ledger, which knows each queue's line.

use std::sync::Arc;
use std::time::Duration;

use pogu::sim::Simulation;
use pogu::{
    BlockingQueue, Context, Core, JobOverflow, JobQueue, JobTicket, OnPanic, PushOutcome, QueueOptions, SessionRef,
    Time, Unanswered,
};

use crate::draw::Draw;
use crate::ledger::{Book, NewJob};
use crate::message::Stamp;
use crate::server::Host;

/// Queues of one core, at most: fewer than jobs that are pushed at once, so that they fill up.
const QUEUES_MAX: usize = 4;

/// Things that somebody wants of queues at once, at most.
const WISHES_MAX: u32 = 6;

/// Tickets that one keeps, to take jobs back; the oldest are forgotten.
const TICKETS_MAX: usize = 8;

/// The longest delay that is drawn.
const DELAY_MICROSECONDS_MAX: u64 = 900_000;

/// Names under which queues are measured: several have one.
const NAMES: [&str; 2] = ["desk", "counter"];

/// Queues whose jobs may block have one of their own.
const BLOCKING_NAME: &str = "database";

/// The queues of a storm, and how often something is wanted of them.
#[derive(Clone, Debug)]
pub(crate) struct JobsPlan {
    pub(crate) queues: Vec<QueuePlan>,
    /// Of all that hosts are asked for, and of the looks of the owner.
    wishes_percent: u64,
    /// How many jobs panic.
    panics_percent: u64,
    /// How many wishes, of a thousand, are that a queue stops.
    stops_per_thousand: u64,
}

/// A queue of a core.
#[derive(Clone, Debug)]
pub(crate) struct QueuePlan {
    pub(crate) core: usize,
    pub(crate) name: &'static str,
    /// Its jobs may block; else there is a value that they are done on.
    pub(crate) is_blocking: bool,
    pub(crate) options: QueueOptions,
}

impl JobsPlan {
    /// For this many cores of servers.
    pub(crate) fn drawn(draw: &mut Draw, cores: usize) -> JobsPlan {
        let wishes_percent = draw.one_of(&[0, 5, 15, 30]);
        let mut queues = Vec::new();
        for core in 0..cores {
            for _ in 0..draw.count(1, QUEUES_MAX) {
                queues.push(QueuePlan::drawn(draw, core));
            }
        }
        // Where nothing is wanted of queues there are none: a core without them is one as well.
        queues.retain(|_| wishes_percent > 0);
        let (panics_percent, stops_per_thousand) = (draw.one_of(&[0, 0, 2, 5]), draw.one_of(&[0, 0, 2, 5]));
        JobsPlan { queues, wishes_percent, panics_percent, stops_per_thousand }
    }
}

impl QueuePlan {
    fn drawn(draw: &mut Draw, core: usize) -> QueuePlan {
        let is_blocking = draw.percent(25);
        let mut options = QueueOptions::default();
        options.jobs_max = draw.one_of(&[1, 3, 8, 200]);
        options.overflow = draw.one_of(&[JobOverflow::RefuseNewest, JobOverflow::DropOldest]);
        options.on_panic = draw.one_of(&[OnPanic::GoOn, OnPanic::GoOn, OnPanic::Stop]);
        // Jobs of a simulation take no time: a slice is one of them, whatever it is.
        options.time_slice = draw.one_of(&[Duration::ZERO, Duration::from_millis(1), Duration::from_millis(64)]);
        let name = if is_blocking { BLOCKING_NAME } else { draw.one_of(&NAMES) };
        QueuePlan { core, name, is_blocking, options }
    }

    /// Opens it, as the one with this number.
    pub(crate) fn open(&self, core: &Core, queue: usize, book: &Book) -> JobLine {
        match self.is_blocking {
            true => JobLine::Blocking(core.jobs().blocking_with(self.name, &self.options)),
            false => JobLine::Serial(core.jobs().queue_with(self.name, Desk::new(book, queue), &self.options)),
        }
    }
}

/// A queue of either kind.
#[derive(Clone)]
pub(crate) enum JobLine {
    Serial(JobQueue<Desk>),
    Blocking(BlockingQueue),
}

/// The value of a queue.
pub(crate) struct Desk {
    book: Book,
    queue: usize,
}

impl Desk {
    fn new(book: &Book, queue: usize) -> Desk {
        book.reopen().value_made();
        Desk { book: book.clone(), queue }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.book.reopen().value_dropped();
    }
}

/// What a job does beside telling that it runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deed {
    Nothing,
    /// Pushes a job that does nothing to this queue, which may be its own.
    Push(usize),
    Panic,
}

/// What all need who push.
#[derive(Clone)]
pub(crate) struct Office {
    pub(crate) book: Book,
    pub(crate) clock: Simulation,
    pub(crate) plan: Arc<JobsPlan>,
}

/// A job, until it has run or was dropped.
struct Slip {
    office: Office,
    queue: usize,
    job: u64,
    deed: Deed,
}

impl Slip {
    /// Does the job, for whoever has asked.
    fn run(&self) -> u64 {
        let now = self.office.clock.now();
        self.office.book.open(now).job_begins(self.queue, self.job);
        match self.deed {
            Deed::Push(other) if !self.office.book.has_let_go() => {
                self.office.push(now, other, Duration::ZERO, Deed::Nothing, false);
            }
            Deed::Nothing | Deed::Push(_) => {}
            Deed::Panic => {
                self.office.book.open(now).job_panics(self.queue, self.job);
                // As a panic, without its words in the output.
                std::panic::resume_unwind(Box::new("drawn"));
            }
        }
        self.office.book.open(now).job_ends(self.queue, self.job)
    }

    fn run_at(&self, desk: &Desk) -> u64 {
        if desk.queue != self.queue {
            self.office.book.reopen().wrong_desk(self.job, desk.queue);
        }
        self.run()
    }
}

impl Drop for Slip {
    fn drop(&mut self) {
        self.office.book.reopen().value_dropped();
    }
}

/// Who asks.
pub(crate) struct Asker {
    pub(crate) host: usize,
    pub(crate) session: SessionRef<Host>,
    pub(crate) stamp: Stamp,
}

impl Office {
    fn slip(&self, now: Time, queue: usize, deed: Deed) -> Slip {
        let mut ledger = self.book.open(now);
        ledger.value_made();
        Slip { office: self.clone(), queue, job: ledger.next_job(), deed }
    }

    /// Pushes a job; its number, and what takes it back.
    fn push(&self, now: Time, queue: usize, delay: Duration, deed: Deed, is_outside: bool) -> (u64, Option<JobTicket>) {
        let (line, slip) = (self.book.line(now, queue), self.slip(now, queue, deed));
        let job = slip.job;
        let at_desk = |slip: Slip| {
            move |desk: &mut Desk| {
                slip.run_at(desk);
            }
        };
        let (delay, outcome) = match line {
            JobLine::Serial(line) if delay.is_zero() => (delay, line.push(at_desk(slip))),
            JobLine::Serial(line) => (delay, line.push_after(delay, at_desk(slip))),
            // Nothing is delayed there.
            JobLine::Blocking(line) => {
                let job = move || {
                    slip.run();
                };
                (Duration::ZERO, line.push(job))
            }
        };
        let new = NewJob { job, delay, asker: None, is_outside };
        self.book.open(now).job_pushed(queue, new, outcome);
        (job, outcome.ticket())
    }

    fn ask(&self, now: Time, queue: usize, deed: Deed, asker: &Asker) -> (u64, Option<JobTicket>) {
        let (line, slip) = (self.book.line(now, queue), self.slip(now, queue, deed));
        let (job, stamp) = (slip.job, asker.stamp);
        let answer = move |host: &mut Host, cx: &mut Context<'_>, answer: Result<u64, Unanswered>| {
            host.answered(cx, job, stamp, answer);
        };
        let outcome: PushOutcome = match line {
            JobLine::Serial(line) => line.ask(asker.session, move |desk| slip.run_at(desk), answer),
            JobLine::Blocking(line) => line.ask(asker.session, move || slip.run(), answer),
        };
        let new = NewJob { job, delay: Duration::ZERO, asker: Some(asker.host), is_outside: false };
        self.book.open(now).job_pushed(queue, new, outcome);
        (job, outcome.ticket())
    }
}

/// What one wants of the queues of a core, now and then.
pub(crate) struct Errands {
    office: Office,
    core: usize,
    draw: Draw,
    /// Of jobs that it has pushed: queue and number.
    tickets: Vec<(usize, u64, JobTicket)>,
}

impl Errands {
    pub(crate) fn new(office: Office, core: usize, draw: Draw) -> Errands {
        Errands { office, core, draw, tickets: Vec::new() }
    }

    /// Has something done, now and then. Without an `asker` nothing is asked; `is_outside`: by no worker, between two rounds.
    pub(crate) fn perhaps(&mut self, now: Time, asker: Option<&Asker>, is_outside: bool) {
        if self.draw.percent(self.office.plan.wishes_percent) {
            (0..self.draw.small(1, WISHES_MAX)).for_each(|_| self.wish(now, asker, is_outside));
        }
    }

    fn any_queue(&mut self) -> Option<usize> {
        let queues = self.office.plan.queues.iter().enumerate().filter(|(_, queue)| queue.core == self.core);
        let queues: Vec<usize> = queues.map(|(queue, _)| queue).collect();
        let is_there = !queues.is_empty() && !self.office.book.has_let_go();
        is_there.then(|| self.draw.one_of(&queues))
    }

    fn wish(&mut self, now: Time, asker: Option<&Asker>, is_outside: bool) {
        let Some(queue) = self.any_queue() else { return };
        if self.draw.between(1, 1_000) <= self.office.plan.stops_per_thousand {
            return self.stop(now, queue);
        }
        let deed = self.deed();
        let (job, ticket) = match (self.draw.between(0, 9), asker) {
            (0..=2, _) => return self.cancel(now),
            (3..=5, Some(asker)) => self.office.ask(now, queue, deed, asker),
            (6..=7, _) => {
                let delay = Duration::from_micros(self.draw.between(0, DELAY_MICROSECONDS_MAX));
                self.office.push(now, queue, delay, deed, is_outside)
            }
            _ => self.office.push(now, queue, Duration::ZERO, deed, is_outside),
        };
        if let Some(ticket) = ticket {
            self.tickets.push((queue, job, ticket));
            let forgotten = self.tickets.len().saturating_sub(TICKETS_MAX);
            self.tickets.drain(..forgotten);
        }
    }

    fn deed(&mut self) -> Deed {
        if self.draw.percent(self.office.plan.panics_percent) {
            return Deed::Panic;
        }
        let other = self.draw.perhaps(15, |_| ()).and_then(|()| self.any_queue());
        other.map_or(Deed::Nothing, Deed::Push)
    }

    /// Takes back a job, now and then one that has run, or was taken back, or one of another queue.
    fn cancel(&mut self, now: Time) {
        let index = self.draw.count(0, self.tickets.len().saturating_sub(1));
        let Some((queue, job, ticket)) = self.tickets.get(index).copied() else { return };
        let asked = if self.draw.percent(90) { Some(queue) } else { self.any_queue() };
        let asked = asked.unwrap_or(queue);
        let was_taken_back = match self.office.book.line(now, asked) {
            JobLine::Serial(line) => line.cancel(ticket),
            JobLine::Blocking(line) => line.cancel(ticket),
        };
        self.office.book.open(now).job_cancelled(asked, job, was_taken_back);
    }

    fn stop(&mut self, now: Time, queue: usize) {
        match self.office.book.line(now, queue) {
            JobLine::Serial(line) => line.stop(),
            JobLine::Blocking(line) => line.stop(),
        }
        self.office.book.open(now).queue_stopped(queue);
    }
}
