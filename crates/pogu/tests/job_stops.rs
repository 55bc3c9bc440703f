//! How long a stop takes when jobs hang, and what ends it sooner. By the clock on the wall: nobody but it ends these waits.

mod support;

use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use pogu::{BlockingQueue, Core, JobQueue, Unanswered};
use support::jobs::{core, hold_up, the_workers_have_ended, wait_for};
use support::log::Lines;
use support::rounds::in_time_at_least_once;
use support::{PATIENCE, PLAIN_DRIVER, eventually};

/// What a busy machine may add: less than a second, which is what a stop that waits once too often would add.
const SLACK: Duration = Duration::from_millis(900);

/// Judges the time of a stop by the least that it may take, and by the most: by this only if it is late every time.
fn takes(least: Duration, mut stop: impl FnMut() -> Duration) {
    in_time_at_least_once(|| {
        let took = stop();
        assert!(took >= least, "{took:?}, not {least:?}");
        let in_time = took < least + SLACK;
        in_time.then_some(()).ok_or_else(|| format!("{took:?} for a stop of {least:?}"))
    });
}

fn time_of_stop(core: Core, drain_timeout: Duration) -> Duration {
    let begun = Instant::now();
    core.stop(drain_timeout).expect("stopped, threads left behind");
    begun.elapsed()
}

#[test]
fn a_job_that_never_ends_does_not_hang_the_stop() {
    takes(Duration::from_secs(1), || {
        let core = core(1);
        let stuck = core.jobs().queue("stuck", ());
        let let_go = hold_up(&stuck);
        let waits = stuck.ask_future(|()| ());
        let took = time_of_stop(core, Duration::ZERO);
        assert_eq!(wait_for(waits), Err(Unanswered::NeverRan));
        drop(let_go);
        took
    });
}

#[test]
fn a_job_that_never_ends_has_the_drain_and_no_more() {
    let drain_timeout = Duration::from_millis(1500);
    takes(drain_timeout, || {
        let core = core(1);
        let let_go = hold_up(&core.jobs().queue("stuck", ()));
        let took = time_of_stop(core, drain_timeout);
        drop(let_go);
        took
    });
}

#[test]
fn a_queue_that_pushes_itself_without_end_has_the_drain_and_no_more() {
    fn again(queue: &JobQueue<()>) {
        let next = queue.clone();
        let _ = queue.push(move |()| again(&next));
    }
    let drain_timeout = Duration::from_millis(700);
    takes(drain_timeout, || {
        let core = core(1);
        again(&core.jobs().queue("endless", ()));
        time_of_stop(core, drain_timeout)
    });
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
    takes(Duration::from_secs(1), || {
        let core = support::core(PLAIN_DRIVER, 1).blocking_threads(THREADS).start().expect("a core");
        let held = keep(&core.jobs().blocking("database"), THREADS);
        let took = time_of_stop(core, Duration::ZERO);
        drop(held);
        took
    });
}

#[test]
fn jobs_that_do_not_end_are_named_and_counted_those_that_block_included() {
    let core = support::core(PLAIN_DRIVER, 1).job_threads(1).blocking_threads(3).start().expect("a core");
    let jobs = core.jobs();
    let (database, files) = (jobs.blocking("database"), jobs.blocking("files"));
    let held = [keep(&database, 2), keep(&files, 1), vec![hold_up(&jobs.queue("stuck", ()))]];
    // It waits, and never begins.
    assert!(files.push(|| ()).is_pushed());
    assert!(jobs.blocking("quick").push(|| ()).is_pushed());
    let (_, lines) = Lines::of(|| time_of_stop(core, Duration::ZERO));
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(line.level, tracing::Level::WARN);
    assert_eq!(line.fields, "threads=4 jobs=4 queues=database: 2, files: 1, stuck: 1 ");
    let counts = |name| jobs.report_of(name).expect("a report").counts;
    assert_eq!(["database", "files", "stuck", "quick"].map(|name| counts(name).left_behind), [2, 1, 1, 0]);
    assert_eq!((counts("files").abandoned, counts("files").ran), (1, 0));
    drop(held);
    eventually("they end after all", || counts("database").ran == 2);
}

#[test]
fn a_stop_whose_jobs_end_in_time_names_none() {
    let core = core(1);
    let jobs = core.jobs();
    let held = keep(&jobs.blocking("database"), 2);
    let (took, lines) = Lines::of(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| drop(held));
            time_of_stop(core, PATIENCE)
        })
    });
    assert!(took < PATIENCE / 2, "{took:?}");
    assert!(lines.is_empty(), "{lines:?}");
    assert_eq!(jobs.report_of("database").map(|report| (report.counts.ran, report.counts.left_behind)), Some((2, 0)));
}
