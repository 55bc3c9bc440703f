//! One session of the swarm.

use std::sync::{Arc, MutexGuard};

use pogu::{Cause, Context, Packet, SendOutcome, Session, Time};

use super::Mode;
use super::check::{Order, Stream, Verdict};
use super::pacer::{Pacer, Voice};
use super::state::{Ended, Shard, Shared, Slot, Stage};
use super::tag::Tag;
use crate::protocol::{ECHO, JOIN, SAY};

pub(super) struct Member {
    seat: Seat,
    pacer: Pacer,
    streams: Vec<Stream>,
    order: Order,
}

/// Its place in the run.
struct Seat {
    shared: Arc<Shared>,
    number: usize,
    worker: usize,
}

impl Member {
    pub(super) fn new(shared: Arc<Shared>, number: usize, worker: usize) -> Member {
        let seat = Seat { shared, number, worker };
        Member { seat, pacer: Pacer::new(), streams: Vec::new(), order: Order::default() }
    }
}

impl Session for Member {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        let Seat { shared, number, .. } = &self.seat;
        match shared.options.mode {
            Mode::Echo | Mode::Hello | Mode::Idle | Mode::Churn | Mode::Plaza => {
                self.seat.slot().set_stage(Stage::Ready);
            }
            Mode::Room => {
                self.seat.slot().set_stage(Stage::Connected);
                cx.send(JOIN, &shared.room(*number).to_le_bytes());
            }
        }
        cx.set_timer(shared.look_again());
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match (self.seat.shared.options.mode, packet.id()) {
            (Mode::Room, JOIN) => self.acknowledged(packet),
            (Mode::Room, SAY) | (Mode::Echo | Mode::Hello | Mode::Idle, ECHO) => self.answer(cx, packet),
            _ => self.seat.shard().count_foreign(false),
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        self.pacer.go_on(cx, &mut self.seat);
    }

    fn on_disconnected(&mut self, _cx: &mut Context<'_>, cause: &Cause) {
        let cut_off = (!self.seat.shared.is_closing()).then(|| cause.kind());
        let ended = Ended {
            number: self.seat.number,
            cut_off,
            streams: std::mem::take(&mut self.streams),
            order: self.order,
            unsent: self.pacer.unsent(),
        };
        self.seat.shard().ended.push(ended);
        self.seat.slot().set_stage(Stage::Ended);
    }
}

impl Seat {
    fn slot(&self) -> &Slot {
        &self.shared.slots[self.number]
    }

    fn shard(&self) -> MutexGuard<'_, Shard> {
        self.shared.shard(self.worker)
    }
}

impl Voice for Seat {
    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn number(&self) -> usize {
        self.number
    }

    fn owes_from(&self, start: Time, _now: Time) -> Time {
        start
    }

    fn say(&mut self, cx: &mut Context<'_>, message: u64, due: Time) -> bool {
        let id = if self.shared.options.mode == Mode::Room { SAY } else { ECHO };
        let tag = Tag { sender: self.shared.sender(self.number), number: message, time: due.as_nanos() };
        // Before it leaves: whoever receives it may already look whether it was sent.
        self.slot().set_sent(message + 1);
        let outcome = {
            let mut shard = self.shard();
            self.shared.layout.write(tag, &mut shard.body);
            cx.send(id, &shard.body)
        };
        if outcome != SendOutcome::Queued {
            self.slot().set_sent(message);
        }
        outcome == SendOutcome::Queued
    }
}

/// Receiving.
impl Member {
    fn acknowledged(&mut self, packet: Packet<'_>) {
        let wanted = self.seat.shared.room(self.seat.number).to_le_bytes();
        match packet.body() == wanted && self.seat.slot().stage() == Stage::Connected {
            true => self.seat.slot().set_stage(Stage::Ready),
            false => self.seat.shard().count_foreign(false),
        }
    }

    fn answer(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let now = cx.read_clock();
        let Some(tag) = self.seat.shared.layout.read(packet.body()) else {
            return self.seat.shard().count_foreign(true);
        };
        let Some(sender) = self.sender_of(tag, now) else { return self.seat.shard().count_foreign(false) };
        let senders = self.seat.shared.senders(self.seat.number);
        if self.streams.is_empty() {
            self.streams.resize_with(senders.len(), Stream::default);
        }
        let verdict = self.streams[sender - senders.start].see(tag.number);
        self.seat.shard().count(verdict, now, Time::from_nanos(tag.time));
        if verdict == Verdict::Duplicate {
            return;
        }
        self.order.see(tag.sender, tag.number);
        self.seat.slot().count_received();
        if sender == self.seat.number {
            self.pacer.answered(cx, &mut self.seat, now);
        }
    }

    /// The sending session of a message that was really sent to this session.
    fn sender_of(&self, tag: Tag, now: Time) -> Option<usize> {
        let sender = self.seat.shared.number_of(tag.sender)?;
        let expected = self.seat.shared.senders(self.seat.number).contains(&sender);
        let was_sent = expected && tag.number < self.seat.shared.slots[sender].sent() && tag.time <= now.as_nanos();
        was_sent.then_some(sender)
    }
}
