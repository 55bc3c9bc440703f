//! One session of the swarm.

use std::sync::Arc;
use std::time::Duration;

use pogu::{Cause, Context, Packet, SendOutcome, Session, Time};

use super::check::{Order, Stream, Verdict};
use super::pace::Schedule;
use super::state::{Ended, LAST_ECHO_INTERVAL, Shared, Slot, Stage};
use super::tag::Tag;
use super::{Mode, Pace};
use crate::protocol::{ECHO, JOIN, SAY};

/// Messages that a session sends in one turn at most when it is behind its schedule.
pub(super) const BURST_MAX: usize = 64;

/// How long a session waits when its send queue is full.
pub(super) const FULL_WAIT: Duration = Duration::from_millis(2);

/// How long after the end a session that is behind its schedule still catches up.
pub(super) const OVERTIME: Duration = Duration::from_secs(1);

pub(super) struct Member {
    shared: Arc<Shared>,
    number: usize,
    worker: usize,
    sent: u64,
    sending: Sending,
    streams: Vec<Stream>,
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

impl Member {
    pub(super) fn new(shared: Arc<Shared>, number: usize, worker: usize) -> Member {
        Member {
            shared,
            number,
            worker,
            sent: 0,
            sending: Sending::NotYet,
            streams: Vec::new(),
            order: Order::default(),
            unsent: 0,
        }
    }

    fn slot(&self) -> &Slot {
        &self.shared.slots[self.number]
    }
}

impl Session for Member {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        match self.shared.options.mode {
            Mode::Echo | Mode::Hello | Mode::Idle | Mode::Churn => self.slot().set_stage(Stage::Ready),
            Mode::Room => {
                self.slot().set_stage(Stage::Connected);
                cx.send(JOIN, &self.shared.room(self.number).to_le_bytes());
            }
        }
        cx.set_timer(self.shared.look_again());
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match (self.shared.options.mode, packet.id()) {
            (Mode::Room, JOIN) => self.acknowledged(packet),
            (Mode::Room, SAY) | (Mode::Echo | Mode::Hello | Mode::Idle, ECHO) => self.answer(cx, packet),
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
        let cut_off = (!self.shared.is_closing()).then(|| cause.kind());
        let ended = Ended {
            number: self.number,
            cut_off,
            streams: std::mem::take(&mut self.streams),
            order: self.order,
            unsent: self.unsent,
        };
        self.shared.shard(self.worker).ended.push(ended);
        self.slot().set_stage(Stage::Ended);
    }
}

/// Sending.
impl Member {
    fn begin(&mut self, cx: &mut Context<'_>) {
        let Some(start) = self.shared.start(cx.now()) else { return cx.set_timer(self.shared.look_again()) };
        let options = &self.shared.options;
        match (options.mode, options.pace) {
            (Mode::Idle, _) => {
                let later = LAST_ECHO_INTERVAL * u32::try_from(self.number).unwrap_or(u32::MAX);
                self.schedule(cx, Schedule::once(start + options.duration + later));
            }
            (_, Pace::Rate(rate)) => {
                let sessions = self.shared.opened();
                self.schedule(cx, Schedule::new(start, options.duration, rate, self.number, sessions));
            }
            (_, Pace::Depth(_)) => {
                self.sending = Sending::Answered { start, end: start + options.duration };
                cx.set_timer_at(start);
            }
        }
    }

    fn schedule(&mut self, cx: &mut Context<'_>, schedule: Schedule) {
        self.sending = Sending::Scheduled(schedule);
        self.send_due(cx, schedule);
    }

    /// Sends what the schedule says, and sets the timer for what comes next.
    fn send_due(&mut self, cx: &mut Context<'_>, schedule: Schedule) {
        let now = cx.now();
        for _ in 0..BURST_MAX {
            let Some(due) = schedule.due(self.sent).filter(|_| !self.shared.has_stopped()) else {
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
        if cx.now() >= end || self.shared.has_stopped() {
            return self.finish();
        }
        if let Pace::Depth(depth) = self.shared.options.pace
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
        let id = if self.shared.options.mode == Mode::Room { SAY } else { ECHO };
        let tag = Tag { sender: self.shared.sender(self.number), number: self.sent, time: time.as_nanos() };
        // Before it leaves: whoever receives it may already look whether it was sent.
        self.slot().set_sent(self.sent + 1);
        let outcome = {
            let mut shard = self.shared.shard(self.worker);
            self.shared.layout.write(tag, &mut shard.body);
            cx.send(id, &shard.body)
        };
        match outcome {
            SendOutcome::Queued => self.sent += 1,
            _ => self.slot().set_sent(self.sent),
        }
        outcome == SendOutcome::Queued
    }

    fn finish(&mut self) {
        self.sending = Sending::Over;
        self.slot().set_stage(Stage::Done);
    }
}

/// Receiving.
impl Member {
    fn acknowledged(&mut self, packet: Packet<'_>) {
        let wanted = self.shared.room(self.number).to_le_bytes();
        match packet.body() == wanted && self.slot().stage() == Stage::Connected {
            true => self.slot().set_stage(Stage::Ready),
            false => self.count_foreign(false),
        }
    }

    fn answer(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let now = cx.read_clock();
        let Some(tag) = self.shared.layout.read(packet.body()) else { return self.count_foreign(true) };
        let Some(sender) = self.sender_of(tag, now) else { return self.count_foreign(false) };
        let senders = self.shared.senders(self.number);
        if self.streams.is_empty() {
            self.streams.resize_with(senders.len(), Stream::default);
        }
        let verdict = self.streams[sender - senders.start].see(tag.number);
        self.count(verdict, now, Time::from_nanos(tag.time));
        if verdict == Verdict::Duplicate {
            return;
        }
        self.order.see(tag.sender, tag.number);
        self.slot().count_received();
        if let Sending::Answered { end, .. } = self.sending
            && sender == self.number
        {
            match now < end && !self.shared.has_stopped() {
                true => drop(self.send(cx, now)),
                false => self.finish(),
            }
        }
    }

    /// The sending session of a message that was really sent to this session.
    fn sender_of(&self, tag: Tag, now: Time) -> Option<usize> {
        let sender = self.shared.number_of(tag.sender)?;
        let expected = self.shared.senders(self.number).contains(&sender);
        let was_sent = expected && tag.number < self.shared.slots[sender].sent() && tag.time <= now.as_nanos();
        was_sent.then_some(sender)
    }

    fn count(&self, verdict: Verdict, now: Time, sent_at: Time) {
        let mut shard = self.shared.shard(self.worker);
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
        let mut shard = self.shared.shard(self.worker);
        shard.foreign += 1;
        shard.altered += u64::from(altered);
    }
}
