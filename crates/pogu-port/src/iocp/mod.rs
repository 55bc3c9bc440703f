//! The iocp driver: true completions, of a Windows I/O completion port.
//!
//! A port per worker, with one thread that waits on it. Everything that can wait does so as an overlapped operation: a *receive
//! of no bytes* while a connection idles, which pins no memory ([`receive`]); one gather send per connection ([`send`]); some
//! tens of accepts per listener ([`listener`]); a connect. Bytes are then read without waiting, within a turn's budget, into
//! the one buffer of the port ([`delivery`]). The alternatives were receives with a buffer each, which pin pages for every
//! idle session, and readiness through the AFD device, which is not documented.
//!
//! ```text
//!   Port thread                                            system
//!   Table: connections, listeners  -- calls ------------>  operations in flight
//!     | each operation owns its memory ([`operation`])       | each named by its OVERLAPPED
//!     | pending: what a call completed by itself             v
//!     v                                                    packets
//!   callback <-- Lent, completions --  turn <-- events --  [`queue`]
//! ```
//!
//! **Invariant.** Memory that an operation points to is owned by its connection or listener, and is freed only after the
//! operation's packet has been handled: everything is published before the call, nothing is touched after it, and a connection
//! leaves the table, and its socket is closed, only when the system holds nothing of it. The table itself is freed only when
//! nothing is in flight; if the system does not give everything back in time, it is leaked and reported. Closing a completion
//! port cancels nothing.
//!
//! **One way to end.** Skip-on-success is not used: a call that succeeds at once queues its packet like any other. One that
//! fails at once queues none, and is worded through [`pending`], never inside the submit call.
//!
//! **Association** is made when a stream is adopted, and for life: an accepted stream belongs to no port, and can be adopted
//! by any, once. `detach` is refused.
//!
//! # Time
//!
//! GetQueuedCompletionStatusEx takes whole milliseconds, and its waits end with a tick of the system's timer: every 15.6 ms, or
//! every millisecond while somebody asks for that (timeBeginPeriod), as every port does while it lives. Waits are rounded up,
//! and one that ends early is followed by another, so that a turn is never early. Under Wine 8 on an idle machine waits of 1, 2 and
//! 10 ms are late by 0.07 ms at the median and 0.1 to 0.25 ms at the 99th percentile; on Windows a wait may be late by one period
//! of the timer, which is a millisecond then, and by 15.6 ms if the system does not grant that.
//!
//! # What Wine answers otherwise
//!
//! It has been run under Wine 8 only. What the documentation of Windows says otherwise is handled as well:
//!
//! | what | Windows | Wine 8 | here |
//! |---|---|---|---|
//! | a receive after a reset | WSAECONNRESET | an end of the stream, if the server has seen the reset first | at an end no bytes are sent, which fails after a reset |
//! | closesocket with a receive in flight | 995 or 64 | status 0x8000000A | never done; counts as cancelled |
//! | a connect that is refused | after 2 s of tries | at once | the same |
//! | the status of a refused connect | STATUS_CONNECTION_REFUSED (1225) | the same | one code: WSAECONNREFUSED |
//! | AcceptEx, ConnectEx that succeed at once | may | always pending | the same |
//! | the flags of a receive | captured | written when it completes | they lie in the operation |
//! | names before SO_UPDATE_*_CONTEXT | unknown | known | it is always set; its lack would not be noticed |
//! | a client that reset in the backlog | STATUS_NETWORK_NAME_DELETED | an accepted socket that is reset | the accept, or its stream, fails |
//! | an overlapped send that the socket has no room for | takes all, later | takes all, later | nothing is short |
//! | memory of a call that is not accessible | WSAEFAULT | WSAEFAULT | counted |
//! | closing a port that somebody waits on | ends the wait | does not | the waiting thread is the one that closes |
//!
//! The statuses of packets are mapped by [`status`].
//!
//! # Guarded memory
//!
//! | what is made inaccessible | Wine 8 | Windows, by its documentation |
//! |---|---|---|
//! | memory of a receive or send before its call | WSAEFAULT at once, no packet | the same |
//! | the buffer of a send in flight | its packet says STATUS_ACCESS_VIOLATION | pages may be locked by the call: nothing |
//! | the OVERLAPPED of an operation in flight, with what lies beside it | the end of the process and of Wine's server | the end of the process, when we read the token |
//!
//! So what is sent and what is received into is guarded and counted as WSAEFAULT; operations lie on guarded pages too, where a
//! use after release ends the process instead of being silent. A release that comes too early is planted by tests in receives
//! and sends only: the addresses of accepts and connects lie beside their OVERLAPPED.

