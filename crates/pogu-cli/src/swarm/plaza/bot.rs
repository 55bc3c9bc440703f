//! One bot: a session that does what its stroll says, and writes everything down.

use std::collections::VecDeque;
use std::sync::Arc;

use pogu::{Cause, Context, Packet, SendOutcome, Session, Time};

use super::super::check::Verdict;
use super::super::pacer::{Pacer, Voice};
use super::super::state::{Ended, Shared, Slot, Stage};
use super::judge::Note;
use super::stroll::Stroll;
use super::{Square, hash};
use crate::plaza::{Event, Request, UNANSWERED_MAX, What};

pub(super) struct Bot {
    seat: Seat,
    pacer: Pacer,
    entity: Option<u32>,
}

/// Its place in the run, and what it does there.
struct Seat {
    square: Arc<Square>,
    number: usize,
    worker: usize,
    stroll: Stroll,
    /// How many bots had left before it came; 0: it was there from the beginning.
    visit: u64,
    stay: Stay,
    /// When the actions were due that have no answer yet.
    asked: VecDeque<Time>,
    body: Vec<u8>,
}

/// Whether it is going to end its connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stay {
    Staying,
    /// As soon as all that it has asked for is answered.
    Leaving,
    Left,
}

impl Bot {
    pub(super) fn new(square: Arc<Square>, number: usize, worker: usize) -> Bot {
        let stroll = Stroll::new(square.ground, square.shared.sender(0), number);
        let (asked, body) = (VecDeque::new(), Vec::new());
        let seat = Seat { square, number, worker, stroll, visit: 0, stay: Stay::Staying, asked, body };
        Bot { seat, pacer: Pacer::new(), entity: None }
    }

    /// The same, come back when so many bots had left.
    pub(super) fn on_visit(mut self, visit: u64) -> Bot {
        let Seat { square, number, .. } = &self.seat;
        self.seat.stroll = Stroll::new(square.ground, square.shared.sender(0).wrapping_add(visit), *number);
        self.seat.visit = visit;
        self
    }
}

impl Session for Bot {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        self.seat.slot().set_stage(Stage::Ready);
        cx.set_timer(self.seat.shared().look_again());
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        if self.seat.square.is_over() {
            return;
        }
        let Some(event) = Event::read(packet.id(), packet.body()) else {
            return self.seat.shared().shard(self.seat.worker).count_foreign(true);
        };
        let event = event.map(hash);
        self.seat.write(Note::Heard(event));
        self.seat.slot().count_received();
        let is_answer = match event.what {
            What::Entered(_) => {
                self.entity = Some(event.entity);
                true
            }
            What::Walked(_) | What::Said(_) | What::Exited => self.entity == Some(event.entity),
            What::Appeared(_) | What::Vanished => false,
        };
        if is_answer {
            self.answered(cx);
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.pacer.go_on(cx, &mut self.seat);
    }

    fn on_disconnected(&mut self, _cx: &mut Context<'_>, cause: &Cause) {
        if self.seat.stay == Stay::Left && !self.seat.shared().is_closing() {
            self.seat.slot().set_stage(Stage::Away);
            return self.seat.square.door.went(self.seat.number);
        }
        let cut_off = (!self.seat.shared().is_closing()).then(|| cause.kind());
        if cut_off.is_some() {
            self.seat.write(Note::CutOff);
        }
        let ended = Ended {
            number: self.seat.number,
            cut_off,
            streams: Vec::new(),
            order: Default::default(),
            unsent: self.pacer.unsent(),
        };
        self.seat.shared().shard(self.seat.worker).ended.push(ended);
        self.seat.slot().set_stage(Stage::Ended);
    }
}

impl Bot {
    fn answered(&mut self, cx: &mut Context<'_>) {
        let Some(due) = self.seat.asked.pop_front() else { return };
        let now = cx.read_clock();
        self.seat.shared().shard(self.seat.worker).count(Verdict::InOrder, now, due);
        self.pacer.answered(cx, &mut self.seat, now);
        self.seat.leave_if_answered(cx);
    }
}

impl Seat {
    fn slot(&self) -> &Slot {
        &self.square.shared.slots[self.number]
    }

    /// Ends the connection of one that is leaving and has all of its answers.
    fn leave_if_answered(&mut self, cx: &mut Context<'_>) {
        if self.stay == Stay::Leaving && self.asked.is_empty() {
            self.stay = Stay::Left;
            // Written down before it is done: whoever sees it go may be quicker.
            self.write(Note::Left);
            cx.disconnect("it leaves, and comes back over another connection");
        }
    }

    fn write(&self, note: Note) {
        self.square.notes(self.worker).push((self.number as u32, note));
    }
}

impl Voice for Seat {
    fn shared(&self) -> &Shared {
        &self.square.shared
    }

    fn number(&self) -> usize {
        self.number
    }

    /// Who comes back owes nothing of the time when it was away.
    fn owes_from(&self, start: Time, now: Time) -> Time {
        if self.visit == 0 { start } else { start.max(now) }
    }

    fn say(&mut self, cx: &mut Context<'_>, _message: u64, due: Time) -> bool {
        if self.stay == Stay::Staying && self.stroll.is_on_map() && self.square.door.is_for(self.number) {
            self.stay = Stay::Leaving;
        }
        if self.stay != Stay::Staying {
            self.leave_if_answered(cx);
            return false;
        }
        // Written down before it leaves: whoever hears of it may be quicker.
        let mut notes = self.square.notes(self.worker);
        if self.asked.len() >= UNANSWERED_MAX || self.square.is_held_up(&notes) {
            return false;
        }
        let before = self.stroll.clone();
        let request = self.stroll.next();
        let text = match request {
            Request::Chat(number) => format!("bot {} says {number:x}", self.number),
            _ => String::new(),
        };
        let request = request.map(|_| text.as_str());
        let id = request.write(&mut self.body);
        if cx.send(id, &self.body) != SendOutcome::Queued {
            self.stroll = before;
            return false;
        }
        notes.push((self.number as u32, Note::Asked(request.map(hash))));
        self.asked.push_back(due);
        self.slot().set_sent(self.slot().sent() + 1);
        true
    }
}
