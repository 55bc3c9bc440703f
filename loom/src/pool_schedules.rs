//! Pools with the workers that they answer: job queues that are asked and pushed to, sessions whose handlers run on a pool, and
//! an end in the midst of both. Inboxes have room for one message, so that much of what is told waits for room.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shuttle::thread::{self, JoinHandle};

use crate::core::{self, Shared};
use crate::identity::SessionId;
use crate::jobs::in_flight::InFlight;
use crate::jobs::line::{JobName, Line, Next, Paused, Pushed};
use crate::jobs::outcome::{JobOverflow, StopReason};
use crate::jobs::reports::Reports;
use crate::jobs::{self, post_always, post_answer, takes_questions};
use crate::message::{Frame, Message};
use crate::schedules::{draw, join};
use crate::sync::{Condvar, Mutex};
use crate::workers::{Worker, core_of};

const WORKERS: usize = 3;
const POOL_THREADS: usize = 2;
/// Questions of each worker, and packets for each session.
const EACH: usize = 3;

/// How something is told to the worker of a session.
type Tell = fn(&Shared, SessionId, Message);

/// As no engine may tell it: what finds an inbox full is lost.
const TELL_IF_THERE_IS_ROOM: Tell = |shared, session, message| drop(shared.post(session.worker(), message));

/// What waits for a thread of the pool.
struct Tasks<T> {
    waiting: Mutex<(VecDeque<T>, bool)>,
    news: Condvar,
}

impl<T: Send + 'static> Tasks<T> {
    fn new() -> Arc<Tasks<T>> {
        Arc::new(Tasks { waiting: Mutex::new((VecDeque::new(), false)), news: Condvar::new() })
    }

    fn put(&self, task: T) {
        self.waiting.lock().expect("no panic holds it").0.push_back(task);
        self.news.notify_all();
    }

    fn take(&self) -> Option<T> {
        let waiting = self.waiting.lock().expect("no panic holds it");
        let nothing = |(tasks, is_over): &mut (VecDeque<T>, bool)| tasks.is_empty() && !*is_over;
        let waiting = self.news.wait_timeout_while(waiting, Duration::MAX, nothing);
        waiting.expect("no panic holds it").0.pop_front()
    }

    fn end(&self) {
        self.waiting.lock().expect("no panic holds it").1 = true;
        self.news.notify_all();
    }

    /// The threads of a pool, until it ends.
    fn threads(self: &Arc<Self>, work: fn(T)) -> Vec<JoinHandle<()>> {
        let body = |_| {
            let tasks = Arc::clone(self);
            thread::spawn(move || std::iter::from_fn(|| tasks.take()).for_each(work))
        };
        (0..POOL_THREADS).map(body).collect()
    }
}

enum Job {
    Push,
    /// Is answered with this frame.
    Ask(SessionId, Arc<Frame>),
}

/// A job queue, one job at a time.
struct Queue {
    shared: Arc<Shared>,
    tasks: Arc<Tasks<Arc<Queue>>>,
    line: Line<(), Job>,
    in_flight: Arc<InFlight>,
    ran: AtomicUsize,
    tell: Tell,
}

impl Queue {
    fn new(shared: &Arc<Shared>, tell: Tell) -> Arc<Queue> {
        let in_flight = Arc::new(InFlight::new());
        let line = Line::new((), 100, JobOverflow::RefuseNewest, Arc::clone(&in_flight));
        let (shared, ran) = (Arc::clone(shared), AtomicUsize::new(0));
        Arc::new(Queue { shared, tasks: Tasks::new(), line, in_flight, ran, tell })
    }

    fn push(self: &Arc<Self>, job: Job) -> Option<JobName> {
        let Pushed::Taken { name, schedule, .. } = self.line.push(job) else { return None };
        if schedule {
            self.tasks.put(Arc::clone(self));
        }
        Some(name)
    }

    fn work(self: Arc<Self>) {
        let Some((value, _counted)) = self.line.begin() else { return };
        let Next::Job(value, job) = self.line.next(value) else { return };
        self.ran.fetch_add(1, Ordering::Relaxed);
        if let Job::Ask(session, frame) = job {
            (self.tell)(&self.shared, session, Message::Frame(frame));
        }
        if let Paused::Scheduled = self.line.pause(value) {
            self.tasks.put(Arc::clone(&self));
        }
    }

    /// As jobs end once the workers have. Gives how many jobs that leaves.
    fn end(&self) -> usize {
        self.in_flight.wait(Duration::MAX);
        let left = self.line.stop(StopReason::CoreStopped).map_or(0, |remains| remains.jobs.len());
        self.in_flight.wait(Duration::MAX);
        self.tasks.end();
        left
    }
}

/// A worker that asks as long as its questions are taken, and goes on when answers have come.
struct Asker {
    worker: Worker,
    index: usize,
    queue: Arc<Queue>,
    asked: Vec<Arc<Frame>>,
    answered: Vec<usize>,
}

