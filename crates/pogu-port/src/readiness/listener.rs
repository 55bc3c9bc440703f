//! One listener: accepts what is there, pauses when the system has run out of something.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::Socket;

use super::poll::Interest;
use crate::clock::Time;
use crate::error::{Operation, OsError};
use crate::exhaustion::{Shortage, Spare, Verdict};
use crate::identity::Owner;
use crate::stream::{BoundListener, Detached};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) owner: Owner,
    pub(super) bound: BoundListener,
    /// What the poller reports of the socket now.
    pub(super) armed: Interest,
    pub(super) state: Accepting,
    shortage: Shortage,
}

/// What a listener does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Accepting {
    /// Takes clients as they come.
    Open,
    /// Waits for the end of a shortage; not registered with the poller.
    Paused { until: Time },
    /// `ListenerClosed` is on its way to the owner.
    Closing,
}

/// What one attempt to accept came to.
pub(super) enum Attempt {
    Client(Detached),
    /// A client that had gone again: try the next one.
    Skipped,
    Nothing,
    /// The listener is paused now. `begins`: it was not short of anything before. `shed`: one client was told.
    Paused {
        error: OsError,
        begins: bool,
        shed: bool,
    },
}

impl Listener {
    pub(super) fn new(owner: Owner, bound: BoundListener) -> Listener {
        Listener { owner, bound, armed: Interest::NONE, state: Accepting::Open, shortage: Shortage::default() }
    }

    pub(super) fn wanted(&self) -> Interest {
        if self.state == Accepting::Open { Interest::READ } else { Interest::NONE }
    }

    /// Pauses because the listener cannot be watched. Tells whether a shortage begins with it.
    pub(super) fn pause(&mut self, error: OsError, now: Time, pause: Duration) -> bool {
        let (until, begins) = self.shortage.pause(error, now, pause);
        self.state = Accepting::Paused { until };
        begins
    }

    /// Takes one client from the backlog; on a shortage pauses for `pause`.
    pub(super) fn attempt(&mut self, now: Time, pause: Duration, spare: &mut Spare) -> Attempt {
        let error = match accept(&self.bound.socket) {
            Ok(Some((socket, peer))) => {
                self.shortage.over();
                return Attempt::Client(Detached::new(socket, peer));
            }
            Ok(None) => return Attempt::Nothing,
            Err(error) => OsError::from_io(Operation::Accept, &error),
        };
        match self.shortage.judge(error, now, pause) {
            Verdict::Skip => Attempt::Skipped,
            Verdict::Pause { until, begins } => {
                self.state = Accepting::Paused { until };
                let shed = self.shortage.lasts() && spare.lend(|| shed_one(&self.bound.socket));
                Attempt::Paused { error, begins, shed }
            }
        }
    }
}

/// `None` if nobody waits. Never blocks: a bound listener is in non-blocking mode.
fn accept(listener: &Socket) -> std::io::Result<Option<(Socket, Option<SocketAddr>)>> {
    loop {
        return match listener.accept() {
            Ok((socket, peer)) => {
                #[cfg(target_vendor = "apple")]
                rustix::net::sockopt::set_socket_nosigpipe(&socket, true)?;
                Ok(Some((socket, peer.as_socket())))
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        };
    }
}

/// Accepts one client only to reset it.
fn shed_one(listener: &Socket) -> bool {
    match accept(listener) {
        Ok(Some((socket, peer))) => {
            Detached::new(socket, peer).reset();
            true
        }
        _ => false,
    }
}
