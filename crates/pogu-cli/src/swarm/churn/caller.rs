//! One connection of a churn, from its echo to its end, and what all of them share.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pogu::{Cause, CauseKind, Context, Packet, Session, Time};

use super::super::Options;
use super::super::outcome::Outcome;
use super::super::state::run_number;
use super::super::tag::{Layout, Tag};
use crate::protocol::{ECHO, HEADER_BYTES};

/// What all connections of a churn share.
pub(super) struct Churn {
    pub(super) options: Options,
    layout: Layout,
    run: u32,
    shards: Vec<Mutex<Shard>>,
    /// Slots whose connection has ended.
    free: Mutex<Vec<usize>>,
    /// Slots that were ever connected.
    seen: Vec<AtomicBool>,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

/// What one worker counts.
#[derive(Default)]
pub(super) struct Shard {
    pub(super) outcome: Outcome,
    /// Bytes of the frames that were looked at.
    pub(super) frame_bytes: u64,
    body: Vec<u8>,
}

/// What the connections of one wave share: they are asked for at one time.
pub(super) struct Asked {
    pub(super) at: Time,
    tickets: Mutex<Vec<Ticket>>,
    /// Connections that were made and have not ended.
    pub(super) live: AtomicUsize,
}

/// One connection that is to be made: whose, and which of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) slot: usize,
    pub(super) number: u64,
}

impl Churn {
    pub(super) fn new(options: &Options, now: Time) -> Churn {
        Churn {
            layout: options.layout(),
            run: options.part.map_or_else(|| run_number(now.since(Time::ZERO)), |part| part.run),
            shards: (0..options.workers).map(|_| Mutex::default()).collect(),
            free: Mutex::default(),
            seen: (0..options.sessions).map(|_| AtomicBool::new(false)).collect(),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            options: options.clone(),
        }
    }

    fn shard(&self, worker: usize) -> MutexGuard<'_, Shard> {
        self.shards[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        (0..self.shards.len()).map(|worker| self.shard(worker))
    }

    pub(super) fn connected(&self) -> u64 {
        self.seen.iter().filter(|seen| seen.load(Ordering::Relaxed)).count() as u64
    }

    /// The slots whose connection has ended since the last time.
    pub(super) fn take_free(&self) -> Vec<usize> {
        std::mem::take(&mut *self.free.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tag(&self, ticket: Ticket, time: Time) -> Tag {
        let slot = self.options.part.map_or(0, |part| part.first) + ticket.slot;
        Tag { sender: u64::from(self.run) << 32 | slot as u64, number: ticket.number, time: time.as_nanos() }
    }
}

impl Asked {
    pub(super) fn new(at: Time, tickets: Vec<Ticket>) -> Asked {
        Asked { at, tickets: Mutex::new(tickets), live: AtomicUsize::new(0) }
    }

    pub(super) fn tickets(&self) -> MutexGuard<'_, Vec<Ticket>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A ticket for a connection that was made. Under the lock, so that whoever holds it sees no connection twice.
    pub(super) fn take_ticket(&self) -> Option<Ticket> {
        let mut tickets = self.tickets();
        let ticket = tickets.pop()?;
        self.live.fetch_add(1, Ordering::AcqRel);
        Some(ticket)
    }
}

/// One connection: sends its echo, checks the answer, closes.
pub(super) struct Caller {
    churn: Arc<Churn>,
    asked: Arc<Asked>,
    ticket: Ticket,
    worker: usize,
    echo: Echo,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Echo {
    NotSent,
    Sent(Tag),
    Answered(Tag),
    /// It did not come in time.
    Lost,
}

impl Caller {
    pub(super) fn new(churn: Arc<Churn>, asked: Arc<Asked>, ticket: Ticket, worker: usize) -> Caller {
        Caller { churn, asked, ticket, worker, echo: Echo::NotSent }
    }
}

impl Session for Caller {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        let now = cx.read_clock();
        let tag = self.churn.tag(self.ticket, now);
        self.echo = Echo::Sent(tag);
        self.churn.seen[self.ticket.slot].store(true, Ordering::Relaxed);
        self.churn.sent.fetch_add(1, Ordering::Relaxed);
        let mut shard = self.churn.shard(self.worker);
        shard.outcome.connections += 1;
        shard.outcome.connect_latency.record(now.since(self.asked.at));
        shard.outcome.sent += 1;
        self.churn.layout.write(tag, &mut shard.body);
        cx.send(ECHO, &shard.body);
        cx.set_timer(self.churn.options.patience);
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let now = cx.read_clock();
        let mut shard = self.churn.shard(self.worker);
        shard.frame_bytes += (HEADER_BYTES + packet.body().len()) as u64;
        let came = self.churn.layout.read(packet.body()).filter(|_| packet.id() == ECHO);
        match (self.echo, came) {
            (Echo::Sent(sent), Some(tag)) if sent == tag => {
                self.echo = Echo::Answered(tag);
                shard.outcome.received += 1;
                shard.outcome.latency.record(now.since(Time::from_nanos(tag.time)));
                self.churn.received.fetch_add(1, Ordering::Relaxed);
                // In the next turn: what came together with the answer is still looked at.
                cx.set_timer_at(now);
            }
            (Echo::Answered(answered), Some(tag)) if answered == tag => shard.outcome.duplicated += 1,
            _ => {
                shard.outcome.foreign += 1;
                shard.outcome.altered += u64::from(came.is_none() && packet.id() == ECHO);
            }
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        match self.echo {
            Echo::Answered(_) => cx.disconnect("it has its answer"),
            _ => {
                self.echo = Echo::Lost;
                cx.disconnect("no answer came");
            }
        }
    }

    fn on_disconnected(&mut self, _cx: &mut Context<'_>, cause: &Cause) {
        let kind = cause.kind();
        let mut shard = self.churn.shard(self.worker);
        match (kind, self.echo) {
            (CauseKind::HandlerAsked | CauseKind::ServiceStopping, Echo::Answered(_)) => {}
            (CauseKind::HandlerAsked | CauseKind::ServiceStopping, _) => shard.outcome.lost += 1,
            (_, echo) => {
                shard.outcome.cut_off += 1;
                shard.outcome.add_error(kind.label(), 1);
                shard.outcome.unanswered += u64::from(!matches!(echo, Echo::Answered(_)));
            }
        }
        drop(shard);
        self.churn.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.ticket.slot);
        self.asked.live.fetch_sub(1, Ordering::AcqRel);
    }
}
