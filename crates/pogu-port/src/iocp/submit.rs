//! The submit calls of the iocp driver: see [`Operations`](crate::Operations) for what each promises.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{SockAddr, Socket};

use super::connection::{Connection, GivenUp, Phase, Receive, Sending, Shut};
use super::listener::{Accepting, Listener};
use super::operation::ConnectOperation;
use super::pending::Pending;
use super::table::{Table, Thing, cancelled, shut_if_requested};
use super::winsock;
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
use crate::stream::{BoundListener, Detached, Stream, SystemListener, open_stream};

impl Submit for Table {
    fn now(&self) -> Time {
        self.now
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn open(&self) -> usize {
        self.things.len()
    }

    fn listen(&mut self, owner: Owner, listener: BoundListener) -> Result<ListenerId, Refused<BoundListener>> {
        let bound = listener.into_system()?;
        // Before anything is associated, which has no way back.
        if self.is_full() {
            return Err(Refused { error: self.full(), returned: bound.into() });
        }
        let extensions = match self.prepare_listener(&bound) {
            Ok(extensions) => extensions,
            Err(error) => return Err(Refused { error: error.into(), returned: bound.into() }),
        };
        let listener = Box::new(Listener::new(owner, bound, extensions, self.accepts));
        let mut refused = Some(listener);
        match self.things.try_insert_with(|_| refused.take().map(Thing::Listener)) {
            Some(name) => {
                self.start_accepts(name);
                Ok(ListenerId(name))
            }
            None => match refused {
                Some(listener) => Err(Refused { error: self.full(), returned: listener.bound.into() }),
                None => unreachable!("a listener is taken only if there is a slot for it"),
            },
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
        mut stream: Detached,
        options: &StreamOptions,
    ) -> Result<ConnectionId, Refused<Detached>> {
        if let Some(code) = self.faults.at_call(FaultPoint::SetOption) {
            let error = OsError::from_code(Operation::SetOption, code).into();
            return Err(Refused { error, returned: stream });
        }
        if let Err(error) = stream.apply(options) {
            return Err(Refused { error, returned: stream });
        }
        // Before the association, which has no way back.
        if self.is_full() {
            return Err(Refused { error: self.full(), returned: stream });
        }
        let Detached { stream: Stream::System(socket), .. } = &stream else {
            return Err(Refused { error: SubmitError::Foreign, returned: stream });
        };
        if let Err(error) = self.associate(socket) {
            let error = OsError::from_io(Operation::Adopt, &error).into();
            return Err(Refused { error, returned: stream });
        }
        let mut refused = Some(stream);
        let mut unsent = Gather::new();
        let name = self.things.try_insert_with(|_| {
            let Some(Detached { stream: Stream::System(socket), received, unsent: rest, .. }) = refused.take() else {
                unreachable!("it was just looked at");
            };
            let mut connection = Connection::new(owner, socket, Phase::Open);
            connection.kept = Kept::new(received);
            unsent = rest;
            Some(Thing::Connection(connection))
        });
        match (name, refused) {
            (Some(name), _) => {
                if !unsent.is_empty() {
                    self.start_send(name, unsent);
                }
                Ok(ConnectionId(name))
            }
            (None, Some(stream)) => Err(Refused { error: self.full(), returned: stream }),
            (None, None) => unreachable!("a stream is taken only if there is a slot for it"),
        }
    }

    fn connect(
        &mut self,
        owner: Owner,
        address: SocketAddr,
        options: &StreamOptions,
    ) -> Result<ConnectionId, SubmitError> {
        // Before the system is asked: a connection that nobody will own is not even begun.
        if self.is_full() {
            return Err(self.full());
        }
        if let Some(code) = self.faults.at_call(FaultPoint::OpenSocket) {
            return Err(OsError::from_code(Operation::OpenSocket, code).into());
        }
        let socket = open_stream(address, options)?;
        let failed = |operation| move |error: std::io::Error| OsError::from_io(operation, &error);
        socket.bind(&any(address)).map_err(failed(Operation::Bind))?;
        let extensions = self.winsock.extensions(&socket, address).map_err(failed(Operation::Connect))?;
        self.associate(&socket).map_err(failed(Operation::Connect))?;
        let Table { things, memory, .. } = self;
        let name = things.insert_with(|name| {
            let operation = Held::new(ConnectOperation::new(name, address.into()), memory);
            Thing::Connection(Connection::new(owner, socket, Phase::Connecting { operation, given_up: GivenUp::No }))
        });
        let name = name.ok_or_else(|| self.full())?;
        self.start_connect(name, extensions);
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
                self.pending.push_back(Pending::ReceiveEnded(id.0, error));
                return Ok(());
            }
            Receive::Off => connection.receive = Receive::On,
        }
        connection.kept.wake();
        self.deliver_kept_later(id.0);
        self.await_bytes(id.0);
        Ok(())
    }

    /// The receive of no bytes stays in flight: what it will say is remembered.
    fn pause(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        let connection = self.open_connection(id)?;
        let owed = match connection.receive {
            Receive::On => 1,
            Receive::Pausing { owed, resume: true } => owed.saturating_add(1),
            Receive::Pausing { .. } | Receive::Off | Receive::Finished | Receive::Failed(_) => return Ok(()),
        };
        connection.receive = Receive::Pausing { owed, resume: false };
        self.pending.push_back(Pending::Paused(id.0));
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
        shut_if_requested(connection);
        Ok(())
    }

