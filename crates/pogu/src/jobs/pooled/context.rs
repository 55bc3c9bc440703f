//! What a handler on a pool can do: everything is asked for, and done in the session's worker, in order.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pogu_port::Time;
use pogu_wire::{EncodeError, FrameFormat, ReadError};

use super::lane::Lane;
use super::proxy::Pooled;
use super::reports::Asked;
use crate::broadcast::Broadcast;
use crate::context::Context;
use crate::delivery::Delivery;
use crate::identity::{Room, SessionId, SessionRef};
use crate::worker::{BroadcastOutcome, JoinOutcome};

/// What a handler has asked for: done in the worker, with the session's own context.
pub(crate) type Order = Box<dyn FnOnce(&mut Context<'_>) + Send>;

/// What an order is charged beside its body: its own memory, and that of the closure.
const ORDER_BYTES: usize = 64;

/// What became of a packet that a handler on a pool wants to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PooledSendOutcome {
    /// The session's worker will send it, behind everything that was asked for before.
    Asked,
    /// The packet does not fit the session's frame format: the caller's mistake. Nothing is sent; it is counted as
    /// [`Counters::frames_unencodable`](crate::Counters::frames_unencodable), and the session goes on.
    Unencodable(EncodeError),
    /// Handlers of this session have asked for more than [`Limits::send_bytes_max`](crate::Limits::send_bytes_max) before its
    /// worker could do it: the session ends.
    TooMuch,
    /// A handler has ended the session before.
    Ended,
}

impl PooledSendOutcome {
    /// True if the worker will send it.
    pub fn is_asked(self) -> bool {
        self == PooledSendOutcome::Asked
    }
}

/// The engine, seen from a handler on a pool.
///
/// Nothing here blocks. What is asked for is done in the session's worker once the handler has returned, in the order in
/// which it was asked; what then becomes of it is counted as if a handler in the worker had done it.
pub struct PooledContext<'a> {
    lane: &'a dyn Seen,
    asked: &'a mut Asked<Order>,
}

/// What of a lane does not depend on the type of its session.
pub(super) trait Seen {
    fn id(&self) -> SessionId;
    fn peer_address(&self) -> Option<SocketAddr>;
    fn now(&self) -> Time;
    /// What the session's packets are encoded in; `None` before it is connected.
    fn format(&self) -> Option<FrameFormat>;
    /// Bytes that handlers may have asked for before the worker has done it.
    fn orders_bytes_max(&self) -> usize;
    /// For what may be refused in the worker; `None` if the lane is going.
    fn refusing(&self) -> Option<Arc<dyn Refusing>>;
}

/// Brings a refusal back to the handlers.
pub(super) trait Refusing: Send + Sync {
    fn join_refused(&self, cx: &mut Context<'_>, room: Room, outcome: JoinOutcome);
    fn broadcast_refused(&self, cx: &mut Context<'_>, room: Room);
}

impl<'a> PooledContext<'a> {
    pub(super) fn new<P: super::PooledSession>(lane: &'a Lane<P>, asked: &'a mut Asked<Order>) -> PooledContext<'a> {
        PooledContext { lane, asked }
    }

    /// The session's name.
    pub fn id(&self) -> SessionId {
        self.lane.id()
    }

    /// The worker that the session lives in, from 0.
    pub fn worker(&self) -> usize {
        self.id().worker()
    }

    /// The peer's address, if the system knew it.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.lane.peer_address()
    }

    /// The time right now: it moves on while handlers run.
    pub fn now(&self) -> Time {
        self.lane.now()
    }

    /// Queues a packet for the peer. What the worker does with it then is as with [`Context::send`](crate::Context::send) there:
    /// it may be dropped, or end the session, because the send queue is full.
    pub fn send(&mut self, id: u16, body: &[u8]) -> PooledSendOutcome {
        self.send_with(Delivery::PROMPT, id, body)
    }

    /// As [`PooledContext::send`], but the packet may wait for others to leave with, or be replaced by a newer one: see
    /// [`Delivery`]. Both begin in the worker: what it has not come to yet is replaced by nothing.
    pub fn send_with(&mut self, delivery: Delivery, id: u16, body: &[u8]) -> PooledSendOutcome {
        self.ask_to_send(id, body, move |cx, body| {
            cx.send_with(delivery, id, body);
        })
    }

