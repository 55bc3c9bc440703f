//! What a handler can do.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use pogu_port::slots::Name;
use pogu_port::{Operations, Time};
use pogu_wire::ReadError;

use crate::cause::{Cause, Limit, Misbehaviour};
use crate::identity::{Room, SessionId, SessionRef};
use crate::message::{Message, SharedFrame};
use crate::session::Session;
use crate::worker::{BroadcastOutcome, Flow, JoinOutcome, Metered, NEVER, SendOutcome, State, Undelivered};

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
        self.state.carriers.get(self.name)?.peer_address
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
    pub fn send(&mut self, id: u16, body: &[u8]) -> SendOutcome {
        self.state.send(&mut self.operations, self.name, id, body)
    }

    /// Queues a packet for another session, wherever it lives.
    ///
    /// In another worker the packet is encoded there; that it fits is checked here against this session's own format.
    pub fn send_to(&mut self, session: impl Into<SessionId>, id: u16, body: &[u8]) -> SendOutcome {
        let session = session.into();
        let ours = session.is_of(&self.state.shared);
        if ours && session.worker() == self.state.index {
            return self.state.send(&mut self.operations, session.name(), id, body);
        }
        let outcome = if ours { self.post_to(session, id, body) } else { SendOutcome::Gone };
        match outcome {
            SendOutcome::Gone => self.state.ledger.core().frames_to_gone += 1,
            SendOutcome::Unencodable(_) => self.state.row_of(self.name).frames_unencodable += 1,
            SendOutcome::Overloaded => self.state.row_of(self.name).frames_refused += 1,
            _ => {}
        }
        outcome
    }

    fn post_to(&mut self, session: SessionId, id: u16, body: &[u8]) -> SendOutcome {
        let own = self.state.carriers.get(self.name);
        let fits = own.map(|carrier| carrier.running().service.format.frame_bytes(body.len()));
        if let Some(Err(error)) = fits {
            return SendOutcome::Unencodable(error);
        }
        let message = Message::Send { session, id, body: Bytes::copy_from_slice(body) };
        match self.state.post(session.worker(), message) {
            Ok(()) => SendOutcome::Posted,
            Err(Undelivered::Full) => SendOutcome::Overloaded,
            Err(Undelivered::Gone(_)) => SendOutcome::Gone,
        }
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
    /// room in the same order. The packet is encoded once. In `on_disconnected` it still works: to say who left.
    pub fn broadcast(&mut self, room: Room, id: u16, body: &[u8]) -> BroadcastOutcome {
        let Some(carrier) = self.state.carriers.get(self.name) else { return BroadcastOutcome::Gone };
        let format = carrier.running().service.format;
        let frame = match SharedFrame::encode(format, id, body) {
            Ok(frame) => frame,
            Err(error) => {
                self.state.row_of(self.name).frames_unencodable += 1;
                return BroadcastOutcome::Unencodable(error);
            }
        };
        let from = self.id();
        self.state.charge_broadcast(self.name, frame.whole.len());
        self.state.broadcast(room, from, frame)
    }

    /// Calls `on_timer` once after `delay`; a timer that was set before is replaced.
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

    pub(crate) fn begin_frame(&mut self, id: u16) {
        self.state.begin_frame(self.name, id);
    }

    pub(crate) fn end_frame(&mut self, frame_bytes: usize) -> Flow {
        self.state.end_frame(&mut self.operations, self.name, frame_bytes)
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
