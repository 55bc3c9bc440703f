//! How a core is configured and opened.

use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pogu_port::sim::Simulation;
use pogu_port::{DriverChoice, PortConfig, PortSeed, Selection};

use crate::core::crew::NOT_STOPPING;
use crate::core::departures::Departures;
use crate::core::presence::{Attendance, Presence};
use crate::core::shared::Shared;
use crate::core::speakers::Speakers;
use crate::core::watch::Watch;
use crate::core::{Core, Resolver, spawn};
use crate::error::{Error, Result};
use crate::jobs::{Executor, JobSettings, SharedJobs};
use crate::message::Message;
use crate::outside::Outside;
use crate::room_kinds::RoomKinds;
use crate::worker::WorkerSeed;
use crate::worker_set::WORKERS_MAX;

/// The most threads of one pool for jobs; more of them wait for each other, not for processors or databases.
const JOB_THREADS_MAX: usize = 1024;

/// Configuration of a [`Core`].
#[derive(Clone, Debug)]
pub struct CoreBuilder {
    workers: usize,
    driver: DriverChoice,
    simulation: Option<Simulation>,
    node: u16,
    port: PortConfig,
    latency_budget: Option<Duration>,
    stall_limit: Option<Duration>,
    jobs: JobSettings,
}

/// How long a handler may run before it is reported, unless the builder is told otherwise.
const STALL_LIMIT: Duration = Duration::from_millis(100);

/// A shorter limit cannot be watched.
const STALL_LIMIT_MIN: Duration = Duration::from_millis(1);

impl CoreBuilder {
    pub(super) fn new() -> CoreBuilder {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        CoreBuilder {
            workers,
            driver: DriverChoice::Auto,
            simulation: None,
            node: 0,
            port: PortConfig::default(),
            latency_budget: None,
            stall_limit: Some(STALL_LIMIT),
            jobs: JobSettings::default(),
        }
    }

    /// How many workers. Default: one per processor that this process may use.
    pub fn workers(mut self, workers: usize) -> CoreBuilder {
        self.workers = workers;
        self
    }

    /// Which driver. Default: the best that this system allows.
    pub fn driver(mut self, driver: DriverChoice) -> CoreBuilder {
        self.driver = driver;
        self
    }

    /// Puts the core into a simulation: its network and its time instead of the system's. Its workers never wait, so they are
    /// handed out and dispatched in turn; a [`Lockstep`](crate::Lockstep) does that.
    pub fn simulated(mut self, simulation: &Simulation) -> CoreBuilder {
        self.simulation = Some(simulation.clone());
        self
    }

    /// The number of this process in its cluster; part of every session's name. Default 0.
    pub fn node(mut self, node: u16) -> CoreBuilder {
        self.node = node;
        self
    }

    /// The configuration of every worker's port. Its clock is replaced by the core's.
    pub fn port(mut self, port: PortConfig) -> CoreBuilder {
        self.port = port;
        self
    }

    /// How long a worker waits for more before its turn, however much has come already, at most 1 s; never past its next timer or
    /// deadline. What comes one by one is then handled together, and its answers leave together: at the rates of games one or two
    /// milliseconds save a great part of the processor. Each step of the way of a message (received, posted to the home of a room,
    /// posted to the worker of a member) is later by at most that much, and so is a stop; what comes after a silence is not later at
    /// all. Overrides [`PortConfig::latency_budget`], whose default is zero.
    ///
    /// A session that takes turns with its peer, one message at a time, makes one turn per budget: this is for servers that hear
    /// many, not for benchmarks of one.
    pub fn latency_budget(mut self, budget: Duration) -> CoreBuilder {
        self.latency_budget = Some(budget);
        self
    }

    /// How long a handler may run. One that runs longer holds up every session of its worker: it is named in the log while it
    /// still runs, with its service and packet id, in at most one line a second, and counted in [`Core::stalls`]. `None`:
    /// nobody looks, and there is no thread that does. Default 100 ms: what players begin to notice, and much longer than a
    /// worker is away from a processor on a machine that is merely busy.
    ///
    /// A thread of the core looks four times per limit, but every 1 ms to 250 ms: a handler that runs for one and a half times
    /// the limit is sure to be seen, one that runs a little longer than the limit may slip through. Also the limit of
    /// [`Turns::long`](crate::Turns::long), and of jobs ([`JobCounts::long`](crate::JobCounts::long)). In a simulation handlers
    /// take no time, and nobody looks.
    pub fn stall_limit(mut self, stall_limit: Option<Duration>) -> CoreBuilder {
        self.stall_limit = stall_limit;
        self
    }

    /// Threads for [job queues](crate::JobQueue), started with the first queue. Default: one per processor that this process
    /// may use. Workers need their processors, too: a server that keeps its workers busy may want fewer.
    pub fn job_threads(mut self, threads: usize) -> CoreBuilder {
        self.jobs.threads = threads;
        self
    }

    /// Threads for [jobs that block](crate::BlockingQueue), started with the first such queue: so many of them wait at a time.
    /// All such queues share them, in the order in which jobs were pushed. Default 4.
    pub fn blocking_threads(mut self, threads: usize) -> CoreBuilder {
        self.jobs.blocking_threads = threads;
        self
    }

