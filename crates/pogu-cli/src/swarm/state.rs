//! What the sessions of a run and the thread that watches them share.
//!
//! Each session has a [`Slot`] that only it writes; each worker has a [`Shard`] that only its thread locks while the run
//! lasts. So nothing is contended on the path of a message.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use pogu::{CauseKind, Time};

use super::check::{Order, Stream, Verdict, mixed};
use super::outcome::Latencies;
use super::tag::Layout;
use super::{Mode, Options};

/// The longest latency that is told apart: one minute, in nanoseconds.
const LATENCY_MAX: u64 = 60_000_000_000;

/// Three digits: a latency is known to a thousandth.
const LATENCY_DIGITS: u8 = 3;

/// How often a session looks whether the run has begun, at least.
const LOOK: Duration = Duration::from_millis(20);

/// From the echo of one idle session to that of the next: all at once would measure the burst.
pub(super) const LAST_ECHO_INTERVAL: Duration = Duration::from_micros(50);

/// How far a session is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(super) enum Stage {
    /// Not connected (yet).
    Away,
    /// Connected; in room mode its JOIN is not acknowledged.
    Connected,
    /// May send.
    Ready,
    /// Has sent all that it will.
    Done,
    /// Has ended.
    Ended,
}

/// What one session shows of itself while the run lasts.
#[derive(Debug, Default)]
pub(super) struct Slot {
    stage: AtomicU8,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Slot {
    pub(super) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Away,
            1 => Stage::Connected,
            2 => Stage::Ready,
            3 => Stage::Done,
            _ => Stage::Ended,
        }
    }

    pub(super) fn set_stage(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Release);
    }

    /// Messages sent. Set before the message can reach anybody.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    pub(super) fn set_sent(&self, sent: u64) {
        self.sent.store(sent, Ordering::Release);
    }

    /// Messages received, duplicates not counted.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub(super) fn count_received(&self) {
        // One writer: a plain addition in two steps.
        self.received.store(self.received() + 1, Ordering::Relaxed);
    }
}

/// What a session leaves behind.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) number: usize,
    /// Why, if it ended before it was asked to.
    pub(super) cut_off: Option<CauseKind>,
    /// By sender: one in echo, the members of its room in room mode. Empty if nothing came.
    pub(super) streams: Vec<Stream>,
    pub(super) order: Order,
    /// Messages that were due and never sent because the server did not keep up.
    pub(super) unsent: u64,
}

/// What one worker counts for all of its sessions.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) latency: Latencies,
    pub(super) last_received: Time,
    pub(super) duplicated: u64,
    pub(super) late: u64,
    pub(super) foreign: u64,
    /// Of the foreign ones.
    pub(super) altered: u64,
    pub(super) ended: Vec<Ended>,
    /// Where messages are written.
    pub(super) body: Vec<u8>,
}

impl Shard {
    fn new() -> Shard {
        Shard {
            latency: Latencies::default(),
            last_received: Time::ZERO,
            duplicated: 0,
            late: 0,
            foreign: 0,
            altered: 0,
            ended: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Counts a message that came at `now` and was due at `due`.
    pub(super) fn count(&mut self, verdict: Verdict, now: Time, due: Time) {
        match verdict {
            Verdict::InOrder => {}
            Verdict::Late => self.late += 1,
            Verdict::Duplicate => return self.duplicated += 1,
        }
        self.last_received = self.last_received.max(now);
        self.latency.record(now.since(due));
    }

    pub(super) fn count_foreign(&mut self, altered: bool) {
        self.foreign += 1;
        self.altered += u64::from(altered);
    }
}

/// A histogram for latencies in nanoseconds.
pub(super) fn empty_histogram() -> Histogram<u64> {
    // Fails for bounds or digits out of range only; these are constants, and tested.
    Histogram::new_with_bounds(1, LATENCY_MAX, LATENCY_DIGITS).expect("constant bounds are in range")
}

/// Distinguishes a run from others: by some time, to the nanosecond, and the process's number.
pub(super) fn run_number(now: Duration) -> u32 {
    mixed(now.as_nanos() as u64 ^ mixed(u64::from(std::process::id()))) as u32
}

/// What all sessions of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) layout: Layout,
    pub(super) slots: Vec<Slot>,
    shards: Vec<Mutex<Shard>>,
    /// Distinguishes this run's messages and rooms from those of others at the same server.
    run: u32,
    /// The number in the whole run of the first session here.
    first: usize,
    /// Sessions that were given a number.
    opened: AtomicUsize,
    go: AtomicBool,
    /// Sending has been stopped early.
    stopped: AtomicBool,
    /// Sessions are being ended: an end is no surprise any more.
    closing: AtomicBool,
    /// When the run began, in nanoseconds of the core's clock; 0 before that.
    start: AtomicU64,
}

impl Shared {
    /// `now` is some time of the core, to the nanosecond.
    pub(super) fn new(options: &Options, now: Time) -> Shared {
        Shared {
            layout: options.layout(),
            slots: (0..options.sessions).map(|_| Slot::default()).collect(),
            shards: (0..options.workers).map(|_| Mutex::new(Shard::new())).collect(),
            run: options.part.map_or_else(|| run_number(now.since(Time::ZERO)), |part| part.run),
            first: options.part.map_or(0, |part| part.first),
            opened: AtomicUsize::new(0),
            go: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            start: AtomicU64::new(0),
            options: options.clone(),
        }
    }

