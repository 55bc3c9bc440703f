//! `--mode churn`: connections that are made, used for one checked echo, closed in good order, and made again.
//!
//! Each slot has one connection at a time. Every [`LOOK`] the connections of all slots that are free and due are asked for
//! together, as a client service of their own, a *wave*. So a slot makes at most one connection per look, 500 a second;
//! further limits are the ports of the client (some 28,000 per target, each blocked for a while after an orderly close: on
//! Linux 60 s, to the machine itself 1 s) and the system.
//!
//! A core remembers its services for as long as it lives. So after some waves the next ones run on a new core, an *era*, and
//! the old one is stopped as soon as its last connection has ended: a churn of days needs no more memory than one of seconds.
//!
//! Where there is a schedule, connections that were due before the end and are late are still made for [`OVERTIME`].
//!
//! After its answer a connection is only waited for until the server has closed it too. What comes then is not looked at, but
//! its bytes are counted, and count as foreign frames.

mod caller;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pogu::{CauseKind, Core, Refusal, Service, ServiceHandle, Time};

use super::helm::{Helm, Patience};
use super::outcome::{Outcome, connect_failure_of};
use super::pace::Schedule;
use super::pacer::OVERTIME;
use super::progress::{Phase, Sight};
use super::run::{CLOSE_TIMEOUT, CONNECT_PATIENCE, limits, milliseconds, nobody_answers};
use super::{Options, Pace};
use crate::failure::Failure;
use caller::{Asked, Caller, Churn, Ticket};

/// Between two waves.
const LOOK: Duration = Duration::from_millis(2);

/// From a connection that could not be made to the next attempt of the same slot.
const RETRY: Duration = Duration::from_millis(100);

/// From the first connection of a slot to that of the next, if there is no rate: all at once would measure the burst.
const FIRST_INTERVAL: Duration = Duration::from_micros(50);

/// Waves of one era: no more than one second's. Each era has descriptors and threads of its own, for as long as its last
/// connection needs to end.
const WAVES_MAX: usize = 500;

/// Runs a churn.
pub(super) fn run(options: &Options, mut helm: Helm<'_>) -> Result<Outcome, Failure> {
    let mut crowd = Crowd::new(options)?;
    helm.step()?;
    let result = crowd.phases(&mut helm);
    helm.end();
    let sending_time = result?;
    let mut outcome =
        Outcome { seconds: sending_time.as_secs_f64(), interrupted: helm.is_interrupted(), ..crowd.outcome };
    for era in crowd.eras {
        (outcome.driver, outcome.driver_reason) = (era.core.driver().to_string(), era.core.driver_reason().to_owned());
        era.stop(&mut outcome, &helm)?;
    }
    let mut frame_bytes = 0;
    for shard in crowd.churn.shards() {
        outcome.add(&shard.outcome);
        frame_bytes += shard.frame_bytes;
    }
    outcome.connected = crowd.churn.connected();
    let stray_bytes = outcome.bytes_received.saturating_sub(frame_bytes);
    outcome.foreign += stray_bytes.div_ceil(options.frame_bytes() as u64);
    Ok(outcome)
}

/// The slots, and the connections that are being made for them.
struct Crowd {
    churn: Arc<Churn>,
    slots: Vec<Slot>,
    /// Free slots, by the time at which they are to connect.
    ready: BinaryHeap<Reverse<(Time, usize)>>,
    /// The first one is kept to the end: its clock times the whole.
    eras: Vec<Era>,
    outcome: Outcome,
}

#[derive(Default)]
struct Slot {
    begun: u64,
    schedule: Option<Schedule>,
}

struct Era {
    core: Core,
    begun: usize,
    waves: Vec<Wave>,
}

struct Wave {
    handle: ServiceHandle,
    asked: Arc<Asked>,
    failed: u64,
}

impl Crowd {
    fn new(options: &Options) -> Result<Crowd, Failure> {
        let era = Era::start(options)?;
        let churn = Arc::new(Churn::new(options, era.core.now()));
        let slots = (0..options.sessions).map(|_| Slot::default()).collect();
        Ok(Crowd { churn, slots, ready: BinaryHeap::new(), eras: vec![era], outcome: Outcome::default() })
    }

