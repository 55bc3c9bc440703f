//! The line of jobs before a value, and whether somebody works at it.
//!
//! ```text
//!            push               begin                next: nothing is ready
//!    idle ----------> scheduled ------> running ------------------------------> idle
//!                         ^                |
//!                         +---- pause -----+            from each of them: stop ----> stopped
//! ```
//!
//! The value is in the state: whoever begins to work takes it out, and nobody else can until it is back. So one thread at a
//! time is in a queue because of a type, not because of a rule. A push that finds the queue idle has it scheduled; one that
//! finds it scheduled or running need not, because whoever works looks at the line once more, under the same lock under which
//! it goes idle: no job is left without somebody who comes for it.
//!
//! A queue that is scheduled or running is counted as [`InFlight`], from before its task is handed out until whoever worked
//! has nothing of it any more, not even the value of a queue that was stopped meanwhile: the end of a core waits for that.
//!
//! Apart from the rest of a queue, because the models (`loom/`) compile this file as it stands.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError};

use pogu_port::Time;

use super::in_flight::{Counted, InFlight};
use super::outcome::{JobOverflow, PushRefusal, StopReason};
use crate::sync::{Mutex, MutexGuard};

/// Tells a job from the others of its queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum JobName {
    /// In the order in which they came into the line.
    Pushed(u64),
    /// Due at that time; of several, in the order of their numbers.
    Delayed(Time, u64),
}

/// See the [module](self).
pub(crate) struct Line<T, J> {
    state: Mutex<State<T, J>>,
    in_flight: Arc<InFlight>,
    /// Jobs that may wait, delayed ones included.
    waiting_max: usize,
    overflow: JobOverflow,
}

enum State<T, J> {
    Open { work: Work<T>, ready: VecDeque<(JobName, J)>, delayed: BTreeMap<(Time, u64), J>, next_number: u64 },
    Stopped(StopReason),
}

enum Work<T> {
    Idle(Box<T>),
    /// A task is on its way to a thread.
    Scheduled(Box<T>),
    /// Whoever works has the value.
    Running,
}

/// What became of a job.
pub(crate) enum Pushed<J> {
    /// It waits. `schedule`: nobody will come for it unless the caller sees to that. `displaced`: what had to go for it.
    Taken {
        name: JobName,
        schedule: bool,
        displaced: Option<J>,
    },
    Refused {
        refusal: PushRefusal,
        job: J,
    },
}

/// What whoever works does next.
pub(crate) enum Next<T, J> {
    Job(Box<T>, J),
    /// Nothing: the value stays here.
    Idle,
    /// Nothing, ever: the value is the caller's to drop.
    Stopped(Box<T>),
}

/// What is left when a queue stops: to be dropped by the caller, outside of every lock.
pub(crate) struct Remains<T, J> {
    /// `None`: somebody works with it, and gets it from [`Line::next`].
    pub(crate) value: Option<Box<T>>,
    pub(crate) jobs: Vec<J>,
    /// When those of them that were delayed had been due, and their numbers.
    pub(crate) delayed: Vec<(Time, u64)>,
}

impl<T, J> Line<T, J> {
    pub(crate) fn new(value: T, waiting_max: usize, overflow: JobOverflow, in_flight: Arc<InFlight>) -> Line<T, J> {
        let work = Work::Idle(Box::new(value));
        let state = State::Open { work, ready: VecDeque::new(), delayed: BTreeMap::new(), next_number: 0 };
        Line { state: Mutex::new(state), in_flight, waiting_max: waiting_max.max(1), overflow }
    }

    /// One more job, at the end of the line.
    pub(crate) fn push(&self, job: J) -> Pushed<J> {
        let mut state = self.lock();
        let (displaced, job) = match state.make_room(self.waiting_max, self.overflow) {
            Ok(displaced) => (displaced, job),
            Err(refusal) => return Pushed::Refused { refusal, job },
        };
        let State::Open { work, ready, next_number, .. } = &mut *state else {
            return Pushed::Refused { refusal: PushRefusal::Full, job };
        };
        let name = JobName::Pushed(*next_number);
        *next_number += 1;
        ready.push_back((name, job));
        Pushed::Taken { name, schedule: self.schedule(work), displaced }
    }

    /// One more job, for later: see [`Line::due`]. `number` is the caller's, and different for each.
    pub(crate) fn push_at(&self, due: Time, number: u64, job: J) -> Pushed<J> {
        let mut state = self.lock();
        let (displaced, job) = match state.make_room(self.waiting_max, self.overflow) {
            Ok(displaced) => (displaced, job),
            Err(refusal) => return Pushed::Refused { refusal, job },
        };
        if let State::Open { delayed, .. } = &mut *state {
            delayed.insert((due, number), job);
        }
        Pushed::Taken { name: JobName::Delayed(due, number), schedule: false, displaced }
    }

    /// It is `now`: what was delayed until now goes to the end of the line. True if the queue has to be scheduled.
    pub(crate) fn due(&self, now: Time) -> bool {
        let mut state = self.lock();
        let State::Open { work, ready, delayed, .. } = &mut *state else { return false };
        while let Some(first) = delayed.first_entry().filter(|first| first.key().0 <= now) {
            let ((due, number), job) = first.remove_entry();
            ready.push_back((JobName::Delayed(due, number), job));
        }
        !ready.is_empty() && self.schedule(work)
    }

