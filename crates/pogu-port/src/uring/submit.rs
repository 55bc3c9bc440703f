//! The submit calls of the uring driver: see [`Operations`](crate::Operations) for what each promises. None enters the
//! ring, none delivers.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use io_uring::{opcode, types};
use socket2::SockAddr;

use super::connection::{Arm, Connecting, Connection, Ended, GivenUp, Phase, Receive, Sending, Shut};
use super::listener::{Accepting, Listener};
use super::send::shut_if_requested;
use super::table::{Table, cancelled};
use super::token::Token;
use crate::clock::Time;
use crate::completion::Completion;
use crate::counters::Counters;
use crate::driver::Submit;
use crate::error::{Operation, OsError, Refused, SubmitError};
use crate::faults::FaultPoint;
use crate::gather::Gather;
use crate::identity::{ConnectionId, ListenerId, Name, Owner};
use crate::kept::Kept;
use crate::memory::Held;
use crate::options::StreamOptions;
use crate::stream::{BoundListener, Detached, Stream, open_stream};

impl Submit for Table {
    fn now(&self) -> Time {
        self.now
    }

    fn counters(&self) -> Counters {
        let mut counters = self.counters;
        counters.waits = self.ring.waits;
        counters.completion_overflows = self.ring.overflows;
        counters
    }

    /// Operations on connections and listeners; the read of the wake-up and cancels are not counted.
    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn open(&self) -> usize {
        self.things()
    }

    fn listen(&mut self, owner: Owner, bound: BoundListener) -> Result<ListenerId, Refused<BoundListener>> {
        if self.is_full() {
            return Err(Refused { error: self.full(), returned: bound });
        }
        let listener = Listener::new(owner, bound.into_system()?, self.accepts, &self.memory);
        let mut refused = Some(listener);
        match self.listeners.try_insert_with(|_| refused.take()) {
            Some(name) => {
                self.arm_accepts(name);
                Ok(ListenerId(name))
            }
            None => match refused {
                Some(listener) => Err(Refused { error: self.full(), returned: listener.bound.into() }),
                None => unreachable!("a listener is taken only if there is a slot for it"),
            },
        }
    }

    fn close_listener(&mut self, id: ListenerId) -> Result<(), SubmitError> {
        let listener = self.listeners.get(id.0).ok_or(SubmitError::Gone)?;
        if listener.state == Accepting::Closing {
            return Err(SubmitError::Gone);
        }
        self.stop_accepting(id.0);
        Ok(())
    }

    fn adopt(
        &mut self,
        owner: Owner,
        mut stream: Detached,
        options: &StreamOptions,
    ) -> Result<ConnectionId, Refused<Detached>> {
        if let Some(code) = self.ring.injector.faults.at_call(FaultPoint::SetOption) {
            let error = OsError::from_code(Operation::SetOption, code).into();
            return Err(Refused { error, returned: stream });
        }
        if let Err(error) = stream.apply(options) {
            return Err(Refused { error, returned: stream });
        }
        if self.is_full() {
            return Err(Refused { error: self.full(), returned: stream });
        }
        let mut refused = Some(stream);
        let mut unsent = Gather::new();
        let name = self.connections.try_insert_with(|_| {
            let Some(Detached { stream: Stream::System(socket), received, unsent: rest, .. }) = refused.take() else {
                unreachable!("options are applied to sockets of the system only");
            };
            let mut connection = Connection::new(owner, socket, Phase::Open);
            connection.kept = Kept::new(received);
            unsent = rest;
            Some(connection)
        });
        match (name, refused) {
            (Some(name), _) => {
                if !unsent.is_empty() {
                    self.start_send(name, unsent);
                }
                Ok(ConnectionId(name))
            }
            (None, Some(returned)) => Err(Refused { error: self.full(), returned }),
            (None, None) => unreachable!("a stream is taken only if there is a slot for it"),
        }
    }

    fn connect(
        &mut self,
        owner: Owner,
        address: SocketAddr,
        options: &StreamOptions,
    ) -> Result<ConnectionId, SubmitError> {
        if self.is_full() {
            return Err(self.full());
        }
        if let Some(code) = self.ring.injector.faults.at_call(FaultPoint::OpenSocket) {
            return Err(OsError::from_code(Operation::OpenSocket, code).into());
        }
        let socket = open_stream(address, options)?;
        let address = Held::new(SockAddr::from(address), &self.memory);
        let descriptor = types::Fd(socket.as_raw_fd());
        let entry = opcode::Connect::new(descriptor, address.as_ptr().cast(), address.len()).build();
        let phase = Phase::Connecting(Box::new(Connecting { address, given_up: GivenUp::No }));
        let name = self.connections.insert_with(|_| Connection::new(owner, socket, phase));
        let name = name.ok_or_else(|| self.full())?;
        // SAFETY: the connection owns the held address until `connect_completed` (contract c).
        unsafe { self.ring.push(entry.user_data(Token::connect(name).encode())) };
        if self.ring.injector.faults.releases_early(FaultPoint::Connect)
            && let Some(Phase::Connecting(connecting)) = self.connections.get_mut(name).map(|found| &mut found.phase)
        {
            connecting.address.release_early();
        }
        self.in_flight += 1;
        Ok(ConnectionId(name))
    }