    fn now(&self) -> Time {
        self.eras.first().map_or(Time::ZERO, |era| era.core.now())
    }

    fn options(&self) -> &Options {
        &self.churn.options
    }

    /// Makes connections until the time is up, then those that are late, and waits for the last ones. For how long it made
    /// them, overtime not counted.
    fn phases(&mut self, helm: &mut Helm<'_>) -> Result<Duration, Failure> {
        let start = self.now();
        let duration = self.options().duration;
        self.schedule(start);
        while !helm.is_interrupted() && self.is_to_make_more(start + duration) {
            self.look(helm, true)?;
            self.show(
                helm,
                Phase::Sending,
                milliseconds(self.now().since(start).min(duration)),
                milliseconds(duration),
            );
            helm.nap(LOOK)?;
        }
        let made_for = self.now().since(start).min(duration);
        if !helm.is_interrupted() {
            let remaining = |slot: &Slot| slot.schedule.map_or(0, |schedule| schedule.remaining(slot.begun));
            self.outcome.unsent = self.slots.iter().map(remaining).sum();
        }
        let mut patience = Patience::new(CONNECT_PATIENCE.max(2 * self.options().patience), self.now());
        while self.in_flight() > 0 && !patience.is_over(self.in_flight(), self.now()) {
            self.look(helm, false)?;
            self.show(helm, Phase::Draining, 0, 1);
            helm.nap(LOOK)?;
        }
        helm.step()?;
        Ok(made_for)
    }

    fn schedule(&mut self, start: Time) {
        let (duration, count) = (self.options().duration, self.slots.len());
        let rate = match self.options().pace {
            Pace::Rate(rate) => Some(rate),
            Pace::Depth(_) => None,
        };
        for (index, slot) in self.slots.iter_mut().enumerate() {
            slot.schedule = rate.map(|rate| Schedule::new(start, duration, rate, index, count));
            let later = FIRST_INTERVAL * u32::try_from(index).unwrap_or(u32::MAX);
            let due = slot.schedule.map_or(Some(start + later), |schedule| schedule.due(0));
            self.ready.extend(due.map(|due| Reverse((due, index))));
        }
    }

    fn is_to_make_more(&self, end: Time) -> bool {
        let now = self.now();
        let is_behind = |slot: &Slot| slot.schedule.is_some_and(|schedule| schedule.due(slot.begun).is_some());
        now < end || now < end + OVERTIME && self.slots.iter().any(is_behind)
    }

    fn in_flight(&self) -> u64 {
        self.eras.iter().flat_map(|era| &era.waves).map(|wave| wave.handle.sessions() as u64).sum()
    }

    /// Takes back what has ended; asks for what is due, if there is to be more.
    fn look(&mut self, helm: &Helm<'_>, more: bool) -> Result<(), Failure> {
        let now = self.now();
        for slot in self.churn.take_free() {
            self.make_ready(slot, now);
        }
        self.look_at_waves(now)?;
        self.retire_eras(helm)?;
        if more { self.begin_wave(now) } else { Ok(()) }
    }

    /// A slot connects again when its schedule says so, and not before `earliest`.
    fn make_ready(&mut self, slot: usize, earliest: Time) {
        let Slot { begun, schedule } = &self.slots[slot];
        let due = schedule.map_or(Some(earliest), |schedule| schedule.due(*begun));
        self.ready.extend(due.map(|due| Reverse((due.max(earliest), slot))));
    }

    fn look_at_waves(&mut self, now: Time) -> Result<(), Failure> {
        for era in 0..self.eras.len() {
            for wave in 0..self.eras[era].waves.len() {
                let failed = self.eras[era].waves[wave].take_failed();
                self.outcome.connections_failed += failed.len() as u64;
                failed.iter().for_each(|ticket| self.make_ready(ticket.slot, now + RETRY));
            }
            let slots = self.slots.len() as u64;
            let hopeless = self.outcome.connections_failed >= slots && self.churn.sent.load(Ordering::Relaxed) == 0;
            for over in self.eras[era].waves.extract_if(.., |wave| wave.handle.sessions() == 0) {
                if hopeless && over.failed > 0 {
                    return Err(nobody_answers(&over.handle, slots));
                }
                over.account(&mut self.outcome);
            }
        }
        Ok(())
    }

