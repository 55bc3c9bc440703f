//! Everything that the driver holds, and what becomes of it: the submitting half.
//!
//! A submit call may do its system call at once, but never delivers: what has completed is queued as [`Pending`], and the
//! turn delivers it in that order. Every operation therefore ends in one of two places: as an entry of that queue, or
//! directly in a turn (bytes, the end of a stream, accepted clients).
//!
//! **A name is stale only when its last completion is delivered.** Until then its slot holds the connection with its
//! socket, in a phase that refuses what may not be submitted any more, so that the queue can speak of it by name.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::time::Duration;

use super::connection::{Connection, Ended, Phase, Progress, Receive, Sending, Shut, send_now};
use super::listener::{Accepting, Listener, Pause};
use super::pending::{Pending, cancelled};
use super::poll::Poll;
use crate::clock::{Clock, Time};
use crate::codes;
use crate::counters::Counters;
use crate::error::{Operation, OsError, SubmitError};
use crate::exhaustion::Spare;
use crate::faults::{FaultPoint, Faults};
use crate::identity::{ConnectionId, Name};
use crate::memory::Memory;
use crate::options::PortConfig;
use crate::slots::Slots;

/// What a slot holds. Listeners are few and live elsewhere, so that a slot is as small as a connection.
#[derive(Debug)]
pub(super) enum Thing {
    Connection(Connection),
    Listener(Box<Listener>),
}

/// See the [module](self).
pub(super) struct Table {
    pub(super) things: Slots<Thing>,
    pub(super) poll: Poll,
    pub(super) pending: VecDeque<Pending>,
    /// Connections that have kept bytes, or the end of the stream, to deliver; each stands here at most once.
    pub(super) leftovers: VecDeque<Name>,
    /// Listeners that wait for the end of a shortage.
    pub(super) paused: Vec<Name>,
    pub(super) spare: Spare,
    pub(super) clock: Clock,
    pub(super) now: Time,
    pub(super) counters: Counters,
    pub(super) accept_pause: Duration,
    pub(super) receive_bytes_per_turn_max: usize,
    pub(super) faults: Faults,
    memory: Memory,
}

impl Table {
    pub(super) fn new(config: &PortConfig, poll: Poll) -> Table {
        Table {
            things: Slots::new(config.connections_max),
            poll,
            pending: VecDeque::new(),
            leftovers: VecDeque::new(),
            paused: Vec::new(),
            spare: Spare::reserve(),
            now: config.clock.now(),
            clock: config.clock.clone(),
            counters: Counters::default(),
            accept_pause: config.accept_pause,
            receive_bytes_per_turn_max: config.receive_bytes_per_turn_max,
            faults: config.faults(),
            memory: Memory::new(config.guarded),
        }
    }

    /// Puts a thing into a slot, or gives it back if there is none.
    pub(super) fn insert(&mut self, thing: Thing) -> Result<Name, Thing> {
        let mut thing = Some(thing);
        // The closure is called at most once, and exactly if there is a slot.
        let name = self.things.insert_with(|_| thing.take().expect("a thing is put into one slot"));
        match (name, thing) {
            (Some(name), _) => Ok(name),
            (None, Some(thing)) => Err(thing),
            (None, None) => unreachable!("a thing is consumed only by the slot that it is put into"),
        }
    }

    pub(super) fn connection(&mut self, name: Name) -> Option<&mut Connection> {
        match self.things.get_mut(name) {
            Some(Thing::Connection(connection)) => Some(connection),
            _ => None,
        }
    }

    pub(super) fn listener(&mut self, name: Name) -> Option<&mut Listener> {
        match self.things.get_mut(name) {
            Some(Thing::Listener(listener)) => Some(listener),
            _ => None,
        }
    }

    /// The connection, if everything may be submitted on it.
    pub(super) fn open_connection(&mut self, id: ConnectionId) -> Result<&mut Connection, SubmitError> {
        self.connection(id.0).filter(|connection| connection.phase == Phase::Open).ok_or(SubmitError::Gone)
    }

    /// Brings the poller in line with what the thing waits for. A refusal fails the operations that would wait.
    pub(super) fn arm(&mut self, name: Name) {
        let armed = match self.things.get_mut(name) {
            Some(Thing::Connection(connection)) => {
                let wanted = connection.wanted(self.receive_bytes_per_turn_max);
                self.poll.arm(&connection.socket, name, &mut connection.armed, wanted)
            }
            Some(Thing::Listener(listener)) => {
                let wanted = listener.wanted();
                self.poll.arm(&listener.bound.socket, name, &mut listener.armed, wanted)
            }
            None => Ok(()),
        };
        if let Err(error) = armed {
            self.arm_failed(name, error);
        }
    }

