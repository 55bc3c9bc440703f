//! How a connection becomes a session: accepted (or dialled, see `dialling`), placed, handed over, made.

use std::sync::Arc;
use std::time::Duration;

use pogu_port::slots::{Name, Slots};
use pogu_port::{BoundListener, ConnectionId, Detached, ListenerId, Operations, OsError, Owner, SubmitError};

use crate::addresses::{AddressSeat, TooMuch};
use crate::cause::{Cause, CauseKind};
use crate::core::Place;
use crate::delivery::Delivery;
use crate::message::Message;
use crate::progress::Handler;
use crate::service::Running;
use crate::session::{Incoming, Refusal, Session};
use crate::worker::carrier::{Reached, Standing};
use crate::worker::caught::caught;
use crate::worker::log_gate::Line;
use crate::worker::mail::Undelivered;
use crate::worker::vigil::Vigil;
use crate::worker::{Carrier, Stage, State};

impl State {
    pub(super) fn listen(&mut self, operations: &mut Operations<'_>, running: Arc<Running>, listener: BoundListener) {
        if self.stopping.is_some() || running.is_closed() {
            return;
        }
        match operations.listen(Owner(0), listener) {
            Ok(listener) => self.listeners.push((listener, running)),
            Err(refused) => {
                running.gate.close();
                if self.log.allows(Line::ListenerNotTaken, self.now) {
                    tracing::error!(address = %running.address, error = %refused.error, "the port refused the listener");
                }
            }
        }
    }

    /// Closes the listeners whose service was told to.
    pub(super) fn close_listeners(&mut self, operations: &mut Operations<'_>) {
        for (listener, running) in &self.listeners {
            if running.is_closed() {
                // Already closing is as good.
                let _ = operations.close_listener(*listener);
            }
        }
    }

    pub(super) fn accept_paused(&mut self, error: OsError, retry_after: Duration) {
        if self.log.allows(Line::AcceptPaused, self.now) {
            tracing::debug!(worker = self.index, %error, ?retry_after, "accept paused");
        }
    }

    pub(super) fn accepted(&mut self, operations: &mut Operations<'_>, listener: ListenerId, stream: Detached) {
        let Some((_, running)) = self.listeners.iter().find(|(open, _)| *open == listener) else { return };
        let running = Arc::clone(running);
        if running.is_closed() {
            self.ledger.row(running.index).refused += 1;
            return stream.reset();
        }
        let Ok(mut seat) = self.seat_at_address(&running, &stream) else { return stream.reset() };
        let mut message = Message::Adopt { place: None, stream: Box::new(stream) };
        loop {
            let Message::Adopt { place, stream } = message else { return };
            let seat = place.map_or_else(|| seat.take(), Place::give_up);
            let Some(mut place) = Place::take(&running) else {
                return self.refuse(operations, &running, seat, *stream);
            };
            place.count_at(seat);
            let worker = place.worker();
            if worker == self.index {
                return self.adopt(operations, place, *stream);
            }
            match self.mail.post(worker, Message::Adopt { place: Some(place), stream }) {
                Ok(()) => return,
                Err(Undelivered::Full) => {
                    // The message gave the place back and closed the stream when it was dropped.
                    self.ledger.row(running.index).refused += 1;
                    return;
                }
                Err(Undelivered::Gone(returned)) => {
                    self.shared.retire(worker);
                    message = returned;
                }
            }
        }
    }

    /// Counts a connection with its address, if the service limits that. An error if there are too many: it was counted.
    fn seat_at_address(&mut self, running: &Running, stream: &Detached) -> Result<Option<Box<AddressSeat>>, TooMuch> {
        let limits = running.limits();
        let (connections_max, rate) =
            (limits.connections_per_address_max.get(), limits.connection_rate_per_address.get());
        let Some(address) = stream.peer_address() else { return Ok(None) };
        if connections_max.is_none() && rate.is_none() {
            return Ok(None);
        }
        running
            .addresses
            .admit(address.ip(), self.now, connections_max, rate)
            .map(|seat| Some(Box::new(seat)))
            .inspect_err(|_| {
                let row = self.ledger.row(running.index);
                row.refused += 1;
                row.refused_by_address += 1;
            })
    }

    /// Takes a connection for which there is a place.
    pub(super) fn adopt(&mut self, operations: &mut Operations<'_>, place: Place, stream: Detached) {
        let service = place.running().index;
        if self.stopping.is_some() {
            self.ledger.row(service).refused += 1;
            return stream.reset();
        }
        let peer_address = stream.peer_address();
        match self.enroll(operations, Standing::Placed(place), stream) {
            Ok(name) => {
                if let Some(carrier) = self.carriers.get_mut(name) {
                    carrier.peer_address = peer_address.into();
                }
                self.open(operations, name);
            }
            Err(error) => self.not_enrolled(service, error, CauseKind::System),
        }
    }

    /// The port did not take a connection: a limit of ours counts as a refusal, the system's word as its fault.
    fn not_enrolled(&mut self, service: usize, error: SubmitError, fault: CauseKind) {
        if self.log.allows(Line::ConnectionNotTaken, self.now) {
            tracing::debug!(worker = self.index, %error, "the port refused a connection");
        }
        let row = self.ledger.row(service);
        match error {
            SubmitError::Os(_) => row.count_disconnect(fault),
            _ => row.refused += 1,
        }
    }

    /// Gives the stream to the port and makes a carrier for it, not yet receiving.
    fn enroll(
        &mut self,
        operations: &mut Operations<'_>,
        standing: Standing,
        stream: Detached,
    ) -> Result<Name, SubmitError> {
        let now = self.now;
        let running = Arc::clone(standing.running());
        let adopt = |owner| operations.adopt(owner, stream, &running.service.stream).map_err(|refused| refused.error);
        enroll_with(&mut self.carriers, adopt, |connection| Carrier::new(connection, standing, Stage::Live, now))
    }

