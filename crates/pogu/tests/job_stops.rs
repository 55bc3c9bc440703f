//! How long a stop takes when jobs hang, and what ends it sooner. By the clock on the wall: nobody but it ends these waits.

mod support;

use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use pogu::{BlockingQueue, Core, JobQueue, Unanswered};
use support::jobs::{core, hold_up, the_workers_have_ended, wait_for};
use support::{PATIENCE, PLAIN_DRIVER, eventually};

/// What a busy machine may add.
const SLACK: Duration = Duration::from_millis(900);

fn time_of_stop(core: Core, drain_timeout: Duration) -> Duration {
    let begun = Instant::now();
    core.stop(drain_timeout).expect("stopped, threads left behind");
    begun.elapsed()
}

#[test]
fn a_job_that_never_ends_does_not_hang_the_stop() {
    let core = core(1);
    let stuck = core.jobs().queue("stuck", ());
    let let_go = hold_up(&stuck);
    let waits = stuck.ask_future(|()| ());
    let took = time_of_stop(core, Duration::ZERO);
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(1) + SLACK, "{took:?}");
    assert_eq!(wait_for(waits), Err(Unanswered::NeverRan));
    drop(let_go);
}

#[test]
fn a_job_that_never_ends_has_the_drain_and_no_more() {
    let drain_timeout = Duration::from_millis(1500);
    let core = core(1);
    let let_go = hold_up(&core.jobs().queue("stuck", ()));
    let took = time_of_stop(core, drain_timeout);
    assert!(took >= drain_timeout && took < drain_timeout + SLACK, "{took:?}");
    drop(let_go);
}

#[test]
fn a_queue_that_pushes_itself_without_end_has_the_drain_and_no_more() {
    fn again(queue: &JobQueue<()>) {
        let next = queue.clone();
        let _ = queue.push(move |()| again(&next));
    }
    let drain_timeout = Duration::from_millis(700);
    let core = core(1);
    again(&core.jobs().queue("endless", ()));
    let took = time_of_stop(core, drain_timeout);
    assert!(took >= drain_timeout && took < drain_timeout + SLACK, "{took:?}");
}

#[test]
fn a_job_that_takes_its_time_ends_before_the_stop_does() {
    let core = core(1);
    let (tell, told) = channel::<()>();
    let queue = core.jobs().queue("saving", tell);
    let let_go = hold_up(&queue);
    let stopping = std::thread::spawn(move || time_of_stop(core, PATIENCE));
    eventually("the turn of jobs", || the_workers_have_ended(&queue));
    assert!(!stopping.is_finished(), "it waits for the job");
    drop(let_go);
    let took = stopping.join().expect("stopped");
    assert!(took < PATIENCE / 2, "{took:?}");
    assert!(told.recv().is_err(), "the value is gone");
}

/// Keeps so many threads until it is let go.
fn keep(queue: &BlockingQueue, threads: usize) -> Vec<Sender<()>> {
    let (tell, begun) = channel();
    let held = (0..threads).map(|_| {
        let (let_go, released) = channel::<()>();
        let tell = tell.clone();
        let pushed = queue.push(move || assert!(tell.send(()).is_ok() && released.recv().is_err()));
        assert!(pushed.is_pushed());
        let_go
    });
    let held = held.collect();
    (0..threads).for_each(|_| begun.recv_timeout(PATIENCE).expect("it begins"));
    held
}

#[test]
fn many_that_never_end_are_waited_for_all_at_once() {
    const THREADS: usize = 60;
    let core = support::core(PLAIN_DRIVER, 1).blocking_threads(THREADS).start().expect("a core");
    let held = keep(&core.jobs().blocking("database"), THREADS);
    let took = time_of_stop(core, Duration::ZERO);
    assert!(took < Duration::from_secs(1) + SLACK, "{took:?} for {THREADS} threads");
    drop(held);
}
