//! Sessions whose handlers run on threads of a pool, seen from their worker: how far the handlers have come, and what that
//! means for receiving, for idling, and for the end.
//!
//! ```text
//!              handed on                     much is unhandled
//!    AtRest ---------------> AtWork ----------------------------> Behind: nothing is received
//!      ^                       |  ^                                  |
//!      +-- nothing unhandled --+  +-- half of it is unhandled -------+         from each of them: over ----> No
//! ```
//!
//! What was accepted before an end in good order is handled first ([`Step::Handle`]), within the service's linger time: only
//! then does the connection end as every other does. When it is closed, the place is kept until `on_disconnected` has
//! returned on its thread and the user's half is gone ([`Step::LastCall`]).
//!
//! What handlers have asked for comes many at once. What is more than a session may broadcast in one turn is [put off](PutOff)
//! to the next, and until it is done nothing further is asked for, or received.

use std::sync::Arc;

use pogu_port::slots::Name;
use pogu_port::{Operation, Operations, OsError, Time};

use crate::cause::Cause;
use crate::context::Context;
use crate::jobs::{Failure, Order, Report};
use crate::progress::Handler;
use crate::worker::caught::{caught, drop_quietly};
use crate::worker::{Carrier, Stage, State, Step};

/// Bytes of events that a session's handlers may be behind before nothing more is received from it; half of it, and it is
/// received from again. 64 KiB: what a session receives in one turn, so that a burst is no reason to pause.
const BEHIND_BYTES_MAX: usize = 64 * 1024;

/// How far the handlers of a session have come.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum OnPool {
    /// They run in the worker, or never again.
    #[default]
    No,
    /// They have handled everything, and what they asked for is done.
    AtRest,
    AtWork {
        since: Time,
    },
    /// They have enough to do with what has come.
    Behind {
        since: Time,
    },
}

impl OnPool {
    /// Since when they have something to do, if they have.
    fn since(self) -> Option<Time> {
        match self {
            OnPool::No | OnPool::AtRest => None,
            OnPool::AtWork { since } | OnPool::Behind { since } => Some(since),
        }
    }
}

/// What is left of a report when the session has broadcast enough for one turn.
pub(super) struct PutOff {
    report: Report<Order>,
    /// There is another report, to be asked for when this one is done.
    next: Option<Arc<dyn Reporting>>,
}

/// What a worker asks of a session's handlers on a pool, whose type it does not know.
pub(crate) trait Reporting: Send + Sync {
    /// What has happened since it asked last. Handlers may ask for so many bytes until it asks again.
    fn report(&self, orders_bytes_max: usize) -> Report<Order>;
}

impl std::fmt::Debug for dyn Reporting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reporting")
    }
}

impl Carrier {
    /// How far its handlers on threads of a pool have come, if that is where they run.
    pub(super) fn handlers(&self) -> OnPool {
        self.vigil.as_ref().map_or(OnPool::No, |vigil| vigil.handlers)
    }

    /// True while what it has asked for is with its handlers on a pool: the silence is ours.
    pub(super) fn is_with_handlers(&self) -> bool {
        self.handlers().since().is_some()
    }

    /// True once the connection has ended and only the last handler is waited for.
    pub(super) fn is_in_last_call(&self) -> bool {
        matches!(&self.stage, Stage::Ending(ending) if ending.step == Step::LastCall)
    }

    /// True while what its handlers have asked for waits for the next turn.
    pub(super) fn is_put_off(&self) -> bool {
        self.vigil.as_ref().is_some_and(|vigil| vigil.put_off.is_some())
    }

    /// True while its handlers, on threads of a pool, have enough to do with what has come.
    pub(super) fn is_behind(&self) -> bool {
        matches!(self.handlers(), OnPool::Behind { .. })
    }
}

impl State {
    /// An event of a session was handed on to a pool; so many bytes of events are not handled.
    pub(crate) fn handed_on(&mut self, name: Name, unhandled_bytes: usize) {
        let now = self.now;
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let was_behind = carrier.is_behind();
        let handlers = &mut carrier.vigil.get_or_insert_default().handlers;
        let since = handlers.since().unwrap_or(now);
        *handlers = match was_behind || unhandled_bytes >= BEHIND_BYTES_MAX {
            true => OnPool::Behind { since },
            false => OnPool::AtWork { since },
        };
    }

    /// The handlers of a session have put something down: what they asked for is done, and what it waited for goes on.
    pub(super) fn handled(&mut self, operations: &mut Operations<'_>, name: Name, lane: Arc<dyn Reporting>) {
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        if let Some(put_off) = carrier.vigil.as_mut().and_then(|vigil| vigil.put_off.as_mut()) {
            put_off.next = Some(lane);
            return;
        }
        let report = lane.report(carrier.running().limits().send_bytes_max.get());
        self.follow(operations, name, report);
    }

