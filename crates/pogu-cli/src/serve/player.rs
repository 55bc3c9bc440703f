//! One session of `pogu serve`.

use std::time::Duration;

use pogu::{Broadcast, BroadcastOutcome, Context, Delivery, JoinOutcome, Packet, Room, RoomRef, Session};

use super::plaza::{Asked, Letter, Walker, World};
use crate::protocol::{CHAT, ECHO, ENTER, EXIT, JOIN, SAY, WALK};

/// JOINs that may wait for their answer. An honest client waits for each; one more is a violation, so that a flood of
/// JOINs costs nothing.
const JOINS_UNANSWERED_MAX: usize = 64;

/// The room that is the plaza of a service: none that a JOIN can name.
pub(super) fn plaza_of(service: u32) -> Room {
    Room(1 << 63 | u64::from(service))
}

/// The server's half of a connection; see [`crate::protocol`].
#[derive(Debug, Default)]
pub struct Player {
    /// The number of its service, whose rooms are not those of another one on the same core.
    service: u32,
    room_window: Duration,
    place: Place,
    /// The rooms of the JOINs that have no answer yet, oldest first.
    unanswered: Vec<u32>,
    walker: Walker,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Place {
    #[default]
    Nowhere,
    /// Asked for. The JOINs that wait for it are in `unanswered`.
    Joining(u32),
    In(u32),
}

impl Session for Player {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match packet.id() {
            JOIN => self.join(cx, packet),
            SAY => self.say(cx, packet),
            ECHO => {
                // A full send queue ends the session by itself.
                cx.send(ECHO, packet.body());
            }
            ENTER | WALK | CHAT | EXIT => {
                let me = cx.reference(self);
                if self.walker.ask(cx, me, packet) == Asked::Refused {
                    self.on_broadcast_refused(cx, plaza_of(self.service));
                }
            }
            id => cx.violation(id, "expected 1 (JOIN), 2 (SAY), 3 (ECHO) or 10 to 13 (the plaza)"),
        }
    }

    fn on_joined(&mut self, cx: &mut Context<'_>, joined: Room) {
        if let Place::Joining(room) = self.place
            && joined == self.room_name(room)
        {
            self.place = Place::In(room);
            for answered in self.unanswered.drain(..) {
                cx.send(JOIN, &answered.to_le_bytes());
            }
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.walker.give_up(cx);
    }
}

impl Player {
    /// A session of the service with this number, whose rooms wait so long for more to be said.
    pub(super) fn of(service: u32, room_window: Duration, plaza: Option<RoomRef<World>>) -> Player {
        Player { service, room_window, walker: Walker::of(plaza), ..Player::default() }
    }

    /// What the plaza tells it, behind one of its actions.
    pub(super) fn hear(&mut self, cx: &mut Context<'_>, letter: &Letter) {
        self.walker.answered(cx, letter);
    }

    /// Rooms are known to the whole core.
    fn room_name(&self, room: u32) -> Room {
        Room(u64::from(self.service) << 32 | u64::from(room))
    }

    fn join(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let Ok(body) = packet.body().try_into() else {
            let length = packet.body().len();
            return cx.violation(JOIN, format!("expected a body of 4 bytes, a u32 room; {length} bytes came"));
        };
        let room = u32::from_le_bytes(body);
        if self.place == Place::In(room) {
            cx.send(JOIN, packet.body());
            return;
        }
        if self.unanswered.len() >= JOINS_UNANSWERED_MAX {
            return cx.violation(JOIN, format!("{JOINS_UNANSWERED_MAX} earlier JOINs have no answer yet"));
        }
        if self.place != Place::Joining(room) && !self.move_to(cx, room) {
            return;
        }
        self.unanswered.push(room);
    }

    /// Leaves the room, or the one that was asked for, and asks for another. False if the session is ending instead.
    fn move_to(&mut self, cx: &mut Context<'_>, room: u32) -> bool {
        if let Place::In(left) | Place::Joining(left) = self.place {
            cx.leave(self.room_name(left));
        }
        self.place = Place::Joining(room);
        match cx.join(self.room_name(room)) {
            JoinOutcome::Asked => true,
            JoinOutcome::Gone => false,
            // `Already` and `TooMany` cannot be: it is in no other room.
            _ => {
                self.on_broadcast_refused(cx, self.room_name(room));
                false
            }
        }
    }

    fn say(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        // A SAY right behind a JOIN is fine: the room's home takes them in that order.
        let (Place::In(room) | Place::Joining(room)) = self.place else {
            return cx.violation(SAY, "expected a JOIN before it");
        };
        let how = Broadcast::to_all().delivery(Delivery::within(self.room_window));
        match cx.broadcast_with(self.room_name(room), &how, SAY, packet.body()) {
            BroadcastOutcome::Posted | BroadcastOutcome::Gone => {}
            // Nobody got it. A SAY that is silently missing would be worse than an end.
            _ => self.on_broadcast_refused(cx, self.room_name(room)),
        }
    }
}
