//! When a client service dials again, and why it stops.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pogu_port::Random;

use crate::cause::Cause;
use crate::error::{Error, Result};

/// How a client service brings its sessions back.
///
/// A session that has ended is replaced: its place is dialled again after a random time in a window, from nothing to the
/// whole of it ("full jitter"), so that those who were lost together do not come back together. The window begins with
/// [`Reconnect::window_first`] and doubles with every attempt that brings nothing, up to [`Reconnect::window_max`]. The first
/// useful message begins anew: the first whole frame whose handling does not end the session. A server that accepts and
/// closes at once is therefore not stormed. A policy that is [even](Reconnect::even) repeats at a constant period
/// instead.
///
/// An attempt that is due while too many hang does not stand in line, else all would come at once when the server is there
/// again: it is put off to another random time (while a server is silent: in the longest window), and counts as none.
///
/// A name is looked up again before each attempt, and an attempt has failed when all its addresses have. Not dialled again is
/// a place whose session its own handler ended ([`Cause::HandlerAsked`]; also a factory that refuses) or that was put out
/// ([`Cause::Kicked`]), and nothing is when the service or the core stops.
///
/// ```
/// use std::time::Duration;
/// use pogu::{Reconnect, Service};
///
/// let link = Service::client("login.example:7777").sessions(4).reconnect(Reconnect::default());
/// let bots = Service::client("game.example:7777").sessions(5_000).reconnect(Reconnect::spread_over(Duration::from_secs(8)));
/// # let _ = (link, bots);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Reconnect {
    /// The window of the first attempt. Default 1 s.
    pub window_first: Duration,
    /// The longest window. Default 30 s.
    pub window_max: Duration,
    /// Attempts in a row that bring no useful message, after which the place is given up. Default `None`: never.
    pub attempts_max: Option<u32>,
    /// Whether a place repeats at a constant period, `window_max`, after a first attempt at a time in that window which is
    /// far from those of others. It then keeps its phase for as long as attempts bring nothing, so that at any moment equally many are
    /// due. Requires `window_first` to be the same. Default false: every attempt comes at a random time in its window.
    pub even: bool,
}

impl Default for Reconnect {
    /// For a few sessions, such as links between servers: soon back after a short outage, and little traffic during a
    /// long one. It does not spread many sessions evenly. Measured with 5,000, simulated: after an outage of 5 s or
    /// more the last comes back up to 30 s later, and the busiest 100 ms bring 10 times the mean after 5 s, 6 times
    /// after 10 s, 3 times after a minute. For many sessions there is [`Reconnect::spread_over`].
    fn default() -> Reconnect {
        Reconnect {
            window_first: Duration::from_secs(1),
            window_max: Duration::from_secs(30),
            attempts_max: None,
            even: false,
        }
    }
}

impl Reconnect {
    /// For many sessions of one server, such as bots: [`Reconnect::even`], with this window and without limit. After an
    /// outage of any length all are dialled within `window` of the server's return, at an even rate. The rate is theirs
    /// to bear: 5,000 sessions over 8 s are 625 connections a second. Measured with those, simulated, after outages of
    /// 1 s to 60 s: all back after 8.02 s from one that refused, and the busiest 100 ms brought 1.05 times the mean; after
    /// 8.3 s from one that did not answer, and 2 times the mean.
    ///
    /// While a server does not answer few attempts hang at one time, and one more begins each second: its return is noticed
    /// within about a second. Who is due meanwhile keeps its phase, and it counts as no attempt.
    pub fn spread_over(window: Duration) -> Reconnect {
        Reconnect { window_first: window, window_max: window, attempts_max: None, even: true }
    }

    /// See [`Reconnect::window_first`].
    pub fn window_first(mut self, window_first: Duration) -> Reconnect {
        self.window_first = window_first;
        self
    }

    /// See [`Reconnect::window_max`].
    pub fn window_max(mut self, window_max: Duration) -> Reconnect {
        self.window_max = window_max;
        self
    }

    /// See [`Reconnect::attempts_max`].
    pub fn attempts_max(mut self, attempts_max: u32) -> Reconnect {
        self.attempts_max = Some(attempts_max);
        self
    }

