//! What the jobs of a core share: pools, appointments, measurements; and how they end.
//!
//! ```text
//!    no thread -- the first queue --> pools running -- the workers have ended --> delayed jobs are forgotten
//!       --> what waits runs, until the deadline --> queues stop, what waits is dropped --> what runs ends, or is left behind;
//!       sessions on a pool are told of their end
//! ```
//!
//! What sessions push while they end, on_disconnected included, is done: the pools outlive the workers.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use pogu_port::{Clock, Time};

use super::delays::Delays;
use super::executor::Executor;
use super::in_flight::InFlight;
use super::measure::{Row, Rows};
use super::outbox::Outbox;
use super::outcome::StopReason;
use super::pool::{Leaving, Pool};
use super::registry::{Halt, Registry};
use super::report::JobReport;
use super::runs::{JobWatcher, Runs};
use super::stepped::Stepped;
use crate::worker::{Line, LogGate};

/// Threads for work that blocks, unless the builder is told otherwise: a database answers a few questions at a time.
const BLOCKING_THREADS: usize = 4;

/// Threads for handlers on a pool, unless the builder is told otherwise: so many may block at a time. More than processors,
/// because whoever has handlers on a pool expects them to wait.
const HANDLER_THREADS: usize = 16;

/// How long nobody tries to start the threads for handlers on a pool once the system has refused them: each connection would
/// try otherwise, so that peers set the rate of tries and of log lines.
const START_RETRY: Duration = Duration::from_secs(1);

/// How often the end of a core looks whether somebody is in a hurry, while it waits for jobs.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Until when the end of a core waits for its jobs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobsEnd {
    /// What waits runs until then.
    pub(crate) waiting_until: Time,
    /// What runs is waited for until then.
    pub(crate) running_until: Time,
}

impl JobsEnd {
    pub(crate) fn at_latest(self, time: Time) -> JobsEnd {
        JobsEnd { waiting_until: self.waiting_until.min(time), running_until: self.running_until.min(time) }
    }
}

/// How a core runs jobs.
#[derive(Clone)]
pub(crate) struct JobSettings {
    pub(crate) threads: usize,
    pub(crate) blocking_threads: usize,
    pub(crate) handler_threads: usize,
    pub(crate) executor: Option<Arc<dyn Executor>>,
    pub(crate) blocking_executor: Option<Arc<dyn Executor>>,
}

impl Default for JobSettings {
    fn default() -> JobSettings {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        JobSettings {
            threads,
            blocking_threads: BLOCKING_THREADS,
            handler_threads: HANDLER_THREADS,
            executor: None,
            blocking_executor: None,
        }
    }
}

impl fmt::Debug for JobSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobSettings")
            .field("threads", &self.threads)
            .field("blocking_threads", &self.blocking_threads)
            .field("handler_threads", &self.handler_threads)
            .finish_non_exhaustive()
    }
}

/// See the [module](self).
pub(crate) struct SharedJobs {
    clock: Clock,
    settings: JobSettings,
    /// What a simulated core has in the place of pools.
    stepped: Option<Arc<Stepped>>,
    pools: Mutex<Pools>,
    registry: Registry,
    delays: Arc<Delays>,
    in_flight: Arc<InFlight>,
    rows: Rows,
    runs: Runs,
    log: Mutex<LogGate>,
    outbox: Outbox,
    next_queue: AtomicU64,
}

/// The threads of the core's own, once something needs them.
#[derive(Default)]
struct Pools {
    jobs: Option<Arc<Pool>>,
    blocking: Option<Arc<Pool>>,
    handlers: Option<Arc<Pool>>,
    /// See [`START_RETRY`].
    handlers_refused_until: Time,
    is_over: bool,
}

impl SharedJobs {
    pub(crate) fn new(clock: Clock, settings: JobSettings, workers: usize, is_simulated: bool) -> SharedJobs {
        SharedJobs {
            delays: Delays::new(clock.clone(), is_simulated),
            clock,
            settings,
            stepped: is_simulated.then(Arc::default),
            pools: Mutex::default(),
            registry: Registry::new(),
            in_flight: Arc::new(InFlight::new()),
            rows: Rows::default(),
            runs: Runs::default(),
            log: Mutex::new(LogGate::of_jobs()),
            outbox: Outbox::new(workers),
            next_queue: AtomicU64::new(0),
        }
    }

    /// What runs the tasks of job queues; `None` if there is nothing that could.
    pub(super) fn executor(&self) -> Option<Arc<dyn Executor>> {
        let settings = &self.settings;
        self.executor_of(settings.executor.as_ref(), |pools| (&mut pools.jobs, "pogu-jobs", settings.threads))
    }

    /// As [`SharedJobs::executor`], for work that blocks.
    pub(super) fn blocking_executor(&self) -> Option<Arc<dyn Executor>> {
        let settings = &self.settings;
        let users = settings.blocking_executor.as_ref();
        self.executor_of(users, |pools| (&mut pools.blocking, "pogu-blocking", settings.blocking_threads))
    }

    /// As [`SharedJobs::executor`], for sessions whose handlers run on a pool.
    pub(super) fn handler_executor(&self) -> Option<Arc<dyn Executor>> {
        let now = self.clock.now();
        if now < self.pools().handlers_refused_until {
            return None;
        }
        let threads = self.settings.handler_threads;
        let executor = self.executor_of(None, |pools| (&mut pools.handlers, "pogu-handlers", threads));
        if executor.is_none() {
            self.pools().handlers_refused_until = now + START_RETRY;
        }
        executor
    }

