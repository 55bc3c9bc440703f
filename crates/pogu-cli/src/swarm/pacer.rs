//! When a session sends, and when it has sent all that it will: by its schedule, or by the answers that come.
//!
//! ```text
//!   Waiting --the run has begun--> Scheduled --nothing more is due--> Over
//!                       '--------> Answered ------the time is up------^
//! ```
//!
//! Messages are numbered from 0 in the order in which they leave. How one is written and who is told of it is the session's
//! matter: its [`Voice`].

use std::time::Duration;

use pogu::{Context, Time};

use super::pace::Schedule;
use super::state::{LAST_ECHO_INTERVAL, Shared, Stage};
use super::{Mode, Pace};

/// Messages that a session sends in one turn at most when it is behind its schedule.
const BURST_MAX: usize = 64;

/// How long a session waits when its send queue is full.
const FULL_WAIT: Duration = Duration::from_millis(2);

/// How long after the end a session that is behind its schedule still catches up.
pub(super) const OVERTIME: Duration = Duration::from_secs(1);

/// What a pacer needs of its session.
pub(super) trait Voice {
    fn shared(&self) -> &Shared;

    /// The session's number.
    fn number(&self) -> usize;

    /// From when on it owes messages in a run that began at `start`.
    fn owes_from(&self, start: Time, now: Time) -> Time;

    /// Sends a message that was due at `due`; false if it has to wait.
    fn say(&mut self, cx: &mut Context<'_>, message: u64, due: Time) -> bool;
}

/// See the [module](self).
pub(super) struct Pacer {
    state: State,
    sent: u64,
    unsent: u64,
}

#[derive(Clone, Copy)]
enum State {
    /// The run has not begun.
    Waiting,
    Scheduled(Schedule),
    /// A message leaves whenever one of its own has come back, until this time.
    Answered {
        start: Time,
        end: Time,
    },
    Over,
}

impl Pacer {
    pub(super) fn new() -> Pacer {
        Pacer { state: State::Waiting, sent: 0, unsent: 0 }
    }

    /// Messages that have been sent.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Messages that were due and never sent because the server did not keep up.
    pub(super) fn unsent(&self) -> u64 {
        self.unsent
    }

    /// Does what is due, and sets the timer for what comes next.
    pub(super) fn go_on(&mut self, cx: &mut Context<'_>, voice: &mut impl Voice) {
        match self.state {
            State::Waiting => self.begin(cx, voice),
            State::Scheduled(schedule) => self.send_due(cx, voice, schedule),
            State::Answered { start, end } => self.keep_in_flight(cx, voice, start, end),
            State::Over => {}
        }
    }

    /// One of the session's own messages has come back.
    pub(super) fn answered(&mut self, cx: &mut Context<'_>, voice: &mut impl Voice, now: Time) {
        let State::Answered { end, .. } = self.state else { return };
        match now < end && !voice.shared().has_stopped() {
            true => drop(self.send(cx, voice, now)),
            false => self.finish(voice),
        }
    }

    fn begin(&mut self, cx: &mut Context<'_>, voice: &mut impl Voice) {
        let shared = voice.shared();
        let Some(began) = shared.start(cx.now()) else { return cx.set_timer(shared.look_again()) };
        let options = &shared.options;
        let end = began + options.duration;
        let start = voice.owes_from(began, cx.now());
        match (options.mode, options.pace) {
            (Mode::Idle, _) => {
                let later = LAST_ECHO_INTERVAL * u32::try_from(voice.number()).unwrap_or(u32::MAX);
                self.schedule(cx, voice, Schedule::once(end + later));
            }
            (_, Pace::Rate(rate)) => {
                let schedule = Schedule::new(start, end.since(start), rate, voice.number(), shared.opened());
                self.schedule(cx, voice, schedule);
            }
            (_, Pace::Depth(_)) => {
                self.state = State::Answered { start, end };
                cx.set_timer_at(start);
            }
        }
    }

    fn schedule(&mut self, cx: &mut Context<'_>, voice: &mut impl Voice, schedule: Schedule) {
        self.state = State::Scheduled(schedule);
        self.send_due(cx, voice, schedule);
    }

    /// Sends what the schedule says, and sets the timer for what comes next.
    fn send_due(&mut self, cx: &mut Context<'_>, voice: &mut impl Voice, schedule: Schedule) {
        let now = cx.now();
        for _ in 0..BURST_MAX {
            let Some(due) = schedule.due(self.sent).filter(|_| !voice.shared().has_stopped()) else {
                return self.finish(voice);
            };
            if now >= schedule.end() + OVERTIME {
                self.unsent = schedule.remaining(self.sent);
                return self.finish(voice);
            }
            if due > now {
                return cx.set_timer_at(due);
            }
            if !self.send(cx, voice, due) {
                return cx.set_timer(FULL_WAIT);
            }
        }
        // More is due: in the next turn, so that the answers of this one are read first.
        cx.set_timer(Duration::from_micros(1));
    }

    /// At the start: fills the depth. At the end: stops.
    fn keep_in_flight(&mut self, cx: &mut Context<'_>, voice: &mut impl Voice, start: Time, end: Time) {
        if cx.now() >= end || voice.shared().has_stopped() {
            return self.finish(voice);
        }
        if let Pace::Depth(depth) = voice.shared().options.pace
            && self.sent == 0
            && cx.now() >= start
        {
            for _ in 0..depth {
                self.send(cx, voice, cx.read_clock());
            }
        }
        cx.set_timer_at(end);
    }

    /// Sends the next message; false if it has to wait.
    fn send(&mut self, cx: &mut Context<'_>, voice: &mut impl Voice, due: Time) -> bool {
        let is_queued = voice.say(cx, self.sent, due);
        self.sent += u64::from(is_queued);
        is_queued
    }

    fn finish(&mut self, voice: &impl Voice) {
        self.state = State::Over;
        if let Some(slot) = voice.shared().slots.get(voice.number()) {
            slot.set_stage(Stage::Done);
        }
    }
}
