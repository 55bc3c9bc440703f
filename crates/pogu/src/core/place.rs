//! A place in a service: what makes the cap real.
//!
//! A place is taken before a connection is handed to its worker and lives with it, through inboxes and stages, until the
//! session has ended or got lost on the way; in a client service that reconnects, until it is not dialled any more. It is a
//! value that gives itself back when it is dropped, so that no path can forget it.

use std::fmt;
use std::sync::Arc;

use pogu_port::Time;

use crate::addresses::AddressSeat;
use crate::service::Running;
use crate::sync::Ordering;

/// See the [module](self).
pub(crate) struct Place {
    running: Arc<Running>,
    worker: u16,
    /// What most places have no need of: every session carries its place.
    more: Option<Box<More>>,
}

#[derive(Default)]
struct More {
    /// Counts the connection with its address, where that is limited.
    address: Option<Box<AddressSeat>>,
    dialling: Dialling,
}

/// How far a place of a client service has come with being dialled.
#[derive(Clone, Copy, Default)]
pub(crate) struct Dialling {
    /// The address of its name that is tried next.
    pub(crate) next_address: u16,
    /// Attempts in a row to bring it back without a useful message.
    pub(crate) attempts: u32,
    /// When the latest of those attempts was due, whenever it began.
    pub(crate) due: Time,
}

impl Place {
    /// Takes a place on the worker with the fewest sessions. `None` if the service is full or no worker is left.
    pub(crate) fn take(running: &Arc<Running>) -> Option<Place> {
        let maximum = running.limits().sessions_max.get();
        let one_more = |sessions| (sessions < maximum).then_some(sessions + 1);
        running.sessions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        let Some(worker) = running.shared.place() else {
            running.sessions.fetch_sub(1, Ordering::Relaxed);
            return None;
        };
        Some(Place { running: Arc::clone(running), worker, more: None })
    }

    pub(crate) fn running(&self) -> &Arc<Running> {
        &self.running
    }

    /// Gives the place back, but not the count at the address.
    pub(crate) fn give_up(mut self) -> Option<Box<AddressSeat>> {
        self.more.as_mut()?.address.take()
    }

    /// Lets the connection's count at its address live as long as the place.
    pub(crate) fn count_at(&mut self, address: Option<Box<AddressSeat>>) {
        if address.is_some() || self.more.is_some() {
            self.more.get_or_insert_default().address = address;
        }
    }

    pub(crate) fn dialling(&self) -> Dialling {
        self.more.as_ref().map(|more| more.dialling).unwrap_or_default()
    }

    pub(crate) fn dialling_mut(&mut self) -> &mut Dialling {
        &mut self.more.get_or_insert_default().dialling
    }

    pub(crate) fn worker(&self) -> usize {
        usize::from(self.worker)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.sessions.fetch_sub(1, Ordering::Relaxed);
        self.running.shared.unplace(self.worker());
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("worker", &self.worker).finish_non_exhaustive()
    }
}
