//! A worker: a port, the sessions that live on it, and the turn.
//!
//! ```text
//!   dispatch: completions -> handlers -> inbox -> own messages -> timers -> flush -> publish counters
//! ```
//!
//! Everything of a session lives here and is touched by this thread only. A turn handles whatever has come, and then
//! sends to every session that has something queued with one gather send: replies produced while handling a burst leave
//! together.

mod admission;
mod backlog;
mod blocks;
mod carrier;
mod caught;
mod deadlines;
mod dial;
mod dialling;
mod ending;
mod fan_out;
mod handlers_on_pool;
mod handling;
mod inbox;
mod log_gate;
mod mail;
mod room_home;
mod rooms;
mod roster;
mod saying;
mod send_queue;
mod sending;
mod service_orders;
mod spares;
mod timers;
mod timing;
mod vigil;
mod wheel;
mod windows;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pogu_port::slots::{Name, Slots};
use pogu_port::{
    Completion, Counters as PortCounters, Gather, ListenerId, Operations, Owner, Port, PortSeed, Random, Time,
};

use crate::core::{Presence, Shared, Voice};
use crate::counters::{Counters, Ledger};
use crate::error::{Error, Result};
use crate::identity::SessionId;
use crate::jobs::{give_up, move_on};
use crate::keyed::NumberKey;
use crate::message::Message;
use crate::progress::Marker;
use crate::service::Running;

pub(crate) use carrier::{Carrier, NEVER, Stage, Step, Unfinished};
pub(crate) use caught::{caught, drop_quietly};
use deadlines::Deadlines;
pub(crate) use handlers_on_pool::Reporting;
pub(crate) use handling::Flow;
pub(crate) use log_gate::{Line, LogGate};
use mail::Mail;
pub(crate) use mail::Undelivered;
use room_home::Homes;
use rooms::Rooms;
pub use rooms::{BroadcastOutcome, JoinOutcome, ROOMS_PER_SESSION_MAX};
use send_queue::SendQueue;
pub use send_queue::{FRAME_OVERHEAD_BYTES, LARGE_FRAME_OVERHEAD_BYTES, REPLACEABLE_FRAME_OVERHEAD_BYTES};
pub use sending::SendOutcome;
use spares::{LargeSpares, Spares};
use timers::Timers;
pub(crate) use vigil::Metered;
pub(crate) use wheel::Handle;

/// How long a worker sleeps at most while messages wait for room in another worker's inbox.
const MAIL_RETRY: Duration = Duration::from_millis(1);

/// A worker that has its port but no thread yet. `Send`: hand it to the thread that will call [`Worker::dispatch`].
#[derive(Debug)]
pub struct WorkerSeed {
    pub(crate) port: PortSeed<Message>,
    pub(crate) presence: Presence,
    pub(crate) index: usize,
}

impl WorkerSeed {
    /// Binds the worker to the calling thread.
    ///
    /// # Errors
    /// The system refused to start the port.
    pub fn start(self) -> Result<Worker> {
        let port = self.port.start().map_err(Error::Port)?;
        self.presence.started();
        let state = State::new(Arc::clone(self.presence.shared()), self.index);
        Ok(Worker { port, state, presence: Some(self.presence) })
    }
}

/// Whether a worker has more to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum WorkerStatus {
    /// Dispatch again.
    Running,
    /// The core was stopped and everything of this worker has ended; further dispatches do nothing.
    Stopped,
}

/// One worker of a core, bound to a thread: a port and the sessions that live on it.
pub struct Worker {
    port: Port<Message>,
    state: State,
    /// `None` once it has stopped.
    presence: Option<Presence>,
}

impl Worker {
    /// One turn. Waits at most `timeout` (`None`: until something happens) if there is nothing to do.
    ///
    /// # Errors
    /// The port failed.
    pub fn dispatch(&mut self, timeout: Option<Duration>) -> Result<WorkerStatus> {
        let begun = self.state.shared.clock().now();
        let state = &mut self.state;
        if self.presence.is_none() {
            return Ok(WorkerStatus::Stopped);
        }
        state.note_absence(begun);
        state.turn = state.turn.wrapping_add(1);
        let until = state.sleep_until(begun).into_iter().chain(timeout.map(|timeout| begun + timeout)).min();
        let turn = self
            .port
            .dispatch(until, |operations, completion| {
                state.now = operations.now();
                state.complete(operations, completion);
            })
            .map_err(Error::Port)?;
        state.asleep_until = if turn.completions == 0 { until.unwrap_or(NEVER) } else { Time::ZERO };
        let mut operations = self.port.operations();
        state.now = operations.now();
        state.finish_turn(&mut operations);
        state.ledger.port = self.port.counters();
        if state.has_stopped() {
            debug_assert_eq!(self.port.operations().open(), 0, "a worker has stopped, and its port has something open");
            self.finish();
            self.presence = None;
            return Ok(WorkerStatus::Stopped);
        }
        state.publish();
        Ok(WorkerStatus::Running)
    }

