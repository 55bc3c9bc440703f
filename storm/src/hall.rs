//! The states of rooms: they see who comes and goes, and have a say of their own.

use std::sync::Arc;

use pogu::sim::Simulation;
use pogu::{FanOutOutcome, Room, RoomContext, RoomState, SendOutcome, SessionId, SessionRef};

use crate::draw::Draw;
use crate::ledger::{Book, Phase, Visit};
use crate::message::{Kind, Message};
use crate::server::Host;
use crate::talk::TalkPlan;

/// Filler of what they say.
const FILLER_BYTES: usize = 12;

/// Members that one packet is for, at most.
const TOLD_MAX: usize = 4;

/// Of so many calls of a state one puts a member out: several in a small storm, and large ones still go on.
const ACTS_PER_KICK: u64 = 200;

/// The state of a room.
pub(crate) struct Hall {
    book: Book,
    clock: Simulation,
    talk: Arc<TalkPlan>,
    core: usize,
    room: u32,
    members: Vec<SessionId>,
    draw: Draw,
    body: Vec<u8>,
}

impl Hall {
    pub(crate) fn new(
        (book, clock): (Book, Simulation),
        talk: Arc<TalkPlan>,
        core: usize,
        room: Room,
        draw: impl Fn(u64) -> Draw,
    ) -> Hall {
        let room = room.0 as u32;
        let made_before = book.open(clock.now()).hall_made((core, room));
        Hall { book, clock, talk, core, room, members: Vec::new(), draw: draw(made_before), body: Vec::new() }
    }

    fn of_core(&self) -> (usize, u32) {
        (self.core, self.room)
    }

    /// Says something to all members, or to some.
    fn say(&mut self, cx: &mut RoomContext<'_>, some: Option<SessionId>) {
        let stamp = self.book.open(cx.now()).hall_stamp(self.of_core());
        let speech = self.talk.manners.speech(&mut self.draw, stamp, self.room, some);
        let checksum = Message::write(&mut self.body, Kind::Said, stamp, self.room, FILLER_BYTES, &mut self.draw);
        let outcome = cx.broadcast_with(&speech.broadcast(), self.talk.id(Kind::Said), &self.body);
        self.book.open(cx.now()).hall_said(self.of_core(), stamp, (checksum, speech), outcome);
    }

    /// One packet for some members.
    fn tell(&mut self, cx: &mut RoomContext<'_>) {
        let first = self.draw.count(0, self.members.len().saturating_sub(1));
        let to: Vec<SessionId> = self.members.iter().skip(first).take(TOLD_MAX).copied().collect();
        if to.is_empty() {
            return;
        }
        let stamp = self.book.open(cx.now()).hall_stamp(self.of_core());
        let checksum = Message::write(&mut self.body, Kind::Forwarded, stamp, self.room, FILLER_BYTES, &mut self.draw);
        let (delivery, id) = (self.talk.manners.answer(&mut self.draw).delivery(), self.talk.id(Kind::Forwarded));
        let outcome = match to[..] {
            [member] if self.draw.percent(50) => match cx.send_to_with(member, delivery, id, &self.body) {
                SendOutcome::Posted => FanOutOutcome::Posted,
                SendOutcome::Overloaded => FanOutOutcome::Overloaded,
                SendOutcome::Gone => FanOutOutcome::Gone,
                outcome => return self.book.open(cx.now()).wrong_outcome("send_to of a room", outcome),
            },
            _ => cx.send_to_many(&to, delivery, id, &self.body),
        };
        self.book.open(cx.now()).hall_told(&to, stamp, checksum, outcome);
    }

    fn any_member(&mut self) -> Option<SessionId> {
        let index = self.draw.count(0, self.members.len().saturating_sub(1));
        self.members.get(index).copied()
    }

    /// Has a closure run in a member.
    fn post(&mut self, cx: &mut RoomContext<'_>) {
        let Some(member) = self.any_member() else { return };
        let Some(to) = self.book.open(cx.now()).route_of(member) else { return };
        let stamp = self.book.open(cx.now()).hall_stamp(self.of_core());
        let closure = move |host: &mut Host, cx: &mut pogu::Context<'_>| host.visited(cx, to.host, stamp);
        let outcome = cx.post(SessionRef::<Host>::new(member), closure);
        self.book.open(cx.now()).visit_posted(to, outcome);
    }

