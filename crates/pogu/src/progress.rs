//! What a worker is doing, for others to see without asking it: the handler that runs, and how long its turns take.
//!
//! A clock read before each handler would cost a sixth of what a small packet costs. So a worker only *says* what it begins:
//! one store, to a cache line of its own, of a word that differs each time. Whoever sees the same word for long knows that the
//! handler runs for long.
//!
//! Apart from those who look, because the models (`loom/`) compile this file as it stands.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::identity::Room;
use crate::sync::{AtomicU64, Ordering};

/// The user's code that a worker calls.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
#[repr(u8)]
pub enum Handler {
    /// The session factory.
    Factory = 1,
    /// `on_connected`.
    Connected,
    /// `on_packet`.
    Packet,
    /// `on_joined`.
    Joined,
    /// `on_broadcast_refused`.
    BroadcastRefused,
    /// `on_timer`.
    Timer,
    /// `on_stopping`.
    Stopping,
    /// `on_disconnected`.
    Disconnected,
    /// The `Drop` of the session's type.
    Drop,
    /// A layer between carrier and frames, or its factory.
    Layer,
    /// A closure that was posted to a session, or that receives an enumeration.
    Posted,
    /// A room's state: its factory, a handler, a closure that was posted to it, its `Drop`.
    Room,
    /// The filter of a broadcast.
    Filter,
    /// `on_keyed_timer`.
    KeyedTimer,
}

impl Handler {
    pub(crate) const ALL: [Handler; 14] = [
        Handler::Factory,
        Handler::Connected,
        Handler::Packet,
        Handler::Joined,
        Handler::BroadcastRefused,
        Handler::Timer,
        Handler::Stopping,
        Handler::Disconnected,
        Handler::Drop,
        Handler::Layer,
        Handler::Posted,
        Handler::Room,
        Handler::Filter,
        Handler::KeyedTimer,
    ];

    /// The name that the code has for its author.
    pub fn label(self) -> &'static str {
        match self {
            Handler::Factory => "the session factory",
            Handler::Connected => "on_connected",
            Handler::Packet => "on_packet",
            Handler::Joined => "on_joined",
            Handler::BroadcastRefused => "on_broadcast_refused",
            Handler::Timer => "on_timer",
            Handler::Stopping => "on_stopping",
            Handler::Disconnected => "on_disconnected",
            Handler::Drop => "the drop of a session",
            Handler::Layer => "a layer",
            Handler::Posted => "a posted closure",
            Handler::Room => "the state of a room",
            Handler::Filter => "the filter of a broadcast",
            Handler::KeyedTimer => "on_keyed_timer",
        }
    }
}

impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A handler that has begun, as one word: 28 bits of a sequence, 16 of the service, 4 of the kind, 16 of the packet's id.
///
/// The sequence tells two calls of the same handler apart. It comes round after 2^28 handlers, which is half a minute of
/// nothing but empty ones: far longer than the time between two looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Call(u64);

/// Stands for every service whose index does not fit.
const SERVICE_UNKNOWN: u64 = 0xffff;

impl Call {
    /// No handler runs.
    pub(crate) const NONE: Call = Call(0);

    pub(crate) fn new(sequence: u64, service: usize, handler: Handler, packet_id: u16) -> Call {
        let service = (service as u64).min(SERVICE_UNKNOWN);
        Call(sequence << 36 | service << 20 | (handler as u64) << 16 | u64::from(packet_id))
    }

    /// The service's index, if it could be told.
    pub(crate) fn service(self) -> Option<usize> {
        let service = self.0 >> 20 & SERVICE_UNKNOWN;
        (service != SERVICE_UNKNOWN).then_some(service as usize)
    }

    /// `None` exactly if no handler runs.
    pub(crate) fn handler(self) -> Option<Handler> {
        Handler::ALL.into_iter().find(|handler| *handler as u64 == self.0 >> 16 & 0xf)
    }

    /// The packet's id, if it is a packet that is being handled.
    pub(crate) fn packet_id(self) -> Option<u16> {
        (self.handler() == Some(Handler::Packet)).then_some(self.0 as u16)
    }
}

/// What one worker says of itself. Alone on its cache lines, so that saying it does not slow others (128: processors fetch
/// lines in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Progress {
    call: AtomicU64,
    /// Of the last call that concerned one.
    room: AtomicU64,
    turns_long: AtomicU64,
    turn_longest_nanoseconds: AtomicU64,
}

impl Progress {
    /// The handler that runs at this moment.
    pub(crate) fn call(&self) -> Call {
        Call(self.call.load(Ordering::Acquire))
    }

    /// The room whose state is called; `None` if it is none, or if this call is over.
    pub(crate) fn room_of(&self, call: Call) -> Option<Room> {
        let room = Room(self.room.load(Ordering::Acquire));
        let is_meant = call.handler() == Some(Handler::Room) && self.call() == call;
        is_meant.then_some(room)
    }

    pub(crate) fn turns(&self) -> Turns {
        Turns {
            long: self.turns_long.load(Ordering::Relaxed),
            longest: Duration::from_nanos(self.turn_longest_nanoseconds.load(Ordering::Relaxed)),
        }
    }
}

/// How long workers were away from their ports: the time from the end of one wait to the beginning of the next. For workers
/// that were handed out, what their threads did between two dispatches is part of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Turns {
    /// Turns that took longer than [`CoreBuilder::stall_limit`](crate::CoreBuilder::stall_limit); 0 if that is `None`.
    pub long: u64,
    /// The longest turn that has ended.
    pub longest: Duration,
}

impl Turns {
    /// Those of both.
    pub(crate) fn and(self, other: Turns) -> Turns {
        Turns { long: self.long + other.long, longest: self.longest.max(other.longest) }
    }
}

/// The worker's end of [`Progress`].
pub(crate) struct Marker {
    progress: Arc<Progress>,
    sequence: u64,
    stall_limit: Option<Duration>,
    turns: Turns,
}

impl Marker {
    pub(crate) fn new(progress: Arc<Progress>, stall_limit: Option<Duration>) -> Marker {
        Marker { progress, sequence: 0, stall_limit, turns: Turns::default() }
    }

    /// A handler is about to be called. `packet_id` means something for packets only.
    #[inline]
    pub(crate) fn begin(&mut self, handler: Handler, service: usize, packet_id: u16) {
        self.sequence = self.sequence.wrapping_add(1);
        let Call(word) = Call::new(self.sequence, service, handler, packet_id);
        self.progress.call.store(word, Ordering::Relaxed);
    }

    /// The state of a room is about to be called.
    pub(crate) fn begin_room(&mut self, room: Room) {
        self.sequence = self.sequence.wrapping_add(1);
        let Call(word) = Call::new(self.sequence, usize::MAX, Handler::Room, 0);
        // Whoever sees this room sees that the call before is over, and whoever sees this call sees this room.
        self.progress.room.store(room.0, Ordering::Release);
        self.progress.call.store(word, Ordering::Release);
    }

    /// No handler runs any more.
    #[inline]
    pub(crate) fn end(&self) {
        self.progress.call.store(Call::NONE.0, Ordering::Relaxed);
    }

    /// A turn has ended that took so long.
    pub(crate) fn turn_took(&mut self, took: Duration) {
        if self.stall_limit.is_some_and(|limit| took > limit) {
            self.turns.long += 1;
            self.progress.turns_long.store(self.turns.long, Ordering::Relaxed);
        }
        if took > self.turns.longest {
            self.turns.longest = took;
            let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            self.progress.turn_longest_nanoseconds.store(nanoseconds, Ordering::Relaxed);
        }
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        self.end();
    }
}