    /// A number for a new session; `None` if all are taken.
    pub(super) fn take_number(&self) -> Option<usize> {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        (number < self.slots.len()).then_some(number)
    }

    pub(super) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed).min(self.slots.len())
    }

    /// The slots of the sessions that have a number.
    pub(super) fn known(&self) -> &[Slot] {
        &self.slots[..self.opened()]
    }

    /// True if every session that is there has received what was sent to it.
    pub(super) fn is_complete(&self) -> bool {
        let mut first = 0;
        while first < self.opened() {
            let group = self.senders(first);
            let slots = &self.slots[group.clone()];
            let sent: u64 = slots.iter().map(Slot::sent).sum();
            if slots.iter().any(|slot| slot.stage() != Stage::Ended && slot.received() < sent) {
                return false;
            }
            first = group.end;
        }
        true
    }

    pub(super) fn count_stage(&self, wanted: impl Fn(Stage) -> bool) -> usize {
        self.known().iter().filter(|slot| wanted(slot.stage())).count()
    }

    /// The counters of one worker. Lock order: nothing else is locked while this is.
    pub(super) fn shard(&self, worker: usize) -> MutexGuard<'_, Shard> {
        self.shards[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        (0..self.shards.len()).map(|worker| self.shard(worker))
    }

    /// What a session calls itself in its messages.
    pub(super) fn sender(&self, number: usize) -> u64 {
        u64::from(self.run) << 32 | (self.first + number) as u64
    }

    /// The session that calls itself so, if it is one of this run.
    pub(super) fn number_of(&self, sender: u64) -> Option<usize> {
        let [run, number] = [sender >> 32, sender & u64::from(u32::MAX)];
        let number = usize::try_from(number).ok()?.checked_sub(self.first)?;
        (run == u64::from(self.run)).then_some(number)
    }

    /// The sessions whose messages this one receives: itself, or its room.
    pub(super) fn senders(&self, number: usize) -> std::ops::Range<usize> {
        match self.options.mode {
            Mode::Echo | Mode::Hello | Mode::Idle | Mode::Churn | Mode::Plaza => number..number + 1,
            Mode::Room => {
                let first = number - number % self.options.room_size;
                first..(first + self.options.room_size).min(self.opened())
            }
        }
    }

    /// The server's number of the room that a session joins.
    pub(super) fn room(&self, number: usize) -> u32 {
        let index = (self.first + number) / self.options.room_size;
        self.run.wrapping_add(index as u32)
    }

    /// How often a session looks whether the run has begun: rarely enough that many sessions cost little.
    pub(super) fn look_again(&self) -> Duration {
        LOOK.max(Duration::from_micros(20) * u32::try_from(self.slots.len()).unwrap_or(u32::MAX))
    }

    /// Lets the sessions begin.
    pub(super) fn go(&self) {
        self.go.store(true, Ordering::Release);
    }

    /// For how long the sessions send, or in idle mode are silent and then send.
    pub(super) fn sending_time(&self) -> Duration {
        match self.options.mode {
            Mode::Idle => self.options.duration + LAST_ECHO_INTERVAL * u32::try_from(self.opened()).unwrap_or(u32::MAX),
            Mode::Echo | Mode::Room | Mode::Hello | Mode::Churn | Mode::Plaza => self.options.duration,
        }
    }

    /// When the run begins, once it may; the first session that asks decides. Late enough that all have asked by then.
    pub(super) fn start(&self, now: Time) -> Option<Time> {
        if !self.go.load(Ordering::Acquire) {
            return None;
        }
        let proposed = (now + self.look_again()).as_nanos();
        match self.start.compare_exchange(0, proposed, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Some(Time::from_nanos(proposed)),
            Err(decided) => Some(Time::from_nanos(decided)),
        }
    }

    /// When the run began, if it has.
    pub(super) fn started(&self) -> Option<Time> {
        Some(self.start.load(Ordering::Acquire)).filter(|start| *start > 0).map(Time::from_nanos)
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(sessions: usize, mode: Mode) -> Shared {
        let shared = Shared::new(&Options { sessions, mode, room_size: 4, ..Options::default() }, Time::ZERO);
        while shared.take_number().is_some() {}
        shared
    }

    #[test]
    fn histograms_have_sound_bounds() {
        assert_eq!(empty_histogram().len(), 0);
    }

    #[test]
    fn senders_are_the_session_itself_or_its_room() {
        assert_eq!(shared(10, Mode::Echo).senders(3), 3..4);
        let rooms = shared(10, Mode::Room);
        assert_eq!([rooms.senders(0), rooms.senders(7), rooms.senders(9)], [0..4, 4..8, 8..10]);
        assert_eq!(rooms.room(7), rooms.room(4));
        assert_ne!(rooms.room(7), rooms.room(8));
    }

    #[test]
    fn a_sender_of_another_run_is_nobody() {
        let shared = shared(10, Mode::Echo);
        assert_eq!(shared.number_of(shared.sender(9)), Some(9));
        assert_eq!(shared.number_of(shared.sender(9) ^ 1 << 40), None);
    }

    #[test]
    fn the_first_that_asks_decides_the_start() {
        let shared = shared(1, Mode::Echo);
        assert_eq!(shared.start(Time::from_nanos(5)), None);
        shared.go();
        let start = shared.start(Time::from_nanos(5));
        assert_eq!(start, Some(Time::from_nanos(5) + LOOK));
        assert_eq!(shared.start(Time::from_nanos(500)), start);
    }
}
