//! What a user of the engine writes: a type that implements [`Session`], and a factory that makes one per connection.

use std::any::Any;
use std::borrow::Cow;
use std::net::SocketAddr;

use pogu_wire::Packet;

use crate::cause::Cause;
use crate::context::Context;
use crate::identity::{Room, SessionId};
use crate::timer::Timer;

/// The user's half of a session. It lives in one worker and is called there only, one call at a time, with `&mut self`:
/// no lock is needed, and the type need not be `Send`.
///
/// A handler must not block: it would hold up every session of its worker. One that takes longer than
/// [`CoreBuilder::stall_limit`](crate::CoreBuilder::stall_limit) is reported while it still runs. A panic ends this session alone; its
/// `on_disconnected` is then not called, because the value may be broken.
pub trait Session: sealed::AsAny {
    /// The connection is up. Called once, before everything else.
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// A whole packet came. It borrows the receive buffer: copy what must outlive the call.
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>);

    /// A [`Context::join`] took effect: every broadcast that the room orders from now on reaches this session.
    fn on_joined(&mut self, cx: &mut Context<'_>, room: Room) {
        let _ = (cx, room);
    }

    /// The room could not take a broadcast of this session because messages between workers pile up; no member got it.
    /// By default the session ends with [`Limit::WorkerInbox`](crate::Limit::WorkerInbox): a packet that is silently
    /// missing is worse.
    fn on_broadcast_refused(&mut self, cx: &mut Context<'_>, room: Room) {
        let _ = room;
        cx.disconnect_overloaded();
    }

    /// The time of [`Context::set_timer`] has come.
    fn on_timer(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// The time of [`Context::start_timer`] has come. `timer` is what that gave, `key` what it was given.
    fn on_keyed_timer(&mut self, cx: &mut Context<'_>, timer: Timer, key: u64) {
        let _ = (cx, timer, key);
    }

    /// The service is stopping. What is sent now still leaves; afterwards the session is ended.
    fn on_stopping(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// The session has ended and every operation of it has come back. Called exactly once, last. Nothing can be sent.
    fn on_disconnected(&mut self, cx: &mut Context<'_>, cause: &Cause) {
        let _ = (cx, cause);
    }

    /// The user's type without the boxes around it: what a `SessionRef` names.
    #[doc(hidden)]
    fn innermost(&mut self) -> &mut dyn Any {
        self.as_any_mut()
    }
}

pub(crate) mod sealed {
    use std::any::Any;

    /// From `dyn Session`, or any trait object above it, to the type behind it.
    pub trait AsAny: Any {
        fn as_any_mut(&mut self) -> &mut dyn Any;
    }

    impl<T: Any> AsAny for T {
        fn as_any_mut(&mut self) -> &mut dyn Any {
            self
        }
    }
}

/// A boxed session is a session: for factories that choose between types.
impl<S: Session + ?Sized> Session for Box<S> {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        (**self).on_connected(cx);
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        (**self).on_packet(cx, packet);
    }

    fn on_joined(&mut self, cx: &mut Context<'_>, room: Room) {
        (**self).on_joined(cx, room);
    }

    fn on_broadcast_refused(&mut self, cx: &mut Context<'_>, room: Room) {
        (**self).on_broadcast_refused(cx, room);
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        (**self).on_timer(cx);
    }

    fn on_keyed_timer(&mut self, cx: &mut Context<'_>, timer: Timer, key: u64) {
        (**self).on_keyed_timer(cx, timer, key);
    }

    fn on_stopping(&mut self, cx: &mut Context<'_>) {
        (**self).on_stopping(cx);
    }

    fn on_disconnected(&mut self, cx: &mut Context<'_>, cause: &Cause) {
        (**self).on_disconnected(cx, cause);
    }

    fn innermost(&mut self) -> &mut dyn Any {
        (**self).innermost()
    }
}

/// A connection that asks for a session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Incoming {
    /// The name that the session will have.
    pub session: SessionId,
    /// The other side's address.
    pub peer_address: Option<SocketAddr>,
    /// The worker that the session will live in, from 0.
    pub worker: usize,
    /// For a [client service that reconnects](crate::Reconnect): how many attempts in a row it took to bring this session's
    /// place back, this one included. 0 for a first connection, and for everything that was accepted.
    pub attempt: u32,
}

impl Incoming {
    /// True if the session takes the place of one that was lost, or of a connection that could not be made.
    pub fn is_reconnect(&self) -> bool {
        self.attempt > 0
    }
}

/// A connection that the factory does not want. The peer may be told why.
#[derive(Clone, Debug)]
pub struct Refusal {
    reason: Cow<'static, str>,
    packet: Option<(u16, Vec<u8>)>,
}

impl Refusal {
    /// A refusal; `reason` is for the log.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal { reason: reason.into(), packet: None }
    }

    /// A packet that the peer receives before the connection is closed. In the raw format its body is not empty: what has no
    /// bytes cannot be sent.
    pub fn with_packet(mut self, id: u16, body: impl Into<Vec<u8>>) -> Refusal {
        self.packet = Some((id, body.into()));
        self
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn packet(&self) -> Option<(u16, &[u8])> {
        self.packet.as_ref().map(|(id, body)| (*id, body.as_slice()))
    }
}

/// What a factory may return: a session, or a session or a [`Refusal`].
pub trait Admission {
    /// The user's type.
    type Session: Session;

    /// The decision.
    fn decide(self) -> Result<Self::Session, Refusal>;
}

impl<S: Session> Admission for S {
    type Session = S;

    fn decide(self) -> Result<S, Refusal> {
        Ok(self)
    }
}

impl<S: Session> Admission for Result<S, Refusal> {
    type Session = S;

    fn decide(self) -> Result<S, Refusal> {
        self
    }
}

/// A factory with its types erased.
pub(crate) trait Factory: Send + Sync {
    fn make(&self, incoming: Incoming) -> Result<Box<dyn Session>, Refusal>;
}

impl<F, A> Factory for F
where
    F: Fn(Incoming) -> A + Send + Sync,
    A: Admission,
{
    fn make(&self, incoming: Incoming) -> Result<Box<dyn Session>, Refusal> {
        let session = self(incoming).decide()?;
        Ok(Box::new(session))
    }
}
