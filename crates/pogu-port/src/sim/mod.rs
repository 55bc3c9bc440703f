//! A simulation: a network in memory under virtual time, and the driver for ports of it.
//!
//! For tests, of this crate and of programs that stand on it: a deadline of a minute takes microseconds and comes at
//! exactly its time, and a program does the same in every run. One thread dispatches all ports of a [`Simulation`] in
//! turn; nothing here waits. The alternative, a clock that can be moved beside real sockets, would move time and bytes
//! independently of each other, so that no test could say what comes first.
//!
//! ```text
//!   Port  -- operations -->  table -- submit, cancel -->  kernel -- receive, send, accept -->  network  <-- read, write --  Peer
//!     ^                        ^                            |  operations in flight, queue,      |  ends, pipes, listeners
//!     |                        |                            |  buffers                           |
//!     +---- completions ------ turn <----- completions -----+ <----- look at these --------------+  agenda: what arrives when
//!                                                                                                |
//!                              Simulation::advance ----------------------------------------------+  moves the clock
//!   fate: the dice of the seed, asked by kernel, network and ports whether something goes wrong
//! ```
//!
//! **Time stands still while anything can happen.** A turn that finds nothing returns and says until when it would have slept;
//! only when every port sleeps may [`Simulation::advance`] move the clock, to the first of those times or of the network's
//! own, and never beyond it. So what is due at a time happens at that time.
//!
//! **A port that nobody dispatches holds up time.** A port that was started, or told that something has happened, counts as
//! busy until a turn of it finds nothing: [`Simulation::advance`] says [`Advance::Busy`] as long as there is one, for ever if
//! it is never dispatched again. Dispatch all started ports in turn, drop those that you are done with, or move the clock past
//! them with [`Simulation::advance_to`]. A port that has not been started holds up nothing.
//!
//! **One order.** Everything is held in order of names or of arrival; nothing depends on addresses in memory, on hashes or on
//! threads. The [record](Simulation::record) of two runs of one program is the same, byte for byte.
//!
//! The network is not a kind one (see [`Peer`] and [`SimulationOptions`]): buffers are small enough to fill, a close with
//! unread input resets, a reset destroys what was not read, and a full backlog does not answer.
//!
//! **What else may go wrong** is drawn by the seed, as [`Faults`] say: in the network, in what accept and connect answer, in the
//! order and the lateness of completions, in threads and clocks. [`Simulation::heal`] ends it, [`Simulation::faults_met`] tells
//! what was met, and [`Simulation::audit`] whether everything still adds up. Without faults, completions come as promptly as they
//! can, so that a test of a deadline is about the deadline.
//!
//! ```
//! use pogu_port::sim::Simulation;
//! use pogu_port::{Completion, ListenOptions, Owner, PortConfig, PortSeed};
//! use std::io::{Read, Write};
//!
//! let simulation = Simulation::new();
//! let mut config = PortConfig::default();
//! config.clock = simulation.clock();
//! let mut port = PortSeed::<()>::open(&simulation.selection(), &config)?.start()?;
//! let listener = simulation.bind("10.0.0.1:7777".parse()?, &ListenOptions::default())?;
//! port.operations().listen(Owner(0), listener).map_err(|refused| refused.error)?;
//! let mut peer = simulation.connect("10.0.0.1:7777".parse()?)?;
//! let mut accepted = 0;
//! while !simulation.is_idle() {
//!     port.dispatch(None, |_, completion| accepted += usize::from(matches!(completion, Completion::Accepted { .. })))?;
//! }
//! assert_eq!(accepted, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod agenda;
mod audit;
mod connection;
mod delivery;
mod failure;
mod faults;
mod handshake;
mod kernel;
mod listener;
mod network;
mod passage;
mod peer;
mod pending;
mod pipe;
mod port;
mod receive;
mod send;
mod simulation;
mod socket;
mod submit;
mod table;
mod transcript;

use std::sync::Arc;
use std::time::Duration;

pub use self::audit::Imbalance;
use self::delivery::Delivery;
pub use self::faults::{FaultClass, FaultCounts, Faults};
use self::kernel::Sizes;
pub use self::peer::{Peer, PeerListener, PeerState};
use self::port::Sleep;
pub use self::simulation::{Advance, Simulation, SimulationOptions};
pub(crate) use self::socket::{ListeningSocket, StreamSocket};
use self::table::Table;
use crate::clock::Time;
use crate::driver::{Driver, Sink, Submit};
use crate::error::OsError;
use crate::options::PortConfig;
use crate::plant::{self, Plant};
use crate::post::Wake;
use crate::selection::OpenError;
use crate::slots::Name;

/// A port's place in the simulation; given back when it is dropped.
pub(super) struct Berth {
    pub(super) simulation: Simulation,
    pub(super) port: Name,
}

impl Berth {
    fn take(simulation: &Simulation, config: &PortConfig) -> Berth {
        let sizes = Sizes {
            receive_buffers: usize::from(config.receive_buffers),
            receive_buffer_bytes: config.receive_buffer_bytes as usize,
            receive_bytes_per_turn_max: config.receive_bytes_per_turn_max,
        };
        let port = simulation.with(|network| {
            let port = network.ports.add();
            network.open_kernel(port, sizes);
            port
        });
        Berth { simulation: simulation.clone(), port }
    }

    pub(super) fn wake(&self) {
        self.simulation.with(|network| network.wake(self.port));
    }

    fn is_held_up(&self) -> bool {
        self.simulation.look(|network| network.is_held_up(self.port))
    }

    fn is_asleep(&self) -> bool {
        self.simulation.look(|network| network.sleeps_soundly(self.port))
    }