    /// Threads for sessions [whose handlers run on a pool](crate::Jobs::pooled), started with the first such session: so many
    /// handlers may block at a time without holding up another session. All services with such sessions share them. Default 16.
    pub fn handler_threads(mut self, threads: usize) -> CoreBuilder {
        self.jobs.handler_threads = threads;
        self
    }

    /// What job queues run on, in the place of threads of the core's own. In a simulation they are stepped all the same.
    pub fn executor(mut self, executor: Arc<dyn Executor>) -> CoreBuilder {
        self.jobs.executor = Some(executor);
        self
    }

    /// As [`CoreBuilder::executor`], for jobs that block.
    pub fn blocking_executor(mut self, executor: Arc<dyn Executor>) -> CoreBuilder {
        self.jobs.blocking_executor = Some(executor);
        self
    }

    /// Starts the workers on threads of the core's own.
    ///
    /// # Errors
    /// The driver is not available, a value makes no sense, or the system refused a port or a thread.
    pub fn start(self) -> Result<Core> {
        if self.simulation.is_some() {
            let value = "`start`".to_owned();
            let allowed = "`hand_out` or a `Lockstep`: simulated workers do not wait, they are dispatched in turn";
            return Err(Error::Configuration { field: "the way to start a simulated core", value, allowed });
        }
        let (mut core, seeds) = self.hand_out()?;
        for seed in seeds {
            core.threads.push(spawn(seed)?);
        }
        Ok(core)
    }

    /// Opens the workers and hands them out, to be started on threads of yours: a game loop, say, that dispatches its worker once
    /// per frame with a timeout of zero. Nothing of a worker happens but while it is dispatched.
    ///
    /// To end: [`Core::begin_stop`], and dispatch until [`WorkerStatus::Stopped`](crate::WorkerStatus::Stopped); all of them, by
    /// turns, if one thread has several: they wait for each other's sessions until the drain is over. From another
    /// thread [`Core::stop`] does, as long as the loops go on. A worker that is dropped ends its sessions at once.
    ///
    /// # Errors
    /// As [`CoreBuilder::start`].
    pub fn hand_out(self) -> Result<(Core, Vec<WorkerSeed>)> {
        if self.workers == 0 || self.workers > WORKERS_MAX {
            let value = self.workers.to_string();
            return Err(Error::Configuration { field: "workers", value, allowed: "1 to 1024" });
        }
        let jobs = &self.jobs;
        for (field, threads) in [
            ("job_threads", jobs.threads),
            ("blocking_threads", jobs.blocking_threads),
            ("handler_threads", jobs.handler_threads),
        ] {
            if threads == 0 || threads > JOB_THREADS_MAX {
                return Err(Error::Configuration { field, value: threads.to_string(), allowed: "1 to 1024" });
            }
        }
        if let Some(limit) = self.stall_limit.filter(|limit| *limit < STALL_LIMIT_MIN) {
            let value = format!("{limit:?}");
            return Err(Error::Configuration { field: "stall_limit", value, allowed: "1 ms or more, or none" });
        }
        let selection = match &self.simulation {
            Some(simulation) => simulation.selection(),
            None => Selection::choose(self.driver)?,
        };
        let clock = selection.clock();
        let mut config = self.port;
        config.clock = clock.clone();
        config.latency_budget = self.latency_budget.unwrap_or(config.latency_budget);
        let ports: Vec<PortSeed<Message>> =
            (0..self.workers).map(|_| PortSeed::open(&selection, &config)).collect::<Result<_, _>>()?;
        let simulated = self.simulation.is_some();
        let jobs = SharedJobs::new(clock.clone(), self.jobs, self.workers, simulated);
        let shared = Arc::new(Shared {
            node: self.node,
            incarnation: pogu_port::entropy() as u32,
            clock,
            outbox_max: config.posts_max,
            latency_budget: config.latency_budget,
            seed: selection.seed(),
            resolver: Resolver::of(&selection),
            room_kinds: RoomKinds::new(self.workers),
            posters: ports.iter().map(PortSeed::poster).collect(),
            loads: (0..self.workers).map(|_| AtomicUsize::new(0)).collect(),
            ledgers: (0..self.workers).map(|_| Mutex::default()).collect(),
            departures: Departures::new(self.workers),
            speakers: Speakers::default(),
            outside: Outside::default(),
            services: Mutex::default(),
            stop_at: AtomicU64::new(NOT_STOPPING),
            attendance: Attendance::new(self.workers),
            progress: (0..self.workers).map(|_| Arc::default()).collect(),
            stall_limit: self.stall_limit,
            stalls: Mutex::default(),
            limits_changes: AtomicU64::new(0),
            services_over: AtomicU64::new(0),
            jobs,
        });
        let seed = |(index, port)| WorkerSeed { port, presence: Presence::of(&shared, index), index };
        let seeds = ports.into_iter().enumerate().map(seed).collect();
        // In a simulation a handler takes no time.
        let watched = self.stall_limit.filter(|_| !simulated);
        let watch = watched.map(|limit| Watch::begin(&shared, limit)).transpose()?;
        Ok((Core { shared, selection, threads: Vec::new(), simulated, _watch: watch }, seeds))
    }
}
