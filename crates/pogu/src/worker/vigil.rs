//! What a session is watched for beyond what every session is: the first frame, heartbeats, rates. Made only for sessions of
//! services that ask for one of them, and for sessions that had to be paused, so that the others pay nothing.

use std::time::Duration;

use pogu_port::slots::Name;
use pogu_port::{Operations, Time};

use crate::cause::{Cause, Limit};
use crate::heartbeat::Heartbeat;
use crate::limits::{LiveLimits, Rate, RateExceeded};
use crate::metering::Meter;
use crate::worker::handlers_on_pool::{OnPool, PutOff};
use crate::worker::{NEVER, State};

#[derive(Default)]
pub(crate) struct Vigil {
    /// Until the first whole frame has come: since when it is waited for.
    pub(super) first_frame_since: Option<Time>,
    pub(super) heartbeat: Option<Beat>,
    meters: [Meter; 3],
    /// While nothing is received because a rate was exceeded.
    delay: Option<Delay>,
    /// How far its handlers have come, if they run on threads of a pool.
    pub(super) handlers: OnPool,
    /// What these have asked for and this turn had no room for.
    pub(super) put_off: Option<Box<PutOff>>,
    /// Since when nothing is received because we do not want to, if that is so.
    still_since: Option<Time>,
    /// When the last delay ended, and when the first began of which it was the last without a break.
    delayed: Option<(Time, Time)>,
    /// True while its handlers want nothing more to be received.
    is_held_back: bool,
}

/// A time without a delay that is no break: a session that comes out of a delay with more to handle is in the next one at once.
const BREAK_MIN: Duration = Duration::from_millis(100);

/// The heartbeat of one session.
pub(super) struct Beat {
    /// The last sign of life, or the last ping if that is later.
    quiet_since: Time,
    /// When the oldest ping without an answer was sent.
    unanswered_since: Option<Time>,
}

#[derive(Clone, Copy)]
struct Delay {
    since: Time,
    until: Time,
}

/// What is used at a rate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metered {
    Messages,
    Bytes,
    Cost,
}

impl Metered {
    fn rate(self, limits: &LiveLimits) -> Option<Rate> {
        match self {
            Metered::Messages => limits.message_rate.get(),
            Metered::Bytes => limits.byte_rate.get(),
            Metered::Cost => limits.cost_rate.get(),
        }
    }

    fn limit(self) -> Limit {
        match self {
            Metered::Messages => Limit::MessageRate,
            Metered::Bytes => Limit::ByteRate,
            Metered::Cost => Limit::CostRate,
        }
    }
}

impl Vigil {
    pub(super) fn new(now: Time, limits: &LiveLimits, heartbeat: Option<&Heartbeat>) -> Option<Box<Vigil>> {
        let first_frame_since = limits.first_frame_timeout.get().map(|_| now);
        let heartbeat = heartbeat.map(|_| Beat { quiet_since: now, unanswered_since: None });
        let wanted = first_frame_since.is_some() || heartbeat.is_some();
        wanted.then(|| Box::new(Vigil { first_frame_since, heartbeat, ..Vigil::default() }))
    }

    pub(super) fn is_delayed(&self) -> bool {
        self.delay.is_some()
    }

    /// A sign of life came.
    pub(super) fn heard(&mut self, now: Time) {
        if let Some(beat) = &mut self.heartbeat {
            beat.quiet_since = now;
        }
    }

    pub(super) fn stands_still(&self) -> bool {
        self.still_since.is_some()
    }

    /// From now on nothing is received because we do not want to.
    pub(super) fn stand_still(&mut self, now: Time) {
        self.still_since.get_or_insert(now);
    }

    /// When a limit is reached. While the session stands still it cannot answer anything.
    pub(super) fn limit_due(&self, limits: &LiveLimits, heartbeat: Option<&Heartbeat>) -> Time {
        if self.stands_still() {
            return NEVER;
        }
        let first = self.first_frame_since.zip(limits.first_frame_timeout.get());
        let first = first.map_or(NEVER, |(since, timeout)| since + timeout);
        let unanswered = self.heartbeat.as_ref().and_then(|beat| beat.unanswered_since);
        let unanswered = unanswered.zip(heartbeat.and_then(|heartbeat| heartbeat.pong_timeout));
        first.min(unanswered.map_or(NEVER, |(since, timeout)| since + timeout))
    }