    fn has_no_turn(&self) -> bool {
        self.simulation.look(|network| network.is_held_up(self.port) || network.sleeps_soundly(self.port))
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        self.simulation.with(|network| {
            network.close_kernel(self.port);
            network.ports.remove(self.port);
        });
    }
}

/// Wakes a port by its name, which is stale when the port has gone.
struct Waker {
    simulation: Simulation,
    port: Name,
}

impl Wake for Waker {
    fn wake(&self) {
        self.simulation.with(|network| network.wake(self.port));
    }
}

/// A place in the simulation and a configuration.
pub(crate) struct Seed {
    berth: Berth,
    config: PortConfig,
}

impl Seed {
    pub(crate) fn open(config: &PortConfig, simulation: &Simulation) -> Result<Seed, OpenError> {
        if !simulation.shows(&config.clock) {
            return Err(OpenError::Configuration {
                field: "clock",
                value: "another clock".to_owned(),
                allowed: "the clock of the simulation (`Selection::clock`)",
            });
        }
        Ok(Seed { berth: Berth::take(simulation, config), config: config.clone() })
    }

    pub(crate) fn waker(&self) -> Arc<dyn Wake> {
        Arc::new(Waker { simulation: self.berth.simulation.clone(), port: self.berth.port })
    }

    pub(crate) fn start(self) -> Simulated {
        let Berth { simulation, port } = &self.berth;
        simulation.with(|network| network.ports.set(*port, Sleep::Awake));
        let table = Table::new(&self.config, self.berth);
        Simulated {
            delivery: Delivery::new(&self.config, table),
            latency_budget: self.config.latency_budget,
            gathered: false,
        }
    }
}

/// The driver. See the [module](self).
pub(crate) struct Simulated {
    delivery: Delivery,
    latency_budget: Duration,
    /// Nothing was found since it lay down to gather, so that what comes next has waited for company already.
    gathered: bool,
}

impl Simulated {
    /// True if something is to be done whatever happens: left over by the turn before, or due.
    fn is_busy(&self, until: Option<Time>) -> bool {
        let table = &self.delivery.table;
        let due = until.is_some_and(|until| until <= table.now);
        let left = !table.pending.is_empty()
            || !table.leftovers.is_empty()
            || !table.looks.is_empty()
            || !table.starved.is_empty();
        due || left
    }

    /// Lies down for the latency budget, whatever happens meanwhile: there is no turn until then. False if it does not.
    fn gather(&mut self, until: Option<Time>, park: &dyn Fn() -> bool) -> bool {
        if self.latency_budget.is_zero() || self.gathered || self.is_busy(until) {
            return false;
        }
        let table = &self.delivery.table;
        let budget_ends = table.now + self.latency_budget;
        let Berth { simulation, port } = &table.berth;
        let set = |asleep| simulation.with(|network| network.ports.set(*port, asleep));
        set(Sleep::HeldUp(until.map_or(budget_ends, |until| until.min(budget_ends))));
        self.gathered = park();
        if !self.gathered {
            set(Sleep::Awake);
        }
        self.gathered
    }

    /// Lies down if there is nothing to do, which ends the turn, not the thread's work. What is to be looked at is taken over
    /// before that: false if there is no turn, because the thread is held up.
    fn sleep(&mut self, until: Option<Time>, park: &dyn Fn() -> bool) -> bool {
        let busy = self.is_busy(until);
        let table = &mut self.delivery.table;
        let Berth { simulation, port } = &table.berth;
        // First to sleep, then to look whether anything was posted: the other way round a post could be slept over.
        let (asleep, list) = simulation.with(|network| {
            let asleep = network.sleep(*port, until, busy);
            let list = (!network.is_held_up(*port)).then(|| network.ports.take(*port));
            (asleep, list)
        });
        self.gathered = asleep && park();
        if asleep && !self.gathered && !plant::is(Plant::MissedWake) {
            simulation.with(|network| network.ports.release(*port));
        }
        table.counters.waits += 1;
        let is_awake = list.is_some();
        table.looks.extend(list.into_iter().flatten());
        is_awake
    }
}

impl<M> Driver<M> for Simulated {
    fn turn(&mut self, until: Option<Time>, park: &dyn Fn() -> bool, sink: &mut Sink<'_, M>) -> Result<usize, OsError> {
        let table = &mut self.delivery.table;
        table.counters.turns += 1;
        table.now = table.berth.simulation.now();
        table.resume_accepts();
        table.rearm_starved();
        // What a callback of this turn leaves over waits for the next one.
        let leftovers = table.leftovers.len();
        self.delivery.delivered = 0;
        let until = [until, self.delivery.table.pause_ends()].into_iter().flatten().min();
        if self.gather(until, park) || !self.sleep(until, park) {
            return Ok(0);
        }
        for _ in 0..self.delivery.table.looks.len() {
            let Some(name) = self.delivery.table.looks.front().copied() else { break };
            self.delivery.look(name, sink);
            self.delivery.table.looks.pop_front();
        }
        self.delivery.handle_turn(sink);
        self.delivery.deliver_kept(leftovers, sink);
        self.delivery.deliver_pending(sink);
        Ok(self.delivery.delivered)
    }

    fn submit(&mut self) -> &mut dyn Submit {
        &mut self.delivery.table
    }

    fn sleeps_between_turns(&self) -> bool {
        true
    }

    fn is_held_up(&self) -> bool {
        self.delivery.table.berth.is_held_up()
    }

    fn is_asleep(&self) -> bool {
        self.delivery.table.berth.is_asleep()
    }

    fn has_no_turn(&self) -> bool {
        self.delivery.table.berth.has_no_turn()
    }
}