    /// True if it was idle: then it is scheduled now.
    fn schedule(&self, work: &mut Work<T>) -> bool {
        match std::mem::replace(work, Work::Running) {
            Work::Idle(value) => {
                *work = Work::Scheduled(value);
                // Under the lock: who stops the queue after this finds it counted.
                self.in_flight.begin();
                true
            }
            other => {
                *work = other;
                false
            }
        }
    }

    /// The task that was scheduled has come to a thread. `None`: there is nothing to work with any more. Who works keeps what
    /// counts the task until everything is done.
    pub(crate) fn begin(&self) -> Option<(Box<T>, Counted<'_>)> {
        let counted = self.in_flight.take_over();
        let mut state = self.lock();
        let State::Open { work, .. } = &mut *state else { return None };
        match std::mem::replace(work, Work::Running) {
            Work::Scheduled(value) => Some((value, counted)),
            other => {
                *work = other;
                None
            }
        }
    }

    /// The next job for whoever works, or the end of the work.
    pub(crate) fn next(&self, value: Box<T>) -> Next<T, J> {
        match &mut *self.lock() {
            State::Open { work, ready, .. } => match ready.pop_front() {
                Some((_, job)) => Next::Job(value, job),
                None => {
                    *work = Work::Idle(value);
                    Next::Idle
                }
            },
            State::Stopped(_) => Next::Stopped(value),
        }
    }

    /// Whoever works has worked enough for now.
    pub(crate) fn pause(&self, value: Box<T>) -> Paused<T> {
        match &mut *self.lock() {
            State::Open { work, ready, .. } if ready.is_empty() => {
                *work = Work::Idle(value);
                Paused::Idle
            }
            State::Open { work, .. } => {
                *work = Work::Scheduled(value);
                self.in_flight.begin();
                Paused::Scheduled
            }
            State::Stopped(_) => Paused::Stopped(value),
        }
    }

    /// Takes a job out that has not begun. Walks along the line.
    pub(crate) fn cancel(&self, name: JobName) -> Option<J> {
        let mut state = self.lock();
        let State::Open { ready, delayed, .. } = &mut *state else { return None };
        if let JobName::Delayed(due, number) = name
            && let Some(job) = delayed.remove(&(due, number))
        {
            return Some(job);
        }
        let index = ready.iter().rposition(|(waiting, _)| *waiting == name)?;
        ready.remove(index).map(|(_, job)| job)
    }

    /// Takes out everything that has not begun: it is the caller's to drop, outside of every lock.
    pub(crate) fn take_waiting(&self) -> Vec<J> {
        match &mut *self.lock() {
            State::Open { ready, delayed, .. } => {
                let delayed = std::mem::take(delayed).into_values();
                std::mem::take(ready).into_iter().map(|(_, job)| job).chain(delayed).collect()
            }
            State::Stopped(_) => Vec::new(),
        }
    }

    /// Nothing more is taken, and nothing that waits is run. `None` if that was so before.
    pub(crate) fn stop(&self, reason: StopReason) -> Option<Remains<T, J>> {
        let mut state = self.lock();
        if matches!(*state, State::Stopped(_)) {
            return None;
        }
        let State::Open { work, ready, delayed, .. } = std::mem::replace(&mut *state, State::Stopped(reason)) else {
            return None;
        };
        drop(state);
        let value = match work {
            Work::Idle(value) | Work::Scheduled(value) => Some(value),
            Work::Running => None,
        };
        let appointments = delayed.keys().copied().collect();
        let jobs = ready.into_iter().map(|(_, job)| job).chain(delayed.into_values()).collect();
        Some(Remains { value, jobs, delayed: appointments })
    }

    /// Why it has stopped, if it has.
    pub(crate) fn stopped(&self) -> Option<StopReason> {
        match &*self.lock() {
            State::Open { .. } => None,
            State::Stopped(reason) => Some(*reason),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T, J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of a queue whose time is up.
pub(crate) enum Paused<T> {
    /// Its task has to be handed out again.
    Scheduled,
    /// There was nothing left to do.
    Idle,
    /// It was stopped meanwhile: the value is the caller's to drop.
    Stopped(Box<T>),
}

impl<T, J> State<T, J> {
    /// Room for one more, if need be at the cost of the oldest.
    fn make_room(&mut self, waiting_max: usize, overflow: JobOverflow) -> Result<Option<J>, PushRefusal> {
        let State::Open { ready, delayed, .. } = self else {
            let State::Stopped(reason) = self else { return Err(PushRefusal::Full) };
            return Err(PushRefusal::Stopped(*reason));
        };
        match overflow {
            _ if ready.len() + delayed.len() < waiting_max => Ok(None),
            JobOverflow::RefuseNewest => Err(PushRefusal::Full),
            // Of what is delayed none is the oldest: it has not come yet.
            JobOverflow::DropOldest => ready.pop_front().map(|(_, oldest)| Some(oldest)).ok_or(PushRefusal::Full),
        }
    }
}
