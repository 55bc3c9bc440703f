//! Which driver runs, and why. Decided at run time, once; the reason is kept for the start-up line and the metrics.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::clock::{Clock, entropy};
use crate::descriptors::reserve_descriptors;
use crate::error::OsError;
use crate::options::{DriverChoice, ListenOptions};
use crate::sim::Simulation;
use crate::stream::{BoundListener, resolve};

/// The drivers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DriverKind {
    /// Linux io_uring: true completions.
    Uring,
    /// epoll or kqueue: completions made from readiness.
    Readiness,
    /// Windows I/O completion ports: true completions.
    Iocp,
    /// A [`Simulation`]: a network in memory under virtual time.
    Simulated,
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DriverKind::Uring => "uring",
            DriverKind::Readiness => "readiness",
            DriverKind::Iocp => "iocp",
            DriverKind::Simulated => "sim",
        })
    }
}

/// A driver that was asked for cannot run here.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the {driver} driver cannot run here: {reason}")]
pub struct Unavailable {
    /// Which.
    pub driver: DriverKind,
    /// Why: the refused step and the system's words.
    pub reason: String,
}

/// Why a port could not be opened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The driver that was asked for cannot run here.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A value of the configuration makes no sense; names the field, what came, and what is allowed.
    #[error("{field} is {value}, allowed is {allowed}")]
    Configuration {
        /// The field of [`PortConfig`](crate::PortConfig).
        field: &'static str,
        /// What it was.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// The system refused a resource.
    #[error(transparent)]
    Os(#[from] OsError),
}

/// A chosen driver, and the network that belongs to it: what its ports can listen on, which names can be looked up, which
/// clock its times come from. Ports opened with the same selection use the same operation forms.
#[derive(Clone, Debug)]
pub struct Selection {
    kind: DriverKind,
    reason: String,
    #[cfg(target_os = "linux")]
    pub(crate) features: Option<crate::uring::Features>,
    /// There exactly if the kind is [`DriverKind::Simulated`].
    pub(crate) simulation: Option<Simulation>,
}

impl Selection {
    /// Probes the system and chooses.
    ///
    /// # Errors
    /// [`Unavailable`] if a driver was asked for by name and cannot run; `Auto` finds one on every supported system.
    pub fn choose(choice: DriverChoice) -> Result<Selection, Unavailable> {
        match choice {
            DriverChoice::Readiness => Selection::readiness("asked for".to_owned()),
            DriverChoice::Uring => Selection::uring("asked for"),
            DriverChoice::Iocp => Selection::iocp("asked for"),
            DriverChoice::Auto if cfg!(windows) => Selection::iocp("the one of this system"),
            DriverChoice::Auto => {
                Selection::uring("best available").or_else(|refused| Selection::readiness(refused.to_string()))
            }
        }
    }

    /// The driver.
    pub fn kind(&self) -> DriverKind {
        self.kind
    }

    /// Why this one, including the operation forms that were refused: one line for people.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Makes room in the process for `count` connections and listeners in all, where the system would otherwise hold up whoever
    /// opens one too many (Linux: a larger table of descriptors, 10 to 25 ms each time that it doubles). `count` is of the whole
    /// process: whoever has several parts adds them up.
    pub fn reserve(&self, count: usize) {
        if self.kind != DriverKind::Simulated {
            reserve_descriptors(u64::try_from(count).unwrap_or(u64::MAX));
        }
    }

    /// The clock that the ports of this selection take their time from: a new monotonic one, or the simulation's.
    pub fn clock(&self) -> Clock {
        self.simulation.as_ref().map_or_else(Clock::monotonic, Simulation::clock)
    }

    /// Binds `address` (port 0 leaves the choice to the network) and listens on it. From here on clients can connect; they
    /// wait in the backlog until a port takes the listener.
    ///
    /// # Errors
    /// The network's refusal, with the step that it refused.
    pub fn bind(&self, address: SocketAddr, options: &ListenOptions) -> Result<BoundListener, OsError> {
        match &self.simulation {
            Some(simulation) => simulation.bind(address, options),
            None => BoundListener::bind(address, options),
        }
    }

    /// The addresses that `address` (`"127.0.0.1:7777"`, `"[::1]:7777"`, `"localhost:7777"`) stands for, in the network's
    /// order of preference. May block while a name is looked up: never call it on a thread that dispatches.
    ///
    /// # Errors
    /// The text is no address, or the name could not be looked up.
    pub fn resolve(&self, address: &str) -> io::Result<Vec<SocketAddr>> {
        match &self.simulation {
            Some(simulation) => simulation.resolve(address),
            None => resolve(address),
        }
    }

    /// A seed for a [`Random`](crate::Random): unforeseeable, or the next one of the simulation, which gives the same ones in
    /// every run.
    pub fn seed(&self) -> u64 {
        self.simulation.as_ref().map_or_else(entropy, Simulation::next_seed)
    }

    #[cfg(unix)]
    fn readiness(reason: String) -> Result<Selection, Unavailable> {
        Ok(Selection {
            kind: DriverKind::Readiness,
            reason,
            #[cfg(target_os = "linux")]
            features: None,
            simulation: None,
        })
    }

    #[cfg(not(unix))]
    fn readiness(_reason: String) -> Result<Selection, Unavailable> {
        let reason = "epoll and kqueue exist on Unix only".to_owned();
        Err(Unavailable { driver: DriverKind::Readiness, reason })
    }

    #[cfg(windows)]
    fn iocp(why: &str) -> Result<Selection, Unavailable> {
        Ok(Selection { kind: DriverKind::Iocp, reason: why.to_owned(), simulation: None })
    }

    #[cfg(not(windows))]
    fn iocp(_why: &str) -> Result<Selection, Unavailable> {
        let reason = "I/O completion ports exist on Windows only".to_owned();
        Err(Unavailable { driver: DriverKind::Iocp, reason })
    }

    pub(crate) fn simulated(simulation: Simulation) -> Selection {
        Selection {
            kind: DriverKind::Simulated,
            reason: "asked for: everything happens in memory, under virtual time".to_owned(),
            #[cfg(target_os = "linux")]
            features: None,
            simulation: Some(simulation),
        }
    }

    #[cfg(target_os = "linux")]
    fn uring(why: &str) -> Result<Selection, Unavailable> {
        let features = crate::uring::probe().map_err(|reason| Unavailable { driver: DriverKind::Uring, reason })?;
        let refused = features.refused();
        let reason = match refused.is_empty() {
            true => why.to_owned(),
            false => format!("{why}; older form used for {refused}"),
        };
        Ok(Selection { kind: DriverKind::Uring, reason, features: Some(features), simulation: None })
    }

    #[cfg(not(target_os = "linux"))]
    fn uring(_why: &str) -> Result<Selection, Unavailable> {
        Err(Unavailable { driver: DriverKind::Uring, reason: "io_uring exists on Linux only".to_owned() })
    }
}
