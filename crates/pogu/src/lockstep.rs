//! Simulated cores on one thread: their workers dispatched in turn, their time moved when all of them wait.
//!
//! ```text
//!   worker 0, worker 1, ... one turn each, job queues one job each, again and again until all are idle
//!                                                                         -- then the clock moves to what is due first
//! ```
//!
//! The order is fixed, so a test does the same in every run. Time moves only when nothing can happen any more, and then to
//! exactly the next deadline: what is due at a time is done at that time, and a minute costs microseconds.
//!
//! Job queues of simulated cores have no threads. Those with something to do have turns as workers have, and a delayed job is
//! one more thing that the clock moves to.
//!
//! In a simulation with faults the seed says who goes first, and a worker whose thread is held up has no turn until that is
//! over, while the others and the clock go on; so has a task of a job queue that waits for a thread. Where the simulation gives
//! no [`idle_turns`](crate::sim::SimulationOptions::idle_turns), neither has one whose port sleeps, until something wakes it or
//! is due: else turns that nobody called for would hide a wake-up that was lost.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use pogu_port::Time;
use pogu_port::sim::{Advance, Simulation};

use crate::core::{Core, CoreBuilder, Shared};
use crate::counters::Counters;
use crate::error::{Error, Result};
use crate::jobs::Task;
use crate::worker::{Worker, WorkerStatus};

/// Rounds of turns that a test may take while the clock stands still: far more than any work that ends.
const ROUNDS_MAX: usize = 100_000;

/// Runs simulated cores, as many as you like, on the calling thread.
///
/// Their workers are dispatched in turn, in a fixed order, or in that of the seed where the simulation has
/// [faults](crate::sim::Faults). When nothing can happen any more, the clock moves to exactly the
/// next deadline: what is due at a time is done at that time, a minute costs microseconds, and every run is the same.
///
/// [Job queues](crate::JobQueue) of these cores have their turns here as well, one job each, and so have handlers on a pool.
///
/// ```
/// use std::io::Write;
/// use std::time::Duration;
///
/// use pogu::sim::Simulation;
/// use pogu::{Context, Core, Lockstep, Packet, Service, Session};
///
/// struct Silent;
///
/// impl Session for Silent {
///     fn on_packet(&mut self, _cx: &mut Context<'_>, _packet: Packet<'_>) {}
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let simulation = Simulation::new();
///     let mut lockstep = Lockstep::new(&simulation);
///     let core = lockstep.start(Core::builder().workers(3))?;
///     let service = core.serve(Service::server("10.0.0.1:7777"), |_incoming| Silent)?;
///     let mut peer = simulation.connect(service.address())?;
///     peer.write_all(&[4, 0, 1, 0])?;
///     lockstep.run_for(Duration::from_secs(59))?;
///     assert_eq!(service.sessions(), 1);
///     lockstep.run_for(Duration::from_secs(1))?;
///     assert!(peer.read_available(&mut Vec::new())?, "a silent session ends after a minute");
///     Ok(())
/// }
/// ```
pub struct Lockstep {
    simulation: Simulation,
    workers: Vec<Worker>,
    /// Those with the jobs to step.
    cores: Vec<Weak<Shared>>,
}

impl Lockstep {
    /// Nobody yet.
    pub fn new(simulation: &Simulation) -> Lockstep {
        Lockstep { simulation: simulation.clone(), workers: Vec::new(), cores: Vec::new() }
    }

    /// Opens a core in the simulation. Its workers are dispatched after those that are there already.
    ///
    /// # Errors
    /// As [`CoreBuilder::hand_out`].
    pub fn start(&mut self, builder: CoreBuilder) -> Result<Core> {
        let (core, seeds) = builder.simulated(&self.simulation).hand_out()?;
        for seed in seeds {
            self.workers.push(seed.start()?);
        }
        self.cores.retain(|core| core.strong_count() > 0);
        self.cores.push(Arc::downgrade(core.shared()));
        Ok(core)
    }

    /// The virtual time.
    pub fn now(&self) -> Time {
        self.simulation.now()
    }

    /// Workers that have not stopped.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Does everything that can be done now. Time does not move.
    ///
    /// # Errors
    /// A worker failed, or the workers keep each other busy without end.
    pub fn settle(&mut self) -> Result<()> {
        self.run_to(self.now())
    }

