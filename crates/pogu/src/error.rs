//! What starting and stopping can fail with.

use pogu_port::{OpenError, OsError, Unavailable};
use pogu_wire::FormatError;

use crate::counters::Counters;

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The driver that was asked for cannot run here.
    #[error(transparent)]
    Driver(#[from] Unavailable),
    /// A port could not be opened.
    #[error("a worker could not be opened: {0}")]
    Open(#[from] OpenError),
    /// A port failed while it ran.
    #[error("the port of a worker failed: {0}")]
    Port(OsError),
    /// The address of a service means nothing.
    #[error("the address {address:?} cannot be used: {reason}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refused the address.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// The refused step and the system's words.
        error: OsError,
    },
    /// The frame format of a service contradicts itself.
    #[error("the frame format cannot be used: {0}")]
    Format(#[from] FormatError),
    /// A value of the configuration makes no sense.
    #[error("{field} is {value}, allowed is {allowed}")]
    Configuration {
        /// Which.
        field: &'static str,
        /// What it was.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// The worker's inbox is full, or the core has stopped.
    #[error("the workers do not take messages: {0}")]
    Workers(&'static str),
    /// Workers that were handed out did not stop in time: nobody dispatches them.
    #[error("workers {workers:?} did not stop: their threads do not dispatch them")]
    WorkersAbsent {
        /// Which, from 0.
        workers: Vec<usize>,
        /// The totals, without what the absent workers have not published.
        counters: Box<Counters>,
    },
    /// A simulation does not come to rest.
    #[error("the simulation cannot go on: {0}")]
    Simulation(&'static str),
    /// The system refused a thread.
    #[error("a worker thread could not be started: {0}")]
    Thread(std::io::Error),
    /// The handler of Ctrl-C could not be installed; there can be one per process.
    #[error("the interrupt handler could not be installed: {0}")]
    Interrupt(std::io::Error),
}
