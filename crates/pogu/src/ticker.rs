//! A fixed rate for loops of game logic: rooms, worlds.
//!
//! ```text
//!   start          +1           +2           +3           +4            tick n is due at start + n intervals, rounded up to 1 ns
//!     |------------|------------|------------|------------|----->
//!    run 0        run 1                        ^ late: 2 and 3 are due.   Run: both, now.   Skip: 3 alone, 2 is missed.
//! ```
//!
//! A loop that sets its timer one interval ahead of *now* adds every delay to all that follows: at 60 ticks a second and a
//! tenth of a millisecond each, it is a tick behind after three seconds, and two rooms that began together drift apart. Here
//! only the number of the next tick is kept, and when it is due is computed from the start: nothing adds up, neither delays
//! nor what a rate leaves over that does not divide a second.

use std::ops::Range;
use std::time::Duration;

use pogu_port::Time;

/// What becomes of ticks whose time passed without being run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CatchUp {
    /// Every tick is run, at most so many at once (0 counts as 1); what is left is due at once, in the next turn. For logic
    /// that counts ticks. One whose ticks take longer than their interval falls behind more and more: look at
    /// [`Ticker::behind`].
    Run {
        /// Ticks that are made up for at once.
        ticks_max: u32,
    },
    /// Of the ticks whose time has come only the latest is run. For logic that looks at the time by itself.
    Skip,
}

/// How well a loop has kept its rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Overruns {
    /// Ticks that were run when their successor was due already.
    pub late: u64,
    /// Ticks that were never run.
    pub missed: u64,
    /// The longest time from when a tick was due to when it was run or missed.
    pub delay_longest: Duration,
}

/// Says how many ticks of a fixed rate are to be run, and when the next is due. It does not drift, whatever delays it.
///
/// It knows no clock: it is asked with the time of the turn, and a timer of the room or the session (or the loop's own wait)
/// brings it back. [`Context::set_timer_at`](crate::Context::set_timer_at) does so at its exact time,
/// [`RoomContext::set_timer_at`](crate::RoomContext::set_timer_at) and
/// [`Context::start_timer_at`](crate::Context::start_timer_at) up to a millisecond later, which does not add up either: at 60
/// ticks a second a room has them at 17, 34 and 50 ms, and at 1,000 ms the sixtieth.
///
/// ```
/// use pogu::{CatchUp, RoomContext, RoomState, SessionId, Ticker};
///
/// const FRAME: u16 = 1;
///
/// /// A match, 60 ticks a second from the first player on.
/// #[derive(Default)]
/// struct Match {
///     ticker: Option<Ticker>,
///     frame: u64,
/// }
///
/// impl RoomState for Match {
///     fn on_join(&mut self, cx: &mut RoomContext<'_>, _player: SessionId) {
///         if self.ticker.is_none() {
///             let ticker = Ticker::per_second(cx.now(), 60).catch_up(CatchUp::Run { ticks_max: 5 });
///             cx.set_timer_at(ticker.next_due());
///             self.ticker = Some(ticker);
///         }
///     }
///
///     fn on_timer(&mut self, cx: &mut RoomContext<'_>) {
///         let Some(ticker) = &mut self.ticker else { return };
///         for tick in ticker.run(cx.now()) {
///             self.frame = tick;
///         }
///         cx.set_timer_at(ticker.next_due());
///         let _ = cx.broadcast(FRAME, &self.frame.to_le_bytes());
///     }
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ticker {
    start: Time,
    /// So many ticks take so many nanoseconds: 60 and 1,000,000,000.
    ticks: u32,
    nanoseconds: u64,
    catch_up: CatchUp,
    /// The number of the next tick.
    next: u64,
    overruns: Overruns,
}

impl Ticker {
    /// A tick every `interval`, the first one at `start`. An interval of zero counts as one nanosecond, one of more than 584
    /// years as that.
    pub fn every(start: Time, interval: Duration) -> Ticker {
        let nanoseconds = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        Ticker { start, ticks: 1, nanoseconds, catch_up: CatchUp::Skip, next: 0, overruns: Overruns::default() }
    }

