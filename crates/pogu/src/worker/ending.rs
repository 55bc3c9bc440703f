//! How a session ends: once, in order, the same on every system.
//!
//! 1. *Stop*: the stage is no longer `Live`; rooms and sends do not reach the session any more. Handlers on a pool *handle*
//!    first what came before, and what they send leaves as well.
//! 2. *Flush*: what was sent leaves.
//! 3. *Shut* the write side, then *drain*: read and discard until the peer finishes. Closing with unread input would make
//!    the system reset the connection and destroy what the peer has not read yet.
//! 4. *Close*, and wait until every operation has come back.
//! 5. `on_disconnected`, exactly once. Then the slot may be reused and the place in the service is given back; if the handler
//!    runs on a pool, once it has returned there.
//!
//! What is handled on a pool, flush and drain together have the service's linger time; when it is up, or when something
//! fails, the connection is *aborted* (everything cancelled, reset) and step 4 follows. The first cause stays the cause.

use std::time::Duration;

use pogu_port::plant::{self, Plant};
use pogu_port::slots::Name;
use pogu_port::{Operation, Operations, OsError, Time};

use crate::cause::{Cause, CauseKind};
use crate::context::Context;
use crate::progress::Handler;
use crate::worker::carrier::{Ending, NEVER, Reached};
use crate::worker::caught::{caught, drop_quietly};
use crate::worker::handlers_on_pool::OnPool;
use crate::worker::log_gate::Line;
use crate::worker::{Carrier, Stage, State, Step};

/// How long sessions have, after they were told that the service stops, to speak to each other: broadcasts and posts take a
/// turn or two from worker to worker.
const TELL_TIME: Duration = Duration::from_millis(20);

/// How long a worker in which nothing more will be said stays after the end of the drain, if others have not come to their end:
/// those of their sessions that were aborted say in their last handler what is to be kept. Such an end takes a few turns, which
/// a game loop has every 50 ms, and less than a stop waits for workers that were handed out.
const LAST_WORDS_TIME: Duration = Duration::from_millis(200);

/// Turns of that time which may wait for a latency budget each: the stop is heard of, sessions end, what they say is posted, and
/// handled.
const LAST_WORDS_TURNS: u32 = 4;

