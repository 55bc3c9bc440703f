//! Timers: never early, each once or cancelled, in the order of their times.
//!
//! ```text
//!   started --> pending --> fired, at the end of the millisecond of its time: before it is early
//!                      \--> cancelled, or its session has ended: then it fires no more
//! ```

use std::time::Duration;

use pogu::{Time, TimerOutcome};

use super::{Host, Ledger, Life};
use crate::judged::Check;
use crate::violation::{Side, Violation};

/// The resolution of the engine's timers.
const TICK_NANOSECONDS: u64 = 1_000_000;

/// By so much a timer may be late where nothing holds up its worker: the tick that it falls into, and a turn.
const LATE_MAX: Duration = Duration::from_millis(2);

/// One that is late by so much when everybody is back will not come.
const OVERDUE: Duration = Duration::from_secs(1);

/// A timer that is pending.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alarm {
    due: Time,
    /// Those of one session fire in the order of these, and where they are the same in that of their keys.
    turn: u64,
}

impl Ledger {
    /// The key of the next timer: keys grow in the order in which timers are started.
    pub(crate) fn next_alarm(&mut self) -> u64 {
        self.alarms += 1;
        self.alarms
    }

    pub(crate) fn timer_started(
        &mut self,
        host: usize,
        key: u64,
        delay: Duration,
        outcome: TimerOutcome,
        is_live: bool,
    ) {
        self.event(format_args!("host {host} starts timer {key}, {delay:?}: {outcome:?}"), [27, host as u64, key]);
        match outcome {
            TimerOutcome::Started(_) => {
                self.tally.servers[self.hosts[host].service].timers_started += 1;
                let due = self.now + delay;
                // Whose time has come already is due at once, not at the end of a tick.
                let tick = if delay.is_zero() { 1 } else { TICK_NANOSECONDS };
                self.hosts[host].alarms.insert(key, Alarm { due, turn: due.as_nanos().div_ceil(tick) * tick });
            }
            TimerOutcome::Gone if !is_live => {}
            outcome => self.wrong_outcome("start_timer", outcome),
        }
    }

    pub(crate) fn timer_cancelled(&mut self, host: usize, key: u64, was_pending: bool, is_live: bool) {
        self.event(format_args!("host {host} cancels timer {key}: {was_pending}"), [28, host as u64, key]);
        let is_pending = self.hosts[host].alarms.remove(&key).is_some();
        if is_live && is_pending != was_pending {
            self.wrong_outcome("cancel_timer", was_pending);
        }
    }

    pub(crate) fn timer_fired(&mut self, host: usize, key: u64, is_live: bool) {
        self.called(Side::Host(host), is_live);
        self.event(format_args!("timer {key} of host {host} fires"), [29, host as u64, key]);
        self.tally.servers[self.hosts[host].service].timers_fired += 1;
        self.tally.judged.count(Check::Timer);
        let alarms = &mut self.hosts[host].alarms;
        let fired = alarms.remove(&key);
        let before =
            fired.and_then(|fired| alarms.iter().find(|(other, alarm)| (alarm.turn, **other) < (fired.turn, key)));
        if let Some((other, _)) = before {
            let what = format!("timer {key} of host {host}: timer {other} is due before it");
            return self.violate(Violation::Untimely(what));
        }
        self.rang(fired.map(|alarm| alarm.due), || format!("timer {key} of host {host}"));
    }

    /// A timer fires that was due then; `None`: that was not pending.
    pub(super) fn rang(&mut self, due: Option<Time>, what: impl Fn() -> String) {
        let Some(due) = due else { return self.violate(Violation::Untimely(format!("{} is not pending", what()))) };
        let is_late = self.is_quiet(due) && self.now > due + LATE_MAX;
        if self.now < due || is_late {
            let how = if is_late { "late" } else { "early" };
            let by = if is_late { self.now.since(due) } else { due.since(self.now) };
            self.violate(Violation::Untimely(format!("{} is {how} by {by:?}", what())));
        }
    }

