//! What a listener does when the system has run out of descriptors, memory or buffers: pause, and try again.
//!
//! Trying at once would spin (a full descriptor table refuses an accept without waiting for a client), giving up would
//! leave a dead listener. So the listener pauses. If the *descriptors* are what is missing and the shortage outlasts the
//! first pause, each further try gives up a spare descriptor for a moment, accepts one waiting client with it and resets
//! it: the client learns at once what it would otherwise learn by a timeout, at most one per pause.
//!
//! A failure that concerns one client, or nobody (an interruption), is skipped; but many in a row without a client are a
//! shortage of their own kind. However often shortages begin and end, a listener writes one line in five seconds.

use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::clock::Time;
use crate::codes;
use crate::error::{OsError, OsErrorClass};

/// A shortage that has not shown itself for so long after a pause is over, even if nobody connected meanwhile.
const LAPSE: Duration = Duration::from_secs(1);

/// Near the limit shortages begin and end with every client: the log is told once in so long, the owner always.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// What to do about a failed accept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// The failure concerned one client (it had reset the connection): accept the next one.
    Skip,
    /// Wait until the time, then try again. `begins` is true at the first failure of a shortage.
    Pause { until: Time, begins: bool },
}

/// Failures in a row that are skipped, without a client between them, before the listener pauses all the same.
const SKIPS_MAX: u32 = 64;

/// The state of one listener.
#[derive(Debug, Default)]
pub(crate) struct Shortage {
    /// Failed tries since the last success.
    tries: u32,
    /// Of these, the last ones in a row that found no descriptor.
    without_descriptor: u32,
    /// Failures skipped since the last success or pause.
    skips: u32,
    /// When the last pause ended or will end.
    retry_at: Time,
    lines: SeldomLines,
}

/// Log lines of one kind, of which one in five seconds is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SeldomLines {
    last: Option<Time>,
}

impl SeldomLines {
    /// True if one may be written now, which then counts as written.
    pub(crate) fn allow(&mut self, now: Time) -> bool {
        let may = self.last.is_none_or(|last| now.since(last) >= LOG_INTERVAL);
        if may {
            self.last = Some(now);
        }
        may
    }
}

impl Shortage {
    /// A connection was accepted: the shortage, if there was one, is over.
    pub(crate) fn over(&mut self) {
        *self = Shortage { lines: self.lines, ..Shortage::default() };
    }

    /// Judges a failed accept. Anything that is not known to concern a single client is treated as a shortage: a pause
    /// is always safe, a retry at once is not.
    pub(crate) fn judge(&mut self, error: OsError, now: Time, pause: Duration) -> Verdict {
        if passes(error) && self.skips < SKIPS_MAX {
            self.skips += 1;
            return Verdict::Skip;
        }
        let (until, begins) = self.pause(error, now, pause);
        Verdict::Pause { until, begins }
    }

    /// Pauses whatever the error is. Tells until when, and whether a shortage begins with it.
    pub(crate) fn pause(&mut self, error: OsError, now: Time, pause: Duration) -> (Time, bool) {
        if now.since(self.retry_at) >= LAPSE {
            self.tries = 0;
            self.without_descriptor = 0;
        }
        self.skips = 0;
        self.tries = self.tries.saturating_add(1);
        self.without_descriptor = if lacks_descriptor(error) { self.without_descriptor.saturating_add(1) } else { 0 };
        self.retry_at = now + pause;
        let begins = self.tries == 1;
        if begins && self.lines.allow(now) {
            tracing::warn!(%error, retry_after = ?pause, "accepting is paused");
        }
        (self.retry_at, begins)
    }

    /// True if the shortage of descriptors has outlasted a pause, so that a waiting client should be told.
    pub(crate) fn lasts(&self) -> bool {
        self.without_descriptor >= 2
    }
}

/// True if the next try may well succeed: one client had gone, or the try was interrupted.
fn passes(error: OsError) -> bool {
    matches!(error.class(), OsErrorClass::Reset | OsErrorClass::Cancelled) || codes::is_transient(error.code())
}

