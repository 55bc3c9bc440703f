//! Names of sessions. A session is named, never pointed at.

use std::fmt;
use std::marker::PhantomData;

use pogu_port::slots::Name;

use crate::core::Shared;

/// The name of a session: node, incarnation of the core, worker, slot, and a generation of the slot that never comes twice.
///
/// `Copy` and `Send`: keep it anywhere, send it anywhere. When the session has ended, the name reaches nobody.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    node: u16,
    worker: u16,
    incarnation: u32,
    slot: u32,
    generation: u32,
}

impl SessionId {
    pub(crate) fn new(core: &Shared, worker: usize, name: Name) -> SessionId {
        let worker = u16::try_from(worker).unwrap_or(u16::MAX);
        let Name { slot, generation } = name;
        SessionId { node: core.node(), worker, incarnation: core.incarnation(), slot, generation }
    }

    /// True if the name was given by this core: the same process, the same start.
    pub(crate) fn is_of(self, core: &Shared) -> bool {
        self.node == core.node() && self.incarnation == core.incarnation()
    }

    /// The node (server process) that it was given in; 0 unless the core was configured otherwise.
    pub fn node(self) -> u16 {
        self.node
    }

    /// The worker that the session lives in.
    pub fn worker(self) -> usize {
        usize::from(self.worker)
    }

    pub(crate) fn name(self) -> Name {
        Name { slot: self.slot, generation: self.generation }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.node, self.worker, self.slot, self.generation)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {self}")
    }
}

/// The name of a session whose user's type is `S`. Wherever a [`SessionId`] is asked for, it will do.
pub struct SessionRef<S> {
    id: SessionId,
    session: PhantomData<fn(S)>,
}

impl<S> SessionRef<S> {
    /// Takes the caller's word that the session is an `S`. If it is not, what is posted to it is dropped and counted as
    /// [`Counters::posts_to_gone`](crate::Counters::posts_to_gone). [`Context::reference`](crate::Context::reference) needs
    /// nobody's word.
    pub fn new(id: SessionId) -> SessionRef<S> {
        SessionRef { id, session: PhantomData }
    }

    /// The name without the type.
    pub fn id(self) -> SessionId {
        self.id
    }
}

impl<S> Clone for SessionRef<S> {
    fn clone(&self) -> SessionRef<S> {
        *self
    }
}

impl<S> Copy for SessionRef<S> {}

impl<S> From<SessionRef<S>> for SessionId {
    fn from(session: SessionRef<S>) -> SessionId {
        session.id
    }
}

impl<S> fmt::Debug for SessionRef<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

/// The name of a room. Rooms of one core share one space of names; a room exists while it has members, or while it is
/// [open](crate::Core::open_room).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Room(pub u64);

impl Room {
    /// The worker that orders joins, leaves and broadcasts of this room.
    pub(crate) fn home(self, workers: usize) -> usize {
        // A multiplicative hash spreads consecutive numbers without favouring low bits (Knuth, TAOCP 3, 6.4).
        let spread = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        usize::try_from(spread).unwrap_or(0) % workers.max(1)
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "room {}", self.0)
    }
}
