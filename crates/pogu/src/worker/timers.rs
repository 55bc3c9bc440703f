//! Timers of those who live in a worker: one wheel for all of them.
//!
//! ```text
//!   start ---> wheel, by tick ---- advance ----> due ---- so many per turn ----> on_keyed_timer
//!                |  ^                                          ^
//!     chain of all timers of one owner          started when their time had come: from the next turn on
//! ```
//!
//! An owner that goes takes its timers with it, so that none outlives it and memory comes back at once: its chain goes
//! through the wheel's own places, and costs its carrier four bytes. What falls due together is fired in portions, and the
//! worker looks at its port after each: a million timers at one tick hold up nobody's packets.

use pogu_port::plant::{self, Plant};
use pogu_port::slots::Name;
use pogu_port::{Operations, Time};

use crate::identity::Room;
use crate::progress::Handler;
use crate::timer::{TIMERS_PER_SESSION_MAX, Timer, TimerOutcome};
use crate::worker::wheel::{Chain, Handle, Wheel};
use crate::worker::{Carrier, NEVER, State};

/// Timers that fire in one turn. The others that are due wait for the next one, which comes at once. 1,024 handlers that do
/// little are some 0.15 ms; the turn that comes between costs a few hundredths of that.
const FIRES_PER_TURN_MAX: usize = 1_024;

/// Timers that are moved within the wheel in one turn: eight for each that may fire, which is as often as one is moved at
/// most. A slot with more than that is what it takes to see the difference: a million in one, moved at once, are some 30 ms.
const MOVES_PER_TURN_MAX: usize = 8 * FIRES_PER_TURN_MAX;

/// Who is told when a timer fires. Each kind of owner keeps the [`Chain`] of its timers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TimerOwner {
    Session(Name),
    /// The state of a room whose home is here.
    Room(Room),
}

/// What a timer carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Alarm {
    owner: TimerOwner,
    key: u64,
}

pub(crate) type Timers = Wheel<Alarm>;

impl State {
    pub(crate) fn start_timer(&mut self, name: Name, at: Time, key: u64) -> TimerOutcome {
        let Some(carrier) = self.carriers.get_mut(name).filter(|carrier| carrier.is_live()) else {
            return TimerOutcome::Gone;
        };
        let row = self.ledger.row(carrier.standing.running().index);
        // Whose time has come needs no tick to end: it is as if it had been due at the origin.
        let at = if at > self.now { at } else { Time::ZERO };
        let alarm = Alarm { owner: TimerOwner::Session(name), key };
        let has_room = self.timers.count(&carrier.timers) < TIMERS_PER_SESSION_MAX;
        match has_room.then(|| self.timers.start(at, alarm, &mut carrier.timers)).flatten() {
            Some(handle) => {
                row.timers_started += 1;
                TimerOutcome::Started(Timer::new(self.index, handle))
            }
            None => {
                row.timers_refused += 1;
                TimerOutcome::TooMany
            }
        }
    }

    /// Cancels a timer of this session. True if it was pending.
    pub(crate) fn cancel_timer(&mut self, name: Name, timer: Timer) -> bool {
        let Some(handle) = timer.handle_in(self.index) else { return false };
        let is_own = self.timers.get(handle).is_some_and(|alarm| alarm.owner == TimerOwner::Session(name));
        let Some(carrier) = self.carriers.get_mut(name).filter(|_| is_own) else { return false };
        let cancelled = plant::is(Plant::CancelledFires) || self.timers.remove(handle, &mut carrier.timers).is_some();
        self.ledger.row(carrier.standing.running().index).timers_cancelled += u64::from(cancelled);
        cancelled
    }

    /// The session has begun to end: its timers go.
    pub(super) fn cancel_timers(&mut self, name: Name) {
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let cancelled = self.timers.remove_all(&mut carrier.timers);
        if cancelled > 0 {
            self.ledger.row(carrier.standing.running().index).timers_cancelled += cancelled as u64;
        }
    }

    /// Calls those whose timers are due, or some of them: the others have their turn in the next one.
    pub(super) fn fire_timers(&mut self, operations: &mut Operations<'_>) {
        self.timers.advance(self.now, MOVES_PER_TURN_MAX);
        for _ in 0..FIRES_PER_TURN_MAX {
            let Some((handle, &Alarm { owner, key })) = self.timers.first_due() else { break };
            match owner {
                TimerOwner::Session(name) => self.fire_for_session(operations, name, handle, key),
                TimerOwner::Room(room) => self.fire_for_room(room, handle),
            }
        }
        // A timer of zero that starts a timer of zero must not keep the worker from its port.
        self.timers.admit_fresh();
    }

    fn fire_for_session(&mut self, operations: &mut Operations<'_>, name: Name, handle: Handle, key: u64) {
        let carrier = self.carriers.get_mut(name);
        debug_assert!(carrier.as_deref().is_some_and(Carrier::is_live), "a timer outlived its session");
        let Some(carrier) = carrier else {
            // It would be the next one for ever.
            self.timers.remove(handle, &mut Chain::default());
            return;
        };
        self.timers.remove(handle, &mut carrier.timers);
        self.ledger.row(carrier.standing.running().index).timers_fired += 1;
        let timer = Timer::new(self.index, handle);
        self.call_live(operations, name, Handler::KeyedTimer, |session, cx| session.on_keyed_timer(cx, timer, key));
    }

    /// Replaces the timer of a room; [`NEVER`]: by none.
    pub(crate) fn set_room_timer(&mut self, room: Room, at: Time) {
        let Some(logic) = self.homes.logic(room) else { return };
        if !plant::is(Plant::ReplacedTimerFires) {
            self.timers.remove_all(&mut logic.timers);
        }
        if at != NEVER {
            let at = if at > self.now { at } else { Time::ZERO };
            // It is refused when four billion are pending: more than memory holds.
            let _ = self.timers.start(at, Alarm { owner: TimerOwner::Room(room), key: 0 }, &mut logic.timers);
        }
    }

    fn fire_for_room(&mut self, room: Room, handle: Handle) {
        let logic = self.homes.logic(room);
        debug_assert!(logic.is_some(), "a timer outlived its room");
        let Some(logic) = logic else {
            self.timers.remove(handle, &mut Chain::default());
            return;
        };
        self.timers.remove(handle, &mut logic.timers);
        self.call_room(room, |state, cx| state.on_timer(cx));
    }

    /// When a timer is due.
    pub(super) fn next_timer(&self) -> Option<Time> {
        self.timers.next_due().filter(|due| *due < NEVER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_takes_a_line_of_cache() {
        let bytes = Timers::timer_bytes();
        assert!(bytes <= 64, "{bytes} bytes");
    }
}
