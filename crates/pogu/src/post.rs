//! Closures that run in a session's worker, with the user's type: what [`Context::post`] and
//! [`ServiceHandle::post`](crate::ServiceHandle::post) send.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use pogu_port::slots::Name;

use crate::context::Context;
use crate::delivery::Delivery;
use crate::identity::SessionRef;
use crate::message::{Message, SharedFrame};
use crate::service_handle::{FanOutOutcome, ServiceHandle};
use crate::session::Session;
use crate::worker::{State, Undelivered, drop_quietly};

/// What became of something that was posted to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "what was not posted never happens"]
#[non_exhaustive]
pub enum PostOutcome {
    /// It is on its way to the session's worker. Should the session have ended when it arrives, it is dropped there and
    /// counted as [`Counters::posts_to_gone`](crate::Counters::posts_to_gone).
    Posted,
    /// The inbox of the worker is full; it was dropped, and counted as
    /// [`Counters::posts_refused`](crate::Counters::posts_refused). Try again later.
    Overloaded,
    /// The name is of another core, the session is known to have ended, or its worker has gone; it was dropped, and
    /// counted as [`Counters::posts_to_gone`](crate::Counters::posts_to_gone).
    Gone,
}

impl PostOutcome {
    /// True if it is on its way.
    pub fn is_posted(self) -> bool {
        self == PostOutcome::Posted
    }
}

/// A closure for one session, with its types erased.
pub(crate) trait Visit: Send {
    /// True if the session is of the type that the closure wants.
    fn fits(&self, session: &mut dyn Session) -> bool;

    fn visit(self: Box<Self>, session: &mut dyn Session, cx: &mut Context<'_>);
}

struct Typed<S, F> {
    closure: F,
    session: PhantomData<fn(S)>,
}

impl<S, F> Visit for Typed<S, F>
where
    S: Session,
    F: FnOnce(&mut S, &mut Context<'_>) + Send,
{
    fn fits(&self, session: &mut dyn Session) -> bool {
        typed::<S>(session).is_some()
    }

    fn visit(self: Box<Self>, session: &mut dyn Session, cx: &mut Context<'_>) {
        if let Some(session) = typed::<S>(session) {
            (self.closure)(session, cx);
        }
    }
}

/// The session as an `S`, or the `S` in the boxes that a factory has put around it.
fn typed<S: Session>(session: &mut dyn Session) -> Option<&mut S> {
    match session.as_any_mut().is::<S>() {
        true => session.as_any_mut().downcast_mut(),
        false => session.innermost().downcast_mut(),
    }
}

/// Something of the user's that is to be called once, elsewhere. If it never is, a panic of its `Drop` harms nobody.
pub(crate) struct Errand<V: ?Sized>(Option<Box<V>>);

impl<V: ?Sized> Errand<V> {
    pub(crate) fn new(boxed: Box<V>) -> Errand<V> {
        Errand(Some(boxed))
    }

    pub(crate) fn get(&self) -> Option<&V> {
        self.0.as_deref()
    }

    pub(crate) fn take(mut self) -> Option<Box<V>> {
        self.0.take()
    }

    /// What is to be called, if `wanted`; else it is dropped.
    pub(crate) fn take_if(self, wanted: bool) -> Option<Box<V>> {
        if wanted { self.take() } else { None }
    }
}

impl<V: ?Sized> Drop for Errand<V> {
    fn drop(&mut self) {
        if let Some(unused) = self.0.take() {
            drop_quietly(unused);
        }
    }
}

impl<V: ?Sized> fmt::Debug for Errand<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Errand").finish_non_exhaustive()
    }
}

/// The message that brings `closure` to `session`.
pub(crate) fn visit<S: Session>(
    session: SessionRef<S>,
    closure: impl FnOnce(&mut S, &mut Context<'_>) + Send + 'static,
) -> Message {
    let visit = Errand::new(Box::new(Typed { closure, session: PhantomData }) as Box<dyn Visit>);
    Message::Visit { session: session.id(), visit }
}

impl State {
    /// Posts a message to a worker, if it `reaches` anybody there. What does not is counted: what is refused for the session that
    /// posts it, or for the core.
    pub(crate) fn post_counted(
        &mut self,
        from: Option<Name>,
        reaches: bool,
        worker: usize,
        message: impl FnOnce() -> Message,
    ) -> PostOutcome {
        match reaches.then(|| self.post(worker, message())) {
            Some(Ok(())) => PostOutcome::Posted,
            Some(Err(Undelivered::Full)) => {
                let counters = match from {
                    Some(session) => self.row_of(session),
                    None => self.ledger.core(),
                };
                counters.posts_refused += 1;
                PostOutcome::Overloaded
            }
            None | Some(Err(Undelivered::Gone(_))) => {
                self.ledger.core().posts_to_gone += 1;
                PostOutcome::Gone
            }
        }
    }
}

impl Context<'_> {
    /// The service of this session: to count, to kick, to broadcast, to keep and use from elsewhere. Costs a clone of an
    /// `Arc`.
    pub fn service(&self) -> ServiceHandle {
        let carrier = self.state.carriers.get(self.name);
        // Only `closed` removes a carrier, and never while its session is being called.
        let carrier = carrier.expect("a session that is being called has a carrier");
        ServiceHandle { running: Arc::clone(carrier.running()) }
    }

    /// Runs `closure` in the worker of another session, with that session's own value and context, as one more handler of
    /// it: never inside another handler (a closure for this session or one of the same worker runs later, too), and a panic
    /// ends that session. Closures and packets of [`Context::send_to`] for sessions of *another* worker arrive in the order
    /// in which this worker posts them.
    ///
    /// Never blocks. A closure whose session has ended when it arrives, or whose session is not an `S`, is dropped and
    /// counted as [`Counters::posts_to_gone`](crate::Counters::posts_to_gone).
    pub fn post<S: Session>(
        &mut self,
        session: SessionRef<S>,
        closure: impl FnOnce(&mut S, &mut Context<'_>) + Send + 'static,
    ) -> PostOutcome {
        let id = session.id();
        let known_to_be_gone = || {
            let target = self.state.carriers.get(id.name());
            id.worker() == self.state.index && !target.is_some_and(|carrier| carrier.is_live())
        };
        let reachable = id.is_of(&self.state.shared) && !known_to_be_gone();
        self.state.post_counted(Some(self.name), reachable, id.worker(), || visit(session, closure))
    }

    /// As [`ServiceHandle::broadcast`] of this session's service, on this session's account: as with [`Context::broadcast`],
    /// the further packets of one that broadcasts much in one turn wait for the next, so that a few that burst do not fill
    /// the send queues of all.
    pub fn broadcast_to_service(&mut self, id: u16, body: &[u8]) -> FanOutOutcome {
        self.broadcast_to_service_with(Delivery::PROMPT, id, body)
    }

    /// As [`Context::broadcast_to_service`], but the packet may wait for others to leave with, or be replaced by a newer one: see
    /// [`Delivery`].
    pub fn broadcast_to_service_with(&mut self, delivery: Delivery, id: u16, body: &[u8]) -> FanOutOutcome {
        let service = self.service();
        let frame = match SharedFrame::encode(service.running.service.format, delivery, id, body) {
            Ok(frame) => frame,
            Err(error) => {
                self.state.row_of(self.name).frames_unencodable += 1;
                return FanOutOutcome::Unencodable(error);
            }
        };
        self.state.charge_broadcast(self.name, frame.whole.len());
        service.broadcast_frame(frame)
    }
}