    fn pools(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn executor_of(
        &self,
        users: Option<&Arc<dyn Executor>>,
        which: impl FnOnce(&mut Pools) -> (&mut Option<Arc<Pool>>, &'static str, usize),
    ) -> Option<Arc<dyn Executor>> {
        if let Some(stepped) = &self.stepped {
            return Some(Arc::clone(stepped) as Arc<dyn Executor>);
        }
        if let Some(users) = users {
            return Some(Arc::clone(users));
        }
        let mut pools = self.pools();
        if pools.is_over {
            return None;
        }
        let (pool, name, threads) = which(&mut pools);
        if pool.is_none() {
            match Pool::start(name, threads) {
                Ok(started) => *pool = Some(Arc::new(started)),
                Err(error) => tracing::error!(%error, pool = name, "jobs have no thread"),
            }
        }
        pool.clone().map(|pool| pool as Arc<dyn Executor>)
    }

    /// Jobs of one time slice: in a simulation, where jobs take no time, one, so that queues take turns.
    pub(super) fn slice_jobs_max(&self) -> usize {
        if self.stepped.is_some() { 1 } else { usize::MAX }
    }

    /// A number that no other queue of the core has.
    pub(super) fn number(&self) -> u64 {
        self.next_queue.fetch_add(1, Ordering::Relaxed)
    }

    /// As [`Registry::register`].
    #[must_use]
    pub(super) fn register(&self, queue: Weak<dyn Halt>) -> bool {
        self.registry.register(queue)
    }

    pub(super) fn row(&self, name: &str) -> Arc<Row> {
        self.rows.of(name)
    }

    pub(super) fn report(&self) -> Vec<JobReport> {
        self.rows.report()
    }

    pub(super) fn delays(&self) -> &Arc<Delays> {
        &self.delays
    }

    pub(super) fn in_flight(&self) -> &Arc<InFlight> {
        &self.in_flight
    }

    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub(super) fn runs(&self) -> &Runs {
        &self.runs
    }

    /// Names the job that has run longest, if it has run for too long and no other was named just before; and tells of lines
    /// that were suppressed.
    pub(crate) fn look_after(&self, watcher: &mut JobWatcher) {
        let now = self.clock.now();
        if let Some((row, ran_for)) = watcher.look(&self.runs, now) {
            tracing::warn!(queue = %row.name(), ?ran_for, "a job runs for long");
        }
        self.log.lock().unwrap_or_else(PoisonError::into_inner).tell_due(now);
    }

    /// A job has panicked: counted, and told of a few times a second.
    pub(super) fn panicked(&self, row: &Row) {
        row.panicked.fetch_add(1, Ordering::Relaxed);
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.allows(Line::JobPanicked, self.clock.now()) {
            drop(log);
            tracing::error!(queue = %row.name(), "a job panicked");
        }
    }

    /// The tasks of a simulated core, and its appointments.
    pub(crate) fn stepped(&self) -> Option<&Stepped> {
        self.stepped.as_deref()
    }

    pub(crate) fn next_due(&self) -> Option<Time> {
        self.delays.next()
    }

    pub(crate) fn call_due(&self) {
        self.delays.call(self.clock.now());
    }

    /// True if no job waits that could run now, and none runs.
    pub(crate) fn are_idle(&self) -> bool {
        self.in_flight.is_none()
    }

    /// The workers have ended. Runs what waits, and then nothing any more; `until` is asked over and over how long. In a
    /// simulation nothing runs while somebody waits: that is the stepper's to do before. To repeat it waits for nothing.
    pub(crate) fn end(&self, mut until: impl FnMut() -> JobsEnd) {
        if self.registry.is_over() {
            return;
        }
        self.delays.stop();
        if self.stepped.is_none() {
            self.wait(|| until().waiting_until);
        }
        let Some(all) = self.registry.close() else { return };
        all.iter().filter_map(Weak::upgrade).for_each(|queue| queue.halt(StopReason::CoreStopped));
        match &self.stepped {
            Some(stepped) => stepped.run_out(),
            None => self.stop_pools(|| until().running_until),
        }
        // What still waits for a thread now will not get one.
        all.iter().filter_map(Weak::upgrade).for_each(|queue| queue.halt(StopReason::NoThread));
        self.log.lock().unwrap_or_else(PoisonError::into_inner).tell_all();
    }

    /// Waits until nothing is in flight, or it is so late.
    fn wait(&self, mut until: impl FnMut() -> Time) {
        loop {
            let left = until().since(self.clock.now());
            if self.in_flight.wait(left.min(LOOK_INTERVAL)) || left.is_zero() {
                return;
            }
        }
    }

    fn stop_pools(&self, mut until: impl FnMut() -> Time) {
        // Queues have stopped: tasks that come to a thread now, also to one of the user's, find nothing to do.
        self.wait(&mut until);
        let mut pools = self.pools();
        pools.is_over = true;
        let own = [pools.jobs.take(), pools.blocking.take(), pools.handlers.take()];
        drop(pools);
        let leaving: Vec<Leaving> = own.into_iter().flatten().flat_map(|pool| pool.dismiss()).collect();
        let threads = Leaving::wait_for_all(leaving, &self.clock, until());
        let left_behind = self.runs.leave_behind();
        let jobs = left_behind.count();
        if threads > 0 || jobs > 0 {
            tracing::warn!(threads, jobs, queues = %left_behind, "jobs do not end; their threads are left behind");
        }
    }
}

impl fmt::Debug for SharedJobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedJobs").field("settings", &self.settings).finish_non_exhaustive()
    }
}
