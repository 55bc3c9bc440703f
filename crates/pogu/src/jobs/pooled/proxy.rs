//! The worker's end of a session whose handlers run on a pool.

use std::fmt;
use std::sync::Arc;

use pogu_wire::Packet;

use super::lane::{Event, Lane};
use super::reports::NotHandedOn;
use super::{PooledContext, PooledSession};
use crate::cause::Cause;
use crate::context::Context;
use crate::identity::Room;
use crate::post::PostOutcome;
use crate::session::Session;

/// What a worker has in the place of a [`PooledSession`]: it hands on what happens, and what is [posted](Pooled::post) to it.
/// Made by [`Jobs::pooled`](crate::Jobs::pooled); `SessionRef<Pooled<P>>` names it, see [`PooledContext::reference`].
pub struct Pooled<P: PooledSession> {
    lane: Arc<Lane<P>>,
}

impl<P: PooledSession> Pooled<P> {
    pub(super) fn new(lane: Arc<Lane<P>>) -> Pooled<P> {
        Pooled { lane }
    }

    /// Has `closure` called on the pool as one more handler of the session, after all that has come before: how what is posted
    /// to a session, or answered, reaches its handlers.
    ///
    /// Never blocks. Refused if its handlers are behind: with 128 KiB of packets and closures, each charged 64 bytes beside
    /// its own. One whose session ends before it was called is dropped, and counted as
    /// [`JobCounts::abandoned`](crate::JobCounts::abandoned).
    pub fn post(
        &mut self,
        cx: &mut Context<'_>,
        closure: impl FnOnce(&mut P, &mut PooledContext<'_>) + Send + 'static,
    ) -> PostOutcome {
        let bytes = size_of_val(&closure);
        match self.lane.hand_on(cx, Event::Posted(Box::new(closure), bytes)) {
            Ok(()) => PostOutcome::Posted,
            Err(NotHandedOn::Full) => {
                cx.count_refused_post();
                PostOutcome::Overloaded
            }
            Err(NotHandedOn::Over) => {
                cx.count_post_to_gone();
                PostOutcome::Gone
            }
        }
    }

    fn hand_on(&mut self, cx: &mut Context<'_>, event: Event<P>) {
        // Over: then nobody is there to hear of it.
        let _ = self.lane.hand_on(cx, event);
    }
}

impl<P: PooledSession> Session for Pooled<P> {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        let format = cx.format();
        self.hand_on(cx, Event::Connected(format));
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        self.hand_on(cx, Event::Packet(packet.frame().into()));
    }

    fn on_joined(&mut self, cx: &mut Context<'_>, room: Room) {
        self.hand_on(cx, Event::Joined(room));
    }

    fn on_broadcast_refused(&mut self, cx: &mut Context<'_>, room: Room) {
        self.hand_on(cx, Event::BroadcastRefused(room));
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.hand_on(cx, Event::Timer);
    }

    fn on_stopping(&mut self, cx: &mut Context<'_>) {
        self.hand_on(cx, Event::Stopping);
    }

    fn on_disconnected(&mut self, _cx: &mut Context<'_>, cause: &Cause) {
        self.lane.end(Some(cause.clone()));
    }
}

impl<P: PooledSession> Drop for Pooled<P> {
    fn drop(&mut self) {
        // Without a cause, unless it was told one: a handler in the worker has panicked.
        self.lane.end(None);
    }
}

impl<P: PooledSession> fmt::Debug for Pooled<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled").finish_non_exhaustive()
    }
}