    /// When something is due that ends nothing: a ping, the end of a delay.
    pub(super) fn next_due(&self, heartbeat: Option<&Heartbeat>) -> Time {
        if let Some(delay) = self.delay {
            return delay.until;
        }
        match self.heartbeat.as_ref().zip(heartbeat) {
            Some((beat, heartbeat)) if !self.stands_still() => beat.quiet_since + heartbeat.interval,
            _ => NEVER,
        }
    }

    /// The limit that has been reached, if one has.
    pub(super) fn exceeded(&self, now: Time, limits: &LiveLimits, heartbeat: Option<&Heartbeat>) -> Option<Cause> {
        if self.stands_still() {
            return None;
        }
        let late = |limit, since, allowed| {
            let waited = now.since(since);
            (waited >= allowed).then(|| Cause::timeout(limit, waited, allowed))
        };
        let first = self.first_frame_since.zip(limits.first_frame_timeout.get());
        let first = first.and_then(|(since, timeout)| late(Limit::FirstFrameTimeout, since, timeout));
        let unanswered = self.heartbeat.as_ref().and_then(|beat| beat.unanswered_since);
        let unanswered = unanswered.zip(heartbeat.and_then(|heartbeat| heartbeat.pong_timeout));
        first.or_else(|| unanswered.and_then(|(since, timeout)| late(Limit::HeartbeatTimeout, since, timeout)))
    }

    pub(super) fn wants_ping(&self, now: Time, heartbeat: &Heartbeat) -> bool {
        let quiet = self.heartbeat.as_ref().map(|beat| now.since(beat.quiet_since));
        !self.stands_still() && quiet.is_some_and(|quiet| quiet >= heartbeat.interval)
    }

    pub(super) fn is_held_back(&self) -> bool {
        self.is_held_back
    }

    pub(super) fn delay_is_over(&self, now: Time) -> bool {
        self.delay.is_some_and(|delay| now >= delay.until)
    }
}

impl State {
    /// Takes note of what a session has used. Above the rate it is delayed, or ends.
    pub(crate) fn meter(&mut self, operations: &mut Operations<'_>, name: Name, metered: Metered, amount: u64) {
        let now = self.now;
        let Some(carrier) = self.carriers.get_mut(name).filter(|carrier| carrier.is_live()) else { return };
        let limits = carrier.standing.running().limits();
        let Some(rate) = metered.rate(limits) else { return };
        let vigil = carrier.vigil.get_or_insert_default();
        let Some(meter) = vigil.meters.get_mut(metered as usize) else { return };
        meter.take(rate, now, amount);
        let Some(until) = meter.in_debt_until(rate, now) else { return };
        let chain = vigil.delayed.filter(|(ended, _)| vigil.delay.is_some() || now.since(*ended) < BREAK_MIN);
        let began = chain.map_or_else(|| vigil.delay.map_or(now, |delay| delay.since), |(_, began)| began);
        // The peer's end is not seen during a delay: one without an end would hold a place for nobody.
        let bearable = until.since(began) <= limits.delay_max.get();
        match limits.rate_exceeded.get() {
            RateExceeded::Delay if bearable => {
                let since = vigil.delay.map_or(now, |delay| delay.since);
                let until = vigil.delay.map_or(until, |delay| delay.until.max(until));
                let begins = vigil.delay.replace(Delay { since, until }).is_none();
                vigil.delayed = Some((now, began));
                vigil.stand_still(now);
                self.row_of(name).delays += u64::from(begins);
                self.arm(name);
            }
            RateExceeded::Delay | RateExceeded::Disconnect => {
                let cause = Cause::limit(metered.limit(), meter.used(rate, now), u64::from(rate.burst));
                self.stop(operations, name, cause);
            }
        }
    }

