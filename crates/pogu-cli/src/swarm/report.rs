//! What came of a run.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use pogu::{CauseKind, Counters, DriverKind, Time};
use serde::{Serialize, Serializer};

use super::check::{Order, disordered};
use super::run::not_connected;
use super::state::{Ended, Shared, Stage, empty_histogram};
use super::{Mode, Pace};

/// The results of a run. Its JSON form has these names as keys.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// What the sessions did.
    pub mode: &'static str,
    /// The driver of the swarm's own workers.
    pub driver: String,
    /// Why it was that driver.
    pub driver_reason: String,
    /// Sessions asked for.
    pub sessions: u64,
    /// Sessions that were connected.
    pub connected: u64,
    /// Seconds from the first message that was due to the last that came, or to the end of sending if that was later.
    pub seconds: f64,
    /// Bytes of a frame.
    pub size: u64,
    /// Messages in flight per session, if that was the pace.
    pub depth: Option<u64>,
    /// Messages per second and session, if that was the pace.
    pub rate: Option<f64>,
    /// Members of a room, in room mode.
    pub room_size: Option<u64>,
    /// Messages sent.
    pub sent: u64,
    /// Messages received, each once: `received + lost + unanswered = expected`.
    pub received: u64,
    /// Messages that were to come: as many as were sent, in room mode once for every member of the sender's room.
    pub expected: u64,
    /// Messages that never came to a session that was there to the end.
    pub lost: u64,
    /// Messages that came once more.
    pub duplicated: u64,
    /// Messages that came after a later one of the same sender, and members that saw another order than their room.
    pub reordered: u64,
    /// Frames that nobody sent to this session, or that were altered on the way.
    pub foreign: u64,
    /// Sessions that ended before they were asked to.
    pub cut_off: u64,
    /// What those sessions still expected, and what of their own messages reached nobody.
    pub unanswered: u64,
    /// Messages that were due and not sent, because the server did not keep up.
    pub unsent: u64,
    /// Messages received per second.
    pub messages_per_second: f64,
    /// Half of the messages took no longer than this. Microseconds in JSON, rounded.
    #[serde(rename = "p50_us", serialize_with = "microseconds")]
    pub p50: Duration,
    /// 99 of 100 took no longer.
    #[serde(rename = "p99_us", serialize_with = "microseconds")]
    pub p99: Duration,
    /// 999 of 1,000 took no longer.
    #[serde(rename = "p999_us", serialize_with = "microseconds")]
    pub p999: Duration,
    /// The longest.
    #[serde(rename = "max_us", serialize_with = "microseconds")]
    pub max: Duration,
    /// Why sessions were cut off or not connected, and how many.
    pub errors: BTreeMap<String, u64>,
    /// True if it was ended early by an interrupt.
    pub interrupted: bool,
}

fn microseconds<S: Serializer>(latency: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from((latency.as_nanos() + 500) / 1000).unwrap_or(u64::MAX))
}

/// What is known of a run beside its sessions.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) interrupted: bool,
    pub(super) sending_time: Duration,
    pub(super) driver: DriverKind,
    pub(super) driver_reason: String,
}

impl Report {
    pub(super) fn new(shared: &Shared, counters: &Counters, run: &Run) -> Report {
        let options = &shared.options;
        let tally = Tally::of(shared);
        let balance = Balance::of(shared, &tally.ended);
        let connected = shared.known().len() as u64;
        let since_start = shared.started().map_or(Duration::ZERO, |start| tally.last_received.since(start));
        let seconds = run.sending_time.max(since_start).as_secs_f64();
        let quantile = |quantile| Duration::from_nanos(tally.latency.value_at_quantile(quantile));
        let (depth, rate) = match options.pace {
            Pace::Depth(depth) => (Some(depth as u64), None),
            Pace::Rate(rate) => (None, Some(rate)),
        };
        Report {
            mode: options.mode.name(),
            driver: run.driver.to_string(),
            driver_reason: run.driver_reason.clone(),
            sessions: options.sessions as u64,
            connected,
            seconds,
            size: options.frame_bytes() as u64,
            depth,
            rate,
            room_size: (options.mode == Mode::Room).then_some(options.room_size as u64),
            sent: balance.sent,
            received: balance.received,
            expected: balance.received + balance.lost + balance.unanswered,
            lost: balance.lost,
            duplicated: tally.duplicated,
            reordered: tally.late + balance.disordered,
            foreign: tally.foreign,
            cut_off: tally.cut_off(),
            unanswered: balance.unanswered,
            unsent: tally.ended.iter().map(|ended| ended.unsent).sum(),
            messages_per_second: if seconds > 0.0 { balance.received as f64 / seconds } else { 0.0 },
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: quantile(1.0),
            errors: tally.errors(counters),
            interrupted: run.interrupted,
        }
    }

