//! The submit calls of the readiness driver: see [`Operations`](crate::Operations) for what each promises.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::connection::{Connection, Phase, Receive, Sending, Shut};
use super::listener::{Accepting, Listener};
use super::pending::{Pending, cancelled};
use super::table::{Table, Thing, shut_now};
use crate::clock::Time;
use crate::counters::Counters;
use crate::driver::Submit;
use crate::error::{Operation, OsError, Refused, SubmitError};
use crate::faults::FaultPoint;
use crate::gather::Gather;
use crate::identity::{ConnectionId, ListenerId, Owner};
use crate::kept::Kept;
use crate::options::StreamOptions;
use crate::stream::{BoundListener, Detached, Stream, open_stream};

impl Submit for Table {
    fn now(&self) -> Time {
        self.now
    }

    fn counters(&self) -> Counters {
        self.counters
    }

    /// Nothing, ever: the kernel is given memory only for the length of a system call.
    fn in_flight(&self) -> usize {
        0
    }

    fn open(&self) -> usize {
        self.things.len()
    }

    fn listen(&mut self, owner: Owner, listener: BoundListener) -> Result<ListenerId, Refused<BoundListener>> {
        let bound = listener.into_system()?;
        match self.insert(Thing::Listener(Box::new(Listener::new(owner, bound)))) {
            Ok(name) => {
                self.arm(name);
                Ok(ListenerId(name))
            }
            Err(Thing::Listener(listener)) => Err(Refused { error: self.full(), returned: listener.bound.into() }),
            Err(Thing::Connection(_)) => unreachable!("what comes back is what was put in"),
        }
    }

    fn close_listener(&mut self, id: ListenerId) -> Result<(), SubmitError> {
        let listener = self.listener(id.0).filter(|listener| listener.state != Accepting::Closing);
        listener.ok_or(SubmitError::Gone)?.state = Accepting::Closing;
        self.pending.push_back(Pending::ListenerClosed(id.0));
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
        let Detached { stream: Stream::System(socket), peer, received, unsent, .. } = stream else {
            return Err(Refused { error: SubmitError::Foreign, returned: stream });
        };
        let mut connection = Connection::new(owner, socket, Phase::Open);
        connection.kept = Kept::new(received);
        if !unsent.is_empty() {
            connection.sending = Sending::Leaving(unsent);
        }
        match self.insert(Thing::Connection(connection)) {
            Ok(name) => {
                self.continue_send(name);
                Ok(ConnectionId(name))
            }
            Err(Thing::Connection(connection)) => {
                let unsent = match connection.sending {
                    Sending::Leaving(gather) => gather,
                    Sending::Idle | Sending::Left => Gather::new(),
                };
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
        // Before the system is asked: a connection that nobody will own is not even begun.
        if self.is_full() {
            return Err(self.full());
        }
        if let Some(code) = self.faults.at_call(FaultPoint::OpenSocket) {
            return Err(OsError::from_code(Operation::OpenSocket, code).into());
        }
        let socket = open_stream(address, options)?;
        let started = match self.faults.at_call(FaultPoint::Connect) {
            Some(code) => Err(io::Error::from_raw_os_error(code)),
            None => socket.connect(&address.into()),
        };
        let connection = Connection::new(owner, socket, Phase::Connecting { settled: false });
        let name = self.insert(Thing::Connection(connection)).map_err(|_| self.full())?;
        match started {
            Ok(()) => self.connect_settled(name),
            Err(error) if goes_on(&error) => self.arm(name),
            Err(error) => self.connect_failed(name, OsError::from_io(Operation::Connect, &error)),
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
                self.pending.push_back(Pending::ReceiveEnded(id.0, error));
                return Ok(());
            }
            Receive::Off => connection.receive = Receive::On,
        }
        connection.kept.wake();
        self.deliver_kept_later(id.0);
        self.arm(id.0);
        Ok(())
    }

    /// The poller goes on reporting until it has something to report: a pause that is soon over costs no system call.
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
        connection.sending = Sending::Leaving(gather);
        self.continue_send(id.0);
        Ok(())
    }

    fn shut(&mut self, id: ConnectionId) -> Result<(), SubmitError> {
        let connection = self.open_connection(id)?;
        match (connection.shut, &connection.sending) {
            (Shut::No, Sending::Leaving(_)) => connection.shut = Shut::Requested,
            (Shut::No, Sending::Idle | Sending::Left) => shut_now(connection),
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
        // If it fails, the close that follows is an ordinary one.
        let _ = connection.socket.set_linger(Some(Duration::ZERO));
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
        self.pending.push_back(Pending::Detached(id.0));
        Ok(())
    }
}

impl Table {
    fn is_full(&self) -> bool {
        self.things.len() >= self.things.maximum() as usize
    }

    fn full(&self) -> SubmitError {
        SubmitError::Full { maximum: self.things.maximum() }
    }

    fn close_after_send(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connection(id.0) {
            connection.phase = Phase::Closing;
        }
    }
}

/// A connect that was started and reports its end later. An interrupted one goes on too.
fn goes_on(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    [Errno::INPROGRESS, Errno::INTR, Errno::WOULDBLOCK].iter().any(|errno| code == Some(errno.raw_os_error()))
}
