//! Deadlines of sessions: what is due, and when to look again.

use std::time::Duration;

use pogu_port::slots::Name;
use pogu_port::{Operations, Time};

use crate::cause::{Cause, Limit};
use crate::progress::Handler;
use crate::worker::{Carrier, Stage, State};

/// An absence of the worker from its port that is long enough to be taken for a silence of its peers.
const ABSENCE_MIN: Duration = Duration::from_millis(100);

/// The longest time that limits wait after an absence: in a second every port has been read.
const LENIENCY_MAX: Duration = Duration::from_secs(1);

/// What is due for a session.
enum Due {
    Nothing,
    Timer,
    /// A quiet session is asked for a sign of life.
    Ping,
    /// A delayed session may go on.
    Delay,
    Limit(Cause),
    Linger,
}

impl State {
    /// Sees to it that the session is looked at when something is due.
    pub(super) fn arm(&mut self, name: Name) {
        let limits_from = if self.is_lenient() { self.lenient_until } else { Time::ZERO };
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let due = carrier.next_due(limits_from);
        if due < carrier.armed_at {
            carrier.armed_at = due;
            self.deadlines.push(due, name);
            self.sweep_deadlines();
        }
    }

    fn sweep_deadlines(&mut self) {
        let State { carriers, deadlines, .. } = self;
        if deadlines.wants_sweep(carriers.len()) {
            deadlines.sweep(carriers, |carrier| &mut carrier.armed_at);
        }
    }

    /// Looks at every session whose time has come.
    pub(super) fn due(&mut self, operations: &mut Operations<'_>) {
        self.enforced_since_leniency |= !self.is_lenient();
        // What a handler makes due waits for the next turn: a timer of zero must not keep the worker from its port.
        let mut due = std::mem::take(&mut self.due_now);
        due.extend(std::iter::from_fn(|| self.deadlines.pop_due(self.now)));
        for (at, name) in due.drain(..) {
            let Some(carrier) = self.carriers.get_mut(name).filter(|carrier| carrier.armed_at == at) else { continue };
            carrier.armed_at = super::carrier::NEVER;
            match self.what_is_due(name) {
                Due::Nothing => {}
                Due::Timer => {
                    if let Some(carrier) = self.carriers.get_mut(name) {
                        carrier.timer_at = super::carrier::NEVER;
                    }
                    self.call_live(operations, name, Handler::Timer, |session, cx| session.on_timer(cx));
                }
                Due::Ping => self.ping(operations, name),
                Due::Delay => self.end_delay(operations, name),
                Due::Limit(cause) => self.limit_reached(operations, name, cause),
                Due::Linger => self.linger_expired(operations, name),
            }
            self.arm(name);
        }
        self.due_now = due;
    }

    /// The worker was away (a slow handler, a debugger, a game loop that stalled): what its peers sent meanwhile has not been
    /// looked at yet, and their silence proves nothing until it has. Sleeping until something is due is no absence.
    pub(super) fn note_absence(&mut self, back: Time) {
        let away = back.since(self.now.max(self.asleep_until.min(back)));
        self.marker.turn_took(away);
        // Limits are enforced once between two leniencies: a worker that is always slow must not excuse everybody for ever.
        if away >= ABSENCE_MIN && self.enforced_since_leniency {
            self.lenient_until = back + away.min(LENIENCY_MAX);
            self.enforced_since_leniency = false;
        }
    }

    /// True while limits are not enforced. What ends nothing, such as a timer, is done at its time.
    fn is_lenient(&self) -> bool {
        self.now < self.lenient_until
    }

    fn limit_reached(&mut self, operations: &mut Operations<'_>, name: Name, cause: Cause) {
        // A peer that does not read or does not answer a connect will not take part in an orderly end either.
        let hopeless = matches!(&cause, Cause::LimitExceeded(exceeded)
            if matches!(exceeded.limit, Limit::SendAge | Limit::ConnectTimeout | Limit::HeartbeatTimeout));
        match hopeless {
            true => self.abort(operations, name, cause),
            false => self.stop(operations, name, cause),
        }
    }

    fn what_is_due(&self, name: Name) -> Due {
        let now = self.now;
        let Some(carrier) = self.carriers.get(name) else { return Due::Nothing };
        let limits = carrier.running().limits();
        let late = |limit, since, allowed| {
            let waited = now.since(since);
            (waited >= allowed).then(|| Due::Limit(Cause::timeout(limit, waited, allowed)))
        };
        match &carrier.stage {
            Stage::Connecting { .. } if self.is_lenient() => Due::Nothing,
            Stage::Live if self.is_lenient() => self.what_else_is_due(carrier),
            Stage::Connecting { since } => {
                late(Limit::ConnectTimeout, *since, limits.connect_timeout.get()).unwrap_or(Due::Nothing)
            }
            Stage::Ending(ending) if now >= ending.deadline => Due::Linger,
            Stage::Ending(_) => Due::Nothing,
            Stage::Live => {
                let unfinished = carrier.unfinished.as_ref().filter(|_| !carrier.stands_still());
                let oldest = carrier.outgoing.as_ref().and_then(|outgoing| outgoing.oldest());
                let heartbeat = carrier.running().service.heartbeat.as_ref();
                let vigil = carrier.vigil.as_ref();
                let idle = || late(Limit::IdleTimeout, carrier.active_at, limits.idle_timeout.get());
                unfinished
                    .and_then(|frame| late(Limit::FrameTimeout, frame.since, limits.frame_timeout.get()))
                    .or_else(|| oldest.and_then(|oldest| late(Limit::SendAge, oldest, limits.send_age_max.get())))
                    .or_else(|| vigil.and_then(|vigil| vigil.exceeded(now, limits, heartbeat)).map(Due::Limit))
                    .or_else(|| if carrier.stands_still() || carrier.is_with_handlers() { None } else { idle() })
                    .unwrap_or_else(|| self.what_else_is_due(carrier))
            }
        }
    }

    /// What is due that ends nothing.
    fn what_else_is_due(&self, carrier: &Carrier) -> Due {
        let vigil = carrier.vigil.as_ref();
        let heartbeat = carrier.running().service.heartbeat.as_ref();
        if self.now >= carrier.timer_at {
            return Due::Timer;
        }
        if vigil.is_some_and(|vigil| vigil.delay_is_over(self.now)) {
            return Due::Delay;
        }
        match vigil.zip(heartbeat).is_some_and(|(vigil, heartbeat)| vigil.wants_ping(self.now, heartbeat)) {
            true => Due::Ping,
            false => Due::Nothing,
        }
    }
}
