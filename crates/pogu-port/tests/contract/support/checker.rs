//! The rules that hold in every scenario, checked at every submit call and every completion.

use std::collections::HashMap;

use pogu_port::{Completion, ConnectionId, ListenerId, OsError, Owner};

/// What one connection has open.
#[derive(Debug, Default)]
struct Account {
    owner: Owner,
    connects: u32,
    sends: u32,
    /// Receives that have had no terminal completion.
    receives: u32,
    /// True exactly when bytes may be delivered: the last word was `receive`, not `pause` or an end.
    receiving: bool,
    finished: bool,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Checker {
    connections: HashMap<ConnectionId, Account>,
    listeners: HashMap<ListenerId, Owner>,
    ended: Vec<ConnectionId>,
}

impl Checker {
    pub fn opened(&mut self, connection: ConnectionId, owner: Owner, connects: bool, sends: bool) {
        assert!(!self.ended.contains(&connection), "{connection:?}: a name came twice");
        let account = Account { owner, connects: connects.into(), sends: sends.into(), ..Account::default() };
        assert!(self.connections.insert(connection, account).is_none(), "{connection:?}: a live name came twice");
    }

    pub fn listens(&mut self, listener: ListenerId, owner: Owner) {
        assert!(self.listeners.insert(listener, owner).is_none(), "{listener:?}: a live name came twice");
    }

    pub fn received_is_on(&mut self, connection: ConnectionId) {
        let account = self.account(connection);
        if !account.receiving && !account.finished {
            account.receiving = true;
            account.receives += 1;
        }
    }

    pub fn paused(&mut self, connection: ConnectionId) {
        self.account(connection).receiving = false;
    }

    pub fn sends(&mut self, connection: ConnectionId) {
        self.account(connection).sends += 1;
    }

    pub fn ends(&mut self, connection: ConnectionId) {
        self.account(connection).receiving = false;
    }

    pub fn live(&self) -> Vec<ConnectionId> {
        self.connections.keys().copied().collect()
    }

    pub fn live_listeners(&self) -> Vec<ListenerId> {
        self.listeners.keys().copied().collect()
    }

    pub fn is_live(&self, connection: ConnectionId) -> bool {
        self.connections.contains_key(&connection)
    }

    fn account(&mut self, connection: ConnectionId) -> &mut Account {
        let ended = &self.ended;
        self.connections.get_mut(&connection).unwrap_or_else(|| match ended.contains(&connection) {
            true => panic!("{connection:?}: something after its last word"),
            false => panic!("{connection:?}: never heard of"),
        })
    }

    /// The account, its owner checked.
    fn of(&mut self, connection: ConnectionId, owner: Owner) -> &mut Account {
        let account = self.account(connection);
        assert_eq!(account.owner, owner, "{connection:?}: the owner");
        account
    }

    /// Checks a completion against what is open, and closes what it ends.
    pub fn completed<M>(&mut self, completion: &Completion<'_, M>) {
        match *completion {
            Completion::Accepted { listener, owner, .. } | Completion::AcceptPaused { listener, owner, .. } => {
                assert_eq!(self.listeners.get(&listener), Some(&owner), "{listener:?}: the owner");
            }
            Completion::ListenerClosed { listener, owner } => {
                assert_eq!(self.listeners.remove(&listener), Some(owner), "{listener:?}: closed once");
            }
            Completion::Connected { connection, owner } | Completion::ConnectFailed { connection, owner, .. } => {
                retire(&mut self.of(connection, owner).connects, connection, "connect");
            }
            Completion::Received { connection, owner, ref bytes } => {
                assert!(self.of(connection, owner).receiving, "{connection:?}: bytes that nobody asked for");
                assert!(!bytes.is_empty(), "{connection:?}: no bytes");
            }
            Completion::PeerFinished { connection, owner } => {
                let account = self.of(connection, owner);
                assert!(account.receiving, "{connection:?}: an end that nobody asked for");
                account.finished = true;
                account.receiving = false;
                retire(&mut account.receives, connection, "receive");
            }
            Completion::ReceiveEnded { connection, owner, error } => self.receive_ended(connection, owner, error),
            Completion::Sent { connection, owner, ref gather, error } => {
                assert_eq!(gather.is_empty(), error.is_none(), "{connection:?}: all has left, or there is an error");
                retire(&mut self.of(connection, owner).sends, connection, "send");
            }
            Completion::Closed { connection, owner } => self.ended(connection, owner, true),
            // The send in flight travels with the stream.
            Completion::Detached { connection, owner, .. } => self.ended(connection, owner, false),
            _ => {}
        }
    }

    fn receive_ended(&mut self, connection: ConnectionId, owner: Owner, error: Option<OsError>) {
        let account = self.of(connection, owner);
        retire(&mut account.receives, connection, "receive");
        if error.is_some() {
            account.receiving = false;
        }
    }

    fn ended(&mut self, connection: ConnectionId, owner: Owner, sends_have_ended: bool) {
        let account = self.of(connection, owner);
        assert!(account.connects == 0 && account.receives == 0, "{connection:?} ended before {account:?}");
        assert!(account.sends == 0 || !sends_have_ended, "{connection:?} ended before {account:?}");
        self.connections.remove(&connection);
        self.ended.push(connection);
    }
}

fn retire(open: &mut u32, connection: ConnectionId, what: &str) {
    *open = open.checked_sub(1).unwrap_or_else(|| panic!("{connection:?}: a {what} ended twice, or was never started"));
}