    /// See [`Reconnect::even`].
    pub fn even(mut self, even: bool) -> Reconnect {
        self.even = even;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |field, value: String, allowed| Err(Error::Configuration { field, value, allowed });
        if self.window_first.is_zero() {
            return refuse("window_first", "0".to_owned(), "more than 0");
        }
        if self.window_max < self.window_first {
            return refuse("window_max", format!("{:?}", self.window_max), "at least window_first");
        }
        if self.even && self.window_max != self.window_first {
            return refuse("window_max", format!("{:?}", self.window_max), "window_first, if the policy is even");
        }
        match self.attempts_max {
            Some(0) => refuse("attempts_max", "0".to_owned(), "1 or more"),
            _ => Ok(()),
        }
    }

    /// The window before the next attempt, after `attempts` that brought nothing.
    pub(crate) fn window(&self, attempts: u32) -> Duration {
        let doubled = 2u32.checked_pow(attempts).and_then(|factor| self.window_first.checked_mul(factor));
        doubled.map_or(self.window_max, |window| window.min(self.window_max))
    }

    /// How long to wait before the next attempt, after `attempts` that brought nothing. The last of them was due
    /// `since_due` ago.
    pub(crate) fn delay(&self, attempts: u32, since_due: Duration, random: &mut Random, phases: &Phases) -> Duration {
        let window = self.window(attempts);
        match (self.even, attempts) {
            (false, _) => below(window, random),
            (true, 0) => phases.next(window),
            (true, _) => rest_of_period(window, since_due),
        }
    }

    /// As [`Reconnect::delay`], if the attempt that was due `since_due` ago could not begin. Those that cannot begin while a
    /// server is silent are all that there are: they keep their phases, or come at any time in the longest window. If it
    /// only takes its time, they are few, and need not wait as long.
    pub(crate) fn delay_deferred(
        &self,
        attempts: u32,
        since_due: Duration,
        is_silent: bool,
        random: &mut Random,
        phases: &Phases,
    ) -> Duration {
        let delay = match (self.even, is_silent) {
            (true, true) => rest_of_period(self.window_max, since_due),
            (true, false) => phases.next(self.window_max),
            (false, true) => below(self.window_max, random),
            (false, false) => below(self.window(attempts), random),
        };
        delay.max(Duration::from_nanos(1))
    }
}

/// Any time in the window.
fn below(window: Duration, random: &mut Random) -> Duration {
    Duration::from_nanos(random.below(nanoseconds(window)))
}

/// Until the next attempt of the same phase. From when the last was due, not from when it failed: attempts take different
/// times, and would blur the phases.
fn rest_of_period(window: Duration, since_due: Duration) -> Duration {
    let window = nanoseconds(window);
    let into_period = nanoseconds(since_due).checked_rem(window).unwrap_or(0);
    Duration::from_nanos(window - into_period)
}

/// The phases of the sessions of one service: however many are asked for, one after the other, they lie evenly in their
/// window, where random ones would lie in heaps. Two services begin anywhere, so that theirs do not coincide.
#[derive(Debug)]
pub(crate) struct Phases(AtomicU64);

impl Phases {
    pub(crate) fn new(seed: u64) -> Phases {
        Phases(AtomicU64::new(Random::new(seed).next_number()))
    }