    fn arm_failed(&mut self, name: Name, error: OsError) {
        if self.listener(name).is_some() {
            return self.watch_failed(name, error);
        }
        let Some(connection) = self.connection(name) else { return };
        let sends = matches!(connection.sending, Sending::Leaving(_));
        if matches!(connection.phase, Phase::Connecting { settled: false }) {
            return self.connect_failed(name, error);
        }
        if connection.receive_is_open() {
            connection.receive = Receive::Failed(error);
            self.pending.push_back(Pending::ReceiveEnded(name, error));
        }
        if sends {
            self.finish_send(name, Some(error));
        }
    }

    /// A listener that cannot be watched is one that cannot accept.
    fn watch_failed(&mut self, name: Name, error: OsError) {
        let (now, pause) = (self.now, self.accept_pause);
        let Some(listener) = self.listener(name).filter(|listener| listener.state == Accepting::Open) else { return };
        let paused = listener.pause(error, now, pause);
        if let Some(error) = self.accept_paused(name, paused) {
            self.pending.push_back(Pending::AcceptPaused(name, error));
        }
    }

    /// Counts a pause that a listener makes. Tells what its owner is to be told.
    pub(super) fn accept_paused(&mut self, name: Name, pause: Pause) -> Option<OsError> {
        let Pause { error, begins, shed } = pause;
        self.counters.accept_failures += 1;
        self.counters.accept_sheds += u64::from(shed);
        self.counters.accept_pauses += u64::from(begins);
        self.paused.push(name);
        begins.then_some(error)
    }

    /// Continues the send in flight, if there is one and it may still leave.
    pub(super) fn continue_send(&mut self, name: Name) {
        let Some(Thing::Connection(connection)) = self.things.get_mut(name) else { return };
        if !matches!(connection.phase, Phase::Open | Phase::Closing) {
            return;
        }
        let Sending::Leaving(gather) = &mut connection.sending else { return };
        match send_now(&connection.socket, gather, &mut self.counters, &self.faults, &self.memory) {
            Progress::Left => self.finish_send(name, None),
            Progress::Failed(error) => {
                self.note_memory_fault(error);
                self.finish_send(name, Some(error));
            }
            Progress::Waits => {}
        }
        self.arm(name);
    }

    /// Takes note of an error that says that the kernel could not touch the memory of a call.
    pub(super) fn note_memory_fault(&mut self, error: OsError) {
        if error.code() != codes::FAULT {
            return;
        }
        self.counters.memory_faults += 1;
        if self.counters.memory_faults == 1 {
            tracing::error!(operation = %error.operation(), "the kernel could not touch the memory of an operation (EFAULT)");
        }
        self.faults.note_memory_fault();
    }

    /// The send in flight has ended; what waited behind it follows.
    pub(super) fn finish_send(&mut self, name: Name, error: Option<OsError>) {
        let Some(connection) = self.connection(name) else { return };
        let gather = match std::mem::replace(&mut connection.sending, Sending::Left) {
            Sending::Leaving(gather) => gather,
            settled => {
                connection.sending = settled;
                return;
            }
        };
        if connection.shut == Shut::Requested {
            shut_now(connection);
        }
        let closing = connection.phase == Phase::Closing;
        self.pending.push_back(Pending::Sent(name, gather, error));
        if closing {
            self.end(name, false);
        }
    }

    /// The handshake is over.
    pub(super) fn connect_settled(&mut self, name: Name) {
        let Some(Thing::Connection(connection)) = self.things.get_mut(name) else { return };
        let asked = match self.faults.at_result(FaultPoint::Connect) {
            Some(code) => Err(io::Error::from_raw_os_error(code)),
            None => connection.socket.take_error(),
        };
        let failed = match asked {
            Ok(None) => None,
            Ok(Some(error)) | Err(error) => Some(OsError::from_io(Operation::Connect, &error)),
        };
        match failed {
            Some(error) => self.connect_failed(name, error),
            None => {
                connection.phase = Phase::Connecting { settled: true };
                self.pending.push_back(Pending::Connected(name));
            }
        }
        self.arm(name);
    }

    pub(super) fn connect_failed(&mut self, name: Name, error: OsError) {
        self.pending.push_back(Pending::ConnectFailed(name, error));
        self.end(name, true);
    }

    /// The send in flight, if any, ends as cancelled.
    pub(super) fn cancel_send(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else { return };
        match std::mem::replace(&mut connection.sending, Sending::Left) {
            Sending::Leaving(gather) => {
                self.pending.push_back(Pending::Sent(name, gather, Some(cancelled(Operation::Send))));
            }
            settled => connection.sending = settled,
        }
    }

