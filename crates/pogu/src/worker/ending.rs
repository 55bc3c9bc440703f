//! How a session ends: once, in order, the same on every system.
//!
//! 1. *Stop*: the stage is no longer `Live`; rooms and sends do not reach the session any more.
//! 2. *Flush*: what was sent leaves.
//! 3. *Shut* the write side, then *drain*: read and discard until the peer finishes. Closing with unread input would make
//!    the system reset the connection and destroy what the peer has not read yet.
//! 4. *Close*, and wait until every operation has come back.
//! 5. `on_disconnected`, exactly once. Then the slot may be reused and the place in the service is given back.
//!
//! Flush and drain together have the service's linger time; when it is up, or when something fails, the connection is
//! *aborted* (everything cancelled, reset) and step 4 follows. The first cause stays the cause.

use std::time::Duration;

use pogu_port::plant::{self, Plant};
use pogu_port::slots::Name;
use pogu_port::{Operation, Operations, OsError, Time};

use crate::cause::{Cause, CauseKind};
use crate::context::Context;
use crate::progress::Handler;
use crate::worker::carrier::{Ending, NEVER, Reached};
use crate::worker::caught::{caught, drop_quietly};
use crate::worker::log_gate::Line;
use crate::worker::{Carrier, Stage, State, Step};

/// How long sessions have, after they were told that the service stops, to speak to each other: broadcasts and posts take a
/// turn or two from worker to worker.
const TELL_TIME: Duration = Duration::from_millis(20);

/// The state of a worker whose core was stopped.
pub(crate) struct Stopping {
    /// When what has not ended is aborted.
    deadline: Time,
    step: StopStep,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum StopStep {
    /// Sessions have been told and still live.
    Telling { until: Time },
    /// They end in good order.
    Ending,
    /// They are being aborted.
    Aborting,
}

impl Stopping {
    /// When there is something to be done.
    pub(super) fn next_look(&self) -> Time {
        match self.step {
            StopStep::Telling { until } => until.min(self.deadline),
            StopStep::Ending => self.deadline,
            StopStep::Aborting => NEVER,
        }
    }
}

impl State {
    /// Begins to end a session in good order. Does nothing if it is ending already.
    pub(crate) fn stop(&mut self, operations: &mut Operations<'_>, name: Name, cause: Cause) {
        let Some(carrier) = self.carriers.get(name) else { return };
        match carrier.stage {
            Stage::Ending(_) => {}
            Stage::Connecting { .. } => self.abort(operations, name, cause),
            Stage::Live => {
                self.end_at(name, cause, Step::Flush);
                // A delay keeps nobody from hearing that the peer has finished.
                self.resume(operations, name);
                self.mark_dirty(name);
                self.arm(name);
            }
        }
    }

    /// Ends a session at once: what was sent and has not left is lost.
    pub(crate) fn abort(&mut self, operations: &mut Operations<'_>, name: Name, cause: Cause) {
        self.end_at(name, cause, Step::Close);
        if let Some(carrier) = self.carriers.get(name) {
            // A stale name means that the port has been told already.
            let _ = operations.abort(carrier.connection);
        }
    }

    /// Moves to `step` of the ending; the first call also takes the session out of rooms, timers and counts of the living.
    pub(super) fn end_at(&mut self, name: Name, cause: Cause, step: Step) {
        let now = self.now;
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        if let Stage::Ending(ending) = &mut carrier.stage {
            ending.step = ending.step.max(step);
            return;
        }
        let limit = self.stopping.as_ref().map_or(NEVER, |stopping| stopping.deadline);
        let deadline = (now + carrier.running().limits().linger_timeout.get()).min(limit);
        let unconnected = matches!(carrier.stage, Stage::Connecting { .. });
        carrier.stage = Stage::Ending(Box::new(Ending { cause, step, unconnected, deadline }));
        carrier.timer_at = NEVER;
        let unfinished = carrier.unfinished.take();
        self.recycle_unfinished(unfinished);
        self.leave_all(name);
        self.strike(name);
    }