    fn next(&self, window: Duration) -> Duration {
        /// 2^64 divided by the golden ratio: each step falls into one of the widest gaps.
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let point = self.0.fetch_add(STEP, Ordering::Relaxed);
        let scaled = (u128::from(point) * u128::from(nanoseconds(window))) >> 64;
        Duration::from_nanos(u64::try_from(scaled).unwrap_or(u64::MAX))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Whether a session that ended so is to be replaced.
pub(crate) fn is_replaced(cause: &Cause) -> bool {
    !matches!(cause, Cause::HandlerAsked(_) | Cause::Kicked(_) | Cause::ServiceStopping)
}

/// A place that a client service does not dial any more.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct GaveUp {
    /// Attempts in a row that brought no useful message.
    pub attempts: u32,
    /// Why the last of them failed.
    pub cause: Cause,
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "given up after {} attempts to reconnect: {}", self.attempts, self.cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn windows_double_up_to_the_longest_and_never_overflow() {
        let seconds = |reconnect: &Reconnect, attempts| reconnect.window(attempts).as_secs();
        let default = Reconnect::default();
        assert_eq!([0, 1, 2, 3, 4, 5, 6].map(|attempts| seconds(&default, attempts)), [1, 2, 4, 8, 16, 30, 30]);
        let longest = Reconnect::default().window_max(Duration::MAX).window_first(Duration::MAX);
        assert_eq!([0, 31, 32, u32::MAX].map(|attempts| longest.window(attempts)), [Duration::MAX; 4]);
        assert_eq!(seconds(&default, u32::MAX), 30);
    }

    #[test]
    fn delays_fill_their_window_evenly() {
        let (reconnect, mut random, phases) = (Reconnect::default(), Random::new(1), Phases::new(1));
        for (attempts, window) in [(0, 1.0), (3, 8.0), (9, 30.0)] {
            let delays: Vec<f64> =
                (0..10_000).map(|_| reconnect.delay(attempts, SECOND, &mut random, &phases).as_secs_f64()).collect();
            let mean = delays.iter().sum::<f64>() / 10_000.0;
            assert!(delays.iter().all(|delay| (0.0..window).contains(delay)));
            assert!((mean - window / 2.0).abs() < window / 50.0, "{mean} of {window}");
            assert!(delays.iter().any(|delay| *delay < window / 100.0), "from nothing");
            assert!(delays.iter().any(|delay| *delay > window * 0.99), "to the whole");
        }
    }

    #[test]
    fn an_even_policy_keeps_the_phase_of_its_first_attempt() {
        let (reconnect, mut random, phases) = (Reconnect::spread_over(8 * SECOND), Random::new(1), Phases::new(1));
        let mut after = |attempts, took| reconnect.delay(attempts, took, &mut random, &phases);
        let mut first: Vec<Duration> = (0..1000).map(|_| after(0, SECOND)).collect();
        first.sort_unstable();
        let widest = first.windows(2).map(|pair| pair[1] - pair[0]).max().expect("some");
        assert!(first[0] < SECOND / 50 && first[999] > 8 * SECOND - SECOND / 50);
        assert!(widest < 3 * 8 * SECOND / 1000, "{widest:?} without anybody");
        for (took, delay) in [(0, 8), (1, 7), (7, 1), (8, 8), (19, 5)] {
            assert_eq!(after(1, took * SECOND), delay * SECOND, "an attempt of {took} s");
        }
        let longest = Reconnect::spread_over(Duration::MAX);
        assert_eq!(longest.delay(u32::MAX, Duration::MAX, &mut random, &phases), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn who_cannot_begin_keeps_its_phase_or_draws_again() {
        let (mut random, phases) = (Random::new(1), Phases::new(1));
        let even = Reconnect::spread_over(8 * SECOND);
        assert_eq!(even.delay_deferred(3, SECOND / 4, true, &mut random, &phases), 8 * SECOND - SECOND / 4);
        let jitter = Reconnect::default();
        for (policy, is_silent, longest) in [(&even, false, 8), (&jitter, true, 30), (&jitter, false, 4)] {
            let mut delays: Vec<Duration> =
                (0..1000).map(|_| policy.delay_deferred(2, Duration::ZERO, is_silent, &mut random, &phases)).collect();
            delays.sort_unstable();
            assert!(delays[0] > Duration::ZERO && delays[0] < longest * SECOND / 20, "{delays:?}");
            assert!(delays[999] <= longest * SECOND && delays[999] > longest * SECOND * 19 / 20, "{delays:?}");
        }
    }

    #[test]
    fn policies_without_sense_are_refused_by_name() {
        let refused = |reconnect: Reconnect| reconnect.check().expect_err("it makes no sense").to_string();
        assert_eq!(refused(Reconnect::spread_over(Duration::ZERO)), "window_first is 0, allowed is more than 0");
        let short = Reconnect::default().window_max(Duration::from_millis(1));
        assert_eq!(refused(short), "window_max is 1ms, allowed is at least window_first");
        assert_eq!(refused(Reconnect::default().attempts_max(0)), "attempts_max is 0, allowed is 1 or more");
        let uneven = Reconnect::spread_over(SECOND).window_max(2 * SECOND);
        assert_eq!(refused(uneven.clone()), "window_max is 2s, allowed is window_first, if the policy is even");
        let accepted = [Reconnect::default(), Reconnect::spread_over(SECOND), uneven.even(false)];
        assert!(accepted.iter().all(|policy| policy.check().is_ok()));
    }
}