    /// A receive that is open ends as cancelled: nothing more is delivered.
    pub(super) fn cancel_receive(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else { return };
        let open = connection.receive_is_open();
        match &mut connection.receive {
            Receive::Pausing { resume, .. } => *resume = false,
            receive => *receive = Receive::Off,
        }
        if open {
            self.pending.push_back(Pending::ReceiveEnded(name, cancelled(Operation::Receive)));
        }
    }

    /// Every operation has ended or is on its way; the last word follows them.
    pub(super) fn end(&mut self, name: Name, aborted: bool) {
        if let Some(connection) = self.connection(name) {
            connection.phase = Phase::Ending { aborted };
            self.pending.push_back(Pending::Closed(name));
        }
    }

    /// The receiver did not consume `rest`.
    pub(super) fn keep(&mut self, name: Name, rest: &[u8]) {
        if rest.is_empty() {
            return;
        }
        self.counters.kept_bytes += rest.len() as u64;
        if let Some(connection) = self.connection(name) {
            connection.kept.keep(rest);
            self.deliver_kept_later(name);
        }
    }

    /// Bytes came behind what is kept.
    pub(super) fn keep_behind(&mut self, name: Name, bytes: &[u8]) {
        self.counters.kept_bytes += bytes.len() as u64;
        if let Some(connection) = self.connection(name) {
            connection.kept.append(bytes);
            self.deliver_kept_later(name);
        }
    }

    /// The incoming stream has ended behind what is kept, which has to be looked at for once more.
    pub(super) fn ended(&mut self, name: Name, ended: Ended) {
        if let Some(connection) = self.connection(name) {
            connection.ended = ended;
            connection.kept.wake();
        }
        self.deliver_kept_later(name);
        self.arm(name);
    }

    /// Puts the connection on the list of leftovers if it has something to deliver.
    pub(super) fn deliver_kept_later(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else { return };
        if connection.has_leftovers() && !connection.left_over {
            connection.left_over = true;
            self.leftovers.push_back(name);
        }
    }

    /// Empties the slot. What it held is no longer known to the poller.
    pub(super) fn remove(&mut self, name: Name) -> Option<Thing> {
        let thing = self.things.remove(name)?;
        match &thing {
            Thing::Connection(connection) => self.poll.forget(&connection.socket, connection.armed),
            Thing::Listener(listener) => self.poll.forget(&listener.bound.socket, listener.armed),
        }
        Some(thing)
    }
}

impl Drop for Table {
    /// Nothing is ever in flight in the kernel, so closing is all there is to do.
    fn drop(&mut self) {
        let names: Vec<Name> = self.things.names().collect();
        for name in names {
            drop(self.remove(name));
        }
    }
}

pub(super) fn shut_now(connection: &mut Connection) {
    connection.shut = Shut::Done;
    // It fails only if the connection is gone already, which the receiving side tells.
    let _ = connection.socket.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completion::Completion;
    use crate::driver::Submit;
    use crate::identity::Owner;
    use crate::options::ListenOptions;
    use crate::stream::BoundListener;
    use std::sync::Arc;

    /// The memory of idle sessions is what bounds their number. 128 bytes: the slot of a connection fits two cache lines.
    #[test]
    fn a_slot_takes_at_most_128_bytes() {
        const { assert!(Slots::<Thing>::SLOT_BYTES <= 128) };
    }

    /// As a limit on watched sockets would (epoll_ctl(2), ENOSPC).
    #[test]
    fn a_listener_that_cannot_be_watched_pauses_and_says_so_once() {
        let poller = Arc::new(polling::Poller::new().expect("a poller"));
        let mut table = Table::new(&PortConfig::default(), Poll::new(poller, Faults::default()));
        let bound = BoundListener::bind("127.0.0.1:0".parse().expect("an address"), &ListenOptions::default());
        let id = table.listen(Owner(1), bound.expect("binds")).map_err(|refused| refused.error).expect("listens");
        let error = OsError::from_code(Operation::Dispatch, rustix::io::Errno::NOSPC.raw_os_error());
        for failures in 1..4 {
            table.arm_failed(id.0, error);
            assert_eq!(table.next_retry(), Some(table.now + table.accept_pause));
            assert_eq!(table.counters.accept_failures, failures);
            table.arm_failed(id.0, error);
            assert_eq!(table.counters.accept_failures, failures, "it is paused already");
            table.now = table.now + table.accept_pause;
            table.end_pauses();
            assert_eq!(table.next_retry(), None, "it is watched again");
        }
        assert_eq!(table.pending.len(), 1, "once for the shortage");
        let pending = table.pending.pop_front().expect("one");
        let paused = table.settle::<()>(pending);
        assert!(
            matches!(paused, Some(Completion::AcceptPaused { listener, error: why, .. }) if listener == id && why == error)
        );
    }
}
