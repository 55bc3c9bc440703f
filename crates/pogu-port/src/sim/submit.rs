//! The submit calls of the simulated driver: see [`Operations`](crate::Operations) for what each promises.

use std::net::SocketAddr;
use std::time::Duration;

use super::Berth;
use super::connection::{Connection, GivenUp, Phase, Receive, Sending, Shut};
use super::failure::Failure;
use super::kernel::{Kernel, Kind, Operation as InFlight, Token, Work};
use super::listener::{Accepting, Listener};
use super::network::Network;
use super::pending::Pending;
use super::socket::StreamSocket;
use super::table::{Table, Thing};
use crate::clock::Time;
use crate::counters::Counters;
use crate::driver::Submit;
use crate::error::{Operation, Refused, SubmitError};
use crate::gather::Gather;
use crate::identity::{ConnectionId, ListenerId, Name, Owner};
use crate::kept::Kept;
use crate::options::StreamOptions;
use crate::plant::{self, Plant};
use crate::stream::{BoundListener, Detached, Stream};

impl Submit for Table {
    fn now(&self) -> Time {
        self.now
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    /// Operations that the simulated kernel has not given back; cancels are not counted.
    fn in_flight(&self) -> usize {
        let Berth { simulation, port } = &self.berth;
        simulation.with(|network| network.kernels.get(port).map_or(0, Kernel::in_flight))
    }

    fn open(&self) -> usize {
        self.things.len()
    }

    fn listen(&mut self, owner: Owner, listener: BoundListener) -> Result<ListenerId, Refused<BoundListener>> {
        let socket = listener.into_simulated()?;
        if !socket.belongs_to(&self.berth.simulation) {
            return Err(Refused { error: SubmitError::Foreign, returned: socket.into() });
        }
        match self.insert(Thing::Listener(Listener::new(owner, socket))) {
            Ok(name) => {
                let watch = self.watch(name);
                if let Some(listener) = self.listener(name) {
                    listener.socket.watch(watch);
                }
                self.arm_accept(name);
                Ok(ListenerId(name))
            }
            Err(Thing::Listener(listener)) => Err(Refused { error: self.full(), returned: listener.socket.into() }),
            Err(Thing::Connection(_)) => unreachable!("what comes back is what was put in"),
        }
    }

    fn close_listener(&mut self, id: ListenerId) -> Result<(), SubmitError> {
        let listener = self.listener(id.0).filter(|listener| listener.state != Accepting::Closing);
        listener.ok_or(SubmitError::Gone)?;
        self.stop_accepting(id.0);
        Ok(())
    }

    fn adopt(
        &mut self,
        owner: Owner,
        stream: Detached,
        options: &StreamOptions,
    ) -> Result<ConnectionId, Refused<Detached>> {
        let Detached { stream: Stream::Simulated(socket), peer, received, unsent, .. } = stream else {
            return Err(Refused { error: SubmitError::Foreign, returned: stream });
        };
        if !socket.belongs_to(&self.berth.simulation) {
            let returned = Detached { received, unsent, ..Detached::new(socket, peer) };
            return Err(Refused { error: SubmitError::Foreign, returned });
        }
        socket.apply(options);
        let mut connection = Connection::new(owner, socket, Phase::Open);
        connection.kept = Kept::new(received);
        match self.insert(Thing::Connection(connection)) {
            Ok(name) => {
                self.begin_to_watch(ConnectionId(name));
                if !unsent.is_empty() {
                    self.start_send(name, unsent);
                }
                Ok(ConnectionId(name))
            }
            Err(Thing::Connection(connection)) => {
                let received = connection.kept.into_bytes();
                let returned = Detached { received, unsent, ..Detached::new(connection.socket, peer) };
                Err(Refused { error: self.full(), returned })
            }
            Err(Thing::Listener(_)) => unreachable!("what comes back is what was put in"),
        }
    }

    fn connect(
        &mut self,
        owner: Owner,
        address: SocketAddr,
        options: &StreamOptions,
    ) -> Result<ConnectionId, SubmitError> {
        if self.things.len() >= self.things.maximum() as usize {
            return Err(self.full());
        }
        let simulation = &self.berth.simulation;
        if simulation.with(Network::refuses_socket) {
            return Err(Failure::NoDescriptor.of(Operation::OpenSocket).into());
        }
        let socket = StreamSocket::connect(simulation, address)?;
        socket.apply(options);
        let end = socket.end();
        let connection = Connection::new(owner, socket, Phase::Connecting(GivenUp::No));
        let name = self.insert(Thing::Connection(connection)).map_err(|_| self.full())?;
        self.begin_to_watch(ConnectionId(name));
        self.submit(InFlight::new(Token::new(Kind::Connect, name), end, Work::Connect));
        // It may have been answered already.
        if let Some(connection) = self.connection(name) {
            connection.socket.look_again();
        }
        Ok(ConnectionId(name))
    }

    fn receive(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        let connection = self.open_connection(id)?;
        match &mut connection.receive {
            Receive::Finished => return Ok(()),
            Receive::On => {}
            Receive::Pausing { resume, .. } => *resume = true,
            Receive::Failed(error) => {
                let error = *error;
                self.complete(Pending::ReceiveEnded(id.0, error));
                return Ok(());
            }
            Receive::Off => connection.receive = Receive::On,
        }
        connection.kept.wake();
        self.deliver_later(id.0);
        Ok(())
    }

    fn pause(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        let connection = self.open_connection(id)?;
        let owed = match connection.receive {
            Receive::On => 1,
            Receive::Pausing { owed, resume: true } => owed.saturating_add(1),
            Receive::Pausing { .. } | Receive::Off | Receive::Finished | Receive::Failed(_) => return Ok(()),
        };
        connection.receive = Receive::Pausing { owed, resume: false };
        connection.owed.pauses += 1;
        self.cancel_receive(id.0);
        self.came_back(id.0);
        Ok(())
    }

    fn send(&mut self, id: ConnectionId, gather: Gather) -> Result<(), Refused<Gather>> {
        let refused = |error, returned| Err(Refused { error, returned });
        let connection = match self.open_connection(id) {
            Ok(connection) if connection.shut == Shut::No => connection,
            _ => return refused(SubmitError::Gone, gather),
        };
        if !matches!(connection.sending, Sending::Idle) && !plant::is(Plant::TwoSendsInFlight) {
            return refused(SubmitError::SendInFlight, gather);
        }
        self.start_send(id.0, gather);
        Ok(())
    }

    fn shut(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        let connection = self.open_connection(id)?;
        match (connection.shut, connection.is_sending()) {
            (Shut::No, true) => connection.shut = Shut::Requested,
            (Shut::No, false) => connection.shut_now(),
            (Shut::Requested | Shut::Done, _) => {}
        }
        Ok(())
    }

    fn close(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        let connection = self.connection(id.0).ok_or(SubmitError::Gone)?;
        match connection.phase {
            Phase::Connecting(GivenUp::No) => self.give_up(id.0, GivenUp::Closed),
            Phase::Connected => self.end(id.0, false),
            Phase::Open => {
                connection.phase = Phase::Closing;
                self.stop_receiving(id.0);
                self.cancel_receive(id.0);
                self.came_back(id.0);
            }
            _ => return Err(SubmitError::Gone),
        }
        Ok(())
    }

    fn abort(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        let connection = self.connection(id.0).ok_or(SubmitError::Gone)?;
        let phase = connection.phase;
        match phase {
            Phase::Connecting(GivenUp::Aborted)
            | Phase::Aborting
            | Phase::Ending { aborted: true }
            | Phase::Detaching
            | Phase::Leaving => return Err(SubmitError::Gone),
            _ => connection.socket.set_linger(Some(Duration::ZERO)),
        }
        match phase {
            Phase::Connecting(GivenUp::No) => self.give_up(id.0, GivenUp::Aborted),
            Phase::Connecting(_) => connection.phase = Phase::Connecting(GivenUp::Aborted),
            Phase::Ending { .. } => connection.phase = Phase::Ending { aborted: true },
            _ => {
                connection.phase = Phase::Aborting;
                self.stop_receiving(id.0);
                if !plant::is(Plant::LostCancel) {
                    self.cancel_send(id.0);
                }
                self.cancel_receive(id.0);
                self.came_back(id.0);
            }
        }
        Ok(())
    }

    fn detach(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        self.open_connection(id)?.phase = Phase::Detaching;
        self.stop_receiving(id.0);
        self.cancel_receive(id.0);
        self.cancel_send(id.0);
        self.came_back(id.0);
        Ok(())
    }
}

impl Table {
    fn full(&self) -> SubmitError {
        SubmitError::Full { maximum: self.things.maximum() }
    }

    /// Nobody wants the connect any more.
    fn give_up(&mut self, name: Name, given_up: GivenUp) {
        if let Some(connection) = self.connection(name) {
            connection.phase = Phase::Connecting(given_up);
        }
        self.cancel(Token::new(Kind::Connect, name));
    }

    fn begin_to_watch(&mut self, id: ConnectionId) {
        let watch = self.watch(id.0);
        if let Some(connection) = self.connection(id.0) {
            connection.socket.watch(watch);
        }
    }
}