    fn receive(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        let connection = self.open_connection(id)?;
        match &mut connection.receive {
            Receive::Finished => {}
            Receive::On => {
                connection.kept.wake();
                self.queue(id.0);
            }
            Receive::Pausing { resume, .. } => *resume = true,
            Receive::Off => {
                connection.receive = Receive::On;
                connection.kept.wake();
                if connection.arm == Arm::Idle && connection.kept.is_empty() && connection.ended == Ended::No {
                    self.arm_receive(id.0);
                } else {
                    self.queue(id.0);
                }
            }
        }
        Ok(())
    }

    fn pause(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        let connection = self.open_connection(id)?;
        let owed = match connection.receive {
            Receive::On => 1,
            Receive::Pausing { owed, resume: true } => owed.saturating_add(1),
            Receive::Pausing { .. } | Receive::Off | Receive::Finished => return Ok(()),
        };
        connection.receive = Receive::Pausing { owed, resume: false };
        self.cancel_receive(id.0);
        self.queue(id.0);
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
        self.start_send(id.0, gather);
        Ok(())
    }

    fn shut(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        let connection = self.open_connection(id)?;
        if connection.shut == Shut::No {
            connection.shut = Shut::Requested;
        }
        if !connection.is_sending() {
            shut_if_requested(&mut connection.shut, &connection.socket);
        }
        Ok(())
    }

    fn close(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        let connection = self.connections.get_mut(id.0).ok_or(SubmitError::Gone)?;
        match &mut connection.phase {
            Phase::Connecting(connecting) if connecting.given_up == GivenUp::No => {
                connecting.given_up = GivenUp::Closed;
                self.push_cancel(Token::connect(id.0));
            }
            Phase::Open => self.end(id.0, Phase::Closing),
            _ => return Err(SubmitError::Gone),
        }
        Ok(())
    }

    fn abort(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        let connection = self.connections.get_mut(id.0).ok_or(SubmitError::Gone)?;
        match &mut connection.phase {
            Phase::Aborting | Phase::Detaching => return Err(SubmitError::Gone),
            Phase::Connecting(connecting) => {
                match std::mem::replace(&mut connecting.given_up, GivenUp::Aborted) {
                    GivenUp::Aborted => return Err(SubmitError::Gone),
                    GivenUp::Closed => {}
                    GivenUp::No => self.push_cancel(Token::connect(id.0)),
                }
                self.reset_on_close(id.0);
            }
            Phase::Open | Phase::Closing => {
                self.reset_on_close(id.0);
                self.end(id.0, Phase::Aborting);
            }
        }
        Ok(())
    }

    fn detach(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        self.open_connection(id)?;
        self.end(id.0, Phase::Detaching);
        Ok(())
    }
}

impl Table {
    fn full(&self) -> SubmitError {
        SubmitError::Full { maximum: self.things_max }
    }

    fn open_connection(&mut self, id: ConnectionId) -> Result<&mut Connection, SubmitError> {
        let connection = self.connections.get_mut(id.0);
        connection.filter(|connection| matches!(connection.phase, Phase::Open)).ok_or(SubmitError::Gone)
    }

    /// If it fails, the close that follows is an ordinary one.
    fn reset_on_close(&mut self, name: Name) {
        if let Some(connection) = self.connections.get(name) {
            let _ = connection.socket.set_linger(Some(Duration::ZERO));
        }
    }

    /// Asks the kernel for everything back that the ending does not wait for; the rest follows when it has come.
    pub(super) fn end(&mut self, name: Name, phase: Phase) {
        let closing = matches!(phase, Phase::Closing);
        if let Some(connection) = self.connections.get_mut(name) {
            connection.phase = phase;
        }
        self.cancel_receive(name);
        if !closing {
            self.end_stalled(name);
        }
        self.queue(name);
    }

    /// The kernel answered a connect.
    pub(super) fn connect_completed<M>(&mut self, name: Name, result: i32) -> Option<Completion<'static, M>> {
        let connecting = |phase: &Phase| match phase {
            Phase::Connecting(connecting) => Some(connecting.given_up),
            _ => None,
        };
        let found = self.connections.get_mut(name);
        let Some((connection, given_up)) =
            found.and_then(|connection| connecting(&connection.phase).map(|given_up| (connection, given_up)))
        else {
            self.late();
            return None;
        };
        let (id, owner) = (ConnectionId(name), connection.owner);
        self.in_flight -= 1;
        if result >= 0 && given_up == GivenUp::No {
            connection.phase = Phase::Open;
            return Some(Completion::Connected { connection: id, owner });
        }
        connection.phase = if given_up == GivenUp::Aborted { Phase::Aborting } else { Phase::Closing };
        let error = match result {
            0.. => cancelled(Operation::Connect),
            code => OsError::from_code(Operation::Connect, -code),
        };
        self.queue(name);
        Some(Completion::ConnectFailed { connection: id, owner, error })
    }

    /// Ends everything, without waiting for what is leaving.
    pub(super) fn end_all(&mut self) {
        let listeners: Vec<Name> = self.listeners.names().collect();
        for name in listeners {
            self.stop_accepting(name);
        }
        let connections: Vec<Name> = self.connections.names().collect();
        for name in connections {
            let Some(connection) = self.connections.get_mut(name) else { continue };
            match &mut connection.phase {
                Phase::Connecting(connecting) => {
                    connecting.given_up = GivenUp::Closed;
                    self.push_cancel(Token::connect(name));
                }
                Phase::Aborting | Phase::Detaching => self.queue(name),
                Phase::Open | Phase::Closing => self.end(name, Phase::Aborting),
            }
        }
    }
}
