//! Who steers a run from outside: an interrupt, or the process that this one is a part for.

use std::time::Duration;

use pogu::Interrupt;

use super::part::{Event, Parent, Word, tell};
use super::progress::{Progress, Sight};
use crate::failure::Failure;

/// Between two looks at the sessions.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// Who may end a run early.
pub(super) enum Signals<'a> {
    Nobody,
    Interrupt(&'a Interrupt),
    /// Also says when all parts have come as far as this one.
    Parent(&'a Parent),
}

/// What the thread that watches a run has in its hands.
pub(super) struct Helm<'a> {
    signals: Signals<'a>,
    progress: &'a mut Progress,
    interrupted: bool,
    /// Steps that the parent has allowed and this part has not taken.
    allowed: u64,
}

impl<'a> Helm<'a> {
    pub(super) fn new(signals: Signals<'a>, progress: &'a mut Progress) -> Helm<'a> {
        Helm { signals, progress, interrupted: false, allowed: 0 }
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    pub(super) fn show(&mut self, sight: Sight) {
        self.progress.show(sight);
    }

    pub(super) fn end(&mut self) {
        self.progress.end();
    }

    /// The interrupt that may cut the close short.
    pub(super) fn interrupt(&self) -> Option<&'a Interrupt> {
        match self.signals {
            Signals::Interrupt(interrupt) => Some(interrupt),
            Signals::Nobody | Signals::Parent(_) => None,
        }
    }

    /// Waits, at most `timeout`, unless there is news.
    pub(super) fn nap(&mut self, timeout: Duration) -> Result<(), Failure> {
        let word = match self.signals {
            Signals::Nobody => {
                std::thread::park_timeout(timeout);
                None
            }
            Signals::Interrupt(interrupt) => interrupt.wait_timeout(timeout).then_some(Word::Stop),
            Signals::Parent(parent) => parent.wait(timeout),
        };
        match word {
            Some(Word::Next) => self.allowed += 1,
            Some(Word::Stop) if self.interrupted => return Err(twice()),
            Some(Word::Stop) => self.interrupted = true,
            Some(Word::Gone) => {
                return Err(Failure::Run("the swarm that this process is a part of has gone".to_owned()));
            }
            None => {}
        }
        Ok(())
    }

    /// Waits until all parts of the run have come so far.
    pub(super) fn step(&mut self) -> Result<(), Failure> {
        if !matches!(self.signals, Signals::Parent(_)) {
            return Ok(());
        }
        tell(&Event::Reached);
        while self.allowed == 0 && !self.interrupted {
            self.nap(LOOK)?;
        }
        self.allowed = self.allowed.saturating_sub(1);
        Ok(())
    }
}

pub(super) fn twice() -> Failure {
    Failure::Run("interrupted twice: left without results".to_owned())
}

/// Runs out when a number has not changed for a while.
pub(super) struct Patience {
    allowed: Duration,
    number: u64,
    since: pogu::Time,
}

impl Patience {
    pub(super) fn new(allowed: Duration, now: pogu::Time) -> Patience {
        Patience { allowed, number: u64::MAX, since: now }
    }

    pub(super) fn is_over(&mut self, number: u64, now: pogu::Time) -> bool {
        if self.number != number {
            (self.number, self.since) = (number, now);
        }
        now.since(self.since) >= self.allowed
    }
}
