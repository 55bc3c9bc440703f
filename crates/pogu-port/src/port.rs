//! The port itself: a driver, an inbox, a turn.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Time;
use crate::completion::{Completion, Turn};
use crate::counters::Counters;
use crate::driver::{Driver, Operations};
use crate::error::OsError;
use crate::options::PortConfig;
use crate::post::{Inbox, Poster, Receiver, Wake};
use crate::selection::{OpenError, Selection};

/// A port that has its resources but no thread yet. `Send`: open it anywhere, [`start`](PortSeed::start) it on the thread
/// that will dispatch.
pub struct PortSeed<M> {
    driver: DriverSeed,
    inbox: Receiver<M>,
}

#[allow(clippy::large_enum_variant)] // one per port, moved once
enum DriverSeed {
    #[cfg(target_os = "linux")]
    Uring(crate::uring::Seed),
    #[cfg(windows)]
    Iocp(crate::iocp::Seed),
    #[cfg(unix)]
    Readiness(crate::readiness::Seed),
    Simulated(crate::sim::Seed),
}

impl DriverSeed {
    fn waker(&self) -> Arc<dyn Wake> {
        match self {
            #[cfg(target_os = "linux")]
            DriverSeed::Uring(seed) => seed.waker(),
            #[cfg(windows)]
            DriverSeed::Iocp(seed) => seed.waker(),
            #[cfg(unix)]
            DriverSeed::Readiness(seed) => seed.waker(),
            DriverSeed::Simulated(seed) => seed.waker(),
        }
    }

    fn start<M>(self) -> Result<Box<dyn Driver<M>>, OsError> {
        match self {
            #[cfg(target_os = "linux")]
            DriverSeed::Uring(seed) => Ok(Box::new(seed.start()?)),
            #[cfg(windows)]
            DriverSeed::Iocp(seed) => Ok(Box::new(seed.start()?)),
            #[cfg(unix)]
            DriverSeed::Readiness(seed) => Ok(Box::new(seed.start()?)),
            DriverSeed::Simulated(seed) => Ok(Box::new(seed.start())),
        }
    }
}

impl<M: Send> PortSeed<M> {
    /// Reserves what a port needs from the system: ring, completion port or poller, buffers, wake-up.
    ///
    /// # Errors
    /// A configuration value that makes no sense, or the system's refusal.
    pub fn open(selection: &Selection, config: &PortConfig) -> Result<PortSeed<M>, OpenError> {
        config.validate()?;
        let driver = match selection {
            #[cfg(target_os = "linux")]
            Selection { features: Some(features), .. } => {
                DriverSeed::Uring(crate::uring::Seed::open(config, *features)?)
            }
            Selection { simulation: Some(simulation), .. } => {
                DriverSeed::Simulated(crate::sim::Seed::open(config, simulation)?)
            }
            #[cfg(windows)]
            _ => DriverSeed::Iocp(crate::iocp::Seed::open(config)?),
            #[cfg(unix)]
            _ => DriverSeed::Readiness(crate::readiness::Seed::open(config)?),
        };
        let inbox = Receiver(Inbox::new(config.posts_max, driver.waker()));
        Ok(PortSeed { driver, inbox })
    }

    /// A handle that posts to this port from any thread. Values posted before the start wait.
    pub fn poster(&self) -> Poster<M> {
        Poster::new(Arc::clone(&self.inbox))
    }

    /// Binds the port to the calling thread.
    ///
    /// # Errors
    /// The system refused to enable the ring.
    pub fn start(self) -> Result<Port<M>, OsError> {
        let driver = self.driver.start()?;
        Ok(Port { driver, inbox: self.inbox, not_send: PhantomData })
    }
}

impl<M> fmt::Debug for PortSeed<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortSeed").finish_non_exhaustive()
    }
}

/// A completion port: connections, listeners and posted values whose completions one thread dispatches.
///
/// Dropping it closes everything and waits until nothing is in flight (see the contract, g).
pub struct Port<M> {
    driver: Box<dyn Driver<M>>,
    inbox: Receiver<M>,
    /// A ring belongs to the thread that enabled it.
    not_send: PhantomData<*const ()>,
}

impl<M> Port<M> {
    /// One turn: submits what is queued, waits until something happens or `until` is reached (`None`: without an end; a time
    /// that has passed: not at all), and hands every completion to `callback`, which may submit through the
    /// [`Operations`] that it is given.
    ///
    /// # Errors
    /// The port itself failed (the system refused the wait for a reason that is not transient). Connections may still be
    /// dropped with the port; dispatching again makes sense only to try once more.
    pub fn dispatch(
        &mut self,
        until: Option<Time>,
        mut callback: impl FnMut(&mut Operations<'_>, Completion<'_, M>),
    ) -> Result<Turn, OsError> {
        if self.driver.is_held_up() {
            return Ok(Turn::default());
        }
        let inbox = &self.inbox;
        let result = self.driver.turn(until, &|| inbox.park(), &mut callback);
        if !self.driver.sleeps_between_turns() {
            self.inbox.unpark();
        }
        let completions = result?;
        let posts = self.deliver_posts(&mut callback);
        Ok(Turn { completions: completions + posts, posts })
    }