    /// So many ticks in every second, the first one at `start`. 0 counts as 1.
    pub fn per_second(start: Time, ticks: u32) -> Ticker {
        Ticker { ticks: ticks.max(1), ..Ticker::every(start, Duration::from_secs(1)) }
    }

    /// What becomes of missed ticks. Default: [`CatchUp::Skip`].
    pub fn catch_up(self, catch_up: CatchUp) -> Ticker {
        Ticker { catch_up, ..self }
    }

    /// When the next tick is due. After a [`Ticker::run`] that left ticks to be made up for, that time has passed.
    pub fn next_due(&self) -> Time {
        self.due(self.next)
    }

    /// Ticks whose time has come by `now` and which have not been run.
    pub fn behind(&self, now: Time) -> u64 {
        self.come(now).saturating_sub(self.next)
    }

    /// The numbers of the ticks that are to be run now, counted from 0 at the start. Empty before the next one is due.
    pub fn run(&mut self, now: Time) -> Range<u64> {
        let (next, behind) = (self.next, self.behind(now));
        if behind == 0 {
            return next..next;
        }
        let first = match self.catch_up {
            CatchUp::Run { .. } => next,
            CatchUp::Skip => next + behind - 1,
        };
        let last = match self.catch_up {
            CatchUp::Run { ticks_max } => next + behind.min(u64::from(ticks_max.max(1))) - 1,
            CatchUp::Skip => first,
        };
        self.next = last + 1;
        // The latest that is due is on time; those before it are not.
        let latest = next + behind - 1;
        self.overruns.late += (last + 1 - first) - u64::from(last == latest);
        self.overruns.missed += first - next;
        self.overruns.delay_longest = self.overruns.delay_longest.max(now.since(self.due(next)));
        first..last + 1
    }

    /// How well the rate was kept so far.
    pub fn overruns(&self) -> Overruns {
        self.overruns
    }