    /// True if every session was there to the end and every answer came once, in order and unaltered.
    pub fn is_clean(&self) -> bool {
        let wrong = [self.lost, self.duplicated, self.reordered, self.foreign, self.cut_off, self.unanswered];
        wrong.iter().all(|count| *count == 0) && (self.connected == self.sessions || self.interrupted)
    }
}

/// The counts of all workers, added up.
struct Tally {
    latency: Histogram<u64>,
    last_received: Time,
    duplicated: u64,
    late: u64,
    foreign: u64,
    ended: Vec<Ended>,
    /// Sessions that left nothing behind: their handler panicked.
    vanished: u64,
}

impl Tally {
    fn of(shared: &Shared) -> Tally {
        let mut tally = Tally {
            latency: empty_histogram(),
            last_received: Time::ZERO,
            duplicated: 0,
            late: 0,
            foreign: 0,
            ended: Vec::new(),
            vanished: shared.count_stage(|stage| stage != Stage::Ended) as u64,
        };
        for mut shard in shared.shards() {
            // All histograms have the same bounds, so this cannot fail.
            let _ = tally.latency.add(&shard.latency);
            tally.last_received = tally.last_received.max(shard.last_received);
            tally.duplicated += shard.duplicated;
            tally.late += shard.late;
            tally.foreign += shard.foreign;
            tally.ended.append(&mut shard.ended);
        }
        tally.ended.sort_unstable_by_key(|ended| ended.number);
        tally
    }

    fn cut_off(&self) -> u64 {
        self.ended.iter().filter(|ended| ended.cut_off.is_some()).count() as u64 + self.vanished
    }

    fn errors(&self, counters: &Counters) -> BTreeMap<String, u64> {
        let mut errors = BTreeMap::new();
        let mut add = |kind: CauseKind, count| *errors.entry(kind.label().to_owned()).or_default() += count;
        not_connected(counters).for_each(|(kind, count)| add(kind, count));
        self.ended.iter().filter_map(|ended| ended.cut_off).for_each(|kind| add(kind, 1));
        if self.vanished > 0 {
            add(CauseKind::HandlerPanicked, self.vanished);
        }
        errors
    }
}

/// What was sent against what came.
#[derive(Default)]
struct Balance {
    sent: u64,
    received: u64,
    lost: u64,
    unanswered: u64,
    disordered: u64,
}

impl Balance {
    fn of(shared: &Shared, ended: &[Ended]) -> Balance {
        let mut balance = Balance { sent: shared.known().iter().map(|slot| slot.sent()).sum(), ..Balance::default() };
        let mut rest = ended;
        while let Some(first) = rest.first() {
            let senders = shared.senders(first.number);
            let (group, others) = rest.split_at(rest.partition_point(|ended| ended.number < senders.end));
            rest = others;
            for sender in senders.clone() {
                balance.add_sender(shared, group, sender, sender - senders.start);
            }
            let present = group.iter().filter(|ended| ended.cut_off.is_none());
            let orders: Vec<Order> = present.map(|ended| ended.order).collect();
            balance.disordered += disordered(orders);
            balance.received += group.iter().map(|ended| ended.order.count).sum::<u64>();
        }
        balance
    }

    /// What the members of a group (a room, or one session in echo) lack of one sender's messages.
    fn add_sender(&mut self, shared: &Shared, group: &[Ended], sender: usize, index: usize) {
        let sent = shared.slots[sender].sent();
        let stream = |ended: &Ended| ended.streams.get(index).cloned().unwrap_or_default();
        let present = group.iter().find(|ended| ended.number == sender).is_some_and(|ended| ended.cut_off.is_none());
        // The last messages of a sender that was cut off may have been cut off with it, before the server saw them.
        let reached = group.iter().map(|ended| stream(ended).next()).max().unwrap_or(0);
        let certain = if present { sent } else { reached };
        for ended in group {
            let lacking = stream(ended).lost(certain);
            match ended.cut_off {
                None => self.lost += lacking,
                Some(_) => self.unanswered += lacking,
            }
        }
        self.unanswered += (sent - certain.min(sent)) * group.len() as u64;
    }
}
