//! Whether everything adds up: nothing that was handed to the kernel may be lost, doubled, or freed early.

use std::fmt;

use super::kernel::COLUMNS;
use super::network::Network;

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

impl Network {
    /// Operations submitted so far, cancels included.
    pub(super) fn operations(&self) -> u64 {
        self.ledger.submitted.iter().sum()
    }

    pub(super) fn audit(&self) -> Result<(), Imbalance> {
        self.audit_operations()?;
        self.audit_buffers()?;
        self.audit_sockets()
    }

    fn audit_operations(&self) -> Result<(), Imbalance> {
        let mut in_flight = [0; COLUMNS.len()];
        self.kernels.values().for_each(|kernel| kernel.count_in_flight(&mut in_flight));
        let ledger = &self.ledger;
        let columns = COLUMNS.iter().zip(&ledger.submitted).zip(&ledger.completed).zip(&ledger.doubled).zip(in_flight);
        for ((((&kind, &submitted), &completed), &doubled), in_flight) in columns {
            if doubled > 0 {
                return Err(Imbalance::Doubled { kind, times: doubled });
            }
            if submitted != completed + in_flight {
                return Err(Imbalance::Operations { kind, submitted, completed, in_flight });
            }
        }
        Ok(())
    }

    fn audit_buffers(&self) -> Result<(), Imbalance> {
        for kernel in self.kernels.values() {
            let (total, free) = (kernel.pool.total() as u64, kernel.pool.free() as u64);
            let (queued, lent) = (kernel.buffers_queued() as u64, kernel.pool.lent as u64);
            if total != free + queued + lent {
                return Err(Imbalance::Buffers { total, free, queued, lent });
            }
        }
        Ok(())
    }

    /// Every end is held, or waits in one backlog or one completion, or its machine has vanished.
    fn audit_sockets(&self) -> Result<(), Imbalance> {
        let ends = || self.ends.names().filter_map(|name| self.ends.get(name));
        let held = ends().filter(|end| end.held || end.vanished).count();
        let listening = self.listeners.names().filter_map(|name| self.listeners.get(name));
        let waits = |name: &_| self.ends.get(*name).is_some_and(|end| !end.held);
        let in_backlog = listening.flat_map(|listening| &listening.waiting).filter(|name| waits(name)).count();
        let queued = self.kernels.values().flat_map(|kernel| kernel.accepted()).filter(waits).count();
        let (open, owned) = (ends().count() as u64, (held + in_backlog + queued) as u64);
        if open == owned { Ok(()) } else { Err(Imbalance::Sockets { open, owned }) }
    }
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