    /// Queues a packet for another session, wherever it lives. That it fits is checked against this session's own format.
    pub fn send_to(&mut self, session: impl Into<SessionId>, id: u16, body: &[u8]) -> PooledSendOutcome {
        self.send_to_with(session, Delivery::PROMPT, id, body)
    }

    /// As [`PooledContext::send_to`], but the packet may wait for others to leave with, or be replaced by a newer one: as with
    /// [`PooledContext::send_with`], from where the other session's worker queues it.
    pub fn send_to_with(
        &mut self,
        session: impl Into<SessionId>,
        delivery: Delivery,
        id: u16,
        body: &[u8],
    ) -> PooledSendOutcome {
        let session = session.into();
        self.ask_to_send(id, body, move |cx, body| {
            cx.send_to_with(session, delivery, id, body);
        })
    }

    /// Sends a packet to every member of a room. If the worker finds that messages to the room's home pile up,
    /// `on_broadcast_refused` tells that nobody gets it; if that home has gone because the core is stopping, nobody is told.
    pub fn broadcast(&mut self, room: Room, id: u16, body: &[u8]) -> PooledSendOutcome {
        self.ask_to_broadcast(room, id, body, move |cx, body| cx.broadcast(room, id, body))
    }

    /// As [`PooledContext::broadcast`], to some of the members, or with a window, or without order: as
    /// [`Context::broadcast_with`](crate::Context::broadcast_with). Of what a [filter](Broadcast::only) holds nothing is counted
    /// against [`Limits::send_bytes_max`](crate::Limits::send_bytes_max).
    pub fn broadcast_with(&mut self, room: Room, how: &Broadcast, id: u16, body: &[u8]) -> PooledSendOutcome {
        let how = how.clone();
        self.ask_to_broadcast(room, id, body, move |cx, body| cx.broadcast_with(room, &how, id, body))
    }

    /// Asks to join a room; `on_joined` tells when every later broadcast is sure to arrive, `on_join_refused` that the session
    /// is not in it.
    pub fn join(&mut self, room: Room) {
        let refusing = self.lane.refusing();
        self.in_worker(move |cx| match cx.join(room) {
            JoinOutcome::Asked | JoinOutcome::Already => {}
            // One that is ending is in no room, and knows.
            outcome if cx.is_live() => {
                if let Some(refusing) = refusing {
                    refusing.join_refused(cx, room, outcome);
                }
            }
            _ => {}
        });
    }

    /// Leaves a room.
    pub fn leave(&mut self, room: Room) {
        self.in_worker(move |cx| {
            cx.leave(room);
        });
    }

    /// Calls `on_timer` once after `delay`; a timer that was set before is replaced.
    pub fn set_timer(&mut self, delay: Duration) {
        let at = self.now() + delay;
        self.in_worker(move |cx| cx.set_timer_at(at));
    }

    /// Forgets the timer. It may be due, and on its way, already.
    pub fn clear_timer(&mut self) {
        self.in_worker(|cx| cx.clear_timer());
    }

    /// The session's name with its type: for answers to what it asks, which [`Pooled::post`] brings to its handlers.
    ///
    /// ```
    /// use pogu::{JobQueue, Packet, PooledContext, PooledSession};
    ///
    /// struct Player {
    ///     world: JobQueue<u64>,
    /// }
    ///
    /// impl PooledSession for Player {
    ///     fn on_packet(&mut self, cx: &mut PooledContext<'_>, packet: Packet<'_>) {
    ///         let id = packet.id();
    ///         let asked = self.world.ask(cx.reference(self), |steps| *steps, move |player, cx, steps| {
    ///             // In the worker, and from there to the handlers.
    ///             let posted = player.post(cx, move |_player, cx| {
    ///                 let steps = steps.unwrap_or_default();
    ///                 cx.send(id, &steps.to_le_bytes());
    ///             });
    ///             if !posted.is_posted() {
    ///                 cx.disconnect("its handlers do not keep up");
    ///             }
    ///         });
    ///         if !asked.is_pushed() {
    ///             cx.disconnect("the world is overloaded");
    ///         }
    ///     }
    /// }
    /// ```
    pub fn reference<P: super::PooledSession>(&self, _session: &P) -> SessionRef<Pooled<P>> {
        SessionRef::new(self.id())
    }

