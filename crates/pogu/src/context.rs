//! What a handler can do.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use pogu_port::slots::Name;
use pogu_port::{Operations, Time};
use pogu_wire::{FrameFormat, ReadError};

use crate::broadcast::Broadcast;
use crate::cause::{Cause, Limit, Misbehaviour};
use crate::delivery::Delivery;
use crate::identity::{Room, SessionId, SessionRef};
use crate::message::SharedFrame;
use crate::post::PostOutcome;
use crate::room::{RoomRef, RoomState, room_visit};
use crate::room_context::RoomContext;
use crate::service_handle::FanOutOutcome;
use crate::session::Session;
use crate::worker::{BroadcastOutcome, Flow, JoinOutcome, Metered, NEVER, SendOutcome, State};

/// The engine, seen from a handler of one session.
///
/// Nothing here blocks, and nothing calls another handler before this one has returned.
pub struct Context<'a> {
    pub(crate) state: &'a mut State,
    operations: Operations<'a>,
    pub(crate) name: Name,
}

impl<'a> Context<'a> {
    pub(crate) fn new(state: &'a mut State, operations: Operations<'a>, name: Name) -> Context<'a> {
        Context { state, operations, name }
    }

    /// The session's name.
    pub fn id(&self) -> SessionId {
        self.state.session_id(self.name)
    }

    /// The session's name with the user's type.
    pub fn reference<S: Session>(&self, _session: &S) -> SessionRef<S> {
        SessionRef::new(self.id())
    }

    /// The worker that the session lives in, from 0.
    pub fn worker(&self) -> usize {
        self.state.index
    }

    /// The peer's address, if the system knew it.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.state.carriers.get(self.name)?.peer_address.get()
    }

    /// The time of this turn. All handlers of one turn see the same.
    pub fn now(&self) -> Time {
        self.state.now
    }

    /// The time right now, for measuring: unlike [`Context::now`] it moves on while handlers run.
    pub fn read_clock(&self) -> Time {
        self.state.shared.clock().now()
    }

    /// True until the session has begun to end.
    pub fn is_live(&self) -> bool {
        self.state.carriers.get(self.name).is_some_and(|carrier| carrier.is_live())
    }

    /// Queues a packet for the peer. It leaves at the end of the turn, together with everything else that was queued.
    // Not inlined: the body's address and length go on in registers, while an inlined call copies them from memory to memory, as
    // one piece where they were written as two, and waits for that.
    #[inline(never)]
    pub fn send(&mut self, id: u16, body: &[u8]) -> SendOutcome {
        self.state.send_as(&mut self.operations, self.name, Delivery::PROMPT, id, body)
    }

    /// As [`Context::send`], but the packet may wait for others to leave with, or be replaced by a newer one: see [`Delivery`].
    pub fn send_with(&mut self, delivery: Delivery, id: u16, body: &[u8]) -> SendOutcome {
        self.state.send(&mut self.operations, self.name, delivery, id, body)
    }

    /// Queues a packet for another session, wherever it lives.
    ///
    /// In another worker the packet is encoded there; that it fits is checked here against this session's own format.
    pub fn send_to(&mut self, session: impl Into<SessionId>, id: u16, body: &[u8]) -> SendOutcome {
        self.send_to_with(session, Delivery::PROMPT, id, body)
    }

    /// As [`Context::send_to`], but the packet may wait for others to leave with, or be replaced by a newer one: see [`Delivery`].
    pub fn send_to_with(
        &mut self,
        session: impl Into<SessionId>,
        delivery: Delivery,
        id: u16,
        body: &[u8],
    ) -> SendOutcome {
        let session = session.into();
        if session.is_of(&self.state.shared) && session.worker() == self.state.index {
            return self.state.send(&mut self.operations, session.name(), delivery, id, body);
        }
        let outcome = self.state.post_packet(self.format(), session, delivery, id, body);
        match outcome {
            SendOutcome::Gone => self.state.ledger.core().frames_to_gone += 1,
            SendOutcome::Unencodable(_) => self.state.row_of(self.name).frames_unencodable += 1,
            SendOutcome::Overloaded => self.state.row_of(self.name).frames_refused += 1,
            _ => {}
        }
        outcome
    }

    /// Asks to join a room; `on_joined` tells when every later broadcast is sure to arrive.
    pub fn join(&mut self, room: Room) -> JoinOutcome {
        self.state.join(self.name, room)
    }

    /// Leaves a room at once: no further broadcast arrives. True if the session was in it, or joining it.
    pub fn leave(&mut self, room: Room) -> bool {
        self.state.leave(self.name, room)
    }

    /// Sends a packet to every member of a room, this session included if it is one. All members see the broadcasts of a
    /// room in the same order: those with [`Delivery::latest`], [`Delivery::newest`] and [`Broadcast::unordered`] excepted,
    /// which say themselves what they keep of it. The packet is encoded once in the session's format, and for members of services
    /// with another format once more in each worker. In `on_disconnected` it still works, also while the core stops: to say who
    /// left.
    pub fn broadcast(&mut self, room: Room, id: u16, body: &[u8]) -> BroadcastOutcome {
        self.broadcast_with(room, &Broadcast::to_all(), id, body)
    }

    /// As [`Context::broadcast`], to some of the members, or with a window, or without order.
    pub fn broadcast_with(&mut self, room: Room, how: &Broadcast, id: u16, body: &[u8]) -> BroadcastOutcome {
        let Some(carrier) = self.state.carriers.get(self.name) else { return BroadcastOutcome::Gone };
        let format = carrier.running().service.format;
        let frame = match SharedFrame::encode(format, how.delivery, id, body) {
            Ok(frame) => frame.for_those(how.audience.clone()),
            Err(error) => {
                self.state.row_of(self.name).frames_unencodable += 1;
                return BroadcastOutcome::Unencodable(error);
            }
        };
        let from = self.id();
        self.state.charge_broadcast(self.name, frame.whole.len());
        self.state.broadcast(room, from, frame, how.unordered)
    }

    /// Sends a packet to some sessions, wherever they live, this one included if it is among them: encoded once in this session's
    /// format, and one post per worker and 512 of them, for each of which it is encoded once more for every other format of
    /// theirs. Those that have ended are counted as
    /// [`Counters::frames_to_gone`](crate::Counters::frames_to_gone).
    ///
    /// For sessions of this worker it is queued at once, as with [`Context::send_to`], while what this handler has broadcast
    /// before is queued when the handler has returned: of the two, members that live here hear the broadcast second, and others
    /// first. Where the order counts, let the [state of the room](crate::RoomState) say both: [`RoomContext`] keeps it.
    pub fn send_to_many(&mut self, sessions: &[SessionId], delivery: Delivery, id: u16, body: &[u8]) -> FanOutOutcome {
        let Some(carrier) = self.state.carriers.get(self.name) else { return FanOutOutcome::Gone };
        match SharedFrame::encode(carrier.running().service.format, delivery, id, body) {
            Ok(frame) => {
                self.state.charge_broadcast(self.name, frame.whole.len());
                self.state.send_to_many(Some((&mut self.operations, self.name)), sessions, frame)
            }
            Err(error) => {
                self.state.row_of(self.name).frames_unencodable += 1;
                FanOutOutcome::Unencodable(error)
            }
        }
    }

    /// Leaves a room and joins another: both, or neither. In the first no further broadcast arrives; `on_joined` tells when
    /// every later one of the second is sure to. To the room where it is it does not move: [`JoinOutcome::Already`].
    pub fn move_to(&mut self, from: Room, to: Room) -> JoinOutcome {
        self.state.move_room(self.name, from, to)
    }

    /// As [`RoomRef::post`], in the order of what this session does: behind its joins, leaves and broadcasts of that room.
    pub fn post_to_room<R: RoomState>(
        &mut self,
        room: &RoomRef<R>,
        closure: impl FnOnce(&mut R, &mut RoomContext<'_>) + Send + 'static,
    ) -> PostOutcome {
        self.state.charge_post_to_room(self.name);
        let ours = room.is_of(&self.state.shared);
        let home = room.room().home(self.state.shared.workers());
        self.state.post_counted(Some(self.name), ours, home, || room_visit(room, closure))
    }

    /// Calls `on_timer` once after `delay`, in the first turn that begins then or later: its time is not rounded, as that of
    /// [`Context::start_timer`] is. A timer that was set before is replaced.
    pub fn set_timer(&mut self, delay: Duration) {
        self.set_timer_at(self.state.now + delay);
    }

    /// Calls `on_timer` once at `time` (as soon as possible if it has passed); a timer that was set before is replaced.
    pub fn set_timer_at(&mut self, time: Time) {
        self.state.set_timer(self.name, time);
    }

    /// Forgets the timer.
    pub fn clear_timer(&mut self) {
        self.state.set_timer(self.name, NEVER);
    }

    /// Charges the session for work that it has caused: a search, a spawned monster, in units of the user's choice. Above
    /// [`Limits::cost_rate`](crate::Limits::cost_rate) it is delayed or ends, as
    /// [`Limits::rate_exceeded`](crate::Limits::rate_exceeded) says. Without that limit nothing happens.
    pub fn charge(&mut self, cost: u32) {
        self.state.meter(&mut self.operations, self.name, Metered::Cost, u64::from(cost));
    }

    /// Nothing more is received, from the next packet on, until [`Context::receive`]: for a session that has asked others for as
    /// much as it may and waits for their answers. What the peer sends meanwhile waits with the port and in the system's buffers,
    /// and then the peer has to wait.
    ///
    /// A silence that is ours is held against nobody: from here on the idle timeout, the first frame's and the heartbeat's stand
    /// still. The end of the peer's stream stands behind what it has sent, and need not be seen before that is received; so a
    /// session that nothing wakes holds its place for ever. Let an answer that may not come have a timer.
    pub fn hold_back(&mut self) {
        self.state.set_held_back(&mut self.operations, self.name, true);
    }

    /// Receives again after [`Context::hold_back`]. Does nothing otherwise.
    pub fn receive(&mut self) {
        self.state.set_held_back(&mut self.operations, self.name, false);
    }

    /// Ends the session: what was sent still leaves, then the connection is closed in good order.
    pub fn disconnect(&mut self, reason: impl Into<Cow<'static, str>>) {
        self.end(Cause::HandlerAsked(reason.into()));
    }

    /// Ends the session because the peer sent something that it must not send: `what` says what was expected and what
    /// came. What was answered before still leaves.
    pub fn violation(&mut self, packet_id: u16, what: impl Into<Cow<'static, str>>) {
        self.end(Cause::PeerMisbehaved(Misbehaviour::Refused { id: packet_id, what: what.into() }));
    }

    /// As [`Context::violation`], for a packet that could not be read.
    pub fn unreadable(&mut self, packet_id: u16, error: ReadError) {
        self.end(Cause::PeerMisbehaved(Misbehaviour::Packet { id: packet_id, error }));
    }

    /// Ends the session because messages between workers pile up.
    pub(crate) fn disconnect_overloaded(&mut self) {
        let maximum = self.state.shared.outbox_max() as u64;
        self.end(Cause::limit(Limit::WorkerInbox, maximum.saturating_add(1), maximum));
    }

    fn end(&mut self, cause: Cause) {
        self.state.stop(&mut self.operations, self.name, cause);
    }

    #[inline(always)]
    pub(crate) fn begin_frame(&mut self, id: u16, frame_bytes: usize) {
        self.state.begin_frame(id, frame_bytes);
    }

    #[inline(always)]
    pub(crate) fn end_frame(&mut self, frame_bytes: usize) -> Flow {
        self.state.end_frame(&mut self.operations, self.name, frame_bytes)
    }

    /// The frame format of its service.
    pub(crate) fn format(&self) -> FrameFormat {
        let carrier = self.state.carriers.get(self.name);
        carrier.map_or_else(FrameFormat::course, |carrier| carrier.running().service.format)
    }

    /// An event of the session was handed on to a pool; so many bytes of events are not handled.
    pub(crate) fn handed_on(&mut self, unhandled_bytes: usize) {
        self.state.handed_on(self.name, unhandled_bytes);
    }

    pub(crate) fn count_refused_post(&mut self) {
        self.state.row_of(self.name).posts_refused += 1;
    }

    pub(crate) fn count_unencodable(&mut self) {
        self.state.row_of(self.name).frames_unencodable += 1;
    }

    pub(crate) fn count_post_to_gone(&mut self) {
        self.state.ledger.core().posts_to_gone += 1;
    }

    /// The bound on handlers' behalf is hit: as a full send queue.
    pub(crate) fn disconnect_flooding(&mut self, bytes: u64, maximum: u64) {
        self.end(Cause::limit(Limit::SendBytes, bytes, maximum));
    }

    pub(crate) fn ponged(&mut self) {
        self.state.ponged(self.name);
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("session", &self.id()).finish_non_exhaustive()
    }
}