    /// Whether nothing has held up a worker since then.
    pub(super) fn is_quiet(&self, since: Time) -> bool {
        self.is_faultless || self.calm_since.is_some_and(|calm| since > calm + super::lives::DELAYED_COMES)
    }
}

impl Host {
    /// A timer that should have fired long ago.
    pub(super) fn overdue(&self, now: Time) -> Option<u64> {
        let alarm = self.alarms.iter().find(|(_, alarm)| now > alarm.due + OVERDUE);
        alarm.filter(|_| self.life == Life::Live).map(|(key, _)| *key)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Scene;
    use super::*;
    use crate::ledger::Phase;

    const DELAYS: [u64; 2] = [300, 100];

    fn at(milliseconds: u64) -> Time {
        Time::from_nanos(milliseconds * 1_000_000)
    }

    /// Two timers of one host; what `then` does is looked at.
    fn found(then: impl Fn(&mut Ledger)) -> Option<&'static str> {
        let mut scene = Scene::new();
        let ledger = &mut scene.ledger;
        ledger.is_faultless = true;
        for (key, delay) in (1..).zip(DELAYS) {
            ledger.hosts[0].alarms.insert(key, Alarm { due: at(delay), turn: at(delay).as_nanos() });
        }
        then(ledger);
        ledger.violation().map(|(_, violation)| violation.name())
    }

    fn fire(ledger: &mut Ledger, key: u64, time: Time) {
        ledger.now = time;
        ledger.timer_fired(0, key, true);
    }

    #[test]
    fn a_timer_fires_at_its_time_and_once() {
        let both = |ledger: &mut Ledger| {
            fire(ledger, 2, at(100));
            fire(ledger, 1, at(301));
        };
        assert_eq!(found(both), None);
        assert_eq!(found(|ledger| fire(ledger, 2, Time::from_nanos(99_999_999))), Some("untimely"));
        assert_eq!(found(|ledger| fire(ledger, 2, at(103))), Some("untimely"));
        assert_eq!(found(|ledger| fire(ledger, 1, at(300))), Some("untimely"), "the other is due before it");
        let twice = |ledger: &mut Ledger| (0..2).for_each(|_| fire(ledger, 2, at(100)));
        assert_eq!(found(twice), Some("untimely"));
    }

    #[test]
    fn a_timer_that_is_cancelled_fires_no_more_and_says_whether_it_was_pending() {
        let cancelled = |was_pending| {
            move |ledger: &mut Ledger| {
                ledger.timer_cancelled(0, 2, was_pending, true);
                fire(ledger, 1, at(300));
            }
        };
        assert_eq!((found(cancelled(true)), found(cancelled(false))), (None, Some("wrong outcome")));
        let fires = |ledger: &mut Ledger| {
            ledger.timer_cancelled(0, 2, true, true);
            fire(ledger, 2, at(100));
        };
        assert_eq!(found(fires), Some("untimely"));
    }

    #[test]
    fn lateness_counts_where_nothing_holds_up_a_worker() {
        let held_up = |ledger: &mut Ledger| {
            ledger.is_faultless = false;
            fire(ledger, 2, at(2_000));
        };
        assert_eq!(found(held_up), None);
        let in_calm = |ledger: &mut Ledger| {
            ledger.is_faultless = false;
            ledger.begin(Phase::Calm, Time::ZERO);
            ledger.hosts[0].alarms.insert(3, Alarm { due: at(9_000), turn: 0 });
            fire(ledger, 3, at(9_003));
        };
        assert_eq!(found(in_calm), Some("untimely"));
    }

    #[test]
    fn who_waits_for_a_timer_that_does_not_come_is_stuck() {
        let mut scene = Scene::new();
        scene.ledger.hosts[0].alarms.insert(1, Alarm { due: at(1), turn: 0 });
        let mut scene = super::super::tests::proved(scene);
        scene.ledger.now = at(500);
        assert_eq!(scene.ledger.unsettled(&[]), None);
        scene.ledger.now = at(1_500);
        assert_eq!(scene.ledger.unsettled(&[]), Some(Side::Host(0)));
        assert_eq!(scene.ledger.stuck(&[], 0).name(), "stuck");
    }
}
