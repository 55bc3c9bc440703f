//! The places of client services that have no connection: what is to be done so that they get one.
//!
//! ```text
//!                    +-- literal address --+          next address
//!                    |                     v       +---------------+
//!   wanted, due --> resolving --answer--> ready ---+--> connection +--> session
//!                    |   ^                  |      |        |              |
//!                    +---|--- all failed ---|------+--------+--- ended ----+
//!                        +--- due --- waiting <--- if the service reconnects; else the place is given back
//! ```
//!
//! A place is a value and stands in exactly one of these, so none is forgotten and none is dialled twice; whatever drops it
//! gives it back to its service.
//!
//! Who is dialled again does not stand in line: a place that is due and cannot begin waits for its next time. Else a server
//! that was silent would on its return meet all of them at once. While nothing is heard of it few attempts hang at one time
//! (`HANGING_MAX`) and one more begins each second, so that its return is noticed soon and those that hang are not many.

use std::collections::BTreeMap;
use std::sync::Arc;

use pogu_port::slots::Name;
use pogu_port::{Operations, OsError, SubmitError, Time};

use crate::cause::{Cause, Limit};
use crate::core::Place;
use crate::reconnect::{GaveUp, is_replaced};
use crate::service::Running;
use crate::worker::admission::enroll_with;
use crate::worker::carrier::{Reached, Standing};
use crate::worker::dial::{Dial, SILENCE};
use crate::worker::log_gate::Line;
use crate::worker::{Carrier, Stage, State, Step};

/// Addresses of one name that are tried: more than any honest name has.
const ADDRESSES_MAX: usize = 256;

impl State {
    pub(super) fn want(&mut self, running: Arc<Running>, places: Vec<Place>) {
        let now = self.now;
        let dial = dial_of(&mut self.dials, &running);
        places.into_iter().for_each(|place| dial.seek(place, now));
    }

    /// When a place has waited long enough.
    pub(super) fn next_dial(&self) -> Option<Time> {
        self.dials.values().filter_map(Dial::next_due).min()
    }

    /// Begins as many connections of client services as are due and may be in flight.
    pub(super) fn dial(&mut self, operations: &mut Operations<'_>) {
        if self.dials.is_empty() {
            return;
        }
        let mut dials = std::mem::take(&mut self.dials);
        for dial in dials.values_mut() {
            if self.stopping.is_some() || dial.running.is_closed() {
                dial.clear();
                continue;
            }
            self.begin_attempts(dial);
            self.resolve(dial);
            while dial.in_flight < dial.running.limits().connects_in_flight_max.get() {
                let Some(place) = dial.ready.pop_front() else { break };
                self.connect(operations, dial, place);
            }
            self.dial_again(operations, dial);
            self.disperse(dial);
        }
        dials.retain(|_, dial| !dial.is_over());
        self.dials = dials;
    }

    fn begin_attempts(&mut self, dial: &mut Dial) {
        while let Some(first) = dial.waiting.first_entry().filter(|first| first.key().0 <= self.now) {
            let place = first.remove();
            match dial.may_begin(self.now) {
                true => dial.seek(place, self.now),
                false => self.defer(dial, place),
            }
        }
    }

    fn dial_again(&mut self, operations: &mut Operations<'_>, dial: &mut Dial) {
        let mut due = std::mem::take(&mut dial.due);
        for place in due.drain(..) {
            if dial.may_begin(self.now) {
                self.ledger.row(dial.running.index).reconnects += 1;
                self.connect(operations, dial, place);
            } else {
                self.defer(dial, place);
            }
        }
        dial.due = due;
    }

    /// A place is due and cannot begin: it waits for its next time. That is no attempt.
    fn defer(&mut self, dial: &mut Dial, mut place: Place) {
        let Some(reconnect) = &dial.running.service.reconnect else { return };
        let is_silent = dial.silence(self.now) >= SILENCE;
        let (random, phases) = (&mut self.random, &dial.running.phases);
        let dialling = place.dialling_mut();
        let since_due = self.now.since(dialling.due);
        let until = self.now + reconnect.delay_deferred(dialling.attempts, since_due, is_silent, random, phases);
        dialling.due = until;
        dial.wait(until, place);
    }

