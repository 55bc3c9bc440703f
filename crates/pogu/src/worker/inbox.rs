//! Messages from other workers, from the core, and from this worker to itself.

use pogu_port::Operations;

use crate::message::Message;
use crate::progress::Handler;
use crate::worker::State;

impl State {
    pub(super) fn message(&mut self, operations: &mut Operations<'_>, message: Message) {
        match message {
            Message::Listen { running, listener } => self.listen(operations, running, *listener),
            Message::Adopt { place: Some(place), stream } => self.adopt(operations, place, *stream),
            Message::Connect { running, places } => self.want(running, places),
            // The end of the turn looks at everything that is shared.
            Message::Adopt { place: None, .. } | Message::Look => {}
            Message::Visit { session, visit } => self.visit(operations, session.name(), visit),
            Message::Kick(kick) => self.kick(operations, *kick),
            Message::KickAll { service, reason } => self.kick_all(operations, service, *reason),
            Message::BroadcastToService { service, frame } => self.broadcast_to_service(operations, service, &frame),
            Message::Enumerate(census) => self.enumerate(census),
            Message::Send { session, id, body } => drop(self.send(operations, session.name(), id, &body)),
            Message::Join { room, session, ticket } => self.home_join(room, session, ticket),
            Message::Leave { room, worker } => self.home_leave(room, worker),
            Message::Broadcast { room, from, frame } => self.home_broadcast(room, from, &frame),
            Message::Joined { room, session, ticket } => self.joined(operations, room, session, ticket),
            Message::Deliver { room, frame } => self.deliver(operations, room, &frame),
            Message::BroadcastRefused { room, session } => {
                self.call_live(operations, session.name(), Handler::BroadcastRefused, |session, cx| {
                    session.on_broadcast_refused(cx, room);
                });
            }
        }
    }

    /// Handles what this worker told itself until nothing is left, or as much as one turn allows: messages that beget
    /// messages must not keep the worker from its port.
    pub(super) fn own_messages(&mut self, operations: &mut Operations<'_>) {
        for _ in 0..self.shared.outbox_max() {
            let Some(message) = self.mail.take_own() else { return };
            self.message(operations, message);
        }
    }
}
