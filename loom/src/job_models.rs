//! Models of job queues: no job is lost or done twice, no two threads are in one queue, of a cancel and a beginning one wins,
//! an end leaves nothing behind, and who waits for an answer is woken.
//!
//! Whoever is told to have a queue scheduled works at it there and then, as a thread of a pool might.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use loom::thread;

use crate::Time;
use crate::bell::Bell;
use crate::jobs::in_flight::InFlight;
use crate::jobs::line::{JobName, Line, Next, Paused, Pushed, Remains};
use crate::jobs::outcome::{JobOverflow, PushRefusal, StopReason};
use crate::jobs::slot::slot;
use crate::models::explore;
use crate::post::Wake;

/// What jobs are done on. That it is in one thread at a time is a matter of types; that it comes back is not.
pub(crate) struct Value {
    ran: Vec<u32>,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Value {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// A job is its number. The last thing that a queue does with one is to note it.
pub(crate) struct Queue {
    pub(crate) line: Line<Value, u32>,
    pub(crate) in_flight: Arc<InFlight>,
    ran: AtomicUsize,
    pub(crate) dropped: Arc<AtomicUsize>,
}

impl Queue {
    fn new() -> Arc<Queue> {
        Queue::of(Arc::new(InFlight::new()))
    }

    /// One of several that are counted together.
    pub(crate) fn of(in_flight: Arc<InFlight>) -> Arc<Queue> {
        let dropped = Arc::default();
        let value = Value { ran: Vec::new(), dropped: Arc::clone(&dropped) };
        let line = Line::new(value, 8, JobOverflow::RefuseNewest, Arc::clone(&in_flight));
        Arc::new(Queue { line, in_flight, ran: AtomicUsize::new(0), dropped })
    }

    /// Pushes a job, and works at the queue if nobody else does. `None` if it was refused.
    pub(crate) fn push(&self, job: u32, slice: usize) -> Option<JobName> {
        match self.line.push(job) {
            Pushed::Taken { name, schedule, displaced } => {
                assert!(displaced.is_none());
                if schedule {
                    self.work(slice);
                }
                Some(name)
            }
            Pushed::Refused { refusal, job: refused } => {
                assert_eq!(refused, job);
                assert!(matches!(refusal, PushRefusal::Stopped(_)));
                None
            }
        }
    }

    /// As a thread of a pool works, `slice` jobs at a time.
    fn work(&self, slice: usize) {
        while self.work_once(slice) {}
    }

    /// True if the queue has to be scheduled once more.
    fn work_once(&self, slice: usize) -> bool {
        let Some((mut value, _counted)) = self.line.begin() else { return false };
        for _ in 0..slice {
            match self.line.next(value) {
                Next::Job(taken, job) => {
                    value = taken;
                    value.ran.push(job);
                    self.ran.fetch_add(1, Ordering::Relaxed);
                }
                Next::Idle => return false,
                Next::Stopped(value) => {
                    drop(value);
                    return false;
                }
            }
        }
        match self.line.pause(value) {
            Paused::Scheduled => true,
            Paused::Idle => false,
            Paused::Stopped(value) => {
                drop(value);
                false
            }
        }
    }

    fn stop(&self) -> usize {
        self.stop_for(StopReason::Asked)
    }

    /// Ends the queue; gives how many jobs that leaves.
    pub(crate) fn stop_for(&self, reason: StopReason) -> usize {
        let Some(Remains { value, jobs, .. }) = self.line.stop(reason) else { return 0 };
        drop(value);
        jobs.len()
    }

    pub(crate) fn ran(&self) -> usize {
        self.ran.load(Ordering::Relaxed)
    }
}

/// Two threads that push two jobs each.
fn two_pushers(slice: usize, work: fn(&Queue, usize)) {
    explore(2, move || {
        let queue = Queue::new();
        let push_two = move |queue: &Queue, first: u32| {
            for job in [first, first + 1] {
                if let Pushed::Taken { schedule: true, .. } = queue.line.push(job) {
                    work(queue, slice);
                }
            }
        };
        let other = thread::spawn({
            let queue = Arc::clone(&queue);
            move || push_two(&queue, 10)
        });
        push_two(&queue, 20);
        other.join().expect("no panic");
        assert_eq!(queue.ran(), 4, "a job is lost");
        assert!(queue.in_flight.is_none());
        let Some(Remains { value: Some(value), jobs, .. }) = queue.line.stop(StopReason::Asked) else {
            panic!("the value is not there")
        };
        assert!(jobs.is_empty());
        for first in [10, 20] {
            let of_one = value.ran.iter().filter(|job| **job / 10 == first / 10);
            assert!(of_one.eq(&[first, first + 1]), "in the order of their pusher: {:?}", value.ran);
        }
    });
}

#[test]
fn no_job_is_lost_beside_a_queue_that_goes_idle() {
    two_pushers(usize::MAX, Queue::work);
}

#[test]
fn no_job_is_lost_beside_a_queue_that_yields() {
    two_pushers(1, Queue::work);
}

#[test]
#[should_panic(expected = "a job is lost")]
fn a_queue_that_yields_and_is_not_scheduled_again_is_noticed() {
    two_pushers(1, |queue, slice| {
        queue.work_once(slice);
    });
}

#[test]
fn of_a_cancel_and_a_beginning_exactly_one_wins() {
    explore(2, || {
        let queue = Queue::new();
        let Pushed::Taken { name, schedule: true, .. } = queue.line.push(1) else { panic!("it was idle") };
        let cancelling = thread::spawn({
            let queue = Arc::clone(&queue);
            move || usize::from(queue.line.cancel(name).is_some())
        });
        queue.work(usize::MAX);
        let cancelled = cancelling.join().expect("no panic");
        assert_eq!(cancelled + queue.ran(), 1);
        assert!(queue.in_flight.is_none());
    });
}

#[test]
fn of_a_cancel_and_a_time_that_comes_exactly_one_wins() {
    explore(3, || {
        let queue = Queue::new();
        let (due, number) = (Time::from_nanos(7), 1);
        let Pushed::Taken { name, schedule: false, .. } = queue.line.push_at(due, number, 1) else {
            panic!("it is not due")
        };
        let calling = thread::spawn({
            let queue = Arc::clone(&queue);
            move || {
                if queue.line.due(due) {
                    queue.work(1);
                }
            }
        });
        let cancelling = thread::spawn({
            let queue = Arc::clone(&queue);
            move || usize::from(queue.line.cancel(name).is_some())
        });
        queue.push(2, 1).expect("it is open");
        calling.join().expect("no panic");
        let cancelled = cancelling.join().expect("no panic");
        assert_eq!(cancelled + queue.ran(), 2, "and the other job ran");
    });
}

#[test]
fn a_stop_leaves_nothing_behind_and_nothing_twice() {
    explore(3, || {
        let queue = Queue::new();
        let pushing = thread::spawn({
            let queue = Arc::clone(&queue);
            move || [1, 2].into_iter().filter_map(|job| queue.push(job, 1)).count()
        });
        let stopping = thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.stop()
        });
        let pushed = queue.push(3, usize::MAX).iter().count();
        let pushed = pushed + pushing.join().expect("no panic");
        let left = stopping.join().expect("no panic");
        assert_eq!(queue.ran() + left, pushed);
        assert!(queue.in_flight.is_none());
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 1, "the value, once");
        assert_eq!(queue.push(4, 1), None);
    });
}