    /// Nothing comes in any more, and what will not be delivered is counted: then the totals are final.
    fn finish(&mut self) {
        let state = &mut self.state;
        self.port.close_inbox(|message| state.give_up(message));
        give_up(&state.shared, state.index);
        state.give_up_mail();
        state.voice = None;
        state.shared.note_departure(state.index);
        state.log.tell_all();
        state.ledger.port = self.port.counters();
        state.shared.publish_last(state.index, &mut state.ledger);
    }

    /// True if a simulation holds up its thread just now, or lets it sleep soundly.
    pub(crate) fn has_no_turn(&self) -> bool {
        self.port.has_no_turn()
    }

    /// Its number in the core, from 0.
    pub fn index(&self) -> usize {
        self.state.index
    }

    /// What its port counts: below sessions and frames, where [`Counters`](crate::Counters) do not look.
    pub fn port_counters(&mut self) -> PortCounters {
        self.port.counters()
    }

    /// Sessions that live here, connecting and ending ones included.
    pub fn sessions(&self) -> usize {
        self.state.carriers.len()
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("index", &self.index())
            .field("sessions", &self.sessions())
            .finish_non_exhaustive()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.state.abandon(&mut self.port.operations());
        self.finish();
    }
}

/// Everything of a worker but its port.
pub(crate) struct State {
    pub(crate) shared: Arc<Shared>,
    pub(crate) index: usize,
    pub(crate) now: Time,
    /// Counts turns, round and round.
    pub(crate) turn: u32,
    pub(crate) carriers: Slots<Carrier>,
    pub(crate) ledger: Ledger,
    pub(crate) rooms: Rooms,
    homes: Homes,
    /// Says what is going on.
    marker: Marker,
    /// The session whose handlers, on a pool, have asked for what is being done: it may answer although it is ending.
    speaking: Option<Name>,
    /// Sessions whose handlers, on a pool, have asked for more than this turn has room for.
    put_off: Vec<Name>,
    called: handling::Called,
    log: LogGate,
    rosters: roster::Rosters,
    /// The changes of limits that deadlines follow already.
    limits_seen: u64,
    /// The ends of services that the ledger follows already.
    services_over_seen: u64,
    mail: Mail,
    listeners: Vec<(ListenerId, Arc<Running>)>,
    /// By service.
    dials: BTreeMap<usize, dial::Dial>,
    random: Random,
    deadlines: Deadlines,
    timers: Timers,
    /// The memory of the list that `due` walks.
    due_now: Vec<(Time, Name)>,
    /// The memory of the lists that `send_to_many` sorts into.
    by_worker: Vec<Vec<Name>>,
    /// Sessions with something to flush at the end of the turn.
    dirty: Vec<Name>,
    windows: windows::Windows,
    spare_gathers: Spares<Gather>,
    spare_outgoing: Spares<Box<SendQueue>>,
    spare_unfinished: Spares<Box<Unfinished>>,
    spare_large: LargeSpares,
    lingering_refusals: usize,
    stopping: Option<ending::Stopping>,
    /// `None` once nothing more will be said here.
    voice: Option<Voice>,
    /// True exactly while others read older counters than these.
    unpublished: bool,
    /// If the last turn brought nothing: until when it was told to wait. A simulated port waits between two turns.
    asleep_until: Time,
    /// Until then nobody is blamed for a silence that may have been ours.
    lenient_until: Time,
    /// True once limits have been enforced since then.
    enforced_since_leniency: bool,
}

impl State {
    fn new(shared: Arc<Shared>, index: usize) -> State {
        let (outbox_max, key) = (shared.outbox_max(), NumberKey::new(shared.seed(index)));
        State {
            index,
            now: shared.clock().now(),
            turn: 0,
            carriers: Slots::with_generations(u32::MAX, u32::MAX),
            ledger: Ledger::default(),
            rooms: Rooms::new(shared.workers(), key),
            homes: Homes::new(shared.workers(), key),
            marker: shared.marker(index),
            speaking: None,
            put_off: Vec::new(),
            called: handling::Called::default(),
            log: LogGate::new(index),
            rosters: roster::Rosters::default(),
            limits_seen: 0,
            services_over_seen: 0,
            mail: Mail::new(Arc::clone(&shared), index, outbox_max),
            listeners: Vec::new(),
            dials: BTreeMap::new(),
            random: Random::new(shared.seed(index)),
            deadlines: Deadlines::default(),
            timers: Timers::new(),
            due_now: Vec::new(),
            by_worker: Vec::new(),
            dirty: Vec::new(),
            windows: windows::Windows::default(),
            spare_gathers: Spares::default(),
            spare_outgoing: Spares::default(),
            spare_unfinished: Spares::default(),
            spare_large: LargeSpares::default(),
            lingering_refusals: 0,
            stopping: None,
            voice: Some(Voice::of(&shared)),
            unpublished: false,
            asleep_until: Time::ZERO,
            lenient_until: Time::ZERO,
            enforced_since_leniency: true,
            shared,
        }
    }

