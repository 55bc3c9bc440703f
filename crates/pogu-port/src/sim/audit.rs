//! Whether everything adds up: nothing that was handed to the kernel may be lost, doubled, or freed early.

use std::fmt;

/// What does not add up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Imbalance {
    /// Operations of one kind: submitted is not completed and in flight together.
    Operations {
        /// Their kind.
        kind: &'static str,
        /// Handed to the kernel.
        submitted: u64,
        /// Given back by their terminal completion.
        completed: u64,
        /// Counted where the kernel holds them.
        in_flight: u64,
    },
    /// A second operation was submitted under the name of one that is in flight: two receives armed on one connection, say, or
    /// two sends.
    Doubled {
        /// Their kind.
        kind: &'static str,
        /// How often that happened.
        times: u64,
    },
    /// Receive buffers of a port: those out and those in are not all.
    Buffers {
        /// All.
        total: u64,
        /// Free to be received into.
        free: u64,
        /// With a completion that nobody has taken.
        queued: u64,
        /// In the hands of the driver.
        lent: u64,
    },
    /// Ends of connections that nobody owns, or that have more than one owner: neither a port, a stream, a peer, a backlog nor
    /// a completion.
    Sockets {
        /// Ends that are there.
        open: u64,
        /// Ends that have an owner.
        owned: u64,
    },
}

impl fmt::Display for Imbalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Imbalance::Operations { kind, submitted, completed, in_flight } => {
                write!(f, "{kind}: {submitted} submitted, {completed} completed, {in_flight} in flight")
            }
            Imbalance::Doubled { kind, times } => write!(f, "{kind}: submitted while in flight, {times} times"),
            Imbalance::Buffers { total, free, queued, lent } => {
                write!(f, "receive buffers: {free} free, {queued} queued and {lent} lent of {total}")
            }
            Imbalance::Sockets { open, owned } => write!(f, "sockets: {open} open, {owned} owned"),
        }
    }
}

impl std::error::Error for Imbalance {}