    /// Makes the user's half of an established connection and starts to receive.
    pub(super) fn open(&mut self, operations: &mut Operations<'_>, name: Name) {
        let session = self.session_id(name);
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let running = Arc::clone(carrier.running());
        let connection = carrier.connection;
        let attempt = carrier.standing.attempt();
        let incoming = Incoming { session, peer_address: carrier.peer_address.get(), worker: self.index, attempt };
        if !self.add_layer(name, &running, &incoming) {
            return self.abort(operations, name, Cause::HandlerPanicked);
        }
        self.marker.begin(Handler::Factory, running.index, 0);
        let made = caught(|| running.factory.make(incoming));
        self.marker.end();
        match made {
            Some(Ok(made)) => self.begin(operations, name, made),
            Some(Err(refusal)) => {
                self.ledger.row(running.index).refused += 1;
                self.become_refusal(operations, name, &refusal);
            }
            None => {
                if self.log.allows(Line::FactoryPanicked, self.now) {
                    tracing::error!(service = %running.address, "the session factory panicked");
                }
                self.stop(operations, name, Cause::HandlerPanicked);
            }
        }
        // The connection may have been aborted by its own `on_connected`.
        let _ = operations.receive(connection);
    }

    /// Makes the layer of a connection, if its service has one. False if that panicked.
    fn add_layer(&mut self, name: Name, running: &Running, incoming: &Incoming) -> bool {
        let Some(factory) = &running.service.layer else { return true };
        self.marker.begin(Handler::Layer, running.index, 0);
        let made = caught(|| factory.make(incoming));
        self.marker.end();
        let Some(layer) = made else {
            if self.log.allows(Line::LayerPanicked, self.now) {
                tracing::error!(service = %running.address, "the layer factory panicked");
            }
            return false;
        };
        if let Some(carrier) = self.carriers.get_mut(name) {
            carrier.layer = Some(Box::new(layer));
        }
        true
    }

    fn begin(&mut self, operations: &mut Operations<'_>, name: Name, session: Box<dyn Session>) {
        let now = self.now;
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        carrier.session = Some(session);
        carrier.reached = Reached::Opened;
        carrier.active_at = now;
        let running = carrier.standing.running();
        carrier.vigil = Vigil::new(now, running.limits(), running.service.heartbeat.as_ref());
        self.ledger.row(carrier.running().index).sessions_opened += 1;
        self.enlist(name);
        self.arm(name);
        self.call(operations, name, Handler::Connected, |session, cx| session.on_connected(cx));
    }

    /// Tells a connection above the cap why it is refused, if few enough are being told.
    fn refuse(
        &mut self,
        operations: &mut Operations<'_>,
        running: &Arc<Running>,
        seat: Option<Box<AddressSeat>>,
        stream: Detached,
    ) {
        self.ledger.row(running.index).refused += 1;
        if self.lingering_refusals >= running.limits().lingering_refusals_max.get() || self.stopping.is_some() {
            self.ledger.row(running.index).refused_at_once += 1;
            return stream.reset();
        }
        let peer_address = stream.peer_address();
        let standing = Standing::Refused(Arc::clone(running), seat);
        // A connection that the port does not take was refused all the same.
        let Ok(name) = self.enroll(operations, standing, stream) else { return };
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let connection = carrier.connection;
        carrier.peer_address = peer_address.into();
        self.lingering_refusals += 1;
        let session = self.session_id(name);
        let incoming = Incoming { session, peer_address, worker: self.index, attempt: 0 };
        if !self.add_layer(name, running, &incoming) {
            return self.abort(operations, name, Cause::HandlerPanicked);
        }
        self.say_goodbye(operations, name, &running.service.full);
        let _ = operations.receive(connection);
    }

    /// A connection that has a place turns out to be unwanted: it gives the place back and goes the way of a refusal.
    fn become_refusal(&mut self, operations: &mut Operations<'_>, name: Name, refusal: &Refusal) {
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let running = Arc::clone(carrier.running());
        carrier.standing.refuse();
        self.lingering_refusals += 1;
        if self.log.allows(Line::FactoryRefused, self.now) {
            tracing::debug!(service = %running.address, reason = refusal.reason(), "the factory refused a connection");
        }
        if self.lingering_refusals > running.limits().lingering_refusals_max.get() {
            self.ledger.row(running.index).refused_at_once += 1;
            return self.abort(operations, name, Cause::HandlerAsked(refusal.reason().to_owned().into()));
        }
        self.say_goodbye(operations, name, refusal);
    }

    fn say_goodbye(&mut self, operations: &mut Operations<'_>, name: Name, refusal: &Refusal) {
        if let Some((id, body)) = refusal.packet() {
            self.send(operations, name, Delivery::PROMPT, id, body);
        }
        self.stop(operations, name, Cause::HandlerAsked(refusal.reason().to_owned().into()));
    }
}

/// Makes a carrier whose owner token the connection carries from its first moment.
pub(super) fn enroll_with(
    carriers: &mut Slots<Carrier>,
    connect: impl FnOnce(Owner) -> Result<ConnectionId, SubmitError>,
    make: impl FnOnce(ConnectionId) -> Carrier,
) -> Result<Name, SubmitError> {
    let mut refused = SubmitError::Full { maximum: u32::MAX };
    let enrolled = carriers.try_insert_with(|name| match connect(State::owner_of(name)) {
        Ok(connection) => Some(make(connection)),
        Err(error) => {
            refused = error;
            None
        }
    });
    enrolled.ok_or(refused)
}