    /// Puts another cause in the place of the first: for a panic, which must not hide behind an end that came just before.
    pub(super) fn blame(&mut self, name: Name, cause: Cause) {
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        if let Stage::Ending(ending) = &mut carrier.stage {
            ending.cause = cause;
        }
    }

    /// Takes the next step of an ending, if its time has come.
    pub(super) fn advance(&mut self, operations: &mut Operations<'_>, name: Name) {
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let Stage::Ending(ending) = &mut carrier.stage else { return };
        if ending.step == Step::Flush && (carrier.outgoing.is_none() || plant::is(Plant::CloseBeforeFlush)) {
            // Refused only if the connection is ending in the port already: `Closed` will come.
            let _ = operations.shut(carrier.connection);
            ending.step = Step::Drain;
        }
        if ending.step == Step::Drain && (carrier.peer_finished || plant::is(Plant::CloseWithoutDrain)) {
            let _ = operations.close(carrier.connection);
            ending.step = Step::Close;
        }
    }

    /// The linger time is up.
    pub(super) fn linger_expired(&mut self, operations: &mut Operations<'_>, name: Name) {
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let Stage::Ending(ending) = &mut carrier.stage else { return };
        if ending.step == Step::Close {
            return;
        }
        ending.step = Step::Close;
        let _ = operations.abort(carrier.connection);
        if !carrier.is_refusal() {
            self.ledger.row(carrier.running().index).linger_expired += 1;
        }
    }

    /// Every operation of the connection has come back.
    pub(super) fn closed(&mut self, operations: &mut Operations<'_>, name: Name) {
        let cause = match self.carriers.get(name).map(|carrier| &carrier.stage) {
            None => return,
            Some(Stage::Ending(ending)) => ending.cause.clone(),
            Some(_) => Cause::System(OsError::from_code(Operation::Dispatch, 0)),
        };
        let well = self.say_disconnected(operations, name, &cause);
        let layer = self.carriers.get_mut(name).and_then(|carrier| carrier.layer.take());
        let well = drop_quietly(layer) && well;
        if !well {
            self.tell_panic(name);
        }
        let blamed = if well { &cause } else { &Cause::HandlerPanicked };
        self.leave_all(name);
        self.strike(name);
        self.forget_unsent(name);
        let Some(carrier) = self.carriers.remove(name) else { return };
        if self.log.allows(Line::SessionEnded, self.now) {
            let session = self.session_id(name);
            tracing::debug!(service = %carrier.running().address, %session, cause = %blamed, "session ended");
        }
        let goes_on = carrier.is_unconnected() && self.tries_next_address(&carrier);
        if !goes_on {
            self.account(&carrier, blamed.kind());
        }
        self.place_left(carrier, &cause, goes_on);
    }

    /// A handler, a layer or a drop of this session panicked: it ends for that, whatever it was ending for.
    pub(super) fn panicked(&mut self, operations: &mut Operations<'_>, name: Name) {
        self.tell_panic(name);
        self.stop(operations, name, Cause::HandlerPanicked);
        self.blame(name, Cause::HandlerPanicked);
    }

    fn tell_panic(&mut self, name: Name) {
        if self.log.allows(Line::SessionPanicked, self.now)
            && let Some(carrier) = self.carriers.get(name)
        {
            tracing::error!(service = %carrier.running().address, session = %self.session_id(name), "a session panicked");
        }
    }

    /// The last call of the user's half, and its drop. False if one of them panicked.
    fn say_disconnected(&mut self, operations: &mut Operations<'_>, name: Name, cause: &Cause) -> bool {
        let Some(carrier) = self.carriers.get_mut(name) else { return true };
        let Some(mut session) = carrier.session.take() else { return true };
        let service = carrier.running().index;
        self.marker.begin(Handler::Disconnected, service, 0);
        let called = caught(|| session.on_disconnected(&mut Context::new(self, operations.reborrow(), name), cause));
        self.drop_session(service, session) && called.is_some()
    }

