//! What is to be delivered next: one completion at a time, after each of which the state is as it should be, for a callback
//! may do anything, even unwind.
//!
//! The order within a connection: the end of a send, the confirmation of a pause, kept bytes, the end of the stream, and
//! when it is ending and the kernel holds nothing of it any more, the last word.

use super::connection::{Arm, Connection, Ended, Phase, Receive, Sending};
use super::send::{SendOperation, shut_if_requested};
use super::table::{Table, cancelled};
use crate::completion::Completion;
use crate::error::{Operation, OsError};
use crate::identity::{ConnectionId, Name, Owner};
use crate::kept::Taken;
use crate::stream::Detached;

/// See the [module](self).
pub(super) enum Due<M> {
    /// Deliver this, then ask again.
    Completion(Completion<'static, M>),
    /// Lend these kept bytes, put back what is not consumed, then ask again.
    Kept {
        owner: Owner,
        bytes: Taken,
    },
    /// Kept bytes wait for the next turn.
    NextTurn,
    Nothing,
}

impl Table {
    /// What is due for a connection.
    pub(super) fn connection_due<M>(&mut self, name: Name) -> Due<M> {
        let Table { connections, spare_operations, .. } = self;
        let users = connections.len();
        let Some(connection) = connections.get_mut(name) else { return Due::Nothing };
        let sent = left(connection).map(|operation| {
            let (gather, error) = spare_operations.take_apart(operation, users);
            Completion::Sent { connection: ConnectionId(name), owner: connection.owner, gather, error }
        });
        if let Some(completion) = sent.or_else(|| pause_over(name, connection)) {
            return Due::Completion(completion);
        }
        match connection.phase {
            Phase::Connecting(_) => Due::Nothing,
            Phase::Open => self.open_due(name),
            Phase::Closing | Phase::Aborting | Phase::Detaching => self.ending_due(name),
        }
    }

    fn open_due<M>(&mut self, name: Name) -> Due<M> {
        let Table { connections, turn, .. } = self;
        let Some(connection) = connections.get_mut(name) else { return Due::Nothing };
        if matches!(connection.sending, Sending::Idle) {
            shut_if_requested(&mut connection.shut, &connection.socket);
        }
        if connection.receive != Receive::On {
            return Due::Nothing;
        }
        if connection.kept.is_due() {
            let budget = connection.budget(*turn, self.receive_bytes_per_turn_max);
            if budget == 0 {
                return Due::NextTurn;
            }
            if let Some(mut bytes) = connection.kept.take(budget) {
                connection.charge(*turn, bytes.bytes().len());
                return Due::Kept { owner: connection.owner, bytes };
            }
        }
        if let Some(completion) = stream_end(name, connection) {
            return Due::Completion(completion);
        }
        if connection.arm == Arm::Idle && connection.kept.len() < self.receive_bytes_per_turn_max as usize {
            self.arm_receive(name);
        }
        Due::Nothing
    }

    /// Nothing is freed, and no last word is said, before the kernel has given everything back.
    fn ending_due<M>(&mut self, name: Name) -> Due<M> {
        let Some(connection) = self.connections.get_mut(name) else { return Due::Nothing };
        if !connection.receive_is_back() {
            return Due::Nothing;
        }
        if connection.receive == Receive::On {
            connection.receive = Receive::Off;
            let (owner, error) = (connection.owner, Some(cancelled(Operation::Receive)));
            return Due::Completion(Completion::ReceiveEnded { connection: ConnectionId(name), owner, error });
        }
        if connection.is_sending() {
            return Due::Nothing;
        }
        if matches!(connection.sending, Sending::Idle) {
            shut_if_requested(&mut connection.shut, &connection.socket);
        }
        match self.connections.remove(name) {
            Some(connection) => {
                if connection.watched {
                    self.writable.forget(&connection.socket);
                }
                self.spare_operations.give_back(self.connections.len());
                self.spare_messages.give_back(self.connections.len());
                Due::Completion(last_word(name, connection))
            }
            None => Due::Nothing,
        }
    }
}

/// The send that has ended, if one has.
fn left(connection: &mut Connection) -> Option<Box<SendOperation>> {
    if !matches!(connection.sending, Sending::Left(_)) {
        return None;
    }
    match std::mem::replace(&mut connection.sending, Sending::Idle) {
        Sending::Left(operation) => Some(operation),
        _ => None,
    }
}

fn pause_over<M>(name: Name, connection: &mut Connection) -> Option<Completion<'static, M>> {
    let Receive::Pausing { owed, resume } = connection.receive else { return None };
    if !connection.receive_is_back() {
        return None;
    }
    connection.receive = match (owed.saturating_sub(1), resume) {
        (0, true) => {
            connection.kept.wake();
            Receive::On
        }
        (0, false) => {
            connection.kept.trim();
            Receive::Off
        }
        (owed, resume) => Receive::Pausing { owed, resume },
    };
    Some(Completion::ReceiveEnded { connection: ConnectionId(name), owner: connection.owner, error: None })
}

/// What is kept goes before it, unless the receiver has seen all of it and wants none: nothing can complete it any more.
///
/// A failed stream fails again at every `receive`; a finished one has said so once and for all.
fn stream_end<M>(name: Name, connection: &mut Connection) -> Option<Completion<'static, M>> {
    let (id, owner) = (ConnectionId(name), connection.owner);
    match connection.ended {
        Ended::No => None,
        Ended::Finished => {
            connection.receive = Receive::Finished;
            Some(Completion::PeerFinished { connection: id, owner })
        }
        Ended::Failed(errno) => {
            connection.receive = Receive::Off;
            let error = Some(OsError::from_code(Operation::Receive, errno.raw_os_error()));
            Some(Completion::ReceiveEnded { connection: id, owner, error })
        }
    }
}

/// Closes the descriptor, unless it leaves with the stream.
fn last_word<M>(name: Name, connection: Connection) -> Completion<'static, M> {
    let Connection { owner, socket, phase, kept, sending, .. } = connection;
    if !matches!(phase, Phase::Detaching) {
        return Completion::Closed { connection: ConnectionId(name), owner };
    }
    let mut stream = Detached::new(socket, None);
    stream.received = kept.into_bytes();
    if let Sending::GoesAlong(operation) = sending {
        stream.unsent = operation.gather;
    }
    Completion::Detached { connection: ConnectionId(name), owner, stream }
}
