//! How job queues end: with a panic, with their core, without a thread.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pogu::{Core, Executor, JobQueue, OnPanic, PushOutcome, PushRefusal, StopReason, Task, Unanswered};
use support::jobs::{core, hold_up, options, stop, the_workers_have_ended, wait_for};
use support::{PATIENCE, PLAIN_DRIVER, eventually};

/// Panics when it is dropped.
struct Grenade(Arc<AtomicUsize>);

impl Drop for Grenade {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("a planted panic in a Drop");
    }
}

#[test]
fn a_panicking_job_harms_its_own_queue_at_most() {
    let core = core(1);
    let jobs = core.jobs();
    let going_on = jobs.queue("goes on", 1);
    assert!(going_on.push(|_| panic!("a planted panic in a job")).is_pushed());
    assert_eq!(wait_for(going_on.ask_future(|value| *value)), Ok(1));

    let dropped = Arc::new(AtomicUsize::new(0));
    let stopping = options(|options| options.on_panic = OnPanic::Stop);
    let stopping = jobs.queue_with("stops", Grenade(Arc::clone(&dropped)), &stopping);
    let let_go = hold_up(&stopping);
    assert!(stopping.push(|_| panic!("a planted panic in a job")).is_pushed());
    let never = stopping.ask_future(|_| ());
    drop(let_go);
    assert_eq!(wait_for(never), Err(Unanswered::NeverRan));
    assert_eq!(stopping.stopped(), Some(StopReason::JobPanicked));
    let refused = PushOutcome::Refused(PushRefusal::Stopped(StopReason::JobPanicked));
    assert_eq!(stopping.push(|_| ()), refused);
    eventually("the value is dropped", || dropped.load(Ordering::SeqCst) == 1);
    assert_eq!(wait_for(going_on.ask_future(|value| *value)), Ok(1), "the thread goes on");
    stop(core);
    let counts = |name| jobs.report_of(name).expect("a report").counts;
    assert_eq!((counts("goes on").panicked, counts("goes on").ran), (1, 3));
    assert_eq!((counts("stops").panicked, counts("stops").abandoned, counts("stops").refused), (1, 1, 1));
}

#[test]
fn what_panics_when_it_is_dropped_harms_nobody() {
    let core = core(1);
    let queue = core.jobs().queue_with("grenades", (), &options(|options| options.jobs_max = 3));
    let dropped = Arc::new(AtomicUsize::new(0));
    let grenade = || {
        let grenade = Grenade(Arc::clone(&dropped));
        move |_: &mut ()| drop(grenade)
    };
    let let_go = hold_up(&queue);
    let cancelled = queue.push(grenade()).ticket().expect("pushed");
    assert!(queue.cancel(cancelled));
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    let waiting: Vec<_> = (0..3).map(|_| queue.push(grenade())).collect();
    assert!(waiting.into_iter().all(PushOutcome::is_pushed));
    assert!(!queue.push(grenade()).is_pushed());
    assert_eq!(dropped.load(Ordering::SeqCst), 2);
    queue.stop();
    assert_eq!(dropped.load(Ordering::SeqCst), 5);
    drop(let_go);
    drop(core.jobs().queue("dropped", Grenade(Arc::clone(&dropped))));
    assert_eq!(dropped.load(Ordering::SeqCst), 6);
    stop(core);
}

#[test]
fn a_stop_runs_what_waits_and_forgets_what_is_delayed() {
    let core = core(1);
    let jobs = core.jobs();
    let ran = Arc::new(AtomicUsize::new(0));
    let queue = jobs.queue("waiting", ());
    let let_go = hold_up(&queue);
    for _ in 0..1000 {
        let ran = Arc::clone(&ran);
        assert!(queue.push(move |()| assert!(ran.fetch_add(1, Ordering::SeqCst) < 1000)).is_pushed());
    }
    assert!(queue.push_after(PATIENCE, |()| panic!("nobody waits for it")).is_pushed());
    let stopping = std::thread::spawn(move || stop(core));
    eventually("the turn of jobs", || the_workers_have_ended(&queue));
    drop(let_go);
    stopping.join().expect("stopped");
    assert_eq!(ran.load(Ordering::SeqCst), 1000);
    let report = jobs.report_of("waiting").expect("a report");
    assert_eq!((report.counts.ran, report.counts.waiting()), (1001, 0));
    assert!((1..=2).contains(&report.counts.abandoned), "and the last that the test tried, perhaps");
    assert_eq!(queue.stopped(), Some(StopReason::CoreStopped));
    let refused = PushOutcome::Refused(PushRefusal::Stopped(StopReason::CoreStopped));
    assert_eq!((queue.push(|()| ()), queue.push_after(PATIENCE, |()| ())), (refused, refused));
    assert_eq!(jobs.queue("late", ()).push(|()| ()), refused);
}

