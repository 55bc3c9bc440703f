//! How a connection becomes a session: accepted or dialled, counted, placed, made.
//!
//! A place in the service is reserved before a connection is handed to its worker, so that the cap is real however many
//! workers accept at the same time; it is given back when the session has ended. What fails on the way gives it back too.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use pogu_port::slots::Name;
use pogu_port::{BoundListener, ConnectionId, Detached, ListenerId, Operations, OsError, Owner, SubmitError};

use crate::cause::{Cause, CauseKind};
use crate::message::Message;
use crate::service::Running;
use crate::session::{Incoming, Refusal, Session};
use crate::worker::{Carrier, Stage, State, Step};

/// Connections that a client service still wants from this worker.
pub(crate) struct Dial {
    running: Arc<Running>,
    /// Not yet begun.
    remaining: usize,
    /// Begun and neither connected nor failed.
    in_flight: usize,
}

impl State {
    pub(super) fn listen(&mut self, operations: &mut Operations<'_>, running: Arc<Running>, listener: BoundListener) {
        if self.stopping.is_some() || running.closed.load(Ordering::Acquire) {
            return;
        }
        match operations.listen(Owner(0), listener) {
            Ok(listener) => self.listeners.push((listener, running)),
            Err(refused) => {
                tracing::error!(address = %running.address, error = %refused.error, "the port refused the listener");
            }
        }
    }

    pub(super) fn close_listener(&mut self, operations: &mut Operations<'_>, service: usize) {
        for (listener, running) in &self.listeners {
            if running.index == service {
                // Already closing is as good.
                let _ = operations.close_listener(*listener);
            }
        }
    }

    pub(super) fn accepted(&mut self, operations: &mut Operations<'_>, listener: ListenerId, stream: Detached) {
        let Some((_, running)) = self.listeners.iter().find(|(open, _)| *open == listener) else { return };
        let running = Arc::clone(running);
        if running.closed.load(Ordering::Acquire) {
            return stream.reset();
        }
        if !running.reserve() {
            return self.refuse(operations, running, stream);
        }
        let worker = self.shared.place();
        if worker == self.index {
            return self.adopt(operations, running, stream);
        }
        let message = Message::Adopt { running: Arc::clone(&running), stream: Box::new(stream) };
        if !self.mail.post(worker, message) {
            // The message closed the stream when it was dropped.
            self.give_back(worker, &running);
            self.ledger.row(running.index).refused += 1;
        }
    }

    fn give_back(&mut self, worker: usize, running: &Running) {
        running.release();
        self.shared.unplace(worker);
    }

    /// Takes a connection for which a place is reserved.
    pub(super) fn adopt(&mut self, operations: &mut Operations<'_>, running: Arc<Running>, stream: Detached) {
        if self.stopping.is_some() {
            self.give_back(self.index, &running);
            return stream.reset();
        }
        let peer_address = stream.peer_address();
        let Some(name) = self.enroll(operations, &running, stream) else {
            self.give_back(self.index, &running);
            self.ledger.row(running.index).count_disconnect(CauseKind::System);
            return;
        };
        if let Some(carrier) = self.carriers.get_mut(name) {
            carrier.peer_address = peer_address;
        }
        self.open(operations, name);
    }

    /// Gives the stream to the port and makes a carrier for it, not yet receiving.
    fn enroll(&mut self, operations: &mut Operations<'_>, running: &Arc<Running>, stream: Detached) -> Option<Name> {
        let now = self.now;
        let mut failure = None;
        let options = &running.service.stream;
        let adopt = |owner| operations.adopt(owner, stream, options).map_err(|refused| refused.error);
        let name = Self::enroll_with(&mut self.carriers, adopt, &mut failure, |connection| {
            Carrier::new(connection, Arc::clone(running), Stage::Live, now)
        });
        if let Some(error) = failure {
            tracing::debug!(worker = self.index, %error, "the port refused a stream");
        }
        name
    }

    /// Makes a carrier whose owner token the connection carries from its first moment.
    fn enroll_with(
        carriers: &mut pogu_port::slots::Slots<Carrier>,
        connect: impl FnOnce(Owner) -> Result<ConnectionId, SubmitError>,
        failure: &mut Option<SubmitError>,
        make: impl FnOnce(ConnectionId) -> Carrier,
    ) -> Option<Name> {
        carriers.try_insert_with(|name| match connect(Self::owner_of(name)) {
            Ok(connection) => Some(make(connection)),
            Err(error) => {
                *failure = Some(error);
                None
            }
        })
    }

    /// Makes the user's half of an established connection and starts to receive.
    fn open(&mut self, operations: &mut Operations<'_>, name: Name) {
        let session = self.session_id(name);
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let running = Arc::clone(&carrier.running);
        let connection = carrier.connection;
        let incoming = Incoming { session, peer_address: carrier.peer_address, worker: self.index };
        match catch_unwind(AssertUnwindSafe(|| running.factory.make(incoming))) {
            Ok(Ok(made)) => self.begin(operations, name, made),
            Ok(Err(refusal)) => {
                self.ledger.row(running.index).refused += 1;
                self.become_refusal(operations, name, &refusal);
            }
            Err(_) => {
                tracing::error!(service = %running.address, "the session factory panicked");
                self.stop(operations, name, Cause::HandlerPanicked);
            }
        }
        // The connection may have been aborted by its own `on_connected`.
        let _ = operations.receive(connection);
    }