/// The state of a worker whose core was stopped.
pub(crate) struct Stopping {
    /// When what has not ended is aborted.
    deadline: Time,
    /// How long others are waited for then.
    last_words_time: Duration,
    step: StopStep,
    /// True once nothing more is said in any worker: what was said before is heard in the next turn.
    is_last_turn: bool,
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
    /// When there is something to be done. `waits`: nothing more will be said here, and others are waited for.
    pub(super) fn next_look(&self, waits: bool) -> Time {
        match self.step {
            _ if self.is_last_turn => Time::ZERO,
            StopStep::Telling { until } => until.min(self.deadline),
            StopStep::Ending => self.deadline,
            StopStep::Aborting if waits => self.deadline + self.last_words_time,
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
                let step = if carrier.is_with_handlers() { Step::Handle } else { Step::Flush };
                self.end_at(name, cause, step);
                // A delay keeps nobody from hearing that the peer has finished.
                self.resume(operations, name);
                self.flush_soon(name);
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
        carrier.stage = Stage::Ending(Box::new(Ending { cause, step, unconnected, deadline, broke: false }));
        carrier.timer_at = NEVER;
        let unfinished = carrier.unfinished.take();
        self.recycle_unfinished(unfinished);
        self.cancel_timers(name);
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
        if ending.step >= Step::Close {
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
        if self.carriers.get(name).is_none() {
            return;
        }
        self.end_at(name, Cause::System(OsError::from_code(Operation::Dispatch, 0)), Step::Close);
        let well = self.say_disconnected(operations, name);
        let layer = self.carriers.get_mut(name).and_then(|carrier| carrier.layer.take());
        let well = drop_quietly(layer) && well;
        if !well {
            self.broke(name);
        }
        self.cancel_timers(name);
        self.leave_all(name);
        self.strike(name);
        self.forget_unsent(name);
        let is_called = self.carriers.get(name).is_some_and(|carrier| carrier.handlers() != OnPool::No);
        match is_called && !self.is_aborting() {
            true => self.end_at(name, Cause::ServiceStopping, Step::LastCall),
            false => self.forget(name),
        }
    }

    /// Nothing of the session is left: it is counted, and its place is given back.
    pub(super) fn forget(&mut self, name: Name) {
        self.drop_what_was_put_off(name);
        let session = self.session_id(name);
        let Some(carrier) = self.carriers.remove(name) else { return };
        self.give_back_spares();
        let Stage::Ending(ending) = &carrier.stage else { return };
        let blamed = if ending.broke { &Cause::HandlerPanicked } else { &ending.cause };
        if self.log.allows(Line::SessionEnded, self.now) {
            tracing::debug!(service = %carrier.running().address, %session, cause = %blamed, "session ended");
        }
        let goes_on = carrier.is_unconnected() && self.tries_next_address(&carrier);
        if !goes_on {
            self.account(&carrier, blamed.kind());
        }
        let cause = ending.cause.clone();
        self.place_left(carrier, &cause, goes_on);
    }

    /// Its last handler, or a drop, has panicked: that is what it is counted for.
    fn broke(&mut self, name: Name) {
        self.tell_panic(name);
        if let Some(Stage::Ending(ending)) = self.carriers.get_mut(name).map(|carrier| &mut carrier.stage) {
            ending.broke = true;
        }
    }

    /// A handler, a layer or a drop of this session panicked: it ends for that, whatever it was ending for.
    pub(super) fn panicked(&mut self, operations: &mut Operations<'_>, name: Name) {
        if self.carriers.get(name).is_some_and(Carrier::is_in_last_call) {
            return self.broke(name);
        }
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
    fn say_disconnected(&mut self, operations: &mut Operations<'_>, name: Name) -> bool {
        let Some(carrier) = self.carriers.get_mut(name) else { return true };
        let Stage::Ending(ending) = &carrier.stage else { return true };
        let cause = ending.cause.clone();
        let Some(mut session) = carrier.session.take() else { return true };
        let service = carrier.running().index;
        self.marker.begin(Handler::Disconnected, service, 0);
        let called = caught(|| session.on_disconnected(&mut Context::new(self, operations.reborrow(), name), &cause));
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

    /// Nothing new comes in, and sessions and states of rooms may say a last word.
    fn tell_stopping(&mut self, operations: &mut Operations<'_>, deadline: Time) {
        for (listener, _) in &self.listeners {
            let _ = operations.close_listener(*listener);
        }
        let until = if plant::is(Plant::ToldAndEnded) { self.now } else { self.now + TELL_TIME };
        let last_words_time = LAST_WORDS_TIME + LAST_WORDS_TURNS * self.shared.latency_budget();
        let step = StopStep::Telling { until };
        self.stopping = Some(Stopping { deadline, last_words_time, step, is_last_turn: false });
        let names: Vec<Name> = self.carriers.names().collect();
        for name in names {
            self.call_live(operations, name, Handler::Stopping, |session, cx| session.on_stopping(cx));
        }
        self.tell_rooms_of_stop();
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
            // Whoever is in its last handler is not waited for.
            if self.carriers.get(name).is_some_and(Carrier::is_in_last_call) {
                self.forget(name);
            }
        }
    }

    /// True once sessions are not waited for any more.
    fn is_aborting(&self) -> bool {
        self.stopping.as_ref().is_some_and(|stopping| stopping.step == StopStep::Aborting)
    }

    fn step_to(&mut self, step: StopStep) {
        if let Some(stopping) = &mut self.stopping {
            stopping.step = step;
        }
    }

    /// True once everything of this worker has ended, and all that sessions of any worker said last has come to the rooms whose
    /// home is here, or is late.
    pub(super) fn has_stopped(&mut self) -> bool {
        let Some(stopping) = &mut self.stopping else { return false };
        if !self.carriers.is_empty() || !self.listeners.is_empty() {
            return false;
        }
        let is_late = self.now >= stopping.deadline;
        if is_late || self.mail.waiting() == 0 && !self.homes.have_members() {
            self.voice = None;
        }
        if plant::is(Plant::HomeEndsFirst) {
            return is_late || self.mail.waiting() == 0;
        }
        let was_last_turn = std::mem::replace(&mut stopping.is_last_turn, self.shared.is_silent());
        was_last_turn || self.now >= stopping.deadline + stopping.last_words_time
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
            self.forget(name);
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