    /// Rates have changed: a delayed session waits as long as it now has to.
    pub(super) fn look_at_delay(&mut self, operations: &mut Operations<'_>, name: Name) {
        let now = self.now;
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let limits = carrier.standing.running().limits();
        let Some(vigil) = carrier.vigil.as_mut() else { return };
        let Some(delay) = vigil.delay.as_mut() else { return };
        let owed = [Metered::Messages, Metered::Bytes, Metered::Cost].into_iter().zip(&vigil.meters);
        let owed = owed.filter_map(|(metered, meter)| meter.in_debt_until(metered.rate(limits)?, now)).max();
        match owed {
            Some(until) => delay.until = until,
            None => self.end_delay(operations, name),
        }
    }

    /// The handlers of a session want nothing more to be received, or want it again.
    pub(crate) fn set_held_back(&mut self, operations: &mut Operations<'_>, name: Name, is_held_back: bool) {
        let Some(carrier) = self.carriers.get_mut(name).filter(|carrier| carrier.is_live()) else { return };
        if carrier.is_held_back() == is_held_back {
            return;
        }
        let vigil = carrier.vigil.get_or_insert_default();
        vigil.is_held_back = is_held_back;
        match is_held_back {
            // From here on, not from the first byte that is not wanted: the peer may wait in silence for what we owe it.
            true => vigil.stand_still(self.now),
            false => self.resume(operations, name),
        }
    }

    /// The time of a delay is up.
    pub(super) fn end_delay(&mut self, operations: &mut Operations<'_>, name: Name) {
        let now = self.now;
        let Some(vigil) = self.carriers.get_mut(name).and_then(|carrier| carrier.vigil.as_mut()) else { return };
        if vigil.delay.take().is_none() {
            return;
        }
        vigil.delayed = vigil.delayed.map(|(_, began)| (now, began));
        self.resume(operations, name);
    }

    /// A session is received from again: what stood still meanwhile goes on from here.
    pub(super) fn go_on(&mut self, name: Name) {
        let now = self.now;
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let Some(vigil) = carrier.vigil.as_mut() else { return };
        let Some(still_since) = vigil.still_since.take() else { return };
        let stood = now.since(still_since);
        let later = |time: Time| (time + stood).min(now);
        vigil.first_frame_since = vigil.first_frame_since.map(later);
        if let Some(beat) = &mut vigil.heartbeat {
            beat.quiet_since = later(beat.quiet_since);
            beat.unanswered_since = beat.unanswered_since.map(later);
        }
        if let Some(unfinished) = &mut carrier.unfinished {
            unfinished.since = later(unfinished.since);
        }
        carrier.active_at = now;
        self.arm(name);
    }

    /// Nothing has come from the session for an interval.
    pub(super) fn ping(&mut self, operations: &mut Operations<'_>, name: Name) {
        let now = self.now;
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let running = std::sync::Arc::clone(carrier.running());
        let Some(heartbeat) = &running.service.heartbeat else { return };
        if let Some(beat) = carrier.vigil.as_mut().and_then(|vigil| vigil.heartbeat.as_mut()) {
            beat.quiet_since = now;
        }
        let mut frame = Vec::new();
        // That it fits was checked when the service was started.
        let fits = running.service.format.encode(heartbeat.ping_id, &heartbeat.body, &mut frame).is_ok();
        if !fits || !self.send_heartbeat(operations, name, &frame) {
            return;
        }
        self.ledger.row(running.index).heartbeats_sent += 1;
        let vigil = self.carriers.get_mut(name).and_then(|carrier| carrier.vigil.as_mut());
        if let Some(beat) = vigil.and_then(|vigil| vigil.heartbeat.as_mut())
            && heartbeat.pong_timeout.is_some()
        {
            beat.unanswered_since.get_or_insert(now);
        }
    }

    /// A ping was answered.
    pub(crate) fn ponged(&mut self, name: Name) {
        self.row_of(name).heartbeats_answered += 1;
        let vigil = self.carriers.get_mut(name).and_then(|carrier| carrier.vigil.as_mut());
        if let Some(beat) = vigil.and_then(|vigil| vigil.heartbeat.as_mut()) {
            beat.unanswered_since = None;
        }
    }
}