    /// Delivers what was in the inbox when it began; what is posted meanwhile waits for the next turn.
    fn deliver_posts(&mut self, callback: &mut impl FnMut(&mut Operations<'_>, Completion<'_, M>)) -> usize {
        let waiting = self.inbox.len();
        let mut operations = Operations::new(self.driver.submit());
        for delivered in 0..waiting {
            let Some((owner, value)) = self.inbox.pop() else { return delivered };
            callback(&mut operations, Completion::Posted { owner, value });
        }
        waiting
    }

    /// The submitting half, outside of a dispatch.
    pub fn operations(&mut self) -> Operations<'_> {
        Operations::new(self.driver.submit())
    }

    /// A handle that posts to this port from any thread.
    pub fn poster(&self) -> Poster<M> {
        Poster::new(Arc::clone(&self.inbox))
    }

    /// True if a [simulation](crate::sim) with faults holds up this port's thread just now: a dispatch does nothing, and time
    /// moves on without it. Never true of a port of the system.
    pub fn is_held_up(&self) -> bool {
        self.driver.is_held_up()
    }

    /// True if this port's thread would be asleep just now: its last turn found nothing, nothing has woken it since, and what
    /// it waits for is not due. To dispatch it all the same would hide a wake-up that was lost. Only a [simulation](crate::sim)
    /// that keeps ports from [`idle_turns`](crate::sim::SimulationOptions::idle_turns) says so.
    pub fn is_asleep(&self) -> bool {
        self.driver.is_asleep()
    }

    /// True if it is held up or asleep: who dispatches ports in turn passes over it.
    pub fn has_no_turn(&self) -> bool {
        self.driver.has_no_turn()
    }

    /// The time of the last turn, read once after its wait.
    pub fn now(&mut self) -> Time {
        self.driver.submit().now()
    }

    /// Totals of the port.
    pub fn counters(&mut self) -> Counters {
        Counters { refused_posts: self.inbox.refused(), ..self.driver.submit().counters() }
    }

    /// Takes no more posts, and gives what waits to `each`, oldest first: for an owner that has to know what will not be
    /// delivered. Without it what waits is dropped with the port.
    pub fn close_inbox(&mut self, each: impl FnMut(M)) {
        self.inbox.close_with(each);
    }
}

impl<M> fmt::Debug for Port<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("posts_waiting", &self.inbox.len()).finish_non_exhaustive()
    }
}

/// A shorter pause is a busy loop, a longer one a listener that is as good as closed.
const ACCEPT_PAUSE_MIN: Duration = Duration::from_millis(1);
const ACCEPT_PAUSE_MAX: Duration = Duration::from_secs(3600);

/// Longer than that, whoever waits for an answer takes the server for dead.
const LATENCY_BUDGET_MAX: Duration = Duration::from_secs(1);

impl PortConfig {
    fn validate(&self) -> Result<(), OpenError> {
        let checks = [
            ("connections_max", self.connections_max as usize, 1, u32::MAX as usize - 1, "1 or more"),
            ("posts_max", self.posts_max, 1, 1 << 24, "1 to 16,777,216"),
            ("receive_buffers", usize::from(self.receive_buffers), 1, 32_768, "a power of two from 1 to 32,768"),
            ("receive_buffer_bytes", self.receive_buffer_bytes as usize, 64, 1 << 24, "64 to 16,777,216"),
            ("receive_bytes_per_turn_max", self.receive_bytes_per_turn_max, 1, usize::MAX, "1 or more"),
            ("accepts_per_turn_max", self.accepts_per_turn_max, 1, 64, "1 to 64"),
            ("accepts_outstanding", self.accepts_outstanding, 1, 64, "1 to 64"),
            ("submission_entries", self.submission_entries as usize, 1, 32_768, "1 to 32,768"),
            ("completion_entries", self.completion_entries as usize, 2, 65_536, "2 to 65,536"),
        ];
        for (field, value, least, most, allowed) in checks {
            if value < least || value > most {
                return Err(OpenError::Configuration { field, value: value.to_string(), allowed });
            }
        }
        if !(ACCEPT_PAUSE_MIN..=ACCEPT_PAUSE_MAX).contains(&self.accept_pause) {
            let value = format!("{:?}", self.accept_pause);
            return Err(OpenError::Configuration { field: "accept_pause", value, allowed: "1 ms to 1 h" });
        }
        if self.latency_budget > LATENCY_BUDGET_MAX {
            let value = format!("{:?}", self.latency_budget);
            return Err(OpenError::Configuration { field: "latency_budget", value, allowed: "0 to 1 s" });
        }
        if !self.receive_buffers.is_power_of_two() {
            let value = self.receive_buffers.to_string();
            return Err(OpenError::Configuration {
                field: "receive_buffers",
                value,
                allowed: "a power of two from 1 to 32,768",
            });
        }
        Ok(())
    }
}
