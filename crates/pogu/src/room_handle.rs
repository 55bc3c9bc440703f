//! A room, for whoever is no session: a job, a plain thread, a handler of another core.
//!
//! ```text
//!   a job of the room's queue --broadcast--> inbox of the room's home: its place in the order --> every worker with members
//! ```
//!
//! A session speaks to a room by its context, a room's state by its own; this is for the rest. Nothing here waits for a worker.

use std::fmt;
use std::sync::Arc;

use pogu_port::PostError;
use pogu_wire::FrameFormat;

use crate::broadcast::Broadcast;
use crate::core::{Core, Shared};
use crate::delivery::Delivery;
use crate::error::Result;
use crate::identity::{Room, SessionId};
use crate::message::{Message, NAMES_PER_MESSAGE_MAX, SharedFrame};
use crate::outside::Which;
use crate::service_handle::FanOutOutcome;
use crate::worker_set::WorkerSet;

/// A room of a core, to speak to from anywhere. Clones are the same room; `Send` and `Sync`: keep it anywhere, in the value of
/// a [`JobQueue`](crate::JobQueue) for example.
///
/// ```
/// use std::time::Duration;
///
/// use pogu::{Broadcast, Core, Delivery, Room, RoomHandle};
///
/// struct Town {
///     room: RoomHandle,
///     hour: u8,
/// }
///
/// impl Town {
///     fn strike(&mut self) {
///         self.hour += 1;
///         let how = Broadcast::to_all().delivery(Delivery::within(Duration::from_millis(10)).latest(0));
///         // Who misses an hour gets the next one.
///         let _ = self.room.broadcast_with(&how, 1, &[self.hour]);
///     }
/// }
///
/// # fn main() -> pogu::Result<()> {
/// let core = Core::builder().workers(1).start()?;
/// let town = core.jobs().queue("town", Town { room: core.room(Room(7)), hour: 0 });
/// assert!(town.push(Town::strike).is_pushed());
/// # core.stop(Duration::ZERO).map(drop)
/// # }
/// ```
#[derive(Clone)]
pub struct RoomHandle {
    room: Room,
    core: Arc<Shared>,
    format: FrameFormat,
}

impl Core {
    /// A room, to speak to from anywhere. What is said is encoded in the course's frame format, and once more for members of
    /// services with another one; see [`RoomHandle::with_format`].
    pub fn room(&self, room: Room) -> RoomHandle {
        RoomHandle { room, core: Arc::clone(self.shared()), format: FrameFormat::course() }
    }
}

impl RoomHandle {
    /// The same room, and what is said is encoded in `format`: that of most members.
    ///
    /// # Errors
    /// The format makes no sense.
    pub fn with_format(self, format: FrameFormat) -> Result<RoomHandle> {
        format.validate()?;
        Ok(RoomHandle { format, ..self })
    }

    /// Its name: what sessions join.
    pub fn room(&self) -> Room {
        self.room
    }

    /// Sends a packet to every member, in the room's order, of which its place is where it arrives at the room's home. It is
    /// encoded once in this handle's format, and for members of services with another format once more in each worker.
    ///
    /// Never blocks. What one thread, or the jobs of one queue, say to a room arrives in that order. If messages between workers
    /// pile up behind the home, it may have to refuse what is [`Posted`](FanOutOutcome::Posted): then nobody gets it, and it is counted
    /// as [`Counters::broadcasts_refused`](crate::Counters::broadcasts_refused).
    pub fn broadcast(&self, id: u16, body: &[u8]) -> FanOutOutcome {
        self.broadcast_with(&Broadcast::to_all(), id, body)
    }

    /// As [`RoomHandle::broadcast`], to some of the members, or with a window, or without order: only then it can be
    /// [`Partial`](FanOutOutcome::Partial).
    pub fn broadcast_with(&self, how: &Broadcast, id: u16, body: &[u8]) -> FanOutOutcome {
        let frame = match SharedFrame::encode(self.format, how.delivery, id, body) {
            Ok(frame) => Arc::new(frame.for_those(how.audience.clone())),
            Err(error) => return self.unencodable(error),
        };
        let room = self.room;
        let outcome = match how.unordered {
            true => self.core.fan_out(|| Message::Deliver { room, frame: Arc::clone(&frame) }),
            false => self.post(Message::Broadcast { room, from: None, frame }),
        };
        match outcome {
            FanOutOutcome::Overloaded | FanOutOutcome::Partial { .. } => {
                self.core.outside.count(|outside| &outside.broadcasts_refused);
            }
            FanOutOutcome::Gone => self.core.outside.count(|outside| &outside.room_calls_to_gone),
            _ => {}
        }
        outcome
    }

    /// Sends a packet to some sessions, members or not, wherever they live: encoded once in this handle's format, and one post per
    /// worker and 512 of them, for each of which it is encoded once more for every other format of theirs. Those that have
    /// ended are counted as [`Counters::frames_to_gone`](crate::Counters::frames_to_gone); of more than 512 of one worker some may
    /// get it and some not.
    pub fn send_to_many(&self, sessions: &[SessionId], delivery: Delivery, id: u16, body: &[u8]) -> FanOutOutcome {
        match SharedFrame::encode(self.format, delivery, id, body) {
            Ok(frame) => {
                let count = |which: Which, frames| self.core.outside.count_many(which, frames);
                send_to_many(&self.core, sessions, frame, count)
            }
            Err(error) => self.unencodable(error),
        }
    }

    fn post(&self, message: Message) -> FanOutOutcome {
        if self.core.has_stopped() {
            return FanOutOutcome::Gone;
        }
        match self.core.post(self.room.home(self.core.workers()), message) {
            Ok(()) => FanOutOutcome::Posted,
            Err(PostError::Full(_)) => FanOutOutcome::Overloaded,
            Err(PostError::Closed(_)) => FanOutOutcome::Gone,
        }
    }

    fn unencodable(&self, error: pogu_wire::EncodeError) -> FanOutOutcome {
        self.core.outside.count(|outside| &outside.frames_unencodable);
        FanOutOutcome::Unencodable(error)
    }
}

impl fmt::Debug for RoomHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.room, f)
    }
}

/// Sends a frame to the sessions of a list from a thread that is no worker's: one message per worker and 512 names. `count` is
/// told what does not get to a worker, and of how many sessions.
pub(crate) fn send_to_many(
    core: &Shared,
    sessions: &[SessionId],
    frame: SharedFrame,
    count: impl Fn(Which, u64),
) -> FanOutOutcome {
    let mut by_worker = vec![Vec::new(); core.workers()];
    for session in sessions {
        match by_worker.get_mut(session.worker()).filter(|_| session.is_of(core)) {
            Some(names) => names.push(session.name()),
            None => count(|outside| &outside.frames_to_gone, 1),
        }
    }
    let frame = Arc::new(frame);
    let (mut taken, mut workers_missed) = (0, WorkerSet::default());
    for (worker, names) in by_worker.iter().enumerate() {
        let mut takes = false;
        for names in names.chunks(NAMES_PER_MESSAGE_MAX) {
            match core.post(worker, Message::SendMany { sessions: names.to_vec(), frame: Arc::clone(&frame) }) {
                Ok(()) => takes = true,
                Err(PostError::Full(_)) => {
                    workers_missed.insert(worker);
                    count(|outside| &outside.frames_refused, names.len() as u64);
                }
                Err(PostError::Closed(_)) => count(|outside| &outside.frames_to_gone, names.len() as u64),
            }
        }
        taken += usize::from(takes);
    }
    FanOutOutcome::of_list(sessions, taken, workers_missed)
}