impl Asker {
    fn turn(&mut self) {
        let session = SessionId(self.index);
        while self.asked.len() < EACH && takes_questions(&self.queue.shared, session) {
            let frame = Arc::new(Frame { from: self.index, number: self.asked.len() });
            self.queue.push(Job::Ask(session, Arc::clone(&frame))).expect("jobs end after workers");
            self.asked.push(frame);
        }
        for message in self.worker.whole_turn() {
            let Message::Frame(frame) = message else { continue };
            assert_eq!(frame.from, self.index, "the answer to somebody else");
            self.answered.push(frame.number);
        }
    }

    /// What was asked, and how much of it was answered.
    fn end(self) -> (Vec<Arc<Frame>>, usize) {
        let answered = self.answered.len();
        assert!(self.answered.into_iter().eq(0..answered), "each once, and in order");
        (self.asked, answered)
    }
}

fn askers(workers: Vec<Worker>, queue: &Arc<Queue>) -> impl Iterator<Item = Asker> {
    workers.into_iter().enumerate().map(|(index, worker)| {
        let (queue, asked, answered) = (Arc::clone(queue), Vec::new(), Vec::new());
        Asker { worker, index, queue, asked, answered }
    })
}

/// Every worker asks, and waits until all is answered.
fn questions_to_a_pool(tell: Tell) {
    let (shared, workers) = core_of(WORKERS, 1);
    let queue = Queue::new(&shared, tell);
    let until_answered = |mut asker: Asker| {
        move || {
            while asker.answered.len() < EACH {
                asker.turn();
            }
            asker.end().1
        }
    };
    let pool = queue.tasks.threads(Queue::work);
    let askers: Vec<_> = askers(workers, &queue).map(|asker| thread::spawn(until_answered(asker))).collect();
    assert_eq!(join(askers), [EACH; WORKERS]);
    assert_eq!(queue.end(), 0);
    join(pool);
    assert_eq!(queue.ran.load(Ordering::Relaxed), WORKERS * EACH);
}

#[test]
fn every_question_is_answered_once_although_inboxes_are_full() {
    draw(|| questions_to_a_pool(post_answer));
}

#[test]
#[should_panic(expected = "deadlock")]
fn an_answer_that_is_lost_in_a_full_inbox_is_noticed() {
    draw(|| questions_to_a_pool(TELL_IF_THERE_IS_ROOM));
}

/// Pushes jobs and takes every other back; gives how many are to run or to be left.
fn push_and_cancel(queue: &Arc<Queue>) -> usize {
    let mut pushed = 0;
    for number in 0..4 {
        let Some(name) = queue.push(Job::Push) else { continue };
        let is_cancelled = number % 2 == 1 && queue.line.cancel(name).is_some();
        pushed += usize::from(!is_cancelled);
    }
    pushed
}

/// A core stops while its workers ask and others push and cancel. `goes`: how a worker ends.
fn a_stop_amid_questions(goes: fn(&Worker)) {
    let (shared, workers) = core_of(WORKERS, 1);
    let queue = Queue::new(&shared, post_answer);
    let until_stopped = |mut asker: Asker| {
        move || {
            while asker.worker.shared().stop_at().is_none() {
                asker.turn();
            }
            goes(&asker.worker);
            asker.end()
        }
    };
    let pool = queue.tasks.threads(Queue::work);
    let askers: Vec<_> = askers(workers, &queue).map(|asker| thread::spawn(until_stopped(asker))).collect();
    let pushing = thread::spawn({
        let queue = Arc::clone(&queue);
        move || push_and_cancel(&queue)
    });
    core::request_stop(&shared);
    core::wait(&shared);
    let (asked, answered): (Vec<_>, Vec<_>) = join(askers).into_iter().unzip();
    let left = queue.end();
    let pushed = join(vec![pushing]).into_iter().sum::<usize>();
    join(pool);
    let asked: Vec<_> = asked.into_iter().flatten().collect();
    let ran = queue.ran.load(Ordering::Relaxed);
    assert_eq!(ran + left, asked.len() + pushed, "a job is lost, or ran twice");
    assert!(ran >= answered.iter().sum::<usize>());
    assert!(queue.in_flight.is_none());
    assert!(asked.iter().all(|frame| Arc::strong_count(frame) == 1), "an answer outlives its worker");
}

#[test]
fn a_stop_amid_questions_leaves_nothing_behind() {
    draw(|| a_stop_amid_questions(Worker::finish));
}

#[test]
#[should_panic(expected = "outlives its worker")]
fn a_worker_that_gives_up_what_waits_too_early_is_noticed() {
    draw(|| {
        a_stop_amid_questions(|worker| {
            jobs::give_up(worker.shared(), worker.index());
            worker.close_inbox();
        });
    });
}

