//! Completions that wait for their delivery.
//!
//! A submit call must not deliver, so what it completes is queued. **A queued completion takes effect when it is delivered**:
//! a send is in flight until its `Sent`, and a name is valid until `Closed`, whatever the system has done long since. So the
//! owner and the driver always agree on the state.

use super::connection::{Receive, Sending};
use super::table::{Table, Thing};
use crate::completion::Completion;
use crate::error::OsError;
use crate::gather::Gather;
use crate::identity::{ConnectionId, ListenerId, Name};

/// See the [module](self).
#[derive(Debug)]
pub(super) enum Pending {
    ConnectFailed(Name, OsError),
    /// A pause is confirmed.
    Paused(Name),
    ReceiveEnded(Name, OsError),
    Sent(Name, Gather, Option<OsError>),
    Closed(Name),
    ListenerClosed(Name),
    /// The system refused to start an accept.
    AcceptFailed(Name, OsError),
}

impl Table {
    /// Lets a queued completion take effect, and words it for the owner.
    pub(super) fn settle<M>(&mut self, pending: Pending) -> Option<Completion<'static, M>> {
        Some(match pending {
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
                // Its socket is closed here: the system has given everything back.
                let Thing::Connection(connection) = self.things.remove(name)? else { return None };
                self.spare_sends.give_back(self.things.len());
                Completion::Closed { connection: ConnectionId(name), owner: connection.owner }
            }
            Pending::ListenerClosed(name) => {
                let Thing::Listener(listener) = self.things.remove(name)? else { return None };
                Completion::ListenerClosed { listener: ListenerId(name), owner: listener.owner }
            }
            Pending::AcceptFailed(name, error) => return self.accept_failed(name, error),
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
            self.await_bytes(name);
        }
    }
}
