//! How a core is configured and opened.

use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};

use pogu_port::sim::Simulation;
use pogu_port::{DriverChoice, PortConfig, PortSeed, Selection};

use crate::core::shared::{NOT_STOPPING, Presence, Shared};
use crate::core::{Core, Resolver, spawn};
use crate::error::{Error, Result};
use crate::message::Message;
use crate::worker::WorkerSeed;

/// The most workers of one core; more than any machine that this was measured on has processors.
const WORKERS_MAX: usize = 1024;

/// Configuration of a [`Core`].
#[derive(Clone, Debug)]
pub struct CoreBuilder {
    workers: usize,
    driver: DriverChoice,
    simulation: Option<Simulation>,
    node: u16,
    port: PortConfig,
}

impl CoreBuilder {
    pub(super) fn new() -> CoreBuilder {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        CoreBuilder { workers, driver: DriverChoice::Auto, simulation: None, node: 0, port: PortConfig::default() }
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

    /// Opens the workers and hands them out, to be started on threads of yours: a game loop, say.
    ///
    /// # Errors
    /// As [`CoreBuilder::start`].
    pub fn hand_out(self) -> Result<(Core, Vec<WorkerSeed>)> {
        if self.workers == 0 || self.workers > WORKERS_MAX {
            let value = self.workers.to_string();
            return Err(Error::Configuration { field: "workers", value, allowed: "1 to 1024" });
        }
        let selection = match &self.simulation {
            Some(simulation) => simulation.selection(),
            None => Selection::choose(self.driver)?,
        };
        let clock = selection.clock();
        let mut config = self.port;
        config.clock = clock.clone();
        let ports: Vec<PortSeed<Message>> =
            (0..self.workers).map(|_| PortSeed::open(&selection, &config)).collect::<Result<_, _>>()?;
        let shared = Arc::new(Shared {
            node: self.node,
            incarnation: pogu_port::entropy() as u32,
            clock,
            outbox_max: config.posts_max,
            seed: selection.seed(),
            resolver: Resolver::of(&selection),
            posters: ports.iter().map(PortSeed::poster).collect(),
            loads: (0..self.workers).map(|_| AtomicUsize::new(0)).collect(),
            ledgers: (0..self.workers).map(|_| Mutex::default()).collect(),
            services: Mutex::default(),
            stop_at: AtomicU64::new(NOT_STOPPING),
            present: AtomicUsize::new(0),
        });
        let seed = |(index, port)| WorkerSeed { port, presence: Presence::of(&shared), index };
        let seeds = ports.into_iter().enumerate().map(seed).collect();
        Ok((Core { shared, selection, threads: Vec::new() }, seeds))
    }
}