/// An end beside somebody who pushes and works.
fn an_end_beside_a_pusher(waits: fn(&Queue)) {
    explore(2, move || {
        let queue = Queue::new();
        let pushing = thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.push(1, 1).is_some()
        });
        queue.stop();
        waits(&queue);
        let dropped = queue.dropped.load(Ordering::Relaxed);
        assert_eq!(dropped, 1, "somebody is still at it");
        pushing.join().expect("no panic");
    });
}

#[test]
fn who_has_stopped_a_queue_and_waited_finds_nobody_at_it() {
    an_end_beside_a_pusher(|queue| assert!(queue.in_flight.wait(Duration::MAX)));
}

#[test]
#[should_panic(expected = "somebody is still at it")]
fn an_end_that_does_not_wait_is_noticed() {
    an_end_beside_a_pusher(|_| {});
}

/// Wakes whoever waits at a bell.
struct Waking(Arc<Bell>);

impl std::task::Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.0.wake();
    }
}

/// Polls until the answer is there.
fn wait_for<F: Future + Unpin>(mut future: F) -> F::Output {
    let bell = Bell::new();
    let waker = Waker::from(Arc::new(Waking(Arc::clone(&bell))));
    loop {
        match Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => bell.wait(),
        }
    }
}

#[test]
fn who_waits_for_an_answer_is_woken_by_it_and_by_its_absence() {
    for gives in [true, false] {
        explore(2, move || {
            let (giver, asked) = slot();
            let giving = thread::spawn(move || if gives { giver.give(7) } else { drop(giver) });
            assert_eq!(wait_for(asked).ok(), gives.then_some(7));
            giving.join().expect("no panic");
        });
    }
}

#[test]
fn an_answer_that_nobody_waits_for_any_more_harms_nobody() {
    explore(2, || {
        let (giver, asked) = slot::<u32>();
        let giving = thread::spawn(move || giver.give(7));
        drop(asked);
        giving.join().expect("no panic");
    });
}
