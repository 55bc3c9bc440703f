//! How a core ends: workers first, then jobs, then nothing is left.
//!
//! ```text
//!   told to stop --> sessions end, by the deadline --> workers have gone --> what waits in job queues runs, by the deadline
//!      --> queues stop --> jobs that still run are waited for --> threads end, or are left behind in a job
//! ```
//!
//! Whoever waits hears interrupts all the while, and none of the times above goes beyond what the system grants.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use pogu_port::{Clock, Time};

use crate::core::Core;
use crate::counters::Counters;
use crate::error::{Error, Result};
use crate::interrupt::{Heard, Interrupt, drain_within, stop_within};
use crate::jobs::JobsEnd;
use crate::service::Running;

/// How long [`Core::run_until_interrupted`] lets sessions end in good order: twice the default linger time.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a stop waits for handed-out workers after the end of the drain: aborting what has not ended takes them a few turns,
/// and a game loop that dispatches once per frame has a turn every 50 ms, or rarer. Also what jobs that wait have at least, once
/// the workers have ended.
const ABORT_TIME: Duration = Duration::from_millis(500);

/// How long a job that runs is waited for at least, once the workers have ended: it may be writing down what a session has left.
/// The thread of one that takes longer is left to itself: it ends with the job, and touches nothing of the core but memory
/// that it keeps alive.
const JOB_TIME: Duration = Duration::from_secs(1);

/// How long a name that is just being looked up is waited for: the system cannot be told that nobody wants to know any more.
const LOOKUP_TIME: Duration = Duration::from_secs(1);

/// How often a thread that waits for an interrupt looks whether a worker has ended.
const WATCH_INTERVAL: Duration = Duration::from_millis(20);

impl Core {
    /// Waits for Ctrl-C or SIGTERM, then stops; a second one cuts the drain short. Also ends if a worker fails.
    ///
    /// # Errors
    /// The handler could not be installed, or a worker failed.
    pub fn run_until_interrupted(self) -> Result<()> {
        let interrupt = Interrupt::install()?;
        while !interrupt.wait_timeout(WATCH_INTERVAL) {
            if self.threads.iter().any(JoinHandle::is_finished) {
                break;
            }
        }
        self.stop_unless_interrupted(DRAIN_TIMEOUT, Some(&interrupt)).map(drop)
    }

    /// Ends everything: listeners close, sessions are told, what was sent leaves, connections end in good order; what has
    /// not ended after `drain_timeout` is aborted. Returns the final totals once the core's own threads have ended; a handler
    /// that never returns keeps it from that; a name that is just being looked up does so for a second at most, then its thread
    /// is left to end by itself.
    ///
    /// Then jobs that wait run, until `drain_timeout` is over, but for half a second at least; what is left is dropped and
    /// counted as [`JobCounts::abandoned`](crate::JobCounts::abandoned). A job that runs is waited for as long, but for a second
    /// at least: nobody can tell one that hangs from one that writes down a player. Then its thread is left behind, its queue is named
    /// in one line of the log, and it is counted as [`JobCounts::left_behind`](crate::JobCounts::left_behind). That goes for jobs that
    /// block, too. So a job
    /// that never returns, or jobs that push further ones without end, keep a stop for `drain_timeout`, or for a second after its
    /// sessions have ended, whichever is later.
    ///
    /// Workers that were handed out end while their threads dispatch them. They are waited for until `drain_timeout` is over,
    /// and half a second more for what has to be aborted. Those of the calling thread are not waited for: a game loop that owns
    /// the core as well as its worker calls [`Core::begin_stop`] instead, and dispatches until
    /// [`WorkerStatus::Stopped`](crate::WorkerStatus::Stopped). Nor are simulated ones, whose time does not move by waiting: see
    /// [`Lockstep::stop`](crate::Lockstep::stop).
    ///
    /// # Errors
    /// A worker failed, or [`Error::WorkersAbsent`]: workers that were handed out did not stop in time, because their threads do
    /// not dispatch them, or because they were never started.
    pub fn stop(self, drain_timeout: Duration) -> Result<Counters> {
        self.stop_unless_interrupted(drain_timeout, None)
    }

    /// As [`Core::stop`]; a further interrupt cuts short whatever is being waited for just then: sessions, which are aborted, or
    /// jobs, which have half a second more. One that announced the end of the process ([`Interrupt::granted`]) leaves the stop no
    /// more time than there is: the drain ends a second before, all of the stop half a second, which is kept for last words.
    ///
    /// # Errors
    /// As [`Core::stop`].
    pub fn stop_unless_interrupted(
        mut self,
        drain_timeout: Duration,
        interrupt: Option<&Interrupt>,
    ) -> Result<Counters> {
        let now = self.shared.clock.now();
        let drain_timeout = drain_within(interrupt.and_then(Interrupt::granted), drain_timeout);
        self.announce_stop(now + drain_timeout);
        let handed_out = self.threads.is_empty() && !self.simulated;
        let mut until = now + drain_timeout + ABORT_TIME;
        match interrupt {
            Some(interrupt) => {
                while self.is_waiting(handed_out, until) {
                    if interrupt.wait_timeout(WATCH_INTERVAL) {
                        self.announce_stop(now);
                        until = until.min(self.shared.clock.now() + ABORT_TIME);
                    }
                }
            }
            None if handed_out => self.shared.attendance.wait(drain_timeout.saturating_add(ABORT_TIME)),
            None => {}
        }
        self.join(ABORT_TIME, interrupt.map(Interrupt::heard))?;
        match self.shared.attendance.absent() {
            workers if workers.is_empty() => Ok(self.counters()),
            workers => Err(Error::WorkersAbsent { workers, counters: Box::new(self.counters()) }),
        }
    }

