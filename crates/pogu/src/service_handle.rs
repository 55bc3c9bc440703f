//! A started service, for its user: what can be asked of it and done to it from any thread.
//!
//! Nothing here waits for a worker. What concerns sessions is posted to the bounded inboxes of the workers that they live in,
//! and the outcome says at once whether it is on its way.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use pogu_port::{OsError, PostError};
use pogu_wire::EncodeError;

use crate::context::Context;
use crate::counters::{Counters, Ledger};
use crate::error::Result;
use crate::identity::{SessionId, SessionRef};
use crate::limits::Limits;
use crate::listener::Listener;
use crate::message::{Kick, Message, SharedFrame};
use crate::outside::Which;
use crate::post::{Errand, PostOutcome, visit};
use crate::reconnect::GaveUp;
use crate::service::{Role, Running};
use crate::session::Session;
use crate::worker::SendOutcome;
use crate::worker_set::WorkerSet;

/// What became of something that was meant for every session of a service, and so for every worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "what was not posted reaches nobody"]
#[non_exhaustive]
pub enum FanOutOutcome {
    /// It is on its way to every worker that has not gone.
    Posted,
    /// It is on its way to some workers, and the inboxes of others filled up just then: the sessions there do not get it. Whoever
    /// it was for can be told again, say with [`ServiceHandle::send_to_many`]: those whose
    /// [worker](crate::SessionId::worker) was missed.
    Partial {
        /// Workers whose sessions do not get it. Of a list that is longer than one message, some there may get it still.
        workers_missed: WorkerSet,
    },
    /// The inbox of a worker is full: nobody gets it. Try again later.
    Overloaded,
    /// The packet does not fit the service's frame format: the caller's mistake. Nobody gets it.
    Unencodable(EncodeError),
    /// The core has stopped.
    Gone,
}

impl FanOutOutcome {
    /// Of a frame for a list of sessions that live in `taken` workers who take it, and in others that are missed.
    pub(crate) fn of_list(sessions: &[SessionId], taken: usize, workers_missed: WorkerSet) -> FanOutOutcome {
        match (taken, workers_missed.is_empty()) {
            (0, true) if !sessions.is_empty() => FanOutOutcome::Gone,
            (0, false) => FanOutOutcome::Overloaded,
            (_, true) => FanOutOutcome::Posted,
            (_, false) => FanOutOutcome::Partial { workers_missed },
        }
    }
}

/// The sessions of a service, as its workers found them one after the other.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Enumeration {
    /// The live sessions of every worker that answered. One that connected or ended meanwhile may or may not be there.
    pub sessions: Vec<SessionId>,
    /// Workers that could not be asked because messages to them piled up; their sessions are missing. None: the list is whole.
    pub workers_missed: WorkerSet,
}

/// An enumeration on its way from worker to worker.
pub(crate) struct Census {
    /// The index of the service.
    pub(crate) service: usize,
    pub(crate) so_far: Enumeration,
    /// The worker that is asked next.
    pub(crate) next: usize,
    pub(crate) answer: Errand<Answer>,
}

pub(crate) type Answer = dyn FnOnce(Enumeration) + Send;

impl fmt::Debug for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Census").field("service", &self.service).field("next", &self.next).finish_non_exhaustive()
    }
}

/// Where it is counted that something for one session did not get to its worker.
#[derive(Clone, Copy)]
pub(crate) struct Counts {
    to_gone: Which,
    refused: Which,
}

pub(crate) const FRAMES: Counts =
    Counts { to_gone: |outside| &outside.frames_to_gone, refused: |outside| &outside.frames_refused };

const POSTS: Counts = Counts { to_gone: |outside| &outside.posts_to_gone, refused: |outside| &outside.posts_refused };

/// A started service, for its user: clones of it work from any thread, from handlers of any core too
/// ([`Context::service`]), and keep no session alive.
///
/// Wherever a session is named, any session of the service's *core* will do; a name of another core is
/// [`Gone`](PostOutcome::Gone).
#[derive(Clone, Debug)]
pub struct ServiceHandle {
    pub(crate) running: Arc<Running>,
}

impl ServiceHandle {
    /// The address that a server service is bound to, or that a client service dialled last. Of a client service that was
    /// given a name it is `0.0.0.0:0` until the name has been looked up for the first time; see [`ServiceHandle::target`].
    pub fn address(&self) -> SocketAddr {
        self.running.address.address()
    }

    /// What a client service was told to connect to, a name or an address, as it was written; of a server service the address
    /// that it is bound to.
    pub fn target(&self) -> &str {
        self.running.address.text()
    }

    /// Sessions at this moment, connecting and ending ones included; in a client service that reconnects also those that
    /// wait to be dialled again. They are gone when they have been given up, or when the service or its core stops.
    pub fn sessions(&self) -> usize {
        self.running.sessions.load(Ordering::Relaxed)
    }

