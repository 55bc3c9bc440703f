//! One visit: a session of the swarm that may be cut at any time, and says first who it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pogu::{Cause, Context, Packet, SendOutcome, Session, Time};

use super::super::check::{Order, Stream, Verdict};
use super::super::member::{BURST_MAX, FULL_WAIT, OVERTIME};
use super::super::pace::Schedule;
use super::super::state::{Shared, Slot, Stage};
use super::super::tag::Tag;
use super::super::{Mode, Pace};
use super::crew::{Crew, Record};
use super::{INTRODUCTION, Visit, joined, parted};
use crate::protocol::{ECHO, JOIN, SAY};

/// What came of each visit whose messages this one receives.
pub(super) type Streams = BTreeMap<Visit, Stream>;

pub(super) struct Visitor {
    crew: Arc<Crew>,
    visit: Visit,
    worker: usize,
    sent: u64,
    introduced: bool,
    sending: Sending,
    met: Option<Vec<(u32, u64)>>,
    streams: Streams,
    order: Order,
    unsent: u64,
}

enum Sending {
    /// The run has not begun.
    NotYet,
    Scheduled(Schedule),
    /// A message leaves whenever one of its own has come back, until this time.
    Answered {
        start: Time,
        end: Time,
    },
    Over,
}

impl Visitor {
    pub(super) fn new(crew: Arc<Crew>, visit: Visit, worker: usize) -> Visitor {
        Visitor {
            crew,
            visit,
            worker,
            sent: 0,
            introduced: false,
            sending: Sending::NotYet,
            met: None,
            streams: Streams::new(),
            order: Order::default(),
            unsent: 0,
        }
    }

    fn shared(&self) -> &Shared {
        &self.crew.shared
    }

    fn slot(&self) -> &Slot {
        &self.shared().slots[self.visit.session]
    }
}

impl Session for Visitor {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        self.write(cx, ECHO, INTRODUCTION, cx.read_clock());
        match self.shared().options.mode {
            Mode::Room => {
                self.slot().set_stage(Stage::Connected);
                cx.send(JOIN, &self.shared().room(self.visit.session).to_le_bytes());
            }
            _ => {
                self.slot().set_stage(Stage::Ready);
                cx.set_timer(self.shared().look_again());
            }
        }
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match (self.shared().options.mode, packet.id()) {
            (Mode::Room, JOIN) => self.acknowledged(cx, packet),
            (_, ECHO | SAY) => self.answer(cx, packet),
            _ => self.count_foreign(false),
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        match self.sending {
            Sending::NotYet => self.begin(cx),
            Sending::Scheduled(schedule) => self.send_due(cx, schedule),
            Sending::Answered { start, end } => self.keep_in_flight(cx, start, end),
            Sending::Over => {}
        }
    }

    fn on_disconnected(&mut self, _cx: &mut Context<'_>, cause: &Cause) {
        let is_closing = self.shared().is_closing();
        self.slot().set_stage(if is_closing { Stage::Ended } else { Stage::Away });
        self.crew.leave(Record {
            visit: self.visit,
            ended_early: (!is_closing).then(|| cause.kind()),
            sent: self.sent,
            introduced: self.introduced,
            met: self.met.take(),
            streams: std::mem::take(&mut self.streams),
            order: self.order,
            unsent: self.unsent,
        });
    }
}

/// Sending.
impl Visitor {
    fn begin(&mut self, cx: &mut Context<'_>) {
        let Some(start) = self.shared().start(cx.now()) else { return cx.set_timer(self.shared().look_again()) };
        let options = &self.shared().options;
        let end = start + options.duration;
        // Who comes late owes nothing of the time when it was away.
        let start = start.max(cx.now());
        match options.pace {
            Pace::Rate(rate) => {
                let (session, sessions) = (self.visit.session, self.shared().opened());
                let schedule = Schedule::new(start, end.since(start), rate, session, sessions);
                self.sending = Sending::Scheduled(schedule);
                self.send_due(cx, schedule);
            }
            Pace::Depth(_) => {
                self.sending = Sending::Answered { start, end };
                cx.set_timer_at(start);
            }
        }
    }

    /// Sends what the schedule says, and sets the timer for what comes next.
    fn send_due(&mut self, cx: &mut Context<'_>, schedule: Schedule) {
        let now = cx.now();
        for _ in 0..BURST_MAX {
            let Some(due) = schedule.due(self.sent).filter(|_| !self.shared().has_stopped()) else {
                return self.finish();
            };
            if now >= schedule.end() + OVERTIME {
                self.unsent = schedule.remaining(self.sent);
                return self.finish();
            }
            if due > now {
                return cx.set_timer_at(due);
            }
            if !self.send(cx, due) {
                return cx.set_timer(FULL_WAIT);
            }
        }
        // More is due: in the next turn, so that the answers of this one are read first.
        cx.set_timer(Duration::from_micros(1));
    }