/// Holds its own queue.
struct Selfish {
    own: Option<JobQueue<Selfish>>,
    #[expect(dead_code, reason = "it is counted")]
    alive: Arc<()>,
}

#[test]
fn a_core_that_is_dropped_runs_nothing_that_waits_and_frees_what_holds_itself() {
    let core = core(1);
    let jobs = core.jobs();
    let alive = Arc::new(());
    let queue = jobs.queue("cycle", Selfish { own: None, alive: Arc::clone(&alive) });
    let own = queue.clone();
    assert!(queue.push(move |value| value.own = Some(own)).is_pushed());
    let let_go = hold_up(&jobs.queue("gate", ()));
    let never = queue.ask_future(|_| ());
    drop(queue);
    let dropping = std::thread::spawn(move || drop(core));
    assert_eq!(wait_for(never), Err(Unanswered::NeverRan));
    drop(let_go);
    dropping.join().expect("dropped");
    assert_eq!(Arc::strong_count(&alive), 1);
    assert_eq!(jobs.report_of("cycle").expect("a report").counts.abandoned, 1);
}

#[test]
fn a_queue_that_has_stopped_is_not_kept_by_its_delayed_jobs() {
    const HOUR: Duration = Duration::from_secs(3600);
    let core = core(1);
    let jobs = core.jobs();
    let panicking = options(|options| options.on_panic = OnPanic::Stop);
    let [stopped, fragile] = [options(|_| ()), panicking].map(|options| {
        let queue = jobs.queue_with("an hour", (), &options);
        (0..100).for_each(|_| assert!(queue.push_after(HOUR, |()| panic!("nobody waits for it")).is_pushed()));
        queue
    });
    let names = [stopped.downgrade(), fragile.downgrade()];
    stopped.stop();
    assert!(fragile.push(|()| panic!("a planted panic in a job")).is_pushed());
    eventually("its stop", || fragile.stopped().is_some());
    drop((stopped, fragile));
    eventually("their end", || names.iter().all(|name| name.upgrade().is_none()));
    let report = jobs.report_of("an hour").expect("a report");
    assert_eq!((report.queues, report.counts.abandoned, report.counts.waiting()), (0, 200, 0));
    stop(core);
}

/// Keeps tasks until the test runs them.
#[derive(Default)]
struct ByHand(Mutex<Vec<Task>>);

impl Executor for ByHand {
    fn spawn(&self, task: Task) {
        self.0.lock().expect("no panic").push(task);
    }
}

impl ByHand {
    fn take(&self) -> Vec<Task> {
        std::mem::take(&mut *self.0.lock().expect("no panic"))
    }
}

#[test]
fn an_executor_of_the_users_runs_the_tasks_and_one_that_drops_them_hangs_nobody() {
    let by_hand = Arc::new(ByHand::default());
    let executor = Arc::clone(&by_hand) as Arc<dyn Executor>;
    let core = support::core(PLAIN_DRIVER, 1).executor(executor).start().expect("a core");
    let queue = core.jobs().queue("by hand", 0);
    assert!((0..3).all(|_| queue.push(|count| *count += 1).is_pushed()));
    let mut tasks = by_hand.take();
    assert_eq!(tasks.len(), 1, "one for all that wait");
    let mut asked = queue.ask_future(|count| *count);
    assert_eq!(asked.try_take(), None);
    tasks.remove(0).run();
    assert_eq!(asked.try_take(), Some(Ok(3)));
    let mut asked = queue.ask_future(|count| *count);
    drop(by_hand.take());
    assert_eq!(asked.try_take(), Some(Err(Unanswered::NeverRan)));
    assert_eq!(queue.stopped(), Some(StopReason::NoThread));
    stop(core);
}

struct Panicking;

impl Executor for Panicking {
    fn spawn(&self, _task: Task) {
        std::panic::resume_unwind(Box::new("without the hook"));
    }
}

#[test]
fn an_executor_that_panics_harms_no_pusher() {
    let core = support::core(PLAIN_DRIVER, 1).executor(Arc::new(Panicking)).start().expect("a core");
    let queue = core.jobs().queue("unlucky", ());
    assert_eq!(wait_for(queue.ask_future(|()| ())), Err(Unanswered::NeverRan));
    assert_eq!(queue.stopped(), Some(StopReason::NoThread));
    stop(core);
}

#[test]
fn a_pool_without_threads_is_refused() {
    for builder in [Core::builder().job_threads(0), Core::builder().blocking_threads(1025)] {
        assert!(matches!(builder.hand_out(), Err(pogu::Error::Configuration { .. })));
    }
}
