//! One visit: a session of the swarm that may be cut at any time, and says first who it is.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

use pogu::{Cause, Context, Packet, SendOutcome, Session, Time};

use super::super::Mode;
use super::super::check::{Order, Stream, Verdict};
use super::super::pacer::{Pacer, Voice};
use super::super::state::{Shard, Shared, Slot, Stage};
use super::super::tag::Tag;
use super::crew::{Crew, Record};
use super::{INTRODUCTION, Visit, joined, parted};
use crate::protocol::{ECHO, JOIN, SAY};

/// What came of each visit whose messages this one receives.
pub(super) type Streams = BTreeMap<Visit, Stream>;

pub(super) struct Visitor {
    seat: Seat,
    pacer: Pacer,
    introduced: bool,
    met: Option<Vec<(u32, u64)>>,
    streams: Streams,
    order: Order,
}

/// Its place in the run.
struct Seat {
    crew: Arc<Crew>,
    visit: Visit,
    worker: usize,
}

impl Visitor {
    pub(super) fn new(crew: Arc<Crew>, visit: Visit, worker: usize) -> Visitor {
        Visitor {
            seat: Seat { crew, visit, worker },
            pacer: Pacer::new(),
            introduced: false,
            met: None,
            streams: Streams::new(),
            order: Order::default(),
        }
    }
}

impl Session for Visitor {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        let Seat { crew, visit, .. } = &self.seat;
        self.seat.write(cx, ECHO, INTRODUCTION, cx.read_clock());
        if crew.shared.options.mode == Mode::Room {
            cx.send(JOIN, &crew.shared.room(visit.session).to_le_bytes());
        }
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match (self.seat.shared().options.mode, packet.id()) {
            (Mode::Room, JOIN) => self.acknowledged(cx, packet),
            (_, ECHO | SAY) => self.answer(cx, packet),
            _ => self.seat.shard().count_foreign(false),
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.pacer.go_on(cx, &mut self.seat);
    }

    fn on_disconnected(&mut self, _cx: &mut Context<'_>, cause: &Cause) {
        let Seat { crew, visit, .. } = &self.seat;
        let is_closing = crew.shared.is_closing();
        self.seat.slot().set_stage(if is_closing { Stage::Ended } else { Stage::Away });
        crew.leave(Record {
            visit: *visit,
            ended_early: (!is_closing).then(|| cause.kind()),
            sent: self.pacer.sent(),
            introduced: self.introduced,
            met: self.met.take(),
            streams: std::mem::take(&mut self.streams),
            order: self.order,
            unsent: self.pacer.unsent(),
        });
    }
}

impl Seat {
    fn slot(&self) -> &Slot {
        &self.crew.shared.slots[self.visit.session]
    }

    fn shard(&self) -> MutexGuard<'_, Shard> {
        self.crew.shared.shard(self.worker)
    }

    fn write(&self, cx: &mut Context<'_>, id: u16, message: u64, time: Time) -> bool {
        let shared = &self.crew.shared;
        let sender = shared.sender(self.visit.session);
        let tag = Tag { sender, number: joined(self.visit.count, message), time: time.as_nanos() };
        let mut shard = self.shard();
        shared.layout.write(tag, &mut shard.body);
        cx.send(id, &shard.body) == SendOutcome::Queued
    }
}

impl Voice for Seat {
    fn shared(&self) -> &Shared {
        &self.crew.shared
    }

    fn number(&self) -> usize {
        self.visit.session
    }

    /// Who comes back owes nothing of the time when it was away.
    fn owes_from(&self, start: Time, now: Time) -> Time {
        if self.visit.count == 0 { start } else { start.max(now) }
    }

    fn say(&mut self, cx: &mut Context<'_>, message: u64, due: Time) -> bool {
        let id = if self.shared().options.mode == Mode::Room { SAY } else { ECHO };
        // Before it leaves: whoever receives it may already look whether it was sent.
        self.crew.set_next(self.visit, message + 1);
        let is_queued = self.write(cx, id, message, due);
        match is_queued {
            true => self.slot().set_sent(self.slot().sent() + 1),
            false => self.crew.set_next(self.visit, message),
        }
        is_queued
    }
}

/// Receiving.
impl Visitor {
    fn acknowledged(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let wanted = self.seat.shared().room(self.seat.visit.session).to_le_bytes();
        if packet.body() != wanted || self.met.is_some() {
            return self.seat.shard().count_foreign(false);
        }
        // What they send from now on is behind the JOIN.
        let senders = self.seat.shared().senders(self.seat.visit.session);
        self.met = Some(senders.map(|session| self.seat.crew.next(session)).collect());
        self.may_begin(cx);
    }

    fn may_begin(&self, cx: &mut Context<'_>) {
        self.seat.slot().set_stage(Stage::Ready);
        cx.set_timer(self.seat.shared().look_again());
    }

    fn answer(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let now = cx.read_clock();
        let Some(tag) = self.seat.shared().layout.read(packet.body()) else {
            return self.seat.shard().count_foreign(true);
        };
        let Some(sender) = self.sender_of(tag, now) else { return self.seat.shard().count_foreign(false) };
        let (_, message) = parted(tag.number);
        let is_room = self.seat.shared().options.mode == Mode::Room;
        match (message == INTRODUCTION, packet.id()) {
            (true, ECHO) if sender == self.seat.visit => self.own_introduction(cx),
            (false, SAY) if is_room => self.message(cx, sender, tag, now),
            (false, ECHO) if !is_room => self.message(cx, sender, tag, now),
            _ => self.seat.shard().count_foreign(false),
        }
    }

    /// The target has answered: until then only the proxy is known to be there.
    fn own_introduction(&mut self, cx: &mut Context<'_>) {
        if std::mem::replace(&mut self.introduced, true) {
            self.seat.shard().duplicated += 1;
            return;
        }
        match self.seat.shared().options.mode {
            // Its JOIN is answered behind that.
            Mode::Room => self.seat.slot().set_stage(Stage::Connected),
            _ => self.may_begin(cx),
        }
    }

    fn message(&mut self, cx: &mut Context<'_>, sender: Visit, tag: Tag, now: Time) {
        let (_, message) = parted(tag.number);
        let verdict = self.streams.entry(sender).or_default().see(message);
        self.seat.shard().count(verdict, now, Time::from_nanos(tag.time));
        if verdict == Verdict::Duplicate {
            return;
        }
        self.order.see(tag.sender, tag.number);
        self.seat.slot().count_received();
        if sender == self.seat.visit {
            self.pacer.answered(cx, &mut self.seat, now);
        }
    }

    /// The visit that sent a message, if it can have sent it to this one.
    fn sender_of(&self, tag: Tag, now: Time) -> Option<Visit> {
        let session = self.seat.shared().number_of(tag.sender)?;
        let (count, message) = parted(tag.number);
        let (current, next) = self.seat.crew.next(session);
        let expected = self.seat.shared().senders(self.seat.visit.session).contains(&session);
        // How many an earlier visit has sent is looked at in the end.
        let was_sent = count < current || count == current && (message < next || message == INTRODUCTION);
        let is_own = self.seat.shared().options.mode == Mode::Room || count == self.seat.visit.count;
        (expected && was_sent && is_own && tag.time <= now.as_nanos()).then_some(Visit { session, count })
    }
}