    fn account(&mut self, carrier: &Carrier, kind: CauseKind) {
        if carrier.is_refusal() {
            self.lingering_refusals = self.lingering_refusals.saturating_sub(1);
            return;
        }
        let row = self.ledger.row(carrier.running().index);
        row.count_disconnect(kind);
        row.sessions_closed += u64::from(carrier.reached >= Reached::Opened);
    }

    /// Follows what the core was told: stops, tells, ends, aborts.
    pub(super) fn look_at_stopping(&mut self, operations: &mut Operations<'_>) {
        let Some(deadline) = self.shared.stop_at() else { return };
        let now = self.now;
        match &mut self.stopping {
            None => self.tell_stopping(operations, deadline),
            Some(stopping) => stopping.deadline = deadline,
        }
        match self.stopping.as_ref().map(|stopping| stopping.step) {
            Some(StopStep::Telling { until }) if now >= until.min(deadline) => self.end_all(operations),
            Some(StopStep::Ending) if now >= deadline => self.abort_all(operations),
            _ => {}
        }
    }

    /// Nothing new comes in, and sessions may say a last word.
    fn tell_stopping(&mut self, operations: &mut Operations<'_>, deadline: Time) {
        for (listener, _) in &self.listeners {
            let _ = operations.close_listener(*listener);
        }
        self.stopping = Some(Stopping { deadline, step: StopStep::Telling { until: self.now + TELL_TIME } });
        let names: Vec<Name> = self.carriers.names().collect();
        for name in names {
            self.call_live(operations, name, Handler::Stopping, |session, cx| session.on_stopping(cx));
        }
    }

    fn end_all(&mut self, operations: &mut Operations<'_>) {
        self.step_to(StopStep::Ending);
        let names: Vec<Name> = self.carriers.names().collect();
        for name in names {
            self.stop(operations, name, Cause::ServiceStopping);
        }
    }

    fn abort_all(&mut self, operations: &mut Operations<'_>) {
        self.step_to(StopStep::Aborting);
        let names: Vec<Name> = self.carriers.names().collect();
        for name in names {
            self.end_at(name, Cause::ServiceStopping, Step::Flush);
            self.linger_expired(operations, name);
        }
    }

    fn step_to(&mut self, step: StopStep) {
        if let Some(stopping) = &mut self.stopping {
            stopping.step = step;
        }
    }

    /// True once everything of this worker has ended, and what its sessions said last has left or is late.
    pub(super) fn has_stopped(&self) -> bool {
        let Some(stopping) = &self.stopping else { return false };
        let delivered = self.mail.waiting() == 0 || self.now >= stopping.deadline;
        delivered && self.carriers.is_empty() && self.listeners.is_empty()
    }

    /// The worker is dropped with everything that lives on it: no further session comes here, and the user's halves hear of
    /// their end. The port closes the connections.
    pub(super) fn abandon(&mut self, operations: &mut Operations<'_>) {
        self.shared.retire(self.index);
        self.dials.clear();
        let names: Vec<Name> = self.carriers.names().collect();
        for name in names {
            self.end_at(name, Cause::ServiceStopping, Step::Close);
            self.closed(operations, name);
        }
    }

    /// As [`State::call`], if the session is live.
    pub(super) fn call_live<R>(
        &mut self,
        operations: &mut Operations<'_>,
        name: Name,
        what: Handler,
        handler: impl FnOnce(&mut dyn crate::session::Session, &mut Context<'_>) -> R,
    ) -> Option<R> {
        if self.carriers.get(name).is_some_and(Carrier::is_live) {
            return self.call(operations, name, what, handler);
        }
        None
    }
}