    /// Ends the session because messages between workers pile up.
    pub(super) fn disconnect_overloaded(&mut self) {
        self.end(|cx| cx.disconnect_overloaded());
    }

    /// Ends the session: what was sent still leaves, then the connection is closed in good order. Packets that wait are not
    /// handled any more.
    pub fn disconnect(&mut self, reason: impl Into<Cow<'static, str>>) {
        let reason = reason.into();
        self.end(move |cx| cx.disconnect(reason));
    }

    /// Ends the session because the peer sent something that it must not send: as
    /// [`Context::violation`](crate::Context::violation).
    pub fn violation(&mut self, packet_id: u16, what: impl Into<Cow<'static, str>>) {
        let what = what.into();
        self.end(move |cx| cx.violation(packet_id, what));
    }

    /// As [`PooledContext::violation`], for a packet that could not be read.
    pub fn unreadable(&mut self, packet_id: u16, error: ReadError) {
        self.end(move |cx| cx.unreadable(packet_id, error));
    }

    /// Has `action` done in the session's worker, after everything that was asked for before: for whatever
    /// [`Context`] can do and this cannot. It must not block. If it panics, the session ends.
    ///
    /// Of what `action` holds nothing is counted against [`Limits::send_bytes_max`](crate::Limits::send_bytes_max) but 64 bytes.
    pub fn in_worker(&mut self, action: impl FnOnce(&mut Context<'_>) + Send + 'static) {
        self.ask(0, action);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.asked.has_ended
    }

    fn end(&mut self, action: impl FnOnce(&mut Context<'_>) + Send + 'static) {
        self.in_worker(action);
        self.asked.has_ended = true;
    }

    fn ask_to_broadcast(
        &mut self,
        room: Room,
        id: u16,
        body: &[u8],
        say: impl FnOnce(&mut Context<'_>, &[u8]) -> BroadcastOutcome + Send + 'static,
    ) -> PooledSendOutcome {
        let refusing = self.lane.refusing();
        self.ask_to_send(id, body, move |cx, body| {
            if say(cx, body) == BroadcastOutcome::Overloaded
                && let Some(refusing) = refusing
            {
                refusing.broadcast_refused(cx, room);
            }
        })
    }

    fn ask_to_send(
        &mut self,
        id: u16,
        body: &[u8],
        send: impl FnOnce(&mut Context<'_>, &[u8]) + Send + 'static,
    ) -> PooledSendOutcome {
        if let Some(error) = self.lane.format().and_then(|format| misfit(format, id, body)) {
            let counted = self.ask(0, |cx| cx.count_unencodable());
            return if counted.is_asked() { PooledSendOutcome::Unencodable(error) } else { counted };
        }
        let body = body.to_vec();
        // How a broadcast goes may take more than every order is charged.
        let beyond = size_of_val(&send).saturating_sub(ORDER_BYTES);
        self.ask(body.len() + beyond, move |cx| send(cx, &body))
    }

    fn ask(&mut self, bytes: usize, action: impl FnOnce(&mut Context<'_>) + Send + 'static) -> PooledSendOutcome {
        if self.asked.has_ended {
            return PooledSendOutcome::Ended;
        }
        let (wanted, maximum) = (self.asked.bytes + bytes + ORDER_BYTES, self.lane.orders_bytes_max());
        if wanted > maximum {
            self.asked.has_ended = true;
            self.asked.orders.push(Box::new(move |cx| cx.disconnect_flooding(wanted as u64, maximum as u64)));
            return PooledSendOutcome::TooMuch;
        }
        self.asked.bytes = wanted;
        self.asked.orders.push(Box::new(action));
        PooledSendOutcome::Asked
    }
}

/// Why a packet does not fit a format, if it does not.
fn misfit(format: FrameFormat, id: u16, body: &[u8]) -> Option<EncodeError> {
    let max = format.id_max();
    if id > max {
        return Some(EncodeError::IdTooLarge { id, max });
    }
    format.frame_bytes(body.len()).err()
}

impl fmt::Debug for PooledContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledContext").field("session", &self.id()).finish_non_exhaustive()
    }
}