    /// What waited for this turn is done, as far as one turn allows.
    pub(super) fn follow_what_was_put_off(&mut self, operations: &mut Operations<'_>) {
        for name in std::mem::take(&mut self.put_off) {
            let put_off = self.carriers.get_mut(name).and_then(|carrier| carrier.vigil.as_mut()?.put_off.take());
            let Some(PutOff { report, next }) = put_off.map(|put_off| *put_off) else { continue };
            self.follow(operations, name, report);
            if let Some(lane) = next {
                self.handled(operations, name, lane);
            }
            self.resume(operations, name);
        }
    }

    fn follow(&mut self, operations: &mut Operations<'_>, name: Name, mut report: Report<Order>) {
        report.orders = self.do_orders(operations, name, report.orders);
        if !report.orders.is_empty() {
            return self.put_off(name, report);
        }
        self.note_handled(operations, name, report.unhandled_bytes, report.is_over);
        match report.failure {
            None => {}
            Some(Failure::Panicked) => self.panicked(operations, name),
            // As when the system has no thread to begin with: nobody's handler is to blame.
            Some(Failure::NoThread) => {
                let cause = Cause::System(OsError::from_code(Operation::Dispatch, 0));
                self.stop(operations, name, cause);
            }
        }
        if report.is_over {
            self.is_over(operations, name);
        }
    }

    fn put_off(&mut self, name: Name, report: Report<Order>) {
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        carrier.vigil.get_or_insert_default().put_off = Some(Box::new(PutOff { report, next: None }));
        self.put_off.push(name);
    }

    /// The session goes, and what it has put off will not be done.
    pub(super) fn drop_what_was_put_off(&mut self, name: Name) {
        let put_off = self.carriers.get_mut(name).and_then(|carrier| carrier.vigil.as_mut()?.put_off.take());
        for order in put_off.into_iter().flat_map(|put_off| put_off.report.orders) {
            drop_quietly(order);
        }
    }

    /// What handlers have asked for, in order, until the session has broadcast enough for this turn; gives what is left. They
    /// speak for their session although it may be ending.
    fn do_orders(&mut self, operations: &mut Operations<'_>, name: Name, orders: Vec<Order>) -> Vec<Order> {
        if orders.is_empty() || self.has_said_enough(name) {
            return orders;
        }
        let Some(carrier) = self.carriers.get(name) else { return Vec::new() };
        self.marker.begin(Handler::Posted, carrier.running().index, 0);
        self.speaking = Some(name);
        let mut orders = orders.into_iter();
        let well = caught(|| {
            let mut cx = Context::new(self, operations.reborrow(), name);
            while !cx.state.has_said_enough(name)
                && let Some(order) = orders.next()
            {
                order(&mut cx);
            }
        });
        self.speaking = None;
        self.marker.end();
        if well.is_none() {
            for order in orders.by_ref() {
                drop_quietly(order);
            }
            self.drop_half(name);
            self.panicked(operations, name);
        }
        orders.collect()
    }

    /// The user's half goes, on its pool, without a word: it may be broken.
    fn drop_half(&mut self, name: Name) {
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let service = carrier.standing.running().index;
        if let Some(session) = carrier.session.take() {
            self.drop_session(service, session);
        }
    }

    /// So many bytes of events are left: a session that is not behind any more is received from, one whose peer waited for us
    /// may idle, and one that is ending goes on with that.
    fn note_handled(&mut self, operations: &mut Operations<'_>, name: Name, unhandled_bytes: usize, is_over: bool) {
        let now = self.now;
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let (before, was_behind) = (carrier.handlers(), carrier.is_behind());
        let since = before.since().unwrap_or(now);
        let handlers = match before {
            _ if is_over => OnPool::No,
            _ if unhandled_bytes == 0 => OnPool::AtRest,
            OnPool::Behind { .. } if unhandled_bytes > BEHIND_BYTES_MAX / 2 => OnPool::Behind { since },
            _ => OnPool::AtWork { since },
        };
        carrier.vigil.get_or_insert_default().handlers = handlers;
        if handlers.since().is_none() {
            // The clock of idling stood still; a timer of its own makes nobody less idle.
            carrier.active_at = (carrier.active_at + now.since(since)).min(now);
            if let Stage::Ending(ending) = &mut carrier.stage
                && ending.step == Step::Handle
            {
                ending.step = Step::Flush;
                self.flush_soon(name);
            }
            self.arm(name);
        }
        if was_behind && !matches!(handlers, OnPool::Behind { .. }) {
            self.resume(operations, name);
        }
    }

    /// No handler of the session will be called any more: if that is what its place was kept for, it is given back.
    fn is_over(&mut self, operations: &mut Operations<'_>, name: Name) {
        let Some(carrier) = self.carriers.get(name) else { return };
        if carrier.is_in_last_call() {
            self.forget(name);
        } else {
            // Nothing happens if it is ending, as it is but for a core that has ended before its workers.
            self.stop(operations, name, Cause::ServiceStopping);
        }
    }
}