    /// Nothing was heard of a server for as long as a connection may take: those in line would all come when it is there.
    fn disperse(&mut self, dial: &mut Dial) {
        let allowed = dial.running.limits().connect_timeout.get();
        let silence = dial.silence(self.now);
        if dial.running.service.reconnect.is_none() || silence < allowed {
            return;
        }
        let cause = Cause::timeout(Limit::ConnectTimeout, silence, allowed);
        for place in std::mem::take(&mut dial.ready) {
            if let Some((until, place)) = self.back_off(place, &cause, false) {
                dial.wait(until, place);
            }
        }
    }

    fn resolve(&mut self, dial: &mut Dial) {
        if dial.asked.is_none() && !dial.resolving.is_empty() {
            let question = self.shared.resolver().ask(&self.shared, self.index, dial.running.address.text());
            dial.asked = Some(question);
        }
        match dial.asked.as_ref().and_then(|question| question.take_answer()) {
            None => {}
            Some(Ok(addresses)) => {
                dial.asked = None;
                dial.addresses = addresses;
                dial.addresses.truncate(ADDRESSES_MAX);
                for (_, place) in std::mem::take(&mut dial.resolving) {
                    dial.found(place);
                }
            }
            Some(Err(reason)) => {
                dial.asked = None;
                if self.log.allows(Line::NameNotFound, self.now) {
                    tracing::debug!(service = %dial.running.address, reason, "a name could not be looked up");
                }
                let cause = Cause::Unresolved(reason.into());
                for (_, place) in std::mem::take(&mut dial.resolving) {
                    self.unresolved(dial, place, &cause);
                }
            }
        }
        let allowed = dial.running.limits().connect_timeout.get();
        while let Some((since, place)) = dial.resolving.pop_front_if(|(since, _)| self.now.since(*since) >= allowed) {
            let cause = Cause::timeout(Limit::ConnectTimeout, self.now.since(since), allowed);
            self.unresolved(dial, place, &cause);
        }
    }

    /// An attempt has ended with the lookup of its name.
    fn unresolved(&mut self, dial: &mut Dial, place: Place, cause: &Cause) {
        self.ledger.row(dial.running.index).reconnects += u64::from(place.dialling().attempts > 0);
        self.attempt_failed(dial, place, cause);
    }

    /// Begins a connection to the next address that can be tried at all.
    fn connect(&mut self, operations: &mut Operations<'_>, dial: &mut Dial, place: Place) {
        let now = self.now;
        let mut place = place;
        let mut refused = SubmitError::Gone;
        while let Some(address) = dial.addresses.get(usize::from(place.dialling().next_address)).copied() {
            let dialling = place.dialling_mut();
            dialling.next_address = dialling.next_address.saturating_add(1);
            dial.running.address.note_dialled(address);
            let mut standing = Some(place);
            let connect = |owner| operations.connect(owner, address, &dial.running.service.stream);
            let enrolled = enroll_with(&mut self.carriers, connect, |connection| {
                let standing = standing
                    .take()
                    .map_or_else(|| Standing::Refused(Arc::clone(&dial.running), None), Standing::Placed);
                let mut carrier = Carrier::new(connection, standing, Stage::Connecting { since: now }, now);
                carrier.peer_address = Some(address).into();
                carrier
            });
            match (enrolled, standing) {
                (Err(error), Some(returned)) => {
                    refused = error;
                    place = returned;
                }
                (Ok(name), _) => {
                    dial.begun(now);
                    return self.arm(name);
                }
                (Err(_), None) => return,
            }
        }
        self.not_begun(dial, place, refused);
    }

    /// The port did not begin a connection to any address: a limit of ours counts as a refusal, the system's word as its
    /// fault.
    fn not_begun(&mut self, dial: &mut Dial, place: Place, error: SubmitError) {
        if self.log.allows(Line::ConnectNotBegun, self.now) {
            tracing::debug!(worker = self.index, %error, "the port refused to connect");
        }
        match error {
            SubmitError::Os(error) => {
                dial.running.note_connect_error(error);
                self.attempt_failed(dial, place, &Cause::ConnectFailed(error));
            }
            _ => {
                self.ledger.row(dial.running.index).refused += 1;
                let cause = Cause::ConnectFailed(OsError::from_code(pogu_port::Operation::Connect, 0));
                if let Some((until, place)) = self.back_off(place, &cause, false) {
                    dial.wait(until, place);
                }
            }
        }
    }

