//! Completions that wait for their delivery.
//!
//! **A queued completion takes effect when it is delivered**: a send is in flight until its `Sent`, a connection is open from
//! its `Connected` on, and its name is valid until `Closed`, whatever the network has done long since. So the owner and the
//! driver always agree on the state.

use super::connection::{Connection, Phase, Receive, Sending};
use super::table::{Table, Thing};
use crate::completion::Completion;
use crate::error::OsError;
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
}

impl Table {
    /// Lets a queued completion take effect, and words it for the owner.
    pub(super) fn settle<M>(&mut self, pending: Pending) -> Option<Completion<'static, M>> {
        Some(match pending {
            Pending::Connected(name) => {
                let connection = self.connection(name)?;
                if connection.phase == Phase::Connected {
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
            Pending::ListenerClosed(name) => {
                let Thing::Listener(listener) = self.things.remove(name)? else { return None };
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
            self.deliver_later(name);
        }
    }

    fn take_stream(&mut self, name: Name) -> Option<(Owner, Detached)> {
        let connection = self.remove_connection(name)?;
        connection.socket.watch(None);
        let received = connection.kept.into_bytes();
        let unsent = match connection.sending {
            Sending::GoesAlong(gather) => gather,
            Sending::Idle | Sending::Leaving | Sending::Left => Gather::new(),
        };
        let stream = Detached { received, unsent, ..Detached::new(connection.socket, None) };
        Some((connection.owner, stream))
    }

    fn remove_connection(&mut self, name: Name) -> Option<Connection> {
        match self.things.remove(name)? {
            Thing::Connection(connection) => Some(connection),
            Thing::Listener(_) => None,
        }
    }
}
