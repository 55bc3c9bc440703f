//! One listener. Accepting cannot fail here so far.

use super::socket::ListeningSocket;
use crate::identity::Owner;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) owner: Owner,
    pub(super) socket: ListeningSocket,
    pub(super) state: Accepting,
}

/// What a listener does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Accepting {
    /// Takes clients as they come.
    Open,
    /// `ListenerClosed` is on its way to the owner.
    Closing,
}

impl Listener {
    pub(super) fn new(owner: Owner, socket: ListeningSocket) -> Listener {
        Listener { owner, socket, state: Accepting::Open }
    }
}
