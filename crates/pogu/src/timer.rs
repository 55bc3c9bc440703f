//! Timers by handle: any number per session up to a bound, each with a key that says what it is for.

use std::fmt;
use std::time::Duration;

use pogu_port::Time;

use crate::context::Context;
use crate::worker::Handle;

/// Timers that one session may have pending: 64 KiB of memory, a quarter of what its send queue may hold, and what it costs
/// others to forget it. One more is refused.
pub const TIMERS_PER_SESSION_MAX: usize = 1_024;

/// The name of one start of a timer: worker, place, and a generation that never comes twice in its worker.
///
/// `Copy`: keep it, throw it away, compare it. When the timer has fired or was cancelled, the name reaches nothing. It means
/// something to the session that started it; no other can cancel with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timer {
    worker: u16,
    handle: Handle,
}

impl Timer {
    pub(crate) fn new(worker: usize, handle: Handle) -> Timer {
        Timer { worker: u16::try_from(worker).unwrap_or(u16::MAX), handle }
    }

    /// The handle, if it is of that worker.
    pub(crate) fn handle_in(self, worker: usize) -> Option<Handle> {
        (usize::from(self.worker) == worker).then_some(self.handle)
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timer {}.{:?}", self.worker, self.handle)
    }
}

/// What became of the start of a timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a timer that was refused never fires"]
#[non_exhaustive]
pub enum TimerOutcome {
    /// `on_keyed_timer` will be called with this name, unless it is cancelled or the session ends before.
    Started(Timer),
    /// The session has as many pending as it may have ([`TIMERS_PER_SESSION_MAX`]). Counted as
    /// [`Counters::timers_refused`](crate::Counters::timers_refused).
    TooMany,
    /// The session has ended or is ending.
    Gone,
}

impl TimerOutcome {
    /// The timer, if it was started.
    pub fn timer(self) -> Option<Timer> {
        match self {
            TimerOutcome::Started(timer) => Some(timer),
            TimerOutcome::TooMany | TimerOutcome::Gone => None,
        }
    }
}

impl Context<'_> {
    /// Calls [`Session::on_keyed_timer`](crate::Session::on_keyed_timer) with `key` once after `delay`. Any number may be
    /// pending, up to [`TIMERS_PER_SESSION_MAX`].
    ///
    /// The resolution is 1 ms: it fires at the first whole millisecond of the clock that is not before its time, so never early;
    /// those of one millisecond in the order in which they were started. One whose time has come already, by a delay of zero,
    /// say, fires in the next turn, not in this one. Where more than 1,024 of one worker are due together, the worker looks at
    /// its port after each 1,024.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use pogu::{Context, Packet, Session, Timer};
    ///
    /// const POISON: u64 = 1;
    /// const REGENERATION: u64 = 2;
    /// const HALF_A_SECOND: Duration = Duration::from_millis(500);
    ///
    /// /// Poison hurts twice a second until it is cured.
    /// struct Player {
    ///     health: u32,
    ///     poison: Option<Timer>,
    /// }
    ///
    /// impl Session for Player {
    ///     fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
    ///         match (packet.id(), self.poison) {
    ///             (1, None) => self.poison = cx.start_timer(HALF_A_SECOND, POISON).timer(),
    ///             (2, Some(poison)) => {
    ///                 cx.cancel_timer(poison);
    ///                 self.poison = None;
    ///             }
    ///             _ => {}
    ///         }
    ///     }
    ///
    ///     fn on_keyed_timer(&mut self, cx: &mut Context<'_>, _timer: Timer, key: u64) {
    ///         match key {
    ///             POISON => {
    ///                 self.health = self.health.saturating_sub(1);
    ///                 self.poison = cx.start_timer(HALF_A_SECOND, POISON).timer();
    ///             }
    ///             REGENERATION => self.health += 1,
    ///             _ => {}
    ///         }
    ///     }
    /// }
    /// ```
    pub fn start_timer(&mut self, delay: Duration, key: u64) -> TimerOutcome {
        self.start_timer_at(self.now() + delay, key)
    }

    /// As [`Context::start_timer`], at a time.
    pub fn start_timer_at(&mut self, time: Time, key: u64) -> TimerOutcome {
        self.state.start_timer(self.name, time, key)
    }

    /// Cancels a timer of this session: it does not fire any more, not even if it is due in this very turn. True if it was
    /// pending; false if it has fired, was cancelled, or is not this session's.
    pub fn cancel_timer(&mut self, timer: Timer) -> bool {
        self.state.cancel_timer(self.name, timer)
    }
}