mod connection;
mod delivery;
mod listener;
mod operation;
mod pending;
#[cfg(test)]
mod probe;
mod queue;
mod receive;
mod retry;
mod send;
mod status;
mod submit;
mod table;
#[cfg(test)]
mod tests;
mod timer;
mod wake;
mod winsock;

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::Duration;

use self::delivery::Delivery;
use self::queue::{CompletionPort, Event, PACKETS_MAX, Queue, WAIT_MAX};
use self::table::Table;
use self::timer::FineTimer;
use self::wake::Waker;
use self::winsock::Winsock;
pub(crate) use self::winsock::set_exclusive_address_use;
use crate::clock::Time;
use crate::completion::Completion;
use crate::driver::{Driver, Operations, Sink, Submit};
use crate::error::{Operation, OsError};
use crate::options::PortConfig;
use crate::post::Wake;

/// A completion port that no thread waits on yet. Nothing is associated, nothing in flight.
pub(crate) struct Seed {
    port: Arc<CompletionPort>,
    winsock: Winsock,
    config: PortConfig,
}

impl Seed {
    pub(crate) fn open(config: &PortConfig) -> Result<Seed, OsError> {
        let failed = |error: io::Error| OsError::from_io(Operation::OpenPort, &error);
        let winsock = Winsock::start().map_err(failed)?;
        let port = Arc::new(CompletionPort::open().map_err(failed)?);
        Ok(Seed { port, winsock, config: config.clone() })
    }

    pub(crate) fn waker(&self) -> Arc<dyn Wake> {
        Arc::new(Waker { port: Arc::clone(&self.port), faults: self.config.faults() })
    }

    /// The calling thread is the one that will dispatch: the system cancels what a thread has started when the thread ends.
    pub(crate) fn start(self) -> Result<Iocp, OsError> {
        let Seed { port, winsock, config } = self;
        let table = Table::new(&config, Queue::new(port, config.faults()), winsock);
        let delivery = Delivery::new(&config, table).map_err(|error| OsError::from_io(Operation::OpenPort, &error))?;
        Ok(Iocp {
            delivery: ManuallyDrop::new(delivery),
            events: VecDeque::new(),
            drain_timeout: config.drain_timeout,
            latency_budget: config.latency_budget,
            is_full: false,
            _timer: FineTimer::begin(),
        })
    }
}

/// See the [module](self).
pub(crate) struct Iocp {
    /// Dropped by hand: only when the system has given everything back.
    delivery: ManuallyDrop<Delivery>,
    /// Completions taken out of the queue and not handled yet.
    events: VecDeque<Event>,
    drain_timeout: Duration,
    latency_budget: Duration,
    /// The last look found as much as it has room for: the rest has waited already.
    is_full: bool,
    _timer: FineTimer,
}

impl Iocp {
    fn take_turn<M>(
        &mut self,
        until: Option<Time>,
        park: &dyn Fn() -> bool,
        sink: &mut Sink<'_, M>,
    ) -> Result<usize, OsError> {
        self.delivery.begin();
        let table = &mut self.delivery.table;
        table.counters.turns += 1;
        // What a callback of this turn leaves over waits for the next one.
        let (readable, leftovers) = (table.readable.len(), table.leftovers.len());
        self.wait(until, park)?;
        self.delivery.table.end_pauses();
        self.delivery.table.retry();
        self.delivery.read_on(readable, sink);
        for _ in 0..self.events.len() {
            let Some(event) = self.events.pop_front() else { break };
            self.delivery.event(event, sink);
        }
        self.delivery.deliver_kept(leftovers, sink);
        self.delivery.deliver_pending(sink);
        Ok(self.delivery.delivered)
    }