    fn close(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        let connection = self.connection(id.0).ok_or(SubmitError::Gone)?;
        match &connection.phase {
            Phase::Connecting { given_up: GivenUp::No, .. } => self.give_up_connect(id.0, GivenUp::Closed),
            Phase::Open => {
                connection.phase = Phase::Closing;
                self.end_receive(id.0);
                self.ask_back(id.0);
                self.settle_ending(id.0);
            }
            Phase::Connecting { .. } | Phase::Closing | Phase::Aborting | Phase::Ending { .. } => {
                return Err(SubmitError::Gone);
            }
        }
        Ok(())
    }

    fn abort(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        let connection = self.connection(id.0).ok_or(SubmitError::Gone)?;
        if connection.is_aborted() {
            return Err(SubmitError::Gone);
        }
        // If it fails, the close that follows is an ordinary one.
        let _ = connection.socket.set_linger(Some(Duration::ZERO));
        match &mut connection.phase {
            Phase::Connecting { .. } => self.give_up_connect(id.0, GivenUp::Aborted),
            Phase::Ending { aborted } => *aborted = true,
            Phase::Open | Phase::Closing | Phase::Aborting => self.cancel_all(id.0),
        }
        Ok(())
    }

    /// The association of a socket with its port is for life (see [`SubmitError::CannotDetach`]).
    fn detach(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        self.open_connection(id)?;
        Err(SubmitError::CannotDetach)
    }
}

/// Where a socket is bound before it connects, as ConnectEx asks for: any address of the machine, any port.
fn any(address: SocketAddr) -> SockAddr {
    match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into(),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into(),
    }
}

impl Table {
    /// Packets of the socket's operations come to this port from now on.
    fn associate(&self, socket: &Socket) -> std::io::Result<()> {
        match self.faults.at_call(FaultPoint::Associate) {
            Some(code) => Err(std::io::Error::from_raw_os_error(code)),
            None => self.queue.associate(socket),
        }
    }

    fn prepare_listener(&mut self, bound: &SystemListener) -> Result<winsock::Extensions, OsError> {
        let failed = |error: std::io::Error| OsError::from_io(Operation::Listen, &error);
        let extensions = self.winsock.extensions(&bound.socket, bound.address()).map_err(failed)?;
        self.associate(&bound.socket).map_err(failed)?;
        Ok(extensions)
    }

    fn start_connect(&mut self, name: Name, extensions: winsock::Extensions) {
        let Table { things, faults, .. } = self;
        let Some(Thing::Connection(connection)) = things.get_mut(name) else { return };
        let Phase::Connecting { operation, .. } = &mut connection.phase else { return };
        let started = match faults.at_call(FaultPoint::Connect) {
            Some(code) => Err(code),
            // SAFETY: the held operation stays where it is and is not touched before `connect_completed` (contract c); the
            // connection leaves this phase only there, and draining or leaking covers the end of the port (g).
            None => unsafe { winsock::connect(extensions, &connection.socket, operation) },
        };
        match started {
            Ok(()) => self.in_flight += 1,
            Err(code) => self.connect_failed(name, OsError::from_code(Operation::Connect, code)),
        }
    }

    /// A connect that is in flight is not wanted any more.
    pub(super) fn give_up_connect(&mut self, name: Name, how: GivenUp) {
        let Some(connection) = self.connection(name) else { return };
        if let Phase::Connecting { given_up, .. } = &mut connection.phase {
            *given_up = how;
            self.ask_back(name);
        }
    }

    fn updated(&mut self, name: Name) -> Result<(), OsError> {
        if let Some(code) = self.faults.at_call(FaultPoint::Context) {
            return Err(OsError::from_code(Operation::Connect, code));
        }
        let Some(connection) = self.connection(name) else { return Ok(()) };
        winsock::update_connect_context(&connection.socket)
            .map_err(|error| OsError::from_io(Operation::Connect, &error))
    }

    /// The packet of a connect.
    pub(super) fn connect_completed<M>(&mut self, name: Name, failure: Option<i32>) -> Option<Completion<'static, M>> {
        let failure = failure.or_else(|| self.faults.at_result(FaultPoint::Connect));
        let connecting = self.connection(name).and_then(|connection| match connection.phase {
            Phase::Connecting { given_up, .. } => Some((connection, given_up)),
            _ => None,
        });
        let Some((connection, given_up)) = connecting else {
            self.late();
            return None;
        };
        let (id, owner) = (ConnectionId(name), connection.owner);
        let error = match failure {
            Some(code) => Some(OsError::from_code(Operation::Connect, code)),
            None if given_up != GivenUp::No => Some(cancelled(Operation::Connect)),
            None => self.updated(name).err(),
        };
        self.in_flight -= 1;
        match error {
            Some(error) => {
                // What it is told is delivered here and now: the last word follows.
                self.end(name, given_up == GivenUp::Aborted);
                self.note_memory_fault(error);
                Some(Completion::ConnectFailed { connection: id, owner, error })
            }
            None => {
                self.connection(name)?.phase = Phase::Open;
                Some(Completion::Connected { connection: id, owner })
            }
        }
    }
}
