//! What a room's handler can do.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use pogu_port::Time;
use pogu_wire::FrameFormat;

use crate::broadcast::Broadcast;
use crate::context::Context;
use crate::delivery::Delivery;
use crate::identity::{Room, SessionId, SessionRef};
use crate::message::{Kick, Message, SharedFrame};
use crate::post::{PostOutcome, visit};
use crate::room::{RoomRef, RoomState, room_visit};
use crate::service_handle::FanOutOutcome;
use crate::session::Session;
use crate::worker::{BroadcastOutcome, NEVER, SendOutcome, State};

/// The engine, seen from a handler of one room's state, at its home.
///
/// What a handler broadcasts takes its place in the room's order now: after what came before this call, before what comes after
/// it. Nothing here blocks.
pub struct RoomContext<'a> {
    state: &'a mut State,
    room: Room,
    format: FrameFormat,
}

impl<'a> RoomContext<'a> {
    pub(crate) fn new(state: &'a mut State, room: Room, format: FrameFormat) -> RoomContext<'a> {
        RoomContext { state, room, format }
    }

    /// The room.
    pub fn room(&self) -> Room {
        self.room
    }

    /// The worker that is its home, from 0.
    pub fn worker(&self) -> usize {
        self.state.index
    }

    /// The time of this turn.
    pub fn now(&self) -> Time {
        self.state.now
    }

    /// How many members it has just now, those included that have not heard yet that they are.
    pub fn members(&self) -> usize {
        self.state.room_members(self.room)
    }

    /// Who they are, in the order of their names: those for whom `on_join` was called, and `on_leave` was not.
    pub fn list_members(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.state.list_room_members(self.room)
    }

    /// Sends a packet to every member, in the room's order. It is encoded once in the room's own format, and for members of
    /// services with another format once more in each worker.
    pub fn broadcast(&mut self, id: u16, body: &[u8]) -> BroadcastOutcome {
        self.broadcast_with(&Broadcast::to_all(), id, body)
    }

    /// As [`RoomContext::broadcast`], to some of the members, or with a window, or without order.
    pub fn broadcast_with(&mut self, how: &Broadcast, id: u16, body: &[u8]) -> BroadcastOutcome {
        let frame = match SharedFrame::encode(self.format, how.delivery, id, body) {
            Ok(frame) => frame.for_those(how.audience.clone()),
            Err(error) => {
                self.state.ledger.core().frames_unencodable += 1;
                return BroadcastOutcome::Unencodable(error);
            }
        };
        self.state.broadcast_from_home(self.room, frame, how.unordered)
    }

    /// Sends a packet to some sessions, members or not, wherever they live: encoded once in the room's own format, and one post per
    /// worker and 512 of them, for each of which it is encoded once more for every other format of theirs. Behind what members
    /// have been told and what the room has broadcast.
    pub fn send_to_many(&mut self, sessions: &[SessionId], delivery: Delivery, id: u16, body: &[u8]) -> FanOutOutcome {
        match SharedFrame::encode(self.format, delivery, id, body) {
            Ok(frame) => self.state.send_to_many(None, sessions, frame),
            Err(error) => {
                self.state.ledger.core().frames_unencodable += 1;
                FanOutOutcome::Unencodable(error)
            }
        }
    }

    /// Queues a packet for a session, member or not, wherever it lives: behind what members have been told and what the room has
    /// broadcast. It is encoded in the session's worker; that it fits is checked here against the room's own format.
    pub fn send_to(&mut self, session: impl Into<SessionId>, id: u16, body: &[u8]) -> SendOutcome {
        self.send_to_with(session, Delivery::PROMPT, id, body)
    }

    /// As [`RoomContext::send_to`], but the packet may wait for others to leave with, or be replaced by a newer one: see
    /// [`Delivery`].
    pub fn send_to_with(
        &mut self,
        session: impl Into<SessionId>,
        delivery: Delivery,
        id: u16,
        body: &[u8],
    ) -> SendOutcome {
        let outcome = self.state.post_packet(self.format, session.into(), delivery, id, body);
        let counters = self.state.ledger.core();
        match outcome {
            SendOutcome::Gone => counters.frames_to_gone += 1,
            SendOutcome::Unencodable(_) => counters.frames_unencodable += 1,
            SendOutcome::Overloaded => counters.frames_refused += 1,
            _ => {}
        }
        outcome
    }

    /// As [`Context::post`], from a room.
    pub fn post<S: Session>(
        &mut self,
        session: SessionRef<S>,
        closure: impl FnOnce(&mut S, &mut Context<'_>) + Send + 'static,
    ) -> PostOutcome {
        self.post_to(session.id(), visit(session, closure))
    }

    /// Ends a session in good order, with [`Cause::Kicked`](crate::Cause::Kicked): what was sent still leaves.
    pub fn kick(&mut self, session: impl Into<SessionId>, reason: impl Into<Cow<'static, str>>) -> PostOutcome {
        let session = session.into();
        self.post_to(session, Message::Kick(Box::new(Kick::new(session, reason))))
    }

    /// As [`RoomRef::post`], in the order of what this room says: what it has broadcast before, and sent to sessions, has come to
    /// those that live in the worker of the other room's home when the closure runs there. A closure for this room itself runs
    /// after this handler, in its turn.
    pub fn post_to_room<R: RoomState>(
        &mut self,
        room: &RoomRef<R>,
        closure: impl FnOnce(&mut R, &mut RoomContext<'_>) + Send + 'static,
    ) -> PostOutcome {
        let home = room.room().home(self.state.shared.workers());
        self.post_message(room.is_of(&self.state.shared), home, room_visit(room, closure))
    }

    fn post_to(&mut self, session: SessionId, message: Message) -> PostOutcome {
        self.post_message(session.is_of(&self.state.shared), session.worker(), message)
    }

    /// Made before it is known whether it leaves: what is not posted is dropped as a message, not in the handler.
    fn post_message(&mut self, is_ours: bool, worker: usize, message: Message) -> PostOutcome {
        self.state.post_counted(None, is_ours, worker, || message)
    }

    /// Calls `on_timer` once after `delay`; a timer that was set before is replaced. A room has one: a state with several times
    /// to wait for keeps them itself and sets the next.
    ///
    /// The resolution is that of [`Context::start_timer`]: it is called at the first whole millisecond of the clock that is not
    /// before its time.
    pub fn set_timer(&mut self, delay: Duration) {
        self.set_timer_at(self.state.now + delay);
    }

    /// As [`RoomContext::set_timer`], at a time; in the next turn if it has passed. For a fixed rate ask a
    /// [`Ticker`](crate::Ticker): what the resolution adds does not add up there.
    pub fn set_timer_at(&mut self, time: Time) {
        self.state.set_room_timer(self.room, time);
    }

    /// Forgets the timer.
    pub fn clear_timer(&mut self) {
        self.state.set_room_timer(self.room, NEVER);
    }

    /// Closes the room when this handler returns, as [`RoomRef::close`] does from outside: the state is dropped, and its timer with
    /// it; members stay, in a room without a state.
    pub fn close(&mut self) {
        self.state.close_room_after_call(self.room);
    }
}

impl fmt::Debug for RoomContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomContext").field("room", &self.room).finish_non_exhaustive()
    }
}