    /// True as long as a stop has somebody to wait for.
    fn is_waiting(&self, handed_out: bool, until: Time) -> bool {
        match handed_out {
            true => self.shared.clock.now() < until && !self.shared.attendance.others_have_gone(),
            false => !self.threads.iter().all(JoinHandle::is_finished),
        }
    }

    /// Begins to end everything, as [`Core::stop`] does, and returns at once: for a core whose workers were handed out and
    /// are dispatched by the caller. A second call may bring the end of the drain forward.
    pub fn begin_stop(&self, drain_timeout: Duration) {
        self.announce_stop(self.shared.clock.now() + drain_timeout);
    }

    /// True once every worker has stopped or was dropped; the totals are final then, but for what handles of its services are
    /// refused later.
    pub fn has_stopped(&self) -> bool {
        self.shared.has_stopped()
    }

    /// Tells every worker when to have ended; a second time only to bring that forward.
    fn announce_stop(&self, deadline: Time) {
        let services: Vec<Arc<Running>> = self.shared.services().iter().filter_map(Weak::upgrade).collect();
        // Outside of the lock: one of them may go with this list, and with it what its user holds.
        services.iter().for_each(|running| running.gate.close());
        self.shared.request_stop(deadline);
    }

    /// Waits for the core's own threads; for jobs that wait at least so long, once workers push no more of them.
    fn join(&mut self, waiting_jobs_time: Duration, heard: Option<&Heard>) -> Result<()> {
        let mut first = Ok(());
        let own = std::thread::current().id();
        // A handler that stops or drops its own core does not wait for itself.
        for thread in self.threads.drain(..).filter(|thread| thread.thread().id() != own) {
            let ended = thread.join().unwrap_or(Err(Error::Workers("a worker thread panicked")));
            first = first.and(ended);
        }
        let clock = self.shared.clock.clone();
        let mut rest = Rest::new(clock, self.shared.stop_at().unwrap_or_default(), waiting_jobs_time, heard);
        self.shared.jobs.end(|| rest.look());
        self.shared.resolver.stop(rest.granted().min(LOOKUP_TIME));
        first
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.shared.stop_at().is_none() {
            self.announce_stop(self.shared.clock.now());
        }
        if let Err(error) = self.join(Duration::ZERO, None) {
            tracing::error!(%error, "a worker failed");
        }
        self.shared.room_kinds().clear();
    }
}

/// Until when a stop waits for what is left when the workers have ended.
struct Rest<'a> {
    clock: Clock,
    jobs: JobsEnd,
    heard: Option<&'a Heard>,
}

impl<'a> Rest<'a> {
    /// The workers have ended.
    fn new(clock: Clock, stop_at: Time, waiting_jobs_time: Duration, heard: Option<&'a Heard>) -> Rest<'a> {
        let now = clock.now();
        let waiting_until = stop_at.max(now + waiting_jobs_time);
        let running_until = waiting_until.max(now + JOB_TIME);
        Rest { clock, jobs: JobsEnd { waiting_until, running_until }, heard }
    }

    /// Whether somebody is in a hurry, or the system is: looked at over and over.
    fn look(&mut self) -> JobsEnd {
        let is_interrupted = self.heard.is_some_and(Heard::is_new);
        let left = if is_interrupted { self.granted().min(ABORT_TIME) } else { self.granted() };
        self.jobs = self.jobs.at_latest(self.clock.now() + left);
        self.jobs
    }

    /// What the system leaves a stop; without end, unless it has announced the end of the process.
    fn granted(&self) -> Duration {
        self.heard.and_then(Heard::granted).map_or(Duration::MAX, stop_within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Simulation;

    #[test]
    fn jobs_are_waited_for_until_the_drain_is_over_somebody_is_in_a_hurry_or_the_system_is() {
        let (seconds, milliseconds) = (Duration::from_secs, Duration::from_millis);
        let clock = Simulation::new().clock();
        let at = |time: Duration| clock.now() + time;
        let ends = |rest: &mut Rest<'_>| {
            let JobsEnd { waiting_until, running_until } = rest.look();
            [waiting_until, running_until]
        };
        let (heard, interrupts, ends_at) = Heard::of_test(clock.clone());
        let rest = |stop_at, least| Rest::new(clock.clone(), stop_at, least, Some(&heard));
        assert_eq!(ends(&mut rest(at(seconds(60)), ABORT_TIME)), [at(seconds(60)); 2]);
        assert_eq!(ends(&mut rest(Time::ZERO, ABORT_TIME)), [at(ABORT_TIME), at(JOB_TIME)]);
        assert_eq!(ends(&mut rest(Time::ZERO, Duration::ZERO)), [clock.now(), at(JOB_TIME)]);

        let mut hurried = rest(at(seconds(60)), ABORT_TIME);
        interrupts.send(()).expect("it is heard");
        assert_eq!(ends(&mut hurried), [at(ABORT_TIME); 2]);
        assert_eq!(ends(&mut hurried), [at(ABORT_TIME); 2], "it stays");

        let mut granted = rest(at(seconds(60)), ABORT_TIME);
        assert_eq!(granted.granted(), Duration::MAX);
        ends_at.set(at(milliseconds(700))).expect("the first");
        assert_eq!(ends(&mut granted), [at(milliseconds(200)); 2], "with half a second for last words");
        assert_eq!(granted.granted(), milliseconds(200), "for a name that is being looked up, too");
    }
}
