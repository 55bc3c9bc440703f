//! What the handles of services ask of a worker: closures for sessions, kicks, broadcasts to all, lists, new limits.

use std::borrow::Cow;
use std::sync::Arc;

use pogu_port::Operations;
use pogu_port::plant::{self, Plant};
use pogu_port::slots::Name;

use crate::cause::Cause;
use crate::delivery::Delivery;
use crate::message::{Kick, Message, SharedFrame};
use crate::post::{Errand, Visit};
use crate::progress::Handler;
use crate::service_handle::Census;
use crate::worker::caught::caught;
use crate::worker::log_gate::Line;
use crate::worker::{Carrier, SendOutcome, State};

impl State {
    /// Calls a closure as one more handler of a session.
    pub(super) fn visit(&mut self, operations: &mut Operations<'_>, name: Name, visit: Errand<dyn Visit>) {
        let carrier = self.carriers.get_mut(name).filter(|carrier| carrier.is_live());
        let session = carrier.and_then(|carrier| carrier.session.as_mut());
        let fits = session.is_some_and(|session| visit.get().is_some_and(|visit| visit.fits(&mut **session)));
        match visit.take_if(fits) {
            Some(visit) => drop(self.call(operations, name, Handler::Posted, |session, cx| visit.visit(session, cx))),
            None => self.ledger.core().posts_to_gone += 1,
        }
    }

    pub(super) fn kick(&mut self, operations: &mut Operations<'_>, kick: Kick) {
        let name = kick.session.name();
        if !self.carriers.get(name).is_some_and(Carrier::is_live) {
            self.ledger.core().posts_to_gone += 1;
            return;
        }
        let cause = Cause::Kicked(kick.reason);
        let sent = kick.farewell.map(|(id, body)| self.send(operations, name, Delivery::PROMPT, id, &body));
        self.stop(operations, name, cause.clone());
        match sent {
            // The farewell was too much for the queue and the session was reset, but it ends because it was kicked.
            Some(SendOutcome::Disconnected) => self.blame(name, cause),
            Some(SendOutcome::Unencodable(_)) => self.ledger.core().frames_unencodable += 1,
            _ => {}
        }
    }

    pub(super) fn kick_all(&mut self, operations: &mut Operations<'_>, service: usize, reason: Cow<'static, str>) {
        let walk = self.rosters.walk(service);
        for name in &walk {
            self.stop(operations, *name, Cause::Kicked(reason.clone()));
        }
        self.rosters.walked(walk);
    }

    pub(super) fn broadcast_to_service(
        &mut self,
        operations: &mut Operations<'_>,
        service: usize,
        frame: &Arc<SharedFrame>,
    ) {
        let walk = self.rosters.walk(service);
        self.fan_out(operations, &walk, frame);
        self.rosters.walked(walk);
    }

    /// Adds this worker's sessions to a list and passes it on.
    pub(super) fn enumerate(&mut self, mut census: Box<Census>) {
        let names = self.rosters.of(census.service).iter();
        if !plant::is(Plant::ListWithoutLast) || self.index == 0 || self.index + 1 < self.shared.workers() {
            census.so_far.sessions.extend(names.map(|name| self.session_id(*name)));
        }
        self.pass_on(census);
    }

    /// Passes a list on to the next worker that has not gone; the last one hands it over.
    pub(super) fn pass_on(&mut self, mut census: Box<Census>) {
        while census.next < self.shared.workers() {
            let worker = census.next;
            census.next += 1;
            if !self.mail.has_room(worker) {
                census.so_far.workers_missed.insert(worker);
                self.ledger.row(census.service).posts_refused += 1;
                continue;
            }
            match self.mail.post_always(worker, Message::Enumerate(census)) {
                Err(Message::Enumerate(returned)) => census = returned,
                _ => return,
            }
        }
        let Census { so_far, answer, service, .. } = *census;
        self.marker.begin(Handler::Posted, service, 0);
        let answered = caught(|| answer.take().map(|answer| answer(so_far)));
        self.marker.end();
        if answered.is_none() && self.log.allows(Line::AnswerPanicked, self.now) {
            tracing::error!(worker = self.index, "the receiver of an enumeration panicked");
        }
    }

    /// Follows what is shared about services: limits that have changed, services that are over.
    pub(super) fn look_at_services(&mut self, operations: &mut Operations<'_>) {
        self.look_at_limits(operations);
        let over = self.shared.services_over();
        if over != self.services_over_seen && self.shared.retire_services(&mut self.ledger) {
            self.services_over_seen = over;
        }
    }

    /// If limits have changed, looks at each session when it is due by the new ones.
    fn look_at_limits(&mut self, operations: &mut Operations<'_>) {
        let changes = self.shared.limits_changes();
        if changes == self.limits_seen {
            return;
        }
        self.limits_seen = changes;
        let names: Vec<Name> = self.carriers.names().collect();
        for name in names {
            self.look_at_delay(operations, name);
            self.arm(name);
        }
    }
}
