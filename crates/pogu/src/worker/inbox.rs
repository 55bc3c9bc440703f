//! Messages from other workers, from the core, and from this worker to itself.

use pogu_port::Operations;
use pogu_port::plant::{self, Plant};

use crate::delivery::Delivery;
use crate::message::{Letter, Message};
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
            Message::Handled { session, lane } => self.handled(operations, session.name(), lane),
            Message::Kick(kick) => self.kick(operations, *kick),
            Message::KickAll { service, reason } => self.kick_all(operations, service, *reason),
            Message::BroadcastToService { service, frame } => self.broadcast_to_service(operations, service, &frame),
            Message::Enumerate(census) => self.enumerate(census),
            Message::Send { session, id, body } => {
                let mut name = session.name();
                if plant::is(Plant::ReplyToReusedSlot) {
                    name = self.carriers.names().find(|other| other.slot == name.slot).unwrap_or(name);
                }
                self.send(operations, name, Delivery::PROMPT, id, &body);
            }
            Message::SendWith(letter) => {
                let Letter { session, delivery, id, body } = *letter;
                self.send(operations, session.name(), delivery, id, &body);
            }
            Message::SendMany { sessions, frame } => self.send_to_own(operations, &sessions, &frame),
            Message::Join { room, session, ticket } => self.home_join(room, session, ticket),
            Message::Leave { room, session } => self.home_leave(room, session),
            Message::VisitRoom { room, visit } => self.visit_room(room, visit),
            Message::OpenRoom { room, kind } => self.open_room(room, kind),
            Message::CloseRoom { room, kind } => self.close_room_of(room, kind.as_ref()),
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

    /// Tries again to deliver what did not fit into other inboxes, and counts what is for workers that have gone.
    pub(super) fn retry_mail(&mut self) {
        self.mail.trim_own();
        for message in self.mail.retry() {
            match message {
                Message::Enumerate(census) => self.pass_on(census),
                message => self.lose(message),
            }
        }
    }

    /// This worker ends: what still waits reaches nobody.
    pub(super) fn give_up_mail(&mut self) {
        while let Some(message) = self.mail.take_own() {
            self.give_up(message);
        }
        self.retry_mail();
        for message in self.mail.take_all() {
            self.miss(message);
        }
    }

    /// What this worker itself does not come to. Rooms whose home is here still hear of those who left.
    pub(super) fn give_up(&mut self, message: Message) {
        match message {
            Message::Leave { room, session } => self.home_leave(room, session),
            message => self.lose(message),
        }
    }

    /// Counts what a worker that lives on does not get because this one goes: its sessions are there, and miss it. Whom it does
    /// not hear of is struck there.
    fn miss(&mut self, message: Message) {
        match message {
            Message::Deliver { .. } => self.ledger.core().broadcasts_refused += 1,
            Message::Joined { .. } => self.ledger.core().room_calls_to_gone += 1,
            message => self.lose(message),
        }
    }

    /// Counts what was on its way when a worker went, its own or another. Sessions of that worker have gone with it, and what
    /// was for all of them is no loss.
    pub(super) fn lose(&mut self, message: Message) {
        match message {
            Message::Send { .. } | Message::SendWith(_) => self.ledger.core().frames_to_gone += 1,
            Message::SendMany { sessions, .. } => self.ledger.core().frames_to_gone += sessions.len() as u64,
            Message::Visit { .. } | Message::VisitRoom { .. } | Message::Kick(_) => {
                self.ledger.core().posts_to_gone += 1
            }
            Message::Join { .. } | Message::Broadcast { .. } => self.ledger.core().room_calls_to_gone += 1,
            Message::Adopt { place: Some(place), .. } => self.ledger.row(place.running().index).refused += 1,
            _ => {}
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
