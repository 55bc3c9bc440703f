//! The system's poller, spoken to in names.
//!
//! Registrations are level-triggered and lazy: a socket is known to the poller only while something is wanted of it,
//! and what is wanted is changed with a system call only if it differs. A poller reports hang-ups and errors even of a
//! socket that nothing is wanted of, again and again; such a socket is taken out, so that it cannot spin the wait.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use polling::{Event, Events, PollMode, Poller};
use socket2::Socket;

use crate::error::{Operation, OsError};
use crate::faults::{FaultPoint, Faults};
use crate::identity::Name;
use crate::post::Wake;

// A key holds a slot and a generation, and never equals the poller's reserved key, whose generation would be 2^32 - 1.
const _: () = assert!(usize::BITS == 64, "the readiness driver keys the poller with 64 bits");

/// What is wanted of a socket, or reported of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Interest {
    pub(super) read: bool,
    pub(super) write: bool,
}

impl Interest {
    /// Nothing; such a socket is not registered.
    pub(super) const NONE: Interest = Interest { read: false, write: false };
    pub(super) const READ: Interest = Interest { read: true, write: false };
}

/// See the [module](self).
pub(super) struct Poll {
    poller: Arc<Poller>,
    faults: Faults,
}

impl Poll {
    pub(super) fn new(poller: Arc<Poller>, faults: Faults) -> Poll {
        Poll { poller, faults }
    }

    /// Makes the poller report exactly `wanted` of `socket`. `armed` is what it reports so far.
    pub(super) fn arm(
        &self,
        socket: &Socket,
        name: Name,
        armed: &mut Interest,
        wanted: Interest,
    ) -> Result<(), OsError> {
        if *armed == wanted {
            return Ok(());
        }
        let event = Event::new(key_of(name), wanted.read, wanted.write);
        let fault = if wanted == Interest::NONE { None } else { self.faults.at_call(FaultPoint::Arm) };
        let changed = if let Some(code) = fault {
            Err(io::Error::from_raw_os_error(code))
        } else if wanted == Interest::NONE {
            self.poller.delete(socket)
        } else if *armed == Interest::NONE {
            self.add(socket, event)
        } else {
            self.poller.modify_with_mode(socket, event, PollMode::Level)
        };
        changed.map_err(|error| OsError::from_io(Operation::Dispatch, &error))?;
        *armed = wanted;
        Ok(())
    }

    fn add(&self, socket: &Socket, event: Event) -> io::Result<()> {
        // SAFETY: the descriptor is open, for `socket` is borrowed. It is deleted from the poller before it is closed:
        // every registered socket is owned by a slot of the driver's table, and slots are emptied only by
        // `Table::remove`, which calls `forget` first.
        unsafe { self.poller.add_with_mode(socket, event, PollMode::Level) }
    }

    /// Takes `socket` out before it is closed or handed on.
    pub(super) fn forget(&self, socket: &Socket, armed: Interest) {
        if armed != Interest::NONE {
            // It can fail only for a descriptor that is not registered, and then it is forgotten already.
            let _ = self.poller.delete(socket);
        }
    }

    /// Waits until something is ready, somebody wakes, or `timeout` is over (`None`: without an end).
    pub(super) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> Result<(), OsError> {
        events.clear();
        let waited = match self.faults.at_call(FaultPoint::Wait) {
            Some(code) => Err(io::Error::from_raw_os_error(code)),
            None => self.poller.wait(events, timeout),
        };
        let waited = match self.faults.at_result(FaultPoint::Wait) {
            Some(code) => waited.and(Err(io::Error::from_raw_os_error(code))),
            None => waited,
        };
        match waited {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(OsError::from_io(Operation::Dispatch, &error)),
        }
    }
}

/// Which socket an event is about, and what is reported of it.
pub(super) fn reported(event: Event) -> (Name, Interest) {
    // The halves of the key: both casts keep exactly the bits that `key_of` put there.
    let name = Name { slot: event.key as u32, generation: (event.key >> 32) as u32 };
    (name, Interest { read: event.readable, write: event.writable })
}

fn key_of(name: Name) -> usize {
    (name.generation as usize) << 32 | name.slot as usize
}

/// Wakes through the poller's own notification, which is remembered if nobody waits.
pub(super) struct Waker(pub(super) Arc<Poller>);

impl Wake for Waker {
    fn wake(&self) {
        if let Err(error) = self.0.notify() {
            tracing::error!(%error, "a sleeping port could not be woken");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_carries_slot_and_generation() {
        for name in [Name { slot: 0, generation: 1 }, Name { slot: u32::MAX - 2, generation: (1 << 24) - 1 }] {
            let event = Event::readable(key_of(name));
            assert_eq!(reported(event), (name, Interest::READ));
        }
    }
}