fn lacks_descriptor(error: OsError) -> bool {
    codes::LACKS_DESCRIPTOR.contains(&error.code())
}

/// A descriptor held in reserve.
#[derive(Debug)]
pub(crate) struct Spare(Option<Socket>);

impl Spare {
    /// Takes one, if the system has one to give.
    pub(crate) fn reserve() -> Spare {
        // A socket that is bound and connected to nothing: there on every system, without a file system.
        let domain = if cfg!(unix) { Domain::UNIX } else { Domain::IPV4 };
        Spare(Socket::new(domain, Type::DGRAM, None).ok())
    }

    /// Gives the descriptor up for the length of `use_it`, then takes one again.
    pub(crate) fn lend<R>(&mut self, use_it: impl FnOnce() -> R) -> R {
        self.0 = None;
        let result = use_it();
        *self = Spare::reserve();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Operation;

    const PERMISSION_DENIED: i32 = if cfg!(windows) { 10_013 } else { 1 };

    fn failed(code: i32) -> OsError {
        OsError::from_code(Operation::Accept, code)
    }

    #[test]
    fn a_client_that_reset_is_skipped_and_a_shortage_pauses() {
        let mut shortage = Shortage::default();
        let pause = Duration::from_millis(50);
        assert_eq!(shortage.judge(failed(codes::CONNECTION_RESET), Time::ZERO, pause), Verdict::Skip);
        for &code in codes::EXHAUSTED.iter().chain([&PERMISSION_DENIED]) {
            let mut shortage = Shortage::default();
            let until = Time::ZERO + pause;
            let first = Verdict::Pause { until, begins: true };
            assert_eq!(shortage.judge(failed(code), Time::ZERO, pause), first);
            assert!(!shortage.lasts());
            let second = Verdict::Pause { until, begins: false };
            assert_eq!(shortage.judge(failed(code), Time::ZERO, pause), second);
            assert_eq!(shortage.lasts(), codes::LACKS_DESCRIPTOR.contains(&code), "one that a descriptor ends");
            shortage.over();
            assert!(!shortage.lasts());
        }
    }

    #[test]
    fn what_passes_is_skipped_but_not_for_ever() {
        for &code in codes::WOULD_BLOCK.iter().chain([&codes::CONNECTION_RESET, &codes::INTERRUPTED]) {
            let mut shortage = Shortage::default();
            for _ in 0..3 {
                for _ in 0..SKIPS_MAX {
                    assert_eq!(shortage.judge(failed(code), Time::ZERO, LAPSE), Verdict::Skip);
                }
                assert!(matches!(shortage.judge(failed(code), Time::ZERO, LAPSE), Verdict::Pause { .. }));
            }
        }
    }

    #[test]
    fn a_shortage_long_after_the_last_one_is_a_new_one() {
        let pause = Duration::from_millis(50);
        let begins = |shortage: &mut Shortage, now| {
            let verdict = shortage.judge(failed(codes::LACKS_DESCRIPTOR[0]), now, pause);
            let Verdict::Pause { until, begins } = verdict else { panic!("{verdict:?}") };
            assert_eq!(until, now + pause);
            begins
        };
        let mut shortage = Shortage::default();
        let first = Time::ZERO + Duration::from_secs(100);
        assert!(begins(&mut shortage, first));
        assert!(!begins(&mut shortage, first + pause));
        assert!(shortage.lasts());
        let hour = first + Duration::from_secs(3600);
        assert!(begins(&mut shortage, hour), "nobody was accepted between the two, for nobody came");
        assert!(!shortage.lasts(), "no client is sent away at once");
        assert!(!begins(&mut shortage, hour + pause + Duration::from_millis(999)));
    }

    #[test]
    fn shortages_that_come_and_go_are_logged_now_and_then() {
        let mut shortage = Shortage::default();
        let logs =
            (0..1200u32).filter(|&tick| shortage.lines.allow(Time::ZERO + Duration::from_millis(50) * tick)).count();
        assert_eq!(logs, 12, "a minute, once in five seconds");
    }
}