    fn due(&self, tick: u64) -> Time {
        let nanoseconds = (u128::from(tick) * u128::from(self.nanoseconds)).div_ceil(u128::from(self.ticks));
        self.start + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// Ticks whose time has come, since the start.
    fn come(&self, now: Time) -> u64 {
        if now < self.start {
            return 0;
        }
        let ticks = now.since(self.start).as_nanos() * u128::from(self.ticks) / u128::from(self.nanoseconds);
        u64::try_from(ticks).unwrap_or(u64::MAX).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use pogu_port::Random;

    use super::*;

    const START: Time = Time::from_nanos(123_456_789);

    fn after(nanoseconds: u64) -> Time {
        START + Duration::from_nanos(nanoseconds)
    }

    #[test]
    fn a_rate_that_does_not_divide_a_second_does_not_drift() {
        for rate in [1, 3, 7, 30, 60, 64, 128, 1_000, 999_983] {
            let mut ticker = Ticker::per_second(START, rate);
            let hours = 1_000;
            for hour in [0, 1, hours] {
                let ticks = hour * 3_600 * u64::from(rate);
                assert_eq!(ticker.due(ticks), after(hour * 3_600_000_000_000), "exact after whole seconds");
                let next = after(hour * 3_600_000_000_000 + 1_000_000_000u64.div_ceil(rate.into()));
                assert_eq!(ticker.due(ticks + 1), next);
            }
            // Each of them is run exactly when it is due, and not a nanosecond earlier.
            for tick in 0..1_000 {
                let due = ticker.next_due();
                assert_eq!(due, after((tick * 1_000_000_000u64).div_ceil(rate.into())));
                assert_eq!(ticker.run(Time::from_nanos(due.as_nanos() - 1)), tick..tick);
                assert_eq!(ticker.run(due), tick..tick + 1);
            }
            assert_eq!(ticker.overruns(), Overruns::default());
        }
    }

    #[test]
    fn what_delays_a_tick_does_not_delay_the_next() {
        let interval = 16_000_000;
        let mut ticker = Ticker::every(START, Duration::from_nanos(interval));
        let mut random = Random::new(1);
        for tick in 0..100_000 {
            assert_eq!(ticker.next_due(), after(tick * interval));
            let delay = random.below(interval);
            assert_eq!(ticker.run(after(tick * interval + delay)), tick..tick + 1);
        }
        let Overruns { late, missed, delay_longest } = ticker.overruns();
        assert_eq!((late, missed), (0, 0), "less than an interval is no overrun");
        assert!(delay_longest > Duration::from_millis(15) && delay_longest < Duration::from_millis(16));
    }

    #[test]
    fn missed_ticks_are_made_up_for_so_many_at_once() {
        let mut ticker = Ticker::every(START, Duration::from_nanos(10)).catch_up(CatchUp::Run { ticks_max: 3 });
        assert_eq!(ticker.run(after(0)), 0..1);
        // 1 to 8 are due, 8 since two nanoseconds.
        let now = after(82);
        assert_eq!((ticker.behind(now), ticker.run(now), ticker.next_due()), (8, 1..4, after(40)));
        assert_eq!((ticker.behind(now), ticker.run(now)), (5, 4..7));
        assert_eq!((ticker.run(now), ticker.next_due()), (7..9, after(90)));
        assert_eq!((ticker.behind(now), ticker.run(now)), (0, 9..9));
        let delay_longest = Duration::from_nanos(72);
        assert_eq!(ticker.overruns(), Overruns { late: 7, missed: 0, delay_longest });
    }

    #[test]
    fn missed_ticks_are_skipped_and_counted() {
        let mut ticker = Ticker::every(START, Duration::from_nanos(10));
        assert_eq!(ticker.run(after(0)), 0..1);
        assert_eq!((ticker.run(after(82)), ticker.next_due()), (8..9, after(90)));
        let delay_longest = Duration::from_nanos(72);
        assert_eq!(ticker.overruns(), Overruns { late: 0, missed: 7, delay_longest });
        assert_eq!(ticker.run(after(90)), 9..10, "back in step");
    }

    /// Whatever the delays: the numbers only go up, with no hole unless ticks are skipped, and all are accounted for.
    #[test]
    fn every_tick_is_run_or_missed_once() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let catch_up = match seed % 2 {
                0 => CatchUp::Skip,
                _ => CatchUp::Run { ticks_max: random.below(5) as u32 },
            };
            let mut ticker = Ticker::per_second(START, 1 + random.below(200) as u32).catch_up(catch_up);
            let (mut now, mut next, mut run) = (0, 0, 0);
            for _ in 0..500 {
                now += random.below(50_000_000);
                let ticks = ticker.run(after(now));
                assert!(ticks.start >= next && (seed % 2 == 0 || ticks.start == next));
                assert!(ticks.clone().all(|tick| ticker.due(tick) <= after(now)), "none is early");
                next = ticks.end;
                run += ticks.end - ticks.start;
                assert!(ticker.behind(after(now)) == 0 || seed % 2 == 1);
            }
            assert_eq!(run + ticker.overruns().missed, next);
            assert_eq!(ticker.next_due(), ticker.due(next));
        }
    }

    #[test]
    fn the_ends_of_time_are_no_trap() {
        let mut ticker = Ticker::every(START, Duration::ZERO);
        assert_eq!(ticker.run(Time::ZERO), 0..0, "before the start");
        assert_eq!(ticker.run(after(5)), 5..6);
        let mut last = Ticker::every(Time::ZERO, Duration::MAX).catch_up(CatchUp::Run { ticks_max: 0 });
        let end = Time::from_nanos(u64::MAX);
        assert_eq!((last.run(end), last.run(end), last.run(end)), (0..1, 1..2, 2..2));
        let mut often = Ticker::per_second(Time::ZERO, u32::MAX).catch_up(CatchUp::Run { ticks_max: u32::MAX });
        assert_eq!(often.run(end), 0..u64::from(u32::MAX));
        assert_eq!(often.next_due(), Time::ZERO + Duration::from_secs(1));
    }
}