    /// Goes on until `condition` is true or, everything that is due by then done, it is `limit`. True if the condition came
    /// true. It is looked at before every round of turns, and may act: read and write as a peer, say.
    ///
    /// # Errors
    /// As [`Lockstep::settle`].
    pub fn run_until(&mut self, limit: Time, mut condition: impl FnMut() -> bool) -> Result<bool> {
        let mut rounds = 0;
        loop {
            if condition() {
                return Ok(true);
            }
            let is_busy = !self.simulation.is_idle();
            let job_due = if is_busy { None } else { self.job_due() };
            if is_busy || job_due.is_some_and(|due| due <= self.now()) {
                self.round()?;
                rounds += 1;
                if rounds > ROUNDS_MAX {
                    return Err(Error::Simulation("its workers keep each other busy and time stands still"));
                }
                continue;
            }
            if self.now() >= limit {
                return Ok(false);
            }
            match self.simulation.advance_within(job_due.unwrap_or(limit).min(limit)) {
                Advance::Busy => {}
                Advance::To(_) => rounds = 0,
                Advance::Nothing if job_due.is_some_and(|due| due <= limit) => rounds = 0,
                // Nothing will make the condition true unless somebody acts from outside.
                Advance::Nothing if self.now() < limit => return Ok(false),
                Advance::Nothing => {}
            }
        }
    }

    /// Goes on until it is `time`, everything that is due by then done.
    ///
    /// # Errors
    /// As [`Lockstep::settle`].
    pub fn run_to(&mut self, time: Time) -> Result<()> {
        self.run_until(time, || false).map(drop)
    }

    /// Goes on for `duration`.
    ///
    /// # Errors
    /// As [`Lockstep::settle`].
    pub fn run_for(&mut self, duration: Duration) -> Result<()> {
        self.run_to(self.now() + duration)
    }

    /// Ends a core as [`Core::stop`] does, and gives the final totals. What must happen meanwhile outside of the cores, in
    /// peers, say, needs [`Core::begin_stop`] and [`Lockstep::run_until`] instead.
    ///
    /// # Errors
    /// A worker failed, or the core's workers are not all here.
    pub fn stop(&mut self, core: Core, drain_timeout: Duration) -> Result<Counters> {
        core.begin_stop(drain_timeout);
        // At the deadline everything is aborted; what is left is a handful of turns.
        let stopped = self.run_until(self.now() + drain_timeout, || core.has_stopped())?;
        match stopped {
            true => {
                // What sessions pushed in the end runs as well. Time stands still meanwhile, unless a task is held up.
                self.run_until(self.now() + drain_timeout, || core.shared().jobs().are_idle())?;
                Ok(core.counters())
            }
            false => Err(Error::Simulation("a core does not stop: its workers are not all dispatched here")),
        }
    }

    /// When something is to be done for a job queue: now, where one has jobs.
    fn job_due(&self) -> Option<Time> {
        let due = |core: Arc<Shared>| {
            let task = core.jobs().stepped().and_then(|stepped| stepped.next_due(self.now()));
            task.into_iter().chain(core.jobs().next_due()).min()
        };
        self.cores.iter().filter_map(Weak::upgrade).filter_map(due).min()
    }

    /// What has to come to job queues now: one job for each that is not held up.
    fn take_tasks(&mut self) -> Vec<Option<Task>> {
        let cores = self.cores.iter().filter_map(Weak::upgrade);
        let tasks = cores.flat_map(|core| {
            core.jobs().call_due();
            let hold = || self.simulation.held_task();
            core.jobs().stepped().map(|stepped| stepped.take(self.now(), hold)).unwrap_or_default()
        });
        tasks.map(Some).collect()
    }

    /// One turn of every worker that is neither held up nor soundly asleep, and of every job queue with something to do, in the
    /// order that the simulation says. Who has stopped is dropped.
    fn round(&mut self) -> Result<()> {
        let mut failed = Ok(());
        let mut stopped = vec![false; self.workers.len()];
        let mut tasks = self.take_tasks();
        for index in self.simulation.order(self.workers.len() + tasks.len()) {
            if let Some(task) = index.checked_sub(self.workers.len()).and_then(|index| tasks.get_mut(index)?.take()) {
                task.run();
                continue;
            }
            let Some(worker) = self.workers.get_mut(index).filter(|worker| !worker.has_no_turn()) else { continue };
            match (worker.dispatch(None), stopped.get_mut(index)) {
                (Ok(status), Some(stopped)) => *stopped = status != WorkerStatus::Running,
                (Ok(_), None) => {}
                (Err(error), _) => failed = Err(error),
            }
        }
        let mut stopped = stopped.into_iter();
        self.workers.retain(|_| !stopped.next().unwrap_or(false));
        failed
    }
}

impl fmt::Debug for Lockstep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lockstep").field("now", &self.now()).field("workers", &self.workers).finish()
    }
}
