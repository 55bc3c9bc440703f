//! Sessions whose handlers run on threads of a pool, and may block.
//!
//! A handler of a [`Session`](crate::Session) runs in its worker, and one that blocks holds up every session there. Whoever
//! wants to block (an old database library, a lock that others hold) lets handlers run on a pool instead: each session one
//! handler at a time and in order, on any thread that is free. That is what the course gets from one completion port with
//! many threads.
//!
//! ```text
//!   worker: proxy session                          thread of the pool: the user's session
//!     on_packet ---- copied ----> [event][event] ---> on_packet(&mut self, cx, packet)
//!     applies, in order  <----- one post ------ [send][join][send] ...   what handlers asked for
//!
//!     closed, place kept -------> [over] -----------> on_disconnected, drop
//!     place given back   <----- one post ------
//! ```
//!
//! Nothing of a session is in two places: the engine's half stays in its worker, and what a handler asks for is done there, in
//! the order in which it was asked. That is the cost: each packet is copied, and both ways go through another thread.
//!
//! What waits is bounded in both directions. A session that has received more than its handlers have come to is not received
//! from until they have caught up with half of it. What handlers have asked for and the worker has not taken is bounded by
//! [`Limits::send_bytes_max`](crate::Limits::send_bytes_max) (256 KiB, the default of that, until the worker has looked for the first
//! time), with 64 bytes for each thing, and more for a broadcast with options; what the worker has taken and puts off, because one
//! turn does only so much for a session, is bounded by it once more, and so is what waits for the peer to read it. What an action of
//! [`PooledContext::in_worker`], a posted closure or the filter of a broadcast has on the heap is not known, and not counted.

mod context;
mod lane;
mod proxy;
mod reports;
#[cfg(test)]
mod tests;

use pogu_wire::Packet;

use super::Jobs;
use crate::cause::Cause;
use crate::identity::Room;
use crate::session::{Incoming, Refusal};
use crate::worker::JoinOutcome;

pub(crate) use context::Order;
pub use context::{PooledContext, PooledSendOutcome};
use lane::Lane;
pub use proxy::Pooled;
pub(crate) use reports::{Failure, Report};

/// The user's half of a session whose handlers run on a pool: as [`Session`](crate::Session), but `Send`, and a handler may
/// block. It then holds up its own session, and one of the [threads](crate::CoreBuilder::handler_threads) of the pool.
///
/// Calls come one at a time and in the order in which things happened. What has come before an end in good order (the peer has
/// finished, a bad frame, a kick, a stop) is handled, and what is sent meanwhile leaves, all of it within the service's
/// [`Limits::linger_timeout`](crate::Limits::linger_timeout). After that, or when the connection is reset, packets that no
/// handler has seen are dropped, and counted as [`JobCounts::abandoned`](crate::JobCounts::abandoned). Then `on_disconnected`
/// is called, last and once; until it has returned and the value was dropped, the session keeps its place in the service.
///
/// That holds for the end of a core, too: its stop waits for `on_disconnected` until its deadline, and each session that is
/// left then has it called as soon as a thread is free. Two exceptions: a session for which none is free a second after that,
/// because handlers block all of them, is dropped without it; and a panic ends its session alone, without
/// `on_disconnected`.
pub trait PooledSession: Send + 'static {
    /// The connection is up. Called once, before everything else.
    fn on_connected(&mut self, cx: &mut PooledContext<'_>) {
        let _ = cx;
    }

    /// A whole packet came.
    fn on_packet(&mut self, cx: &mut PooledContext<'_>, packet: Packet<'_>);

    /// A [`PooledContext::join`] took effect: every broadcast that the room orders from now on reaches this session.
    fn on_joined(&mut self, cx: &mut PooledContext<'_>, room: Room) {
        let _ = (cx, room);
    }

    /// A [`PooledContext::join`] was not taken: the session is not in the room. `outcome` says why, as
    /// [`Context::join`](crate::Context::join) does. By default the session goes on without it.
    fn on_join_refused(&mut self, cx: &mut PooledContext<'_>, room: Room, outcome: JoinOutcome) {
        let _ = (cx, room, outcome);
    }

    /// A broadcast of this session was not taken because messages between workers pile up; no member got it. By default the
    /// session ends with [`Limit::WorkerInbox`](crate::Limit::WorkerInbox), as with
    /// [`Session::on_broadcast_refused`](crate::Session::on_broadcast_refused).
    fn on_broadcast_refused(&mut self, cx: &mut PooledContext<'_>, room: Room) {
        let _ = room;
        cx.disconnect_overloaded();
    }

    /// The time of [`PooledContext::set_timer`] has come.
    fn on_timer(&mut self, cx: &mut PooledContext<'_>) {
        let _ = cx;
    }

    /// The service is stopping. What is sent now still leaves; then the session is ended.
    fn on_stopping(&mut self, cx: &mut PooledContext<'_>) {
        let _ = cx;
    }

    /// The session has ended. Called exactly once, last. Nothing can be sent to its peer.
    fn on_disconnected(&mut self, cx: &mut PooledContext<'_>, cause: &Cause) {
        let _ = (cx, cause);
    }
}

/// What a factory of pooled sessions may return: a session, or a session or a [`Refusal`].
pub trait PooledAdmission {
    /// The user's type.
    type Session: PooledSession;

    /// The decision.
    fn decide(self) -> Result<Self::Session, Refusal>;
}

impl<P: PooledSession> PooledAdmission for P {
    type Session = P;

    fn decide(self) -> Result<P, Refusal> {
        Ok(self)
    }
}

impl<P: PooledSession> PooledAdmission for Result<P, Refusal> {
    type Session = P;

    fn decide(self) -> Result<P, Refusal> {
        self
    }
}

impl Jobs {
    /// A session factory for a service whose handlers run on a pool: `factory` makes the session of each connection, in the
    /// worker, and everything else of it runs on the pool. `name` is what its handlers are measured under.
    ///
    /// ```no_run
    /// use pogu::{Core, Packet, PooledContext, PooledSession, Service};
    ///
    /// struct Login;
    ///
    /// impl PooledSession for Login {
    ///     fn on_packet(&mut self, cx: &mut PooledContext<'_>, packet: Packet<'_>) {
    ///         let known = ask_the_database(packet.body()); // for a second, if need be
    ///         cx.send(packet.id(), &[u8::from(known)]);
    ///     }
    /// }
    /// # fn ask_the_database(name: &[u8]) -> bool { !name.is_empty() }
    ///
    /// fn main() -> pogu::Result<()> {
    ///     let core = Core::start()?;
    ///     core.serve(Service::server("127.0.0.1:7777"), core.jobs().pooled("login", |_incoming| Login))?;
    ///     core.run_until_interrupted()
    /// }
    /// ```
    pub fn pooled<F, A>(
        &self,
        name: &str,
        factory: F,
    ) -> impl Fn(Incoming) -> Result<Pooled<A::Session>, Refusal> + Send + Sync + use<F, A>
    where
        F: Fn(Incoming) -> A + Send + Sync + 'static,
        A: PooledAdmission,
    {
        let (jobs, name) = (self.clone(), name.to_owned());
        move |incoming| {
            let (id, peer_address) = (incoming.session, incoming.peer_address);
            let session = factory(incoming).decide()?;
            Ok(Pooled::new(Lane::new(&jobs.shared, &name, id, peer_address, session)))
        }
    }
}
