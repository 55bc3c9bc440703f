//! Bots that leave the plaza by ending their connection, and come back over another one: whom the world forgets to put off the
//! map stays there, and is seen.
//!
//! ```text
//!   chosen --on the map, no answer owed--> leaves --its end has come--> away --dialled--> back --its ENTER is replayed--> next
//!   judge                                  bot                          judge                       judge
//! ```
//!
//! One at a time: the end of a connection is an action of the world that nobody acknowledges. As long as only one is away, the
//! order that is missing among those that were acknowledged is that of its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pogu::Core;

use super::super::check::mixed;
use super::super::run::service;
use super::super::{Options, state};
use super::Square;
use super::bot::Bot;
use super::judge::Judge;
use crate::failure::Failure;

/// How often bots of one run leave. Each is dialled by a service of its own, which the core remembers as long as it lives.
const LEAVES_MAX: u64 = 1_000;

/// Nobody leaves so shortly before the end of a run: its return is to be a part of it.
const LAST_LEAVE: Duration = Duration::from_secs(1);

const NOBODY: usize = usize::MAX;

/// What the bots and the usher tell each other.
pub(super) struct Door {
    /// The bot that is to leave.
    chosen: AtomicUsize,
    /// The bot whose connection has ended, because it left.
    away: AtomicUsize,
}

impl Default for Door {
    fn default() -> Door {
        Door { chosen: AtomicUsize::new(NOBODY), away: AtomicUsize::new(NOBODY) }
    }
}

impl Door {
    /// True if this bot is to leave as soon as it can.
    pub(super) fn is_for(&self, number: usize) -> bool {
        self.chosen.load(Ordering::Relaxed) == number
    }

    /// The connection of a bot that has left has ended.
    pub(super) fn went(&self, number: usize) {
        self.chosen.store(NOBODY, Ordering::Relaxed);
        self.away.store(number, Ordering::Release);
    }
}

/// Says who leaves, and brings back who is away. Part of the judge's thread.
pub(super) struct Usher<'a> {
    core: &'a Core,
    square: &'a Arc<Square>,
    chosen: u64,
}

impl<'a> Usher<'a> {
    pub(super) fn new(core: &'a Core, square: &'a Arc<Square>) -> Usher<'a> {
        Usher { core, square, chosen: 0 }
    }

    /// Does what is to be done behind a round of the judge.
    pub(super) fn go_on(&mut self, judge: &Judge) -> Result<(), Failure> {
        let away = self.square.door.away.swap(NOBODY, Ordering::AcqRel);
        if away != NOBODY {
            self.dial(away)?;
        }
        // Who was chosen last has come back, and the judge knows when it was gone.
        if self.chosen == judge.returned() && self.may_choose(judge) {
            let bots = self.square.shared.opened().max(1);
            let run = self.square.shared.sender(0);
            self.square.door.chosen.store(mixed(run ^ self.chosen) as usize % bots, Ordering::Relaxed);
            self.chosen += 1;
        }
        Ok(())
    }

    fn may_choose(&self, judge: &Judge) -> bool {
        let shared: &state::Shared = &self.square.shared;
        let is_early = shared.started().is_some_and(|start| {
            self.core.now() >= start && self.core.now() + LAST_LEAVE < start + shared.options.duration
        });
        shared.options.alone && is_early && self.chosen < LEAVES_MAX && judge.knows_all_orders()
    }

    fn dial(&self, number: usize) -> Result<(), Failure> {
        let options = Options { sessions: 1, ..self.square.shared.options.clone() };
        let (square, visit) = (Arc::clone(self.square), self.chosen);
        self.core.connect(service(&options), move |incoming| {
            Bot::new(Arc::clone(&square), number, incoming.worker).on_visit(visit)
        })?;
        Ok(())
    }
}