    pub(crate) fn session_id(&self, name: Name) -> SessionId {
        SessionId::new(&self.shared, self.index, name)
    }

    /// Sends a message that a handler caused.
    pub(crate) fn post(&mut self, worker: usize, message: Message) -> Result<(), Undelivered> {
        self.mail.post(worker, message)
    }

    pub(crate) fn set_timer(&mut self, name: Name, at: Time) {
        if let Some(carrier) = self.carriers.get_mut(name).filter(|carrier| carrier.is_live()) {
            carrier.timer_at = at;
            self.arm(name);
        }
    }

    /// Where what happens to a session is counted.
    pub(crate) fn row_of(&mut self, name: Name) -> &mut Counters {
        match self.carriers.get(name) {
            Some(carrier) => self.ledger.row(carrier.running().index),
            None => self.ledger.core(),
        }
    }

    /// The name of the carrier that an owner token stands for.
    fn name_of(owner: Owner) -> Name {
        let [slot, generation] = [owner.0 >> 32, owner.0 & u64::from(u32::MAX)];
        Name { slot: u32::try_from(slot).unwrap_or(u32::MAX), generation: u32::try_from(generation).unwrap_or(0) }
    }

    /// The owner token of a carrier.
    fn owner_of(name: Name) -> Owner {
        Owner(u64::from(name.slot) << 32 | u64::from(name.generation))
    }

    /// How long the worker may sleep; `None`: until something happens.
    fn sleep_until(&self, now: Time) -> Option<Time> {
        let retry = match self.mail.waiting() {
            _ if self.mail.own_waiting() > 0 || !self.put_off.is_empty() => Some(now),
            0 => None,
            _ => Some(now + MAIL_RETRY),
        };
        let stop = self.stopping.as_ref().map(|stopping| stopping.next_look(self.voice.is_none()));
        let publish = self.unpublished.then(|| now + MAIL_RETRY);
        let others = self.log.next_due().into_iter().chain(self.next_dial());
        // A window is no appointment: what the worker does anyway within its budget takes it along.
        let windows = self.windows.next().map(|due| due + self.shared.latency_budget());
        let others = others.chain(self.next_timer()).chain(windows);
        self.deadlines.next().into_iter().chain(publish).chain(retry).chain(stop).chain(others).min()
    }

    fn complete(&mut self, operations: &mut Operations<'_>, completion: Completion<'_, Message>) {
        match completion {
            Completion::Received { owner, mut bytes, .. } => {
                self.received(operations, Self::name_of(owner), &mut bytes)
            }
            Completion::Sent { owner, gather, error, .. } => self.sent(operations, Self::name_of(owner), gather, error),
            Completion::Posted { value, .. } => self.message(operations, value),
            Completion::Accepted { listener, stream, .. } => self.accepted(operations, listener, stream),
            Completion::AcceptPaused { error, retry_after, .. } => self.accept_paused(error, retry_after),
            Completion::ListenerClosed { listener, .. } => self.listeners.retain(|(open, _)| *open != listener),
            Completion::Connected { owner, .. } => self.connected(operations, Self::name_of(owner)),
            Completion::ConnectFailed { owner, error, .. } => self.connect_failed(Self::name_of(owner), error),
            Completion::PeerFinished { owner, .. } => self.peer_finished(operations, Self::name_of(owner)),
            Completion::ReceiveEnded { owner, error: Some(error), .. } => {
                self.failed(operations, Self::name_of(owner), error);
            }
            Completion::Closed { owner, .. } => self.closed(operations, Self::name_of(owner)),
            // Nothing is paused or detached up here so far.
            _ => {}
        }
    }

    fn finish_turn(&mut self, operations: &mut Operations<'_>) {
        self.follow_what_was_put_off(operations);
        self.own_messages(operations);
        // First of what is looked at, for its fence: the others are as new.
        self.look_at_stopping(operations);
        self.look_at_departures();
        self.look_at_services(operations);
        move_on(&self.shared, self.index);
        self.due(operations);
        self.fire_timers(operations);
        self.own_messages(operations);
        self.retry_mail();
        self.close_listeners(operations);
        self.dial(operations);
        self.end_windows();
        self.flush(operations);
        self.log.tell_due(self.now);
    }

    fn publish(&mut self) {
        self.unpublished = !self.shared.publish(self.index, &mut self.ledger);
    }
}
