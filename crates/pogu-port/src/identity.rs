//! Names. A connection, a listener or an owner is named, never pointed at.
//!
//! A name holds a slot and the generation of that slot. Slots are reused, generations are not (a slot whose
//! generations have run out is retired), so a name that outlived its connection reaches nobody.

use std::fmt;

/// A token that its user chooses and that every completion of the thing carries back.
///
/// The port never interprets it. Values posted with [`Poster::post`](crate::Poster::post) carry one too, so that
/// anything can be an owner, not only sockets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Owner(pub u64);

/// A slot and its generation: what both kinds of names are made of.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Which slot.
    pub slot: u32,
    /// Which use of that slot; counts from 1.
    pub generation: u32,
}

/// The name of a connection of one port. Valid from `adopt` or `connect` until its `Closed` or `Detached`
/// completion has been delivered; after that it reaches nobody.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub(crate) Name);

/// The name of a listener of one port. Valid from `listen` until `ListenerClosed` has been delivered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub(crate) Name);

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {:?}", self.0)
    }
}

impl fmt::Debug for ListenerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listener {:?}", self.0)
    }
}