    /// Stops the cores whose last connection has ended. They have nothing to wait for.
    fn retire_eras(&mut self, helm: &Helm<'_>) -> Result<(), Failure> {
        let last = self.eras.len() - 1;
        let mut index = 0;
        let mut is_over = |era: &mut Era| {
            index += 1;
            (1..last).contains(&(index - 1)) && era.waves.is_empty()
        };
        let over: Vec<Era> = self.eras.extract_if(.., &mut is_over).collect();
        over.into_iter().try_for_each(|era| era.stop(&mut self.outcome, helm))
    }

    fn begin_wave(&mut self, now: Time) -> Result<(), Failure> {
        let mut tickets = Vec::new();
        while let Some(Reverse((_, slot))) = self.ready.peek().copied().filter(|Reverse((due, _))| *due <= now) {
            self.ready.pop();
            tickets.push(Ticket { slot, number: self.slots[slot].begun });
            self.slots[slot].begun += 1;
        }
        if tickets.is_empty() {
            return Ok(());
        }
        if self.eras.last().is_none_or(|era| era.begun >= WAVES_MAX) {
            self.eras.push(Era::start(&self.churn.options)?);
        }
        match self.eras.last_mut() {
            Some(era) => era.begin_wave(&self.churn, tickets),
            None => Ok(()),
        }
    }

    fn show(&self, helm: &mut Helm<'_>, phase: Phase, done: u64, total: u64) {
        let [sent, received] = [&self.churn.sent, &self.churn.received].map(|count| count.load(Ordering::Relaxed));
        helm.show(Sight { sent, received, ..Sight::new(phase, self.now(), done, total) });
    }
}

impl Era {
    fn start(options: &Options) -> Result<Era, Failure> {
        let core = Core::builder().workers(options.workers).driver(options.driver).start()?;
        Ok(Era { core, begun: 0, waves: Vec::new() })
    }

    fn begin_wave(&mut self, churn: &Arc<Churn>, tickets: Vec<Ticket>) -> Result<(), Failure> {
        let options = &churn.options;
        let wanted = tickets.len();
        let asked = Arc::new(Asked::new(self.core.now(), tickets));
        let service = Service::client(&options.target).limits(limits(options)).sessions(wanted);
        let handle = self.core.connect(service, {
            let (churn, asked) = (Arc::clone(churn), Arc::clone(&asked));
            move |incoming| match asked.take_ticket() {
                Some(ticket) => Ok(Caller::new(Arc::clone(&churn), Arc::clone(&asked), ticket, incoming.worker)),
                None => Err(Refusal::new("there are enough connections")),
            }
        })?;
        self.begun += 1;
        self.waves.push(Wave { handle, asked, failed: 0 });
        Ok(())
    }

    fn stop(self, outcome: &mut Outcome, helm: &Helm<'_>) -> Result<(), Failure> {
        let counters = self.core.stop_unless_interrupted(CLOSE_TIMEOUT, helm.interrupt())?;
        outcome.take_counters(&counters);
        outcome.left_open += counters.linger_expired;
        for mut wave in self.waves {
            outcome.connections_failed += wave.take_failed().len() as u64;
            wave.account(outcome);
        }
        Ok(())
    }
}

impl Wave {
    /// The tickets of connections that could not be made, once each. Under their lock no connection becomes a live one, so
    /// that one which is neither is not mistaken.
    fn take_failed(&mut self) -> Vec<Ticket> {
        let mut tickets = self.asked.tickets();
        let sessions = self.handle.sessions();
        if sessions > self.asked.live.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.failed += tickets.len() as u64;
        std::mem::take(&mut *tickets)
    }

    /// Counts why its connections could not be made, and those whose handler panicked.
    fn account(self, outcome: &mut Outcome) {
        let timeouts = self.handle.counters().disconnects(CauseKind::ConnectTimeout).min(self.failed);
        outcome.add_error(CauseKind::ConnectTimeout.label(), timeouts);
        outcome.add_error(connect_failure_of(&self.handle), self.failed - timeouts);
        let vanished = self.asked.live.load(Ordering::Acquire) as u64;
        outcome.cut_off += vanished;
        outcome.unanswered += vanished;
        outcome.add_error(CauseKind::HandlerPanicked.label(), vanished);
    }
}
