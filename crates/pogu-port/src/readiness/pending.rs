//! Completions that wait for their delivery.
//!
//! A submit call must not deliver, so what it completes is queued. **A queued completion takes effect when it is delivered**:
//! a send is in flight until its `Sent`, a connection is open from its `Connected` on, and its name is valid until `Closed`,
//! whatever the kernel has done long since. So the owner and the driver always agree on the state.

use super::connection::{Connection, Phase, Receive, Sending};
use super::table::{Table, Thing};
use crate::codes;
use crate::completion::Completion;
use crate::error::{Operation, OsError};
use crate::gather::Gather;
use crate::identity::{ConnectionId, ListenerId, Name, Owner};
use crate::stream::Detached;

/// See the [module](self).
#[derive(Debug)]
pub(super) enum Pending {
    Connected(Name),
    ConnectFailed(Name, OsError),
    /// A pause is confirmed.
    Paused(Name),
    ReceiveEnded(Name, OsError),
    Sent(Name, Gather, Option<OsError>),
    Closed(Name),
    Detached(Name),
    ListenerClosed(Name),
    /// A listener that could not be watched has begun to pause.
    AcceptPaused(Name, OsError),
}

pub(super) fn cancelled(operation: Operation) -> OsError {
    OsError::from_code(operation, codes::CANCELLED)
}

impl Table {
    /// Lets a queued completion take effect, and words it for the owner.
    pub(super) fn settle<M>(&mut self, pending: Pending) -> Option<Completion<'static, M>> {
        Some(match pending {
            Pending::Connected(name) => {
                let connection = self.connection(name)?;
                if connection.phase == (Phase::Connecting { settled: true }) {
                    connection.phase = Phase::Open;
                }
                Completion::Connected { connection: ConnectionId(name), owner: connection.owner }
            }
            Pending::ConnectFailed(name, error) => {
                let owner = self.connection(name)?.owner;
                Completion::ConnectFailed { connection: ConnectionId(name), owner, error }
            }
            Pending::Paused(name) => {
                let owner = self.connection(name)?.owner;
                self.pause_confirmed(name);
                Completion::ReceiveEnded { connection: ConnectionId(name), owner, error: None }
            }
            Pending::ReceiveEnded(name, error) => {
                let owner = self.connection(name)?.owner;
                Completion::ReceiveEnded { connection: ConnectionId(name), owner, error: Some(error) }
            }
            Pending::Sent(name, gather, error) => {
                let connection = self.connection(name)?;
                connection.sending = Sending::Idle;
                Completion::Sent { connection: ConnectionId(name), owner: connection.owner, gather, error }
            }
            Pending::Closed(name) => {
                let Connection { owner, .. } = self.remove_connection(name)?;
                Completion::Closed { connection: ConnectionId(name), owner }
            }
            Pending::Detached(name) => {
                let (owner, stream) = self.take_stream(name)?;
                Completion::Detached { connection: ConnectionId(name), owner, stream }
            }
            Pending::AcceptPaused(name, error) => {
                let retry_after = self.accept_pause;
                let owner = self.listener(name)?.owner;
                Completion::AcceptPaused { listener: ListenerId(name), owner, error, retry_after }
            }
            Pending::ListenerClosed(name) => {
                let Thing::Listener(listener) = self.remove(name)? else { return None };
                Completion::ListenerClosed { listener: ListenerId(name), owner: listener.owner }
            }
        })
    }

    fn pause_confirmed(&mut self, name: Name) {
        let Some(connection) = self.connection(name) else { return };
        if let Receive::Pausing { owed, resume } = connection.receive {
            connection.receive = match (owed, resume) {
                (2.., _) => Receive::Pausing { owed: owed - 1, resume },
                (_, true) => {
                    connection.kept.wake();
                    Receive::On
                }
                (_, false) => Receive::Off,
            };
            self.deliver_kept_later(name);
        }
    }

    fn take_stream(&mut self, name: Name) -> Option<(Owner, Detached)> {
        let connection = self.remove_connection(name)?;
        let received = connection.kept.into_bytes();
        let unsent = match connection.sending {
            Sending::Leaving(gather) => gather,
            Sending::Idle | Sending::Left => Gather::new(),
        };
        let stream = Detached { received, unsent, ..Detached::new(connection.socket, None) };
        Some((connection.owner, stream))
    }

    fn remove_connection(&mut self, name: Name) -> Option<Connection> {
        match self.remove(name)? {
            Thing::Connection(connection) => Some(connection),
            Thing::Listener(_) => None,
        }
    }
}
