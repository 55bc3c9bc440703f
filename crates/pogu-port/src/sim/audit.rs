//! Whether everything adds up: nothing that was handed to the kernel may be lost, doubled, or freed early.

use std::fmt;

use super::kernel::COLUMNS;
use super::network::{End, Network};

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
    /// Receive buffers of a port: those that are free and those that wait with their completions are not all. Between turns
    /// the driver holds none.
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

    pub(super) fn open_ends(&self) -> usize {
        self.all_ends().filter(|end| !end.vanished).count()
    }

    fn all_ends(&self) -> impl Iterator<Item = &End> {
        self.ends.values()
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
            if lent != 0 || total != free + queued {
                return Err(Imbalance::Buffers { total, free, queued, lent });
            }
        }
        Ok(())
    }

    /// Every end is held, or waits in one backlog or one completion, or its machine has vanished.
    fn audit_sockets(&self) -> Result<(), Imbalance> {
        let (mut open, mut held) = (0, 0);
        for end in self.all_ends() {
            open += 1;
            held += usize::from(end.held || end.vanished);
        }
        let waits = |name: &_| self.ends.get(*name).is_some_and(|end| !end.held);
        let in_backlog =
            self.listeners.values().flat_map(|listening| &listening.waiting).filter(|name| waits(name)).count();
        let queued = self.kernels.values().flat_map(|kernel| kernel.accepted()).filter(waits).count();
        let owned = (held + in_backlog + queued) as u64;
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

#[cfg(test)]
mod tests {
    use super::super::kernel::{Kind, Operation, Outcome, Sizes, Token, Work};
    use super::super::peer::Peer;
    use super::super::simulation::Simulation;
    use super::*;
    use crate::options::ListenOptions;
    use crate::slots::Name;
    use crate::stream::BoundListener;

    const SIZES: Sizes = Sizes { receive_buffers: 2, receive_buffer_bytes: 64, receive_bytes_per_turn_max: 64 };

    /// A port without a driver, an end that it works on, to which something has been sent, and whoever owns what is beside them.
    fn port_and_end(simulation: &Simulation) -> (Name, Name, (BoundListener, Peer)) {
        let address = "10.0.0.1:7".parse().expect("an address");
        let listener = simulation.bind(address, &ListenOptions::default()).expect("it is free");
        let peer = simulation.connect(address).expect("an address");
        std::io::Write::write_all(&mut &peer, b"hello").expect("there is room");
        let (port, end) = simulation.with(|network| {
            let listeners: Vec<Name> = network.listeners.names().collect();
            let end = network.listeners.get(listeners[0]).expect("it listens").waiting[0];
            let port = network.ports.add();
            network.open_kernel(port, SIZES);
            (port, end)
        });
        (port, end, (listener, peer))
    }

    fn receive(end: Name) -> Operation {
        Operation::new(Token::new(Kind::Receive, Name { slot: 3, generation: 1 }), end, Work::Receive)
    }

    #[test]
    fn an_operation_that_is_lost_or_doubled_is_found() {
        let simulation = Simulation::new();
        let (port, end, _owners) = port_and_end(&simulation);
        simulation.with(|network| network.submit(port, receive(end)));
        assert_eq!(simulation.audit(), Ok(()));
        let lost = simulation.with(|network| {
            let token = receive(end).token;
            network.kernels.get_mut(&port).expect("it is open").operations.remove(&token)
        });
        assert_eq!(
            simulation.audit(),
            Err(Imbalance::Operations { kind: "receives", submitted: 1, completed: 0, in_flight: 0 })
        );
        simulation.with(|network| {
            network.kernels.get_mut(&port).expect("it is open").operations.extend(lost.map(|lost| (lost.token, lost)));
            network.submit(port, receive(end));
        });
        assert_eq!(simulation.audit(), Err(Imbalance::Doubled { kind: "receives", times: 1 }));
    }

    #[test]
    fn a_buffer_that_does_not_come_back_or_comes_twice_is_found() {
        let simulation = Simulation::new();
        let (port, end, _owners) = port_and_end(&simulation);
        let event = simulation.with(|network| {
            network.submit(port, receive(end));
            network.progress(port, receive(end).token.name, 64);
            network.next_completion(port)
        });
        let Some(Outcome::Received { buffer, bytes: 5 }) = event.map(|event| event.outcome) else { panic!("bytes") };
        assert_eq!(simulation.audit(), Err(Imbalance::Buffers { total: 2, free: 1, queued: 0, lent: 1 }));
        simulation.with(|network| network.give_back(port, buffer));
        assert_eq!(simulation.audit(), Ok(()));
        simulation.with(|network| network.give_back(port, Vec::new()));
        assert_eq!(simulation.audit(), Err(Imbalance::Buffers { total: 2, free: 3, queued: 0, lent: 0 }));
    }

    #[test]
    fn an_end_that_nobody_owns_is_found() {
        let simulation = Simulation::new();
        let _owners = port_and_end(&simulation);
        assert_eq!(simulation.audit(), Ok(()));
        simulation.with(|network| {
            let listeners: Vec<Name> = network.listeners.names().collect();
            network.accept(listeners[0])
        });
        assert_eq!(simulation.audit(), Err(Imbalance::Sockets { open: 2, owned: 1 }));
    }

    #[test]
    fn a_port_that_goes_gives_everything_back() {
        let simulation = Simulation::new();
        let (port, end, _owners) = port_and_end(&simulation);
        simulation.with(|network| {
            network.submit(port, receive(end));
            network.cancel(port, receive(end).token);
            network.close_kernel(port);
        });
        assert_eq!((simulation.audit(), simulation.operations()), (Ok(()), 2));
    }
}
