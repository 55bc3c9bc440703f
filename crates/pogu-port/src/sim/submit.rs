//! The submit calls of the simulated driver: see [`Operations`](crate::Operations) for what each promises.

use std::net::SocketAddr;
use std::time::Duration;

use super::connection::{Connection, Phase, Receive, Sending, Shut, cancelled};
use super::listener::{Accepting, Listener};
use super::pending::Pending;
use super::socket::StreamSocket;
use super::table::{Table, Thing};
use crate::clock::Time;
use crate::counters::Counters;
use crate::driver::Submit;
use crate::error::{Operation, Refused, SubmitError};
use crate::gather::Gather;
use crate::identity::{ConnectionId, ListenerId, Owner};
use crate::kept::Kept;
use crate::options::StreamOptions;
use crate::stream::{BoundListener, Detached, Stream};

impl Submit for Table {
    fn now(&self) -> Time {
        self.now
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    /// Nothing so far: the network takes bytes within the call.
    fn in_flight(&self) -> usize {
        0
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
                Ok(ListenerId(name))
            }
            Err(Thing::Listener(listener)) => Err(Refused { error: self.full(), returned: listener.socket.into() }),
            Err(Thing::Connection(_)) => unreachable!("what comes back is what was put in"),
        }
    }

    fn close_listener(&mut self, id: ListenerId) -> Result<(), SubmitError> {
        let listener = self.listener(id.0).filter(|listener| listener.state != Accepting::Closing);
        listener.ok_or(SubmitError::Gone)?.state = Accepting::Closing;
        self.complete(Pending::ListenerClosed(id.0));
        Ok(())
    }

    fn adopt(
        &mut self,
        owner: Owner,
        stream: Detached,
        options: &StreamOptions,
    ) -> Result<ConnectionId, Refused<Detached>> {
        let Detached { stream: Stream::Simulated(socket), peer, received, unsent } = stream else {
            return Err(Refused { error: SubmitError::Foreign, returned: stream });
        };
        if !socket.belongs_to(&self.berth.simulation) {
            let returned = Detached { stream: socket.into(), peer, received, unsent };
            return Err(Refused { error: SubmitError::Foreign, returned });
        }
        socket.apply(options);
        let mut connection = Connection::new(owner, socket, Phase::Open);
        connection.kept = Kept::new(received);
        if !unsent.is_empty() {
            connection.sending = Sending::Leaving(unsent);
        }
        match self.insert(Thing::Connection(connection)) {
            Ok(name) => {
                self.begin_to_watch(ConnectionId(name));
                self.continue_send(name);
                Ok(ConnectionId(name))
            }
            Err(Thing::Connection(connection)) => {
                let unsent = match connection.sending {
                    Sending::Leaving(gather) => gather,
                    Sending::Idle | Sending::Left => Gather::new(),
                };
                let received = connection.kept.into_bytes();
                let returned = Detached { stream: connection.socket.into(), peer, received, unsent };
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
        let socket = StreamSocket::connect(&self.berth.simulation, address)?;
        socket.apply(options);
        let connection = Connection::new(owner, socket, Phase::Connecting { settled: false });
        let name = self.insert(Thing::Connection(connection)).map_err(|_| self.full())?;
        self.begin_to_watch(ConnectionId(name));
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
        self.complete(Pending::Paused(id.0));
        Ok(())
    }

    fn send(&mut self, id: ConnectionId, gather: Gather) -> Result<(), Refused<Gather>> {
        let refused = |error, returned| Err(Refused { error, returned });
        let connection = match self.open_connection(id) {
            Ok(connection) if connection.shut == Shut::No => connection,
            _ => return refused(SubmitError::Gone, gather),
        };
        if !matches!(connection.sending, Sending::Idle) {
            return refused(SubmitError::SendInFlight, gather);
        }
        connection.sending = Sending::Leaving(gather);
        self.continue_send(id.0);
        Ok(())
    }

    fn shut(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        let connection = self.open_connection(id)?;
        match (connection.shut, &connection.sending) {
            (Shut::No, Sending::Leaving(_)) => connection.shut = Shut::Requested,
            (Shut::No, Sending::Idle | Sending::Left) => connection.shut_now(),
            (Shut::Requested | Shut::Done, _) => {}
        }
        Ok(())
    }

    fn close(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        let connection = self.connection(id.0).ok_or(SubmitError::Gone)?;
        let leaving = matches!(connection.sending, Sending::Leaving(_));
        match connection.phase {
            Phase::Connecting { settled: false } => self.connect_failed(id.0, cancelled(Operation::Connect)),
            Phase::Connecting { settled: true } => self.end(id.0, false),
            Phase::Open => {
                self.cancel_receive(id.0);
                if leaving {
                    self.close_after_send(id);
                } else {
                    self.end(id.0, false);
                }
            }
            Phase::Closing | Phase::Ending { .. } | Phase::Detaching => return Err(SubmitError::Gone),
        }
        Ok(())
    }

    fn abort(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        let connection = self.connection(id.0).ok_or(SubmitError::Gone)?;
        let phase = connection.phase;
        if matches!(phase, Phase::Ending { aborted: true } | Phase::Detaching) {
            return Err(SubmitError::Gone);
        }
        connection.socket.set_linger(Some(Duration::ZERO));
        match phase {
            Phase::Connecting { settled: false } => self.connect_failed(id.0, cancelled(Operation::Connect)),
            Phase::Ending { .. } => connection.phase = Phase::Ending { aborted: true },
            Phase::Connecting { settled: true } | Phase::Open | Phase::Closing | Phase::Detaching => {
                self.cancel_send(id.0);
                self.cancel_receive(id.0);
                self.end(id.0, true);
            }
        }
        Ok(())
    }

    fn detach(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        self.open_connection(id)?;
        self.cancel_receive(id.0);
        if let Some(connection) = self.connection(id.0) {
            connection.phase = Phase::Detaching;
        }
        self.complete(Pending::Detached(id.0));
        Ok(())
    }
}

impl Table {
    fn full(&self) -> SubmitError {
        SubmitError::Full { maximum: self.things.maximum() }
    }

    fn close_after_send(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connection(id.0) {
            connection.phase = Phase::Closing;
        }
    }

    fn begin_to_watch(&mut self, id: ConnectionId) {
        let watch = self.watch(id.0);
        if let Some(connection) = self.connection(id.0) {
            connection.socket.watch(watch);
        }
    }
}
