//! One listener: accepts what is there, pauses when the system has run out of something.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::Socket;

use super::poll::Interest;
use super::table::{Table, Thing};
use crate::clock::Time;
use crate::codes;
use crate::error::{Operation, OsError};
use crate::exhaustion::{Shortage, Spare, Verdict};
use crate::faults::{FaultPoint, Faults};
use crate::identity::{Name, Owner};
use crate::stream::{Detached, SystemListener};

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) owner: Owner,
    pub(super) bound: SystemListener,
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
    Paused(Pause),
}

/// The listener is paused now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    pub(super) error: OsError,
    /// It was not short of anything before.
    pub(super) begins: bool,
    /// One client was told.
    pub(super) shed: bool,
}

impl Listener {
    pub(super) fn new(owner: Owner, bound: SystemListener) -> Listener {
        Listener { owner, bound, armed: Interest::NONE, state: Accepting::Open, shortage: Shortage::default() }
    }

    pub(super) fn wanted(&self) -> Interest {
        if self.state == Accepting::Open { Interest::READ } else { Interest::NONE }
    }

    /// Pauses because the listener cannot be watched.
    pub(super) fn pause(&mut self, error: OsError, now: Time, pause: Duration) -> Pause {
        let (until, begins) = self.shortage.pause(error, now, pause);
        self.state = Accepting::Paused { until };
        Pause { error, begins, shed: false }
    }

    /// Takes one client from the backlog; on a shortage pauses for `pause`.
    pub(super) fn attempt(&mut self, now: Time, pause: Duration, spare: &mut Spare, faults: &Faults) -> Attempt {
        let error = match attempt_to_accept(&self.bound.socket, faults) {
            Ok((socket, peer)) => {
                self.shortage.over();
                return Attempt::Client(self.bound.accepted(socket, peer));
            }
            Err(error) => OsError::from_io(Operation::Accept, &error),
        };
        match self.failed(error, now, pause) {
            Some(mut paused) => {
                paused.shed = self.shortage.lasts() && spare.lend(|| shed_one(&self.bound.socket));
                Attempt::Paused(paused)
            }
            None if is_would_block(error) => Attempt::Nothing,
            None => Attempt::Skipped,
        }
    }

    /// Judges a failure. `None`: the next try may follow at once.
    fn failed(&mut self, error: OsError, now: Time, pause: Duration) -> Option<Pause> {
        match self.shortage.judge(error, now, pause) {
            Verdict::Skip => None,
            Verdict::Pause { until, begins } => {
                self.state = Accepting::Paused { until };
                Some(Pause { error, begins, shed: false })
            }
        }
    }
}

impl Table {
    /// When the next listener's pause ends.
    pub(super) fn next_retry(&mut self) -> Option<Time> {
        let things = &self.things;
        let until = |name: &Name| match things.get(*name) {
            Some(Thing::Listener(listener)) => match listener.state {
                Accepting::Paused { until } => Some(until),
                Accepting::Open | Accepting::Closing => None,
            },
            _ => None,
        };
        self.paused.iter().filter_map(until).min()
    }

    /// Watches the listeners again whose pause is over.
    pub(super) fn end_pauses(&mut self) {
        let now = self.now;
        for name in std::mem::take(&mut self.paused) {
            let Some(listener) = self.listener(name) else { continue };
            match listener.state {
                Accepting::Paused { until } if until > now => self.paused.push(name),
                Accepting::Paused { .. } => {
                    listener.state = Accepting::Open;
                    self.arm(name);
                }
                Accepting::Open | Accepting::Closing => {}
            }
        }
    }
}

/// Never blocks: a bound listener is in non-blocking mode.
fn accept(listener: &Socket) -> io::Result<(Socket, Option<SocketAddr>)> {
    let (socket, peer) = listener.accept()?;
    #[cfg(target_vendor = "apple")]
    rustix::net::sockopt::set_socket_nosigpipe(&socket, true)?;
    Ok((socket, peer.as_socket()))
}

fn attempt_to_accept(listener: &Socket, faults: &Faults) -> io::Result<(Socket, Option<SocketAddr>)> {
    if let Some(code) = faults.at_call(FaultPoint::Accept) {
        return Err(io::Error::from_raw_os_error(code));
    }
    let accepted = accept(listener)?;
    match faults.at_result(FaultPoint::Accept) {
        Some(code) => Err(io::Error::from_raw_os_error(code)),
        None => Ok(accepted),
    }
}

/// Nobody waits.
fn is_would_block(error: OsError) -> bool {
    codes::WOULD_BLOCK.contains(&error.code())
}

/// Accepts one client only to reset it.
fn shed_one(listener: &Socket) -> bool {
    match accept(listener) {
        Ok((socket, peer)) => {
            Detached::new(socket, peer).reset();
            true
        }
        Err(_) => false,
    }
}
