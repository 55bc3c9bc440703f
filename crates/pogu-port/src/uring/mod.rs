//! The io_uring driver: true completions.
//!
//! A ring per port, bound to the thread that dispatches. Receives are multishot, into buffers that the kernel picks when
//! data has come ([`buffers`]); sends are one operation per connection that owns its gather ([`send`]); accepts are a
//! bounded number of one-shot operations per listener ([`listener`]). Everything that a submit call starts goes through one
//! queue that never loses an entry ([`ring`]), and a [`turn`] enters the kernel once. What a
//! socket does not take at once waits beside the ring ([`writable`]).
//!
//! ```text
//!   Port thread                                       kernel
//!   Table: connections, listeners  -- entries -->     operations in flight
//!     | each operation owns its memory                  | each carries kind, generation, slot
//!     v                                                 v
//!   callback <-- Due, Lent --  turn  <-- events --    completions
//! ```
//!
//! **Invariant.** Memory that an operation points to is owned by its connection or listener, or by the table, and is freed
//! only after the operation's last completion: a connection leaves the table only when the kernel holds nothing of it. The
//! table itself is freed only when nothing is in flight; if the kernel does not give everything back in time, it is leaked
//! and reported. Closing a ring does not help there: the kernel tears it down later, in the background.
//!
//! Which forms of these operations the kernel knows is [probed](probe()) at start; each has an older one that is used where it
//! is refused.

#[cfg(feature = "faults")]
mod account;
mod buffers;
mod connection;
mod due;
mod features;
mod inject;
mod listener;
#[cfg(feature = "masks")]
mod masks;
mod probe;
mod receive;
mod ring;
mod send;
mod submit;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod turn;
mod wake;
mod writable;

use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use buffers::Buffers;
pub(crate) use features::Features;
pub(crate) use probe::probe;
use ring::{Gathering, Ring};
use table::Table;
pub(crate) use turn::Uring;
use wake::WakeEvent;
use writable::Writable;

use crate::clock::Time;
use crate::completion::Completion;
use crate::driver::{Driver, Operations, Sink, Submit};
use crate::error::{Operation, OsError};
use crate::options::PortConfig;
use crate::post::Wake;

/// A ring that no thread has taken yet. Nothing is in flight.
pub(crate) struct Seed {
    ring: Ring,
    buffers: Buffers,
    wake: Arc<WakeEvent>,
    writable: Writable,
    config: PortConfig,
    features: Features,
}

impl Seed {
    /// Reserves ring, receive buffers and wake-up.
    pub(crate) fn open(config: &PortConfig, features: Features) -> Result<Seed, OsError> {
        let failed = |error: std::io::Error| OsError::from_io(Operation::OpenPort, &error);
        let ring = Ring::open(config.submission_entries, config.completion_entries, &features, config.faults())
            .map_err(failed)?;
        let PortConfig { receive_buffers, receive_buffer_bytes, guarded, .. } = *config;
        let buffers = Buffers::register(ring.io(), receive_buffers, receive_buffer_bytes, guarded, config.faults())
            .map_err(failed)?;
        let wake = WakeEvent::open()?;
        let writable = Writable::open()?;
        Ok(Seed { ring, buffers, wake, writable, config: config.clone(), features })
    }

    pub(crate) fn waker(&self) -> Arc<dyn Wake> {
        Arc::clone(&self.wake) as Arc<dyn Wake>
    }

    /// Binds the ring to the calling thread.
    pub(crate) fn start(self) -> Result<Uring, OsError> {
        let Seed { mut ring, buffers, wake, writable, config, features } = self;
        ring.enable().map_err(|error| OsError::from_io(Operation::OpenPort, &error))?;
        let mut table = Table::new(&config, &features, ring, wake, writable);
        table.arm_wake();
        Ok(Uring {
            table: ManuallyDrop::new(table),
            buffers: ManuallyDrop::new(buffers),
            events: VecDeque::new(),
            short_of_buffers: false,
            broke_off: false,
            clock: config.clock,
            drain_timeout: config.drain_timeout,
            gathering: Gathering {
                budget: config.latency_budget,
                completions_max: (u32::from(config.receive_buffers).min(config.completion_entries) / 2).max(1),
            },
            delivered: 0,
        })
    }
}

impl<M> Driver<M> for Uring {
    fn turn(&mut self, until: Option<Time>, park: &dyn Fn() -> bool, sink: &mut Sink<'_, M>) -> Result<usize, OsError> {
        self.take_turn(until, park, sink)
    }

    fn submit(&mut self) -> &mut dyn Submit {
        &mut *self.table
    }
}

/// How long draining goes without progress before it asks the kernel for everything at once.
const DRAIN_STEP: Duration = Duration::from_millis(100);

/// How long draining lets a kernel rest that refuses to wait.
const DRAIN_RETRY: Duration = Duration::from_millis(1);

impl Uring {
    /// Ends everything and waits until the kernel has given everything back. False if it has not in time.
    ///
    /// The operations are cancelled one by one: a cancel of everything looks at each operation for each that it finds.
    fn drain(&mut self) -> bool {
        let deadline = self.clock.now() + self.drain_timeout;
        self.table.draining = true;
        self.gathering.budget = Duration::ZERO;
        self.table.end_all();
        self.table.cancel_waits();
        while !self.is_drained() && self.clock.now() < deadline {
            let before = self.table.ring.in_flight();
            let until = deadline.min(self.clock.now() + DRAIN_STEP);
            let ignore = &mut |_: &mut Operations<'_>, _: Completion<'_, ()>| {};
            if self.take_turn(Some(until), &|| true, ignore).is_err() {
                // The kernel may take it back; the deadline bounds how often it is asked.
                std::thread::park_timeout(DRAIN_RETRY);
            }
            if self.table.ring.in_flight() >= before && self.clock.now() >= until {
                self.table.push_cancel_all();
            }
        }
        self.is_drained()
    }

    fn is_drained(&self) -> bool {
        self.in_flight() == 0 && self.table.things() == 0
    }

    /// Only tests ask.
    #[cfg(not(feature = "faults"))]
    const fn lost_buffers(&self) -> Option<usize> {
        Some(0)
    }

    /// Operations whose last completion has not come, by both counts: the ring's and the table's.
    fn in_flight(&self) -> usize {
        self.table.ring.in_flight().max(self.table.in_flight)
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        let drained = self.drain();
        let in_flight = self.in_flight();
        let lost_buffers = if drained { self.lost_buffers() } else { Some(0) };
        self.table.ring.injector.faults.note_drain(in_flight, self.table.counters.memory_faults, lost_buffers);
        if !drained {
            tracing::error!(in_flight, "a port could not be drained; what is in flight is leaked");
            return;
        }
        assert_eq!(in_flight, 0, "memory that the kernel may touch is never freed");
        // SAFETY: dropped once, here, and not used afterwards; the ring goes first, and nothing is in flight.
        unsafe { ManuallyDrop::drop(&mut self.table) };
        // SAFETY: as above; the kernel writes to no buffer any more.
        unsafe { ManuallyDrop::drop(&mut self.buffers) };
    }
}
