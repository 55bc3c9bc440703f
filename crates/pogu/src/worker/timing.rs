//! Deadlines of sessions: what is due, and when to look again.

use pogu_port::Operations;
use pogu_port::slots::Name;

use crate::cause::{Cause, Limit};
use crate::worker::{Stage, State};

/// What is due for a session.
enum Due {
    Nothing,
    Timer,
    Limit(Cause),
    Linger,
}

impl State {
    /// Sees to it that the session is looked at when something is due.
    pub(super) fn arm(&mut self, name: Name) {
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let due = carrier.next_due();
        if due < carrier.armed_at {
            carrier.armed_at = due;
            self.deadlines.push(due, name);
            self.sweep_deadlines();
        }
    }

    fn sweep_deadlines(&mut self) {
        let State { carriers, deadlines, .. } = self;
        if deadlines.wants_sweep(carriers.len()) {
            deadlines.sweep(|at, name| carriers.get(name).is_some_and(|carrier| carrier.armed_at == at));
        }
    }

    /// Looks at every session whose time has come.
    pub(super) fn due(&mut self, operations: &mut Operations<'_>) {
        while let Some((at, name)) = self.deadlines.pop_due(self.now) {
            let Some(carrier) = self.carriers.get_mut(name).filter(|carrier| carrier.armed_at == at) else { continue };
            carrier.armed_at = super::carrier::NEVER;
            match self.what_is_due(name) {
                Due::Nothing => {}
                Due::Timer => {
                    if let Some(carrier) = self.carriers.get_mut(name) {
                        carrier.timer_at = super::carrier::NEVER;
                    }
                    self.call_live(operations, name, |session, cx| session.on_timer(cx));
                }
                Due::Limit(cause) => self.limit_reached(operations, name, cause),
                Due::Linger => self.linger_expired(operations, name),
            }
            self.arm(name);
        }
    }

    fn limit_reached(&mut self, operations: &mut Operations<'_>, name: Name, cause: Cause) {
        // A peer that does not read or does not answer a connect will not take part in an orderly end either.
        let hopeless = matches!(&cause, Cause::LimitExceeded(exceeded)
            if matches!(exceeded.limit, Limit::SendAge | Limit::ConnectTimeout));
        match hopeless {
            true => self.abort(operations, name, cause),
            false => self.stop(operations, name, cause),
        }
    }

    fn what_is_due(&self, name: Name) -> Due {
        let now = self.now;
        let Some(carrier) = self.carriers.get(name) else { return Due::Nothing };
        let limits = carrier.running.limits();
        let late = |limit, since, allowed| {
            let waited = now.since(since);
            (waited >= allowed).then(|| Due::Limit(Cause::timeout(limit, waited, allowed)))
        };
        match &carrier.stage {
            Stage::Connecting { since } => {
                late(Limit::ConnectTimeout, *since, limits.connect_timeout).unwrap_or(Due::Nothing)
            }
            Stage::Ending(ending) if now >= ending.deadline => Due::Linger,
            Stage::Ending(_) => Due::Nothing,
            Stage::Live => {
                let unfinished = carrier.unfinished.as_ref();
                let oldest = carrier.outgoing.as_ref().and_then(|outgoing| outgoing.oldest());
                unfinished
                    .and_then(|frame| late(Limit::FrameTimeout, frame.since, limits.frame_timeout))
                    .or_else(|| oldest.and_then(|oldest| late(Limit::SendAge, oldest, limits.send_age_max)))
                    .or_else(|| late(Limit::IdleTimeout, carrier.active_at, limits.idle_timeout))
                    .unwrap_or(if now >= carrier.timer_at { Due::Timer } else { Due::Nothing })
            }
        }
    }
}
