//! What travels through the simulated kernel with every operation and comes back with its completion: the kind of the
//! operation, and the name of what it belongs to.

use crate::slots::Name;

/// The kind of an operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::sim) enum Kind {
    Connect,
    Send,
    Receive,
    Accept,
}

/// See the [module](self).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::sim) struct Token {
    pub(in crate::sim) kind: Kind,
    pub(in crate::sim) name: Name,
    /// The request to cancel that operation, rather than the operation.
    pub(in crate::sim) cancels: bool,
}

impl Token {
    pub(in crate::sim) const fn new(kind: Kind, name: Name) -> Token {
        Token { kind, name, cancels: false }
    }
}