    /// At the start: fills the depth. At the end: stops.
    fn keep_in_flight(&mut self, cx: &mut Context<'_>, start: Time, end: Time) {
        if cx.now() >= end || self.shared().has_stopped() {
            return self.finish();
        }
        if let Pace::Depth(depth) = self.shared().options.pace
            && self.sent == 0
            && cx.now() >= start
        {
            for _ in 0..depth {
                self.send(cx, cx.read_clock());
            }
        }
        cx.set_timer_at(end);
    }

    /// Sends the next message; false if it has to wait.
    fn send(&mut self, cx: &mut Context<'_>, time: Time) -> bool {
        let id = if self.shared().options.mode == Mode::Room { SAY } else { ECHO };
        self.crew.set_next(self.visit, self.sent + 1);
        let is_queued = self.write(cx, id, self.sent, time);
        match is_queued {
            true => {
                self.sent += 1;
                self.slot().set_sent(self.slot().sent() + 1);
            }
            false => self.crew.set_next(self.visit, self.sent),
        }
        is_queued
    }

    fn write(&self, cx: &mut Context<'_>, id: u16, message: u64, time: Time) -> bool {
        let sender = self.shared().sender(self.visit.session);
        let tag = Tag { sender, number: joined(self.visit.count, message), time: time.as_nanos() };
        let mut shard = self.shared().shard(self.worker);
        self.shared().layout.write(tag, &mut shard.body);
        cx.send(id, &shard.body) == SendOutcome::Queued
    }

    fn finish(&mut self) {
        self.sending = Sending::Over;
        self.slot().set_stage(Stage::Done);
    }
}

/// Receiving.
impl Visitor {
    fn acknowledged(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let wanted = self.shared().room(self.visit.session).to_le_bytes();
        if packet.body() != wanted || self.met.is_some() {
            return self.count_foreign(false);
        }
        // What they send from now on is behind the JOIN.
        let senders = self.shared().senders(self.visit.session);
        self.met = Some(senders.map(|session| self.crew.next(session)).collect());
        self.slot().set_stage(Stage::Ready);
        cx.set_timer(self.shared().look_again());
    }

    fn answer(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let now = cx.read_clock();
        let Some(tag) = self.shared().layout.read(packet.body()) else { return self.count_foreign(true) };
        let Some(sender) = self.sender_of(tag, now) else { return self.count_foreign(false) };
        let (_, message) = parted(tag.number);
        let is_room = self.shared().options.mode == Mode::Room;
        match (message == INTRODUCTION, packet.id()) {
            (true, ECHO) if sender == self.visit => self.own_introduction(),
            (false, SAY) if is_room => self.message(cx, sender, tag, now),
            (false, ECHO) if !is_room => self.message(cx, sender, tag, now),
            _ => self.count_foreign(false),
        }
    }

    fn own_introduction(&mut self) {
        if std::mem::replace(&mut self.introduced, true) {
            self.shared().shard(self.worker).duplicated += 1;
        }
    }

    fn message(&mut self, cx: &mut Context<'_>, sender: Visit, tag: Tag, now: Time) {
        let (_, message) = parted(tag.number);
        let verdict = self.streams.entry(sender).or_default().see(message);
        self.count(verdict, now, Time::from_nanos(tag.time));
        if verdict == Verdict::Duplicate {
            return;
        }
        self.order.see(tag.sender, tag.number);
        self.slot().count_received();
        if let Sending::Answered { end, .. } = self.sending
            && sender == self.visit
        {
            match now < end && !self.shared().has_stopped() {
                true => drop(self.send(cx, now)),
                false => self.finish(),
            }
        }
    }

    /// The visit that sent a message, if it can have sent it to this one.
    fn sender_of(&self, tag: Tag, now: Time) -> Option<Visit> {
        let session = self.shared().number_of(tag.sender)?;
        let (count, message) = parted(tag.number);
        let (current, next) = self.crew.next(session);
        let expected = self.shared().senders(self.visit.session).contains(&session);
        // How many an earlier visit has sent is looked at in the end.
        let was_sent = count < current || count == current && (message < next || message == INTRODUCTION);
        let is_own = self.shared().options.mode == Mode::Room || count == self.visit.count;
        (expected && was_sent && is_own && tag.time <= now.as_nanos()).then_some(Visit { session, count })
    }

    fn count(&self, verdict: Verdict, now: Time, sent_at: Time) {
        let mut shard = self.shared().shard(self.worker);
        match verdict {
            Verdict::InOrder => {}
            Verdict::Late => shard.late += 1,
            Verdict::Duplicate => shard.duplicated += 1,
        }
        if verdict != Verdict::Duplicate {
            shard.last_received = shard.last_received.max(now);
            shard.latency.record(now.since(sent_at));
        }
    }

    fn count_foreign(&self, altered: bool) {
        let mut shard = self.shared().shard(self.worker);
        shard.foreign += 1;
        shard.altered += u64::from(altered);
    }
}
