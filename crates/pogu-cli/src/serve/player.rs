//! One session of `pogu serve`.

use std::sync::Arc;
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

/// What all sessions of a service have in common.
#[derive(Debug)]
pub(super) struct Hosting {
    /// The number of the service, whose rooms are not those of another one on the same core.
    pub(super) service: u32,
    /// How long what is said in a room waits for more.
    pub(super) room_window: Duration,
    /// `None`: the service has no plaza.
    pub(super) plaza: Option<RoomRef<World>>,
}

/// The server's half of a connection; see [`crate::protocol`]. Small: most of ten thousand are silent most of the time.
#[derive(Debug)]
pub struct Player {
    hosting: Arc<Hosting>,
    place: Place,
    walker: Walker,
}

#[derive(PartialEq, Eq, Debug)]
enum Place {
    Nowhere,
    Joining(Box<Joining>),
    In(u32),
}

/// A room that was asked for.
#[derive(PartialEq, Eq, Debug)]
struct Joining {
    room: u32,
    /// The rooms of the JOINs that have no answer yet, oldest first: this one's, and those of rooms that were left before.
    unanswered: Vec<u32>,
}

impl Place {
    /// The room where it is, or will be.
    fn room(&self) -> Option<u32> {
        match self {
            Place::Nowhere => None,
            Place::Joining(joining) => Some(joining.room),
            Place::In(room) => Some(*room),
        }
    }
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
                if self.walker.ask(cx, self.hosting.plaza.as_ref(), me, packet) == Asked::Refused {
                    self.on_broadcast_refused(cx, plaza_of(self.hosting.service));
                }
            }
            id => cx.violation(id, "expected 1 (JOIN), 2 (SAY), 3 (ECHO) or 10 to 13 (the plaza)"),
        }
    }

    fn on_joined(&mut self, cx: &mut Context<'_>, joined: Room) {
        if let Place::Joining(joining) = &mut self.place
            && joined == self.hosting.room_name(joining.room)
        {
            let Joining { room, unanswered } = &mut **joining;
            for answered in unanswered.drain(..) {
                cx.send(JOIN, &answered.to_le_bytes());
            }
            self.place = Place::In(*room);
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.walker.give_up(cx);
    }
}

impl Hosting {
    /// Rooms are known to the whole core.
    fn room_name(&self, room: u32) -> Room {
        Room(u64::from(self.service) << 32 | u64::from(room))
    }
}

impl Player {
    pub(super) fn of(hosting: &Arc<Hosting>) -> Player {
        Player { hosting: Arc::clone(hosting), place: Place::Nowhere, walker: Walker::default() }
    }

    /// What the plaza tells it, behind one of its actions.
    pub(super) fn hear(&mut self, cx: &mut Context<'_>, letter: &Letter) {
        self.walker.answered(cx, letter);
    }

    fn join(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let Ok(body) = packet.body().try_into() else {
            let length = packet.body().len();
            return cx.violation(JOIN, format!("expected a body of 4 bytes, a u32 room; {length} bytes came"));
        };
        let room = u32::from_le_bytes(body);
        match &mut self.place {
            Place::In(here) if *here == room => {
                cx.send(JOIN, packet.body());
            }
            Place::Joining(joining) if joining.unanswered.len() >= JOINS_UNANSWERED_MAX => {
                cx.violation(JOIN, format!("{JOINS_UNANSWERED_MAX} earlier JOINs have no answer yet"));
            }
            Place::Joining(joining) if joining.room == room => joining.unanswered.push(room),
            Place::Nowhere | Place::Joining(_) | Place::In(_) => self.move_to(cx, room),
        }
    }

    /// Leaves the room, or the one that was asked for, and asks for another.
    fn move_to(&mut self, cx: &mut Context<'_>, room: u32) {
        if let Some(left) = self.place.room() {
            cx.leave(self.hosting.room_name(left));
        }
        let mut unanswered = match std::mem::replace(&mut self.place, Place::Nowhere) {
            Place::Joining(joining) => joining.unanswered,
            Place::Nowhere | Place::In(_) => Vec::new(),
        };
        unanswered.push(room);
        self.place = Place::Joining(Box::new(Joining { room, unanswered }));
        match cx.join(self.hosting.room_name(room)) {
            JoinOutcome::Asked | JoinOutcome::Gone => {}
            // `Already` and `TooMany` cannot be: it is in no other room.
            _ => self.on_broadcast_refused(cx, self.hosting.room_name(room)),
        }
    }

    fn say(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        // A SAY right behind a JOIN is fine: the room's home takes them in that order.
        let Some(room) = self.place.room().map(|room| self.hosting.room_name(room)) else {
            return cx.violation(SAY, "expected a JOIN before it");
        };
        let how = Broadcast::to_all().delivery(Delivery::within(self.hosting.room_window));
        match cx.broadcast_with(room, &how, SAY, packet.body()) {
            BroadcastOutcome::Posted | BroadcastOutcome::Gone => {}
            // Nobody got it. A SAY that is silently missing would be worse than an end.
            _ => self.on_broadcast_refused(cx, room),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_player_is_small() {
        assert!(size_of::<Player>() <= 40, "{} bytes", size_of::<Player>());
    }
}