/// A session whose handlers run on the pool: put together as `pooled/lane.rs` does, without its types. An event is the number
/// of a packet, or `None` for the end.
struct Lane {
    shared: Arc<Shared>,
    tasks: Arc<Tasks<Arc<Lane>>>,
    line: Line<(), Option<usize>>,
    reports: Reports<usize, ()>,
    session: SessionId,
    handled: AtomicUsize,
    dropped: AtomicUsize,
    farewells: AtomicUsize,
    tell: Tell,
}

impl Lane {
    fn hand_on(self: &Arc<Self>, packet: usize) {
        self.reports.hand_on(1, usize::MAX).expect("it has not ended");
        self.push(Some(packet));
    }

    fn push(self: &Arc<Self>, event: Option<usize>) {
        if let Pushed::Taken { schedule: true, .. } = self.line.push(event) {
            self.tasks.put(Arc::clone(self));
        }
    }

    fn end(self: &Arc<Self>) {
        if self.reports.end(Some(())) {
            self.dropped.fetch_add(self.line.take_waiting().len(), Ordering::Relaxed);
            self.push(None);
        }
    }

    fn tell_if(&self, tell: bool) {
        if tell {
            (self.tell)(&self.shared, self.session, Message::Handled { session: self.session });
        }
    }

    fn work(self: Arc<Self>) {
        let Some((value, _counted)) = self.line.begin() else { return };
        match self.line.next(value) {
            Next::Job(value, Some(packet)) => {
                let mut asked = self.reports.begin();
                let before = asked.bytes;
                asked.orders.push(packet);
                asked.bytes += 1;
                self.handled.fetch_add(1, Ordering::Relaxed);
                self.tell_if(self.reports.put(1, asked, before));
                if let Paused::Scheduled = self.line.pause(value) {
                    self.tasks.put(Arc::clone(&self));
                }
            }
            Next::Job(_, None) => {
                drop(self.line.stop(StopReason::Asked));
                self.farewells.fetch_add(self.reports.take_farewell().iter().count(), Ordering::Relaxed);
                self.tell_if(self.reports.over());
            }
            Next::Idle | Next::Stopped(_) => {}
        }
    }

    /// Its worker: hands packets on, and ends it once all are handled or the core stops. Gone when the lane is over.
    fn lives_in(self: &Arc<Self>, worker: &Worker) {
        let mut orders = Vec::new();
        (1..=EACH).for_each(|packet| self.hand_on(packet));
        loop {
            for message in worker.whole_turn() {
                let Message::Handled { session } = message else { continue };
                assert_eq!(session.worker(), self.session.worker());
                let report = self.reports.take();
                orders.extend(report.orders);
                if report.is_over {
                    return self.judge(&orders);
                }
            }
            if orders.len() == EACH || worker.shared().stop_at().is_some() {
                self.end();
            }
        }
    }

    fn judge(&self, orders: &[usize]) {
        let of = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        assert_eq!(of(&self.farewells), 1, "the last handler, once");
        assert_eq!(of(&self.handled) + of(&self.dropped), EACH, "handled or dropped");
        assert!(orders.iter().copied().eq(1..=of(&self.handled)), "in order: {orders:?}");
    }
}

fn sessions_on_a_pool(tell: Tell) {
    let (shared, workers) = core_of(WORKERS, 1);
    let (tasks, in_flight) = (Tasks::new(), Arc::new(InFlight::new()));
    let lane = |index| {
        let line = Line::new((), usize::MAX, JobOverflow::RefuseNewest, Arc::clone(&in_flight));
        let (shared, tasks, session) = (Arc::clone(&shared), Arc::clone(&tasks), SessionId(index));
        let (handled, dropped, farewells) = Default::default();
        let reports = Reports::new();
        Arc::new(Lane { shared, tasks, line, reports, session, handled, dropped, farewells, tell })
    };
    let pool = tasks.threads(Lane::work);
    let live = |(index, worker): (usize, Worker)| {
        let lane = lane(index);
        thread::spawn(move || {
            lane.lives_in(&worker);
            worker.finish();
        })
    };
    let workers: Vec<_> = workers.into_iter().enumerate().map(live).collect();
    let talking = thread::spawn({
        let shared = Arc::clone(&shared);
        move || (0..WORKERS).for_each(|worker| shared.nudge(worker))
    });
    core::request_stop(&shared);
    join(workers);
    join(vec![talking]);
    assert!(in_flight.wait(Duration::MAX));
    tasks.end();
    join(pool);
    assert!(shared.has_stopped());
}

#[test]
fn sessions_on_a_pool_are_told_of_everything_although_inboxes_are_full() {
    draw(|| sessions_on_a_pool(post_always));
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_report_that_is_lost_in_a_full_inbox_is_noticed() {
    draw(|| sessions_on_a_pool(TELL_IF_THERE_IS_ROOM));
}
