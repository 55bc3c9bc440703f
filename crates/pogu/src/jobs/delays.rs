//! What is to happen later: delayed jobs.
//!
//! One list per core, ordered by time; one thread, started with the first entry, that sleeps until the first of them is due.
//! It only moves jobs into their queues, whose own threads run them, and drops nothing of the user's: neither a job nor a value
//! that takes long delays another. In a simulation there is no thread: the [`Lockstep`](crate::Lockstep) moves the time to the
//! first entry.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use pogu_port::{Clock, Time};

use super::outcome::StopReason;

/// Something with an appointment.
pub(super) trait Due: Send + Sync {
    fn due(self: Arc<Self>, now: Time);
}

/// See the [module](self).
pub(super) struct Delays {
    clock: Clock,
    appointments: Mutex<Appointments>,
    changed: Condvar,
    next_number: AtomicU64,
}

struct Appointments {
    by_time: BTreeMap<(Time, u64), Arc<dyn Due>>,
    clerk: Clerk,
}

/// Who looks at the clock.
enum Clerk {
    /// Whoever steps the simulation.
    Stepper,
    /// Nobody, so far.
    None,
    Thread(JoinHandle<()>),
    /// Nobody any more.
    Over,
}

impl Delays {
    pub(super) fn new(clock: Clock, is_stepped: bool) -> Arc<Delays> {
        let clerk = if is_stepped { Clerk::Stepper } else { Clerk::None };
        let appointments = Mutex::new(Appointments { by_time: BTreeMap::new(), clerk });
        Arc::new(Delays { clock, appointments, changed: Condvar::new(), next_number: AtomicU64::new(0) })
    }

    /// A number that no other appointment has: those of the same time come in the order of their numbers.
    pub(super) fn number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Has `whom` called at `at`, never before; or says why nobody will.
    pub(super) fn add(self: &Arc<Self>, at: Time, number: u64, whom: Arc<dyn Due>) -> Result<(), StopReason> {
        let mut appointments = self.lock();
        match &appointments.clerk {
            Clerk::Over => return Err(StopReason::CoreStopped),
            Clerk::Stepper | Clerk::Thread(_) => {}
            Clerk::None => match self.begin() {
                Ok(thread) => appointments.clerk = Clerk::Thread(thread),
                Err(error) => {
                    tracing::error!(%error, "delayed jobs have no thread");
                    return Err(StopReason::NoThread);
                }
            },
        }
        let is_first = appointments.by_time.keys().next().is_none_or(|first| (at, number) < *first);
        appointments.by_time.insert((at, number), whom);
        drop(appointments);
        if is_first {
            self.changed.notify_one();
        }
        Ok(())
    }

    pub(super) fn remove(&self, at: Time, number: u64) {
        let removed = self.lock().by_time.remove(&(at, number));
        // Outside of the lock: it may be the last that holds its queue.
        drop(removed);
    }

    /// As [`Delays::remove`], of all that a queue has.
    pub(super) fn remove_all(&self, appointments: &[(Time, u64)]) {
        if appointments.is_empty() {
            return;
        }
        let mut all = self.lock();
        let removed: Vec<_> = appointments.iter().filter_map(|appointment| all.by_time.remove(appointment)).collect();
        drop(all);
        drop(removed);
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.lock().by_time.keys().next().map(|(at, _)| *at)
    }

    /// Calls whoever is due now.
    pub(super) fn call(&self, now: Time) {
        while let Some(whom) = self.take_due(now) {
            whom.due(now);
        }
    }

    fn take_due(&self, now: Time) -> Option<Arc<dyn Due>> {
        let mut appointments = self.lock();
        let first = appointments.by_time.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }

    fn begin(self: &Arc<Self>) -> io::Result<JoinHandle<()>> {
        let delays = Arc::clone(self);
        std::thread::Builder::new().name("pogu-delays".to_owned()).spawn(move || {
            while delays.wait() {
                delays.call(delays.clock.now());
            }
        })
    }

    /// Waits until somebody is due. False when it is over.
    fn wait(&self) -> bool {
        let mut appointments = self.lock();
        loop {
            if matches!(appointments.clerk, Clerk::Over) {
                return false;
            }
            let now = self.clock.now();
            let first = appointments.by_time.keys().next().map(|(at, _)| *at);
            appointments = match first {
                Some(at) if at <= now => return true,
                Some(at) => {
                    let waited = self.changed.wait_timeout(appointments, at.since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(appointments).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Nobody is called any more. Appointments are forgotten.
    pub(super) fn stop(&self) {
        let mut appointments = self.lock();
        let clerk = std::mem::replace(&mut appointments.clerk, Clerk::Over);
        let forgotten = std::mem::take(&mut appointments.by_time);
        drop(appointments);
        self.changed.notify_one();
        drop(forgotten);
        if let Clerk::Thread(thread) = clerk
            && thread.thread().id() != std::thread::current().id()
        {
            // It runs no code that panics, and there is nothing to be done if it did.
            let _ = thread.join();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Appointments> {
        self.appointments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