    /// Takes out what has completed, waiting if there is nothing to deliver. A wait that ended early, by the system's tick or by
    /// its bound, is followed by another: `park` looks at the inbox before each.
    fn wait(&mut self, until: Option<Time>, park: &dyn Fn() -> bool) -> Result<(), OsError> {
        self.gather(until, park);
        loop {
            let wait = self.how_long(until, park);
            let table = &mut self.delivery.table;
            table.counters.waits += 1;
            let woken = table.queue.wait(wait, &mut self.events);
            table.now = table.clock.now();
            self.is_full = self.events.len() >= PACKETS_MAX;
            if woken? || wait.is_zero() {
                return Ok(());
            }
        }
    }

    /// Waits for company, without a look: the queue knows nothing but the first packet.
    fn gather(&mut self, until: Option<Time>, park: &dyn Fn() -> bool) {
        if self.latency_budget.is_zero() || self.is_full {
            return;
        }
        let budget = self.how_long(until, park).min(self.latency_budget);
        if !budget.is_zero() {
            self.delivery.table.counters.waits += 1;
            std::thread::park_timeout(budget);
        }
    }

    fn how_long(&self, until: Option<Time>, park: &dyn Fn() -> bool) -> Duration {
        if self.delivery.has_work() || !self.events.is_empty() {
            return Duration::ZERO;
        }
        let table = &self.delivery.table;
        let earliest = [until, table.next_retry(), table.retries.next()].into_iter().flatten().min();
        let wait = earliest.map_or(WAIT_MAX, |time| time.since(table.clock.now()).min(WAIT_MAX));
        if wait.is_zero() || !park() { Duration::ZERO } else { wait }
    }

    /// Ends everything and waits until the system has given everything back. False if it has not in time.
    fn drain(&mut self) -> bool {
        let deadline = self.delivery.table.clock.now() + self.drain_timeout;
        self.delivery.table.end_all();
        self.latency_budget = Duration::ZERO;
        while !self.is_drained() {
            let now = self.delivery.table.clock.now();
            if now >= deadline {
                return false;
            }
            let until = deadline.min(now + DRAIN_STEP);
            let before = self.delivery.table.in_flight;
            let ignore = &mut |_: &mut Operations<'_>, _: Completion<'_, ()>| {};
            if self.take_turn(Some(until), &|| true, ignore).is_err() {
                // The system may take it back; the deadline bounds how often it is asked.
                std::thread::park_timeout(DRAIN_RETRY);
            } else if self.delivery.table.in_flight >= before && self.delivery.table.now >= until {
                self.delivery.table.end_all();
            }
        }
        true
    }

    fn is_drained(&self) -> bool {
        self.delivery.table.in_flight == 0 && self.delivery.table.things.is_empty()
    }
}

/// How long draining goes without progress before it asks the system once more.
const DRAIN_STEP: Duration = Duration::from_millis(100);

/// How long draining lets a system rest that refuses to wait.
const DRAIN_RETRY: Duration = Duration::from_millis(1);

impl<M> Driver<M> for Iocp {
    fn turn(&mut self, until: Option<Time>, park: &dyn Fn() -> bool, sink: &mut Sink<'_, M>) -> Result<usize, OsError> {
        self.take_turn(until, park, sink)
    }

    fn submit(&mut self) -> &mut dyn Submit {
        &mut self.delivery.table
    }
}

impl Drop for Iocp {
    fn drop(&mut self) {
        let drained = self.drain();
        let table = &self.delivery.table;
        let in_flight = table.in_flight;
        table.faults.note_drain(in_flight, table.counters.memory_faults, Some(0));
        if !drained {
            tracing::error!(in_flight, "a port could not be drained; what is in flight is leaked");
            return;
        }
        assert_eq!(in_flight, 0, "memory that the system may touch is never freed");
        // SAFETY: dropped once, here, and not used afterwards; nothing is in flight.
        unsafe { ManuallyDrop::drop(&mut self.delivery) };
    }
}
