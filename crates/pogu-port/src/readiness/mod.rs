//! The readiness driver: completions made from readiness (epoll, kqueue).
//!
//! The kernel says when a socket *can* be used, the driver uses it and words the result as a completion. It is what runs
//! where io_uring is refused, and on systems that have no such thing. Its alternatives were an edge-triggered poller,
//! which needs a last read that finds nothing before every wait, and one-shot registrations, which need a system call per
//! event; level-triggered, a short read is the last, whatever a budget leaves over is reported again, and a registration
//! changes only when what is wanted changes.
//!
//! ```text
//!   submit call --- tries at once ---> pending completions ---+
//!                                                             v
//!   poller ---- event ----> read / accept / continue send --> turn --> callback
//!                                 |                            ^
//!                                 +--- kept bytes (leftovers) -+
//! ```
//!
//! **Nothing is ever in flight in the kernel**: it is given memory only for the length of a system call. So cancelling
//! is immediate, and dropping the driver closes everything without a wait.

mod connection;
mod delivery;
mod listener;
mod pending;
mod poll;
mod submit;
mod table;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use polling::{Events, Poller};

use self::delivery::Delivery;
use self::poll::{Poll, Waker, reported};
use self::table::Table;
use crate::clock::Time;
use crate::driver::{Driver, Sink, Submit};
use crate::error::{Operation, OsError};
use crate::options::PortConfig;
use crate::post::Wake;

/// The poller and the configuration: what a driver is made of, on whatever thread it is to run.
pub(crate) struct Seed {
    poller: Arc<Poller>,
    config: PortConfig,
}

impl Seed {
    pub(crate) fn open(config: &PortConfig) -> Result<Seed, OsError> {
        let poller = Poller::new().map_err(|error: io::Error| OsError::from_io(Operation::OpenPort, &error))?;
        Ok(Seed { poller: Arc::new(poller), config: config.clone() })
    }

    pub(crate) fn waker(&self) -> Arc<dyn Wake> {
        Arc::new(Waker(Arc::clone(&self.poller)))
    }

    pub(crate) fn start(self) -> Result<Readiness, OsError> {
        let table = Table::new(&self.config, Poll::new(self.poller, self.config.faults()));
        let delivery = Delivery::new(&self.config, table)
            .map_err(|error: io::Error| OsError::from_io(Operation::OpenPort, &error))?;
        let latency_budget = self.config.latency_budget;
        Ok(Readiness { delivery, events: Events::new(), polled: false, latency_budget, is_full: false })
    }
}

/// See the [module](self).
pub(crate) struct Readiness {
    delivery: Delivery,
    events: Events,
    /// True exactly when the last turn asked the poller.
    polled: bool,
    latency_budget: Duration,
    /// The last look found as much as it has room for: the rest has waited already.
    is_full: bool,
}

impl Readiness {
    /// Asks the poller, sleeping if there is nothing to deliver. A turn that has completions in hand asks only if the last
    /// one did not, so that completions that need no poller cost no system call, and cannot hide what is ready either.
    fn wait(&mut self, until: Option<Time>, park: &dyn Fn() -> bool) -> Result<(), OsError> {
        let table = &mut self.delivery.table;
        self.events.clear();
        self.polled = !self.polled || table.pending.is_empty();
        if self.polled {
            let timeout = if self.delivery.has_work() { Some(Duration::ZERO) } else { self.gather(until, park) };
            let table = &mut self.delivery.table;
            table.counters.waits += 1;
            let waited = table.poll.wait(&mut self.events, timeout);
            table.now = table.clock.now();
            self.is_full = self.events.len() >= self.events.capacity().get();
            return waited;
        }
        table.now = table.clock.now();
        Ok(())
    }

    /// Waits for company, without a look: a poller knows nothing but the first event. How long to sleep then.
    fn gather(&mut self, until: Option<Time>, park: &dyn Fn() -> bool) -> Option<Duration> {
        let timeout = self.timeout(until, park);
        let budget = timeout.map_or(self.latency_budget, |timeout| timeout.min(self.latency_budget));
        if budget.is_zero() || self.is_full {
            return timeout;
        }
        self.delivery.table.counters.waits += 1;
        std::thread::park_timeout(budget);
        self.timeout(until, park)
    }

    /// How long to sleep; `None`: until something happens.
    fn timeout(&mut self, until: Option<Time>, park: &dyn Fn() -> bool) -> Option<Duration> {
        let table = &mut self.delivery.table;
        let until = match (until, table.next_retry()) {
            (Some(until), Some(retry)) => Some(until.min(retry)),
            (until, retry) => until.or(retry),
        };
        let timeout = until.map(|until| until.since(table.clock.now()));
        if timeout == Some(Duration::ZERO) || !park() { Some(Duration::ZERO) } else { timeout }
    }
}

impl<M> Driver<M> for Readiness {
    fn turn(&mut self, until: Option<Time>, park: &dyn Fn() -> bool, sink: &mut Sink<'_, M>) -> Result<usize, OsError> {
        self.delivery.table.counters.turns += 1;
        self.delivery.delivered = 0;
        // What a callback of this turn leaves over waits for the next one.
        let leftovers = self.delivery.table.leftovers.len();
        self.wait(until, park)?;
        self.delivery.table.end_pauses();
        for (name, ready) in self.events.iter().map(reported) {
            self.delivery.event(name, ready, sink);
        }
        self.delivery.deliver_kept(leftovers, sink);
        self.delivery.deliver_pending(sink);
        Ok(self.delivery.delivered)
    }

    fn submit(&mut self) -> &mut dyn Submit {
        &mut self.delivery.table
    }
}