    /// Puts a member out, as long as the storm lasts.
    fn kick(&mut self, cx: &mut RoomContext<'_>) {
        let Some(member) = self.any_member().filter(|_| self.book.open(cx.now()).phase() == Phase::Storm) else {
            return;
        };
        let Some(to) = self.book.open(cx.now()).route_of(member) else { return };
        self.book.open(cx.now()).will_kick(to, None);
        let outcome = cx.kick(member, "out of the room");
        self.book.open(cx.now()).kicked(to, outcome);
    }

    /// What any handler may do, now and then; last, that it panics.
    fn act(&mut self, cx: &mut RoomContext<'_>) {
        let mut known = self.members.clone();
        known.sort_unstable();
        if !cx.list_members().eq(known) {
            self.book.open(cx.now()).hall_lists_others(self.of_core());
        }
        if self.draw.percent(15) {
            self.tell(cx);
        }
        if self.draw.percent(10) {
            self.post(cx);
        }
        if self.draw.between(1, ACTS_PER_KICK) == 1 {
            self.kick(cx);
        }
        if self.draw.between(1, 1_000) <= self.talk.manners.hall_panics_per_thousand {
            self.book.open(cx.now()).hall_panics(self.of_core());
            // As a panic, without its words in the output.
            std::panic::resume_unwind(Box::new("drawn"));
        }
    }

    /// A closure of a session runs here.
    pub(crate) fn visited(&mut self, cx: &mut RoomContext<'_>, visit: Visit) {
        self.book.open(cx.now()).hall_visited(self.of_core(), visit);
        self.say(cx, None);
        self.act(cx);
    }

    /// A closure from outside of the core runs here.
    pub(crate) fn called(&mut self, cx: &mut RoomContext<'_>, call: u64) {
        self.book.open(cx.now()).hall_called(self.of_core(), call);
        self.say(cx, None);
        self.act(cx);
    }

    /// Sets the timer, which may be set already, or takes it back.
    fn wait(&mut self, cx: &mut RoomContext<'_>) {
        let delay = self.draw.perhaps(85, |draw| draw.milliseconds(0, 700));
        match delay {
            Some(delay) if delay.as_millis().is_multiple_of(2) => cx.set_timer(delay),
            Some(delay) => cx.set_timer_at(cx.now() + delay),
            None => cx.clear_timer(),
        }
        self.book.open(cx.now()).hall_waits(self.of_core(), delay.map(|delay| cx.now() + delay));
    }
}

impl RoomState for Hall {
    fn on_join(&mut self, cx: &mut RoomContext<'_>, member: SessionId) {
        self.book.open(cx.now()).hall_joined(self.of_core(), member, cx.members());
        self.members.push(member);
        if self.draw.percent(40) {
            self.say(cx, Some(member));
        }
        if self.draw.percent(40) {
            self.wait(cx);
        }
        self.act(cx);
    }

    fn on_leave(&mut self, cx: &mut RoomContext<'_>, member: SessionId) {
        self.book.open(cx.now()).hall_left(self.of_core(), member, cx.members());
        self.members.retain(|other| *other != member);
        if self.draw.percent(40) {
            self.say(cx, None);
        }
        self.act(cx);
    }

    fn on_restart(&mut self, cx: &mut RoomContext<'_>) {
        self.members = cx.list_members().collect();
        self.book.open(cx.now()).hall_goes_on(self.of_core());
        self.say(cx, None);
    }

    fn on_timer(&mut self, cx: &mut RoomContext<'_>) {
        self.book.open(cx.now()).hall_rang(self.of_core());
        self.say(cx, None);
        if self.draw.percent(50) {
            self.wait(cx);
        }
        self.act(cx);
    }
}

impl Drop for Hall {
    fn drop(&mut self) {
        self.book.open(self.clock.now()).hall_dropped(self.of_core());
    }
}