    /// An attempt has ended before there was a connection.
    fn attempt_failed(&mut self, dial: &mut Dial, place: Place, cause: &Cause) {
        self.ledger.row(dial.running.index).count_disconnect(cause.kind());
        if let Some((until, place)) = self.back_off(place, cause, false) {
            dial.wait(until, place);
        }
    }

    /// Until when a place waits whose connection is gone. `None`, and the place is given back, if it is not dialled again.
    fn back_off(&mut self, mut place: Place, cause: &Cause, was_useful: bool) -> Option<(Time, Place)> {
        let running = Arc::clone(place.running());
        let reconnect = running.service.reconnect.as_ref()?;
        if self.stopping.is_some() || running.is_closed() || !is_replaced(cause) {
            return None;
        }
        if was_useful {
            place.dialling_mut().attempts = 0;
        }
        if reconnect.attempts_max.is_some_and(|maximum| place.dialling().attempts >= maximum) {
            self.ledger.row(running.index).gave_up += 1;
            running.note_gave_up(GaveUp { attempts: place.dialling().attempts, cause: cause.clone() });
            return None;
        }
        let dialling = place.dialling_mut();
        let since_due = self.now.since(dialling.due);
        let delay = reconnect.delay(dialling.attempts, since_due, &mut self.random, &running.phases);
        dialling.attempts = dialling.attempts.saturating_add(1);
        dialling.due = self.now + delay;
        Some((dialling.due, place))
    }

    /// A connection that was not made has come back. True if the next address of its name is tried: the attempt goes on.
    pub(super) fn tries_next_address(&mut self, carrier: &Carrier) -> bool {
        let running = carrier.running();
        self.dialled(running.index);
        self.stopping.is_none() && !running.is_closed() && self.has_next_address(carrier)
    }

    fn has_next_address(&self, carrier: &Carrier) -> bool {
        let Standing::Placed(place) = &carrier.standing else { return false };
        let dial = self.dials.get(&carrier.running().index);
        dial.is_some_and(|dial| usize::from(place.dialling().next_address) < dial.addresses.len())
    }

    /// A connection of a client service is gone: its place goes on to the next address, waits, or is given back.
    pub(super) fn place_left(&mut self, carrier: Carrier, cause: &Cause, goes_on: bool) {
        let was_useful = carrier.reached == Reached::Useful;
        let Standing::Placed(place) = carrier.standing else { return };
        let running = Arc::clone(place.running());
        if goes_on {
            return dial_of(&mut self.dials, &running).ready.push_front(place);
        }
        if let Some((until, place)) = self.back_off(place, cause, was_useful) {
            dial_of(&mut self.dials, &running).wait(until, place);
        }
    }

    pub(super) fn connected(&mut self, operations: &mut Operations<'_>, name: Name) {
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        if !matches!(carrier.stage, Stage::Connecting { .. }) {
            return;
        }
        carrier.stage = Stage::Live;
        carrier.active_at = self.now;
        let service = carrier.running().index;
        if let Standing::Placed(place) = &carrier.standing
            && let Some(dial) = self.dials.get_mut(&service)
        {
            dial.connected(place, self.now);
        }
        self.dialled(service);
        self.open(operations, name);
    }

    pub(super) fn connect_failed(&mut self, name: Name, error: OsError) {
        if let Some(carrier) = self.carriers.get(name) {
            carrier.running().note_connect_error(error);
            // A failure that took its time is a silence, as is one of an address that is not the last.
            let answers = matches!(carrier.stage, Stage::Connecting { since } if self.now.since(since) < SILENCE);
            if answers
                && !self.has_next_address(carrier)
                && let Some(dial) = self.dials.get_mut(&carrier.running().index)
            {
                dial.heard(self.now);
            }
        }
        self.end_at(name, Cause::ConnectFailed(error), Step::Close);
    }

    /// A connection of a client service is no longer being made.
    pub(super) fn dialled(&mut self, service: usize) {
        if let Some(dial) = self.dials.get_mut(&service) {
            dial.in_flight = dial.in_flight.saturating_sub(1);
        }
    }
}

fn dial_of<'d>(dials: &'d mut BTreeMap<usize, Dial>, running: &Arc<Running>) -> &'d mut Dial {
    dials.entry(running.index).or_insert_with(|| Dial::new(running))
}
