//! Models of the end of a core's jobs beside a queue that is opened, and beside a session whose handlers run on a pool: none
//! gets past the end, nothing runs after it, and who waits is told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use loom::thread;

use crate::job_models::Queue;
use crate::jobs::in_flight::InFlight;
use crate::jobs::outcome::StopReason;
use crate::jobs::registry::{Halt, Registry};
use crate::models::explore;
use crate::pooled_models::Session;

/// What of a core's jobs its end touches, in the order of `SharedJobs::end`.
struct Jobs {
    registry: Registry,
    in_flight: Arc<InFlight>,
}

/// A queue, and how many of its jobs its end has left.
struct Opened {
    queue: Arc<Queue>,
    left: AtomicUsize,
}

impl Halt for Opened {
    fn halt(&self, reason: StopReason) {
        self.left.fetch_add(self.queue.stop_for(reason), Ordering::Relaxed);
    }
}

impl Jobs {
    fn new() -> Arc<Jobs> {
        Arc::new(Jobs { registry: Registry::new(), in_flight: Arc::new(InFlight::new()) })
    }

    fn halt_all(all: &[Weak<dyn Halt>], reason: StopReason) {
        all.iter().filter_map(Weak::upgrade).for_each(|queue| queue.halt(reason));
    }

    /// With pools whose threads come to everything.
    fn end(&self) {
        // Queues are open still: more may have begun since.
        let _ = self.in_flight.wait(Duration::MAX);
        let all = self.registry.close().expect("it has not ended");
        Jobs::halt_all(&all, StopReason::CoreStopped);
        assert!(self.in_flight.wait(Duration::MAX));
        Jobs::halt_all(&all, StopReason::NoThread);
    }

    /// With pools whose threads are all in handlers that block: no wait comes to its end but by the time.
    fn end_without_threads(&self, tells_of_that: bool) {
        let all = self.registry.close().expect("it has not ended");
        Jobs::halt_all(&all, StopReason::CoreStopped);
        if tells_of_that {
            Jobs::halt_all(&all, StopReason::NoThread);
        }
    }
}

/// A queue that is opened and used beside the end. `heeds`: whether who opens it looks if it got in.
fn a_queue_beside_the_end(heeds: bool, end: fn(&Jobs)) {
    explore(2, move || {
        let jobs = Jobs::new();
        let queue = Queue::of(Arc::clone(&jobs.in_flight));
        let opening = thread::spawn({
            let (jobs, queue) = (Arc::clone(&jobs), Arc::clone(&queue));
            move || {
                let opened = Arc::new(Opened { queue, left: AtomicUsize::new(0) });
                let weak = Arc::downgrade(&opened);
                let got_in = jobs.registry.register(weak);
                if heeds && !got_in {
                    opened.halt(StopReason::CoreStopped);
                }
                let pushed = [1, 2].into_iter().filter_map(|job| opened.queue.push(job, 1)).count();
                (opened, pushed)
            }
        });
        end(&jobs);
        assert!(queue.in_flight.is_none(), "somebody is at it after the end");
        let ran = queue.ran();
        let (opened, pushed) = opening.join().expect("no panic");
        assert_eq!(queue.ran(), ran, "a job ran after the end");
        assert_eq!(ran + opened.left.load(Ordering::Relaxed), pushed);
        assert!(queue.line.stopped().is_some() && queue.in_flight.is_none());
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 1, "the value, once");
    });
}

#[test]
fn no_queue_gets_past_the_end_of_jobs() {
    a_queue_beside_the_end(true, Jobs::end);
}

#[test]
#[should_panic(expected = "after the end")]
fn a_queue_that_does_not_heed_that_the_core_has_ended_is_noticed() {
    a_queue_beside_the_end(false, Jobs::end);
}

#[test]
#[should_panic(expected = "after the end")]
fn an_end_of_jobs_that_does_not_wait_is_noticed() {
    a_queue_beside_the_end(true, |jobs| {
        let all = jobs.registry.close().expect("it has not ended");
        Jobs::halt_all(&all, StopReason::CoreStopped);
    });
}

/// A session that is opened in its worker beside the end of jobs, and no thread is free any more.
fn a_session_beside_the_end(tells_of_that: bool) {
    explore(2, move || {
        let jobs = Jobs::new();
        let ending = thread::spawn({
            let jobs = Arc::clone(&jobs);
            move || jobs.end_without_threads(tells_of_that)
        });
        let session = Session::new(true);
        let weak = Arc::downgrade(&session);
        if !jobs.registry.register(weak) {
            session.halt(StopReason::NoThread);
        }
        let mut orders = Vec::new();
        session.until_over(&mut orders);
        ending.join().expect("no panic");
        session.assert_over(0, &orders);
    });
}

#[test]
fn a_session_that_is_opened_beside_the_end_gives_its_place_back() {
    // The end comes first, or finds it.
    a_session_beside_the_end(true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn an_end_that_leaves_sessions_without_a_thread_is_noticed() {
    a_session_beside_the_end(false);
}