    fn begin(&mut self, operations: &mut Operations<'_>, name: Name, session: Box<dyn Session>) {
        let now = self.now;
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        carrier.session = Some(session);
        carrier.opened = true;
        carrier.active_at = now;
        self.ledger.row(carrier.running.index).sessions_opened += 1;
        self.arm(name);
        self.call(operations, name, |session, cx| session.on_connected(cx));
    }

    /// Tells a connection above the cap why it is refused, if few enough are being told.
    fn refuse(&mut self, operations: &mut Operations<'_>, running: Arc<Running>, stream: Detached) {
        self.ledger.row(running.index).refused += 1;
        if self.lingering_refusals >= running.limits().lingering_refusals_max || self.stopping.is_some() {
            self.ledger.row(running.index).refused_at_once += 1;
            return stream.reset();
        }
        let Some(name) = self.enroll(operations, &running, stream) else { return };
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        carrier.refused = true;
        let connection = carrier.connection;
        self.lingering_refusals += 1;
        self.say_goodbye(operations, name, &running.service.full);
        let _ = operations.receive(connection);
    }

    /// A connection that had a place turns out to be unwanted: it gives the place back and goes the way of a refusal.
    fn become_refusal(&mut self, operations: &mut Operations<'_>, name: Name, refusal: &Refusal) {
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        carrier.refused = true;
        let running = Arc::clone(&carrier.running);
        let connection = carrier.connection;
        self.give_back(self.index, &running);
        self.lingering_refusals += 1;
        tracing::debug!(service = %running.address, reason = refusal.reason(), "the factory refused a connection");
        if self.lingering_refusals > running.limits().lingering_refusals_max {
            self.ledger.row(running.index).refused_at_once += 1;
            self.end_at(name, Cause::HandlerAsked(refusal.reason().to_owned().into()), Step::Close);
            let _ = operations.abort(connection);
            return;
        }
        self.say_goodbye(operations, name, refusal);
    }

    fn say_goodbye(&mut self, operations: &mut Operations<'_>, name: Name, refusal: &Refusal) {
        if let Some((id, body)) = refusal.packet() {
            self.send(operations, name, id, body);
        }
        self.stop(operations, name, Cause::HandlerAsked(refusal.reason().to_owned().into()));
    }

    pub(super) fn want(&mut self, running: Arc<Running>, count: usize) {
        self.dials.push(Dial { running, remaining: count, in_flight: 0 });
    }

    /// Begins as many connections of client services as may be in flight.
    pub(super) fn dial(&mut self, operations: &mut Operations<'_>) {
        if self.dials.is_empty() {
            return;
        }
        let mut dials = std::mem::take(&mut self.dials);
        for dial in &mut dials {
            while dial.remaining > 0 && dial.in_flight < dial.running.limits().connects_in_flight_max {
                dial.remaining -= 1;
                if self.stopping.is_none() && self.connect(operations, &dial.running) {
                    dial.in_flight += 1;
                } else {
                    self.give_back(self.index, &dial.running);
                }
            }
        }
        dials.retain(|dial| dial.remaining > 0 || dial.in_flight > 0);
        self.dials = dials;
    }

    fn connect(&mut self, operations: &mut Operations<'_>, running: &Arc<Running>) -> bool {
        let now = self.now;
        let mut failure = None;
        let options = &running.service.stream;
        let connect = |owner| operations.connect(owner, running.address, options);
        let name = Self::enroll_with(&mut self.carriers, connect, &mut failure, |connection| {
            let mut carrier = Carrier::new(connection, Arc::clone(running), Stage::Connecting { since: now }, now);
            carrier.peer_address = Some(running.address);
            carrier
        });
        match name {
            Some(name) => self.arm(name),
            None => self.ledger.row(running.index).count_disconnect(CauseKind::ConnectFailed),
        }
        name.is_some()
    }

    pub(super) fn connected(&mut self, operations: &mut Operations<'_>, name: Name) {
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        if !matches!(carrier.stage, Stage::Connecting { .. }) {
            return;
        }
        carrier.stage = Stage::Live;
        carrier.active_at = self.now;
        let service = carrier.running.index;
        self.dialled(service);
        self.open(operations, name);
    }

    pub(super) fn connect_failed(&mut self, name: Name, error: OsError) {
        self.end_at(name, Cause::ConnectFailed(error), Step::Close);
    }

    /// A connection of a client service is no longer being made.
    pub(super) fn dialled(&mut self, service: usize) {
        if let Some(dial) = self.dials.iter_mut().find(|dial| dial.running.index == service) {
            dial.in_flight = dial.in_flight.saturating_sub(1);
        }
    }

    /// Gives back the places of connections that are not going to be made.
    pub(super) fn give_up_dialling(&mut self) {
        for dial in std::mem::take(&mut self.dials) {
            for _ in 0..dial.remaining {
                self.give_back(self.index, &dial.running);
            }
        }
    }
}