    /// Totals of this service. They may lag behind by the turn that a worker is in.
    pub fn counters(&self) -> Counters {
        let index = self.running.index;
        let mut counters = self.running.shared.sum(|ledger: &Ledger| ledger.get(index));
        self.running.outside.add_to(&mut counters);
        counters
    }

    /// Why the last connection that could not be made could not; `None` if all could, so far.
    pub fn connect_error(&self) -> Option<OsError> {
        *self.running.connect_error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last of the places that a [reconnecting](crate::Reconnect) client service does not dial any more, and why;
    /// [`Counters::gave_up`] tells how many there are. `None` if there is none.
    pub fn gave_up(&self) -> Option<GaveUp> {
        self.running.gave_up.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Nothing new comes in: a server service stops accepting, as [`Listener::close`] does; a client service dials no more, and
    /// its places that wait to be dialled again are gone with the next turn of their workers. Sessions live on.
    pub fn close(&self) {
        self.running.gate.close();
        (0..self.running.shared.workers()).for_each(|worker| self.running.shared.nudge(worker));
    }

    /// The listener of a server service; `None` for a client service.
    pub fn listener(&self) -> Option<Listener> {
        let listens = self.running.service.role == Role::Server;
        listens.then(|| Listener::new(Arc::clone(&self.running)))
    }

    /// The limits that hold now. Of a change that is being made in another thread some values may be there already.
    pub fn limits(&self) -> Limits {
        self.running.limits.copy()
    }

    /// Changes the limits while the service runs: `change` gets those that hold and leaves those that are to hold. Of two
    /// changes at a time one waits for the other, and both count; so `change` must be short and not change the limits of the
    /// same service itself.
    ///
    /// A new value holds from then on, for the sessions that are there, too:
    /// - A timeout is counted from when its time began, not from the change: a session that has been silent for longer than a
    ///   new [`Limits::idle_timeout`] ends at once. Sessions that are ending keep their [`Limits::linger_timeout`]; a
    ///   [`Limits::first_frame_timeout`] where there was none holds for newcomers.
    /// - A lowered [`Limits::sessions_max`] refuses newcomers and ends nobody.
    /// - A session whose send queue is above a lowered [`Limits::send_bytes_max`] meets it with the next packet that it is
    ///   sent.
    ///
    /// # Errors
    /// A value makes no sense. Then nothing has changed.
    pub fn change_limits(&self, change: impl FnOnce(&mut Limits)) -> Result<()> {
        let running = &self.running;
        let one_at_a_time = running.limits_change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut limits = running.limits.copy();
        change(&mut limits);
        limits.check()?;
        running.limits.replace(&limits);
        drop(one_at_a_time);
        running.shared.announce_limits();
        Ok(())
    }

    /// Gives the names of all live sessions to `answer`, which is called once, on the thread of a worker and in its turn, when
    /// the last worker has been asked: each answers in its own turn, one after the other. `answer` must not block; if it
    /// panics, nothing else notices.
    ///
    /// Never blocks. If a worker's inbox is full, the outcome is [`PostOutcome::Overloaded`] and `answer` is dropped; if one
    /// fills up only after that, `answer` is told ([`Enumeration::workers_missed`]). A worker that has gone has no sessions and
    /// is passed over; one that goes while it has the list (its core is stopping) drops `answer` uncalled. A worker that
    /// nobody dispatches keeps the list until somebody does.
    pub fn enumerate(&self, answer: impl FnOnce(Enumeration) + Send + 'static) -> PostOutcome {
        let shared = &self.running.shared;
        if shared.has_stopped() {
            return PostOutcome::Gone;
        }
        if !shared.have_room() {
            self.running.count_outside(|outside| &outside.posts_refused);
            return PostOutcome::Overloaded;
        }
        let so_far = Enumeration { sessions: Vec::new(), workers_missed: WorkerSet::default() };
        let answer = Errand::new(Box::new(answer) as Box<Answer>);
        let mut census = Box::new(Census { service: self.running.index, so_far, next: 0, answer });
        for worker in 0..shared.workers() {
            census.next = worker + 1;
            match shared.post(worker, Message::Enumerate(census)) {
                Ok(()) => return PostOutcome::Posted,
                Err(PostError::Closed(Message::Enumerate(returned))) => census = returned,
                Err(_) => {
                    self.running.count_outside(|outside| &outside.posts_refused);
                    return PostOutcome::Overloaded;
                }
            }
        }
        PostOutcome::Gone
    }

    pub(crate) fn broadcast_frame(&self, frame: SharedFrame) -> FanOutOutcome {
        let (service, frame) = (self.running.index, Arc::new(frame));
        let message = || Message::BroadcastToService { service, frame: Arc::clone(&frame) };
        self.fan_out(message, |outside| &outside.broadcasts_refused)
    }

    /// Ends every live session of this service in good order, with [`Cause::Kicked`](crate::Cause::Kicked). Who connects
    /// afterwards is welcome: to end the service, close its [`Listener`] first. To repeat it does no harm.
    ///
    /// Never blocks, and is never [`FanOutOutcome::Unencodable`].
    pub fn kick_all(&self, reason: impl Into<Cow<'static, str>>) -> FanOutOutcome {
        let (service, reason) = (self.running.index, reason.into());
        let message = || Message::KickAll { service, reason: Box::new(reason.clone()) };
        self.fan_out(message, |outside| &outside.posts_refused)
    }

    /// Ends a session in good order, with [`Cause::Kicked`](crate::Cause::Kicked): what was sent still leaves.
    pub fn kick(&self, session: impl Into<SessionId>, reason: impl Into<Cow<'static, str>>) -> PostOutcome {
        self.post_to(session.into(), POSTS, |session| Message::Kick(Box::new(Kick::new(session, reason))))
    }

    /// As [`ServiceHandle::kick`], with a last packet that leaves before the end. If there is no room for it in the session's
    /// send queue, and the service disconnects at that bound, the session is reset; the cause is the same.
    pub fn kick_with(
        &self,
        session: impl Into<SessionId>,
        reason: impl Into<Cow<'static, str>>,
        id: u16,
        body: &[u8],
    ) -> SendOutcome {
        self.send_counted(session.into(), body, POSTS, |session, body| {
            Message::Kick(Box::new(Kick::new(session, reason).with_farewell(id, body)))
        })
    }

    /// Runs `closure` in the worker of a session, with that session's own value and context, as one more handler of it. As
    /// [`Context::post`], from anywhere: a plain thread, a handler of another core.
    pub fn post<S: Session>(
        &self,
        session: SessionRef<S>,
        closure: impl FnOnce(&mut S, &mut Context<'_>) + Send + 'static,
    ) -> PostOutcome {
        self.post_to(session.id(), POSTS, |_| visit(session, closure))
    }

    pub(crate) fn send_counted(
        &self,
        session: SessionId,
        body: &[u8],
        counts: Counts,
        message: impl FnOnce(SessionId, Bytes) -> Message,
    ) -> SendOutcome {
        if let Err(error) = self.running.service.format.frame_bytes(body.len()) {
            self.running.count_outside(|outside| &outside.frames_unencodable);
            return SendOutcome::Unencodable(error);
        }
        match self.post_to(session, counts, |session| message(session, Bytes::copy_from_slice(body))) {
            PostOutcome::Posted => SendOutcome::Posted,
            PostOutcome::Overloaded => SendOutcome::Overloaded,
            PostOutcome::Gone => SendOutcome::Gone,
        }
    }

    fn post_to(&self, session: SessionId, counts: Counts, message: impl FnOnce(SessionId) -> Message) -> PostOutcome {
        let shared = &self.running.shared;
        let reachable = session.is_of(shared) && !shared.has_stopped();
        match reachable.then(|| shared.post(session.worker(), message(session))) {
            Some(Ok(())) => PostOutcome::Posted,
            Some(Err(PostError::Full(_))) => {
                self.running.count_outside(counts.refused);
                PostOutcome::Overloaded
            }
            None | Some(Err(PostError::Closed(_))) => {
                self.running.count_outside(counts.to_gone);
                PostOutcome::Gone
            }
        }
    }

    /// One message per worker; who misses it is counted.
    fn fan_out(&self, message: impl FnMut() -> Message, refused: Which) -> FanOutOutcome {
        let outcome = self.running.shared.fan_out(message);
        if matches!(outcome, FanOutOutcome::Overloaded | FanOutOutcome::Partial { .. }) {
            self.running.count_outside(refused);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Core, Packet, PortConfig, Service, sim::Simulation};

    struct Nobody;

    impl Session for Nobody {
        fn on_packet(&mut self, _cx: &mut Context<'_>, _packet: Packet<'_>) {}
    }

    #[test]
    fn a_partial_delivery_is_told_and_counted() {
        let mut port = PortConfig::default();
        port.posts_max = 2;
        let builder = Core::builder().simulated(&Simulation::new()).workers(3).port(port);
        let (core, seeds) = builder.hand_out().expect("a core");
        let service = core.serve(Service::server("10.0.0.1:1"), |_incoming| Nobody).expect("a service");
        let filled_meanwhile = |worker| while core.shared().post(worker, Message::Look).is_ok() {};
        let mut made = 0;
        let filling = || {
            made += 1;
            if made == 2 {
                filled_meanwhile(2);
            }
            Message::Look
        };
        let workers_missed = WorkerSet::from_iter([2]);
        assert_eq!(service.fan_out(filling, POSTS.refused), FanOutOutcome::Partial { workers_missed });
        assert_eq!(service.fan_out(|| Message::Look, POSTS.refused), FanOutOutcome::Overloaded);
        assert_eq!(service.counters().posts_refused, 2);
        drop(seeds);
        assert_eq!(service.fan_out(|| Message::Look, POSTS.refused), FanOutOutcome::Gone);
        assert_eq!(service.counters().posts_refused, 2);
    }
}
