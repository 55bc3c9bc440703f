//! Owned ends and listeners: closed when they are dropped, like descriptors.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::failure::Failure;
use super::network::{Arrival, State};
use super::port::Watch;
use super::simulation::{Simulation, failed};
use crate::error::{Operation, OsError};
use crate::options::{ListenOptions, StreamOptions};
use crate::slots::Name;

/// One end of a simulated connection.
pub(crate) struct StreamSocket {
    simulation: Simulation,
    end: Name,
    local: SocketAddr,
    remote: SocketAddr,
}

impl StreamSocket {
    pub(super) fn connect(simulation: &Simulation, address: SocketAddr) -> Result<Box<StreamSocket>, OsError> {
        let end = failed(simulation.with(|network| network.connect(address)), Operation::OpenSocket)?;
        StreamSocket::of(simulation, end).ok_or_else(|| Failure::AddressNotAvailable.of(Operation::OpenSocket))
    }

    /// The owner of an end that was accepted.
    pub(super) fn of(simulation: &Simulation, end: Name) -> Option<Box<StreamSocket>> {
        let (local, remote) = simulation.with(|network| {
            let end = network.ends.get_mut(end)?;
            end.held = true;
            Some((end.local, end.remote))
        })?;
        Some(Box::new(StreamSocket { simulation: simulation.clone(), end, local, remote }))
    }

    pub(crate) fn local_address(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn peer_address(&self) -> Option<SocketAddr> {
        Some(self.remote)
    }

    pub(super) fn belongs_to(&self, simulation: &Simulation) -> bool {
        self.simulation.is_same(simulation)
    }

    pub(super) fn state(&self) -> State {
        let gone = State::Broken(Failure::NotConnected);
        self.simulation.with(|network| network.ends.get(self.end).map_or(gone, |end| end.state))
    }

    pub(super) fn receive(&self, space: &mut [u8]) -> Arrival {
        self.simulation.with(|network| network.receive(self.end, space))
    }

    /// What the network calls it.
    pub(super) fn end(&self) -> Name {
        self.end
    }

    pub(super) fn send_bytes(&self, bytes: &[u8]) -> Result<usize, Failure> {
        self.simulation.with(|network| network.send(self.end, std::iter::once(bytes)))
    }

    pub(super) fn readable(&self) -> usize {
        self.simulation.with(|network| network.ends.get(self.end).map_or(0, |end| end.incoming.readable()))
    }

    pub(super) fn room(&self) -> usize {
        self.simulation.with(|network| network.room(self.end))
    }

    pub(super) fn shut(&self) {
        self.simulation.with(|network| network.shut(self.end));
    }

    pub(crate) fn set_linger(&self, linger: Option<Duration>) {
        self.simulation.with(|network| network.set_linger(self.end, linger));
    }

    pub(super) fn vanish(&self) {
        self.simulation.with(|network| network.vanish(self.end));
    }

    pub(super) fn apply(&self, options: &StreamOptions) {
        self.set_linger(options.reset_on_close.then_some(Duration::ZERO));
        self.simulation.with(|network| {
            if let Some(bytes) = options.send_buffer_bytes {
                network.set_outgoing_bytes(self.end, bytes as usize);
            }
            if let Some(bytes) = options.receive_buffer_bytes {
                network.set_incoming_bytes(self.end, bytes as usize);
            }
        });
    }

    /// Who looks when something happens here; nobody looks at once.
    pub(super) fn watch(&self, watch: Option<Watch>) {
        self.simulation.with(|network| {
            if let Some(end) = network.ends.get_mut(self.end) {
                end.watch = watch;
            }
        });
    }

    /// Lets the watcher look here, though nothing has happened.
    pub(super) fn look_again(&self) {
        self.simulation.with(|network| network.tell(self.end));
    }

    /// The watcher is looking.
    pub(super) fn heard(&self) {
        self.simulation.with(|network| {
            if let Some(watch) = network.ends.get_mut(self.end).and_then(|end| end.watch.as_mut()) {
                watch.heard();
            }
        });
    }
}

impl Drop for StreamSocket {
    fn drop(&mut self) {
        self.simulation.with(|network| network.close(self.end));
    }
}

impl fmt::Debug for StreamSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "simulated {} > {}", self.local, self.remote)
    }
}

/// A simulated socket that listens.
pub(crate) struct ListeningSocket {
    simulation: Simulation,
    listener: Name,
    local: SocketAddr,
}

impl ListeningSocket {
    pub(super) fn bind(
        simulation: &Simulation,
        address: SocketAddr,
        options: &ListenOptions,
    ) -> Result<ListeningSocket, OsError> {
        let bound = simulation.with(|network| network.bind(address, options.backlog));
        let (listener, local) = failed(bound, Operation::Bind)?;
        Ok(ListeningSocket { simulation: simulation.clone(), listener, local })
    }

    pub(crate) fn local_address(&self) -> SocketAddr {
        self.local
    }

    pub(super) fn belongs_to(&self, simulation: &Simulation) -> bool {
        self.simulation.is_same(simulation)
    }

    /// What the network calls it.
    pub(super) fn listener(&self) -> Name {
        self.listener
    }

    pub(super) fn accept(&self) -> Option<Box<StreamSocket>> {
        let end = self.simulation.with(|network| network.accept(self.listener))?;
        StreamSocket::of(&self.simulation, end)
    }

    /// Who looks when somebody connects.
    pub(super) fn watch(&self, watch: Option<Watch>) {
        self.simulation.with(|network| network.watch_listener(self.listener, watch));
    }

    pub(super) fn look_again(&self) {
        self.simulation.with(|network| network.tell_listener(self.listener));
    }

    pub(super) fn heard(&self) {
        self.simulation.with(|network| network.listener_heard(self.listener));
    }
}

impl Drop for ListeningSocket {
    fn drop(&mut self) {
        self.simulation.with(|network| network.close_listener(self.listener));
    }
}

impl fmt::Debug for ListeningSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "simulated listener on {}", self.local)
    }
}
