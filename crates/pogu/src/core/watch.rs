//! The stall watch: a thread per core that names the handler which holds up its worker, while it still does.
//!
//! It looks at every worker's [`Progress`] four times per limit. A handler that is still the same after the limit is
//! stalled. What it writes is bounded: a line a second per core, however many stall; and as much for jobs, which it asks the
//! queues for.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use pogu_port::Time;

use crate::core::Shared;
use crate::error::{Error, Result};
use crate::identity::Room;
use crate::jobs::JobWatcher;
use crate::progress::{Call, Handler};

/// Looks per limit: a stall is noticed at most a quarter of the limit late.
const LOOKS_PER_LIMIT: u32 = 4;

/// Looking more often is a busy loop, more rarely is no watching.
const INTERVAL_MIN: Duration = Duration::from_millis(1);
const INTERVAL_MAX: Duration = Duration::from_millis(250);

/// Looks that have to find the same handler. A machine or a process that was suspended makes *two* looks far apart in time
/// without a handler having run between them.
const LOOKS_MIN: u32 = 3;

/// The least time between two lines.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// A handler that ran longer than [`CoreBuilder::stall_limit`](crate::CoreBuilder::stall_limit).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Stall {
    /// The worker that it held up, from 0.
    pub worker: usize,
    /// The address of the session's service; `None` if the service is over.
    pub service: Option<SocketAddr>,
    /// Which code.
    pub handler: Handler,
    /// The id of the packet that was being handled; `None` if it was none.
    pub packet_id: Option<u16>,
    /// The room whose state it was; `None` if it was none, or if that was over when it was asked.
    pub room: Option<Room>,
    /// How long it has run, as far as was seen: up to a quarter of the limit (at least 1 ms, at most 250 ms) less than it did.
    pub ran_for: Duration,
}

/// What the stall watch of a core has seen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stalls {
    /// Handlers that ran longer than the limit.
    pub count: u64,
    /// The last one of them that began to be late. Its time still grows while it runs.
    pub last: Option<Stall>,
}

/// A running watch. Dropping it ends its thread, at once.
pub(super) struct Watch {
    end: Arc<End>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct End {
    over: Mutex<bool>,
    told: Condvar,
}

impl End {
    /// Waits for `interval` or the end. True if it is over.
    fn wait(&self, interval: Duration) -> bool {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.told.wait_timeout_while(over, interval, |over| !*over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Watch {
    pub(super) fn begin(shared: &Arc<Shared>, limit: Duration) -> Result<Watch> {
        let end = Arc::new(End::default());
        let (until, shared) = (Arc::clone(&end), Arc::clone(shared));
        let body = move || {
            let interval = interval(limit);
            let mut watcher = Watcher::new(limit, shared.workers());
            let mut job_watcher = JobWatcher::new(limit);
            while !until.wait(interval) {
                watcher.look(&shared);
                shared.jobs().look_after(&mut job_watcher);
            }
        };
        let thread = std::thread::Builder::new().name("pogu-watch".to_owned()).spawn(body).map_err(Error::Thread)?;
        Ok(Watch { end, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *self.end.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.end.told.notify_all();
        if let Some(thread) = self.thread.take() {
            // It runs no code that panics, and there is nothing to be done if it did.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

fn interval(limit: Duration) -> Duration {
    (limit / LOOKS_PER_LIMIT).clamp(INTERVAL_MIN, INTERVAL_MAX)
}

/// What the watch knows of one worker.
#[derive(Clone, Copy)]
struct Seen {
    call: Call,
    /// When it was seen first, and in how many looks since.
    since: Time,
    looks: u32,
    /// True once it was counted as a stall.
    counted: bool,
    /// How long it has to have run to be worth a line. Doubles with each line, so that an endless loop is not forgotten.
    worth_a_line: Duration,
    told: bool,
}

/// What is to be said.
#[derive(PartialEq, Eq, Debug)]
enum Line {
    /// Of this worker, and that so many stalls were passed over before.
    Stalled { worker: usize, ran_for: Duration, suppressed: u64 },
    /// Only that.
    Suppressed(u64),
}

struct Watcher {
    limit: Duration,
    workers: Vec<Seen>,
    line_at: Option<Time>,
    /// Stalls that are over and that no line has told of.
    suppressed: u64,
}

impl Watcher {
    fn new(limit: Duration, workers: usize) -> Watcher {
        let nothing =
            Seen { call: Call::NONE, since: Time::ZERO, looks: 0, counted: false, worth_a_line: limit, told: false };
        Watcher { limit, workers: vec![nothing; workers], line_at: None, suppressed: 0 }
    }

    fn look(&mut self, shared: &Shared) {
        let now = shared.clock().now();
        for worker in 0..self.workers.len() {
            let call = shared.call_of(worker);
            if let Some((ran_for, is_new)) = self.see(worker, call, now) {
                shared.note_stall(is_new, stall(shared, worker, call, ran_for));
            }
        }
        match self.line(now) {
            Some(Line::Stalled { worker, ran_for, suppressed }) => {
                let call = self.workers.get(worker).map_or(Call::NONE, |seen| seen.call);
                let Some(stall) = stall(shared, worker, call, ran_for) else { return };
                let (service, room) = (stall.service.map(tracing::field::display), stall.room.map(|room| room.0));
                let (handler, packet_id) = (stall.handler, stall.packet_id);
                tracing::warn!(worker, service, %handler, packet_id, room, ?ran_for, suppressed, "a handler stalls");
            }
            Some(Line::Suppressed(suppressed)) => tracing::warn!(suppressed, "further handlers stalled"),
            None => {}
        }
    }

    /// Looks at one worker. If it is stalled: for how long, and whether that is news.
    fn see(&mut self, worker: usize, call: Call, now: Time) -> Option<(Duration, bool)> {
        let seen = self.workers.get_mut(worker)?;
        if seen.call != call {
            self.suppressed += u64::from(seen.counted && !seen.told);
            *seen = Seen { call, since: now, looks: 1, counted: false, worth_a_line: self.limit, told: false };
            return None;
        }
        seen.looks = seen.looks.saturating_add(1);
        let ran_for = now.since(seen.since);
        if call == Call::NONE || ran_for < self.limit || seen.looks < LOOKS_MIN {
            return None;
        }
        let is_new = !std::mem::replace(&mut seen.counted, true);
        Some((ran_for, is_new))
    }

    /// The line that is due, if there may be one.
    fn line(&mut self, now: Time) -> Option<Line> {
        if self.line_at.is_some_and(|at| now.since(at) < LINE_INTERVAL) {
            return None;
        }
        let ran_for = |seen: &Seen| now.since(seen.since);
        let candidates = self.workers.iter_mut().enumerate();
        let worth_a_line = candidates.filter(|(_, seen)| seen.counted && ran_for(seen) >= seen.worth_a_line);
        // Who was never told of comes first.
        let line = match worth_a_line.min_by_key(|(_, seen)| seen.told) {
            Some((worker, seen)) => {
                let ran_for = ran_for(seen);
                seen.told = true;
                seen.worth_a_line = ran_for * 2;
                Line::Stalled { worker, ran_for, suppressed: std::mem::take(&mut self.suppressed) }
            }
            None if self.suppressed == 0 => return None,
            None => Line::Suppressed(std::mem::take(&mut self.suppressed)),
        };
        self.line_at = Some(now);
        Some(line)
    }
}

fn stall(shared: &Shared, worker: usize, call: Call, ran_for: Duration) -> Option<Stall> {
    let service = call.service().and_then(|index| shared.address_of(index));
    let room = shared.room_of(worker, call);
    Some(Stall { worker, service, handler: call.handler()?, packet_id: call.packet_id(), room, ran_for })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Marker;

    const LIMIT: Duration = Duration::from_millis(100);

    fn at(milliseconds: u64) -> Time {
        Time::ZERO + Duration::from_millis(milliseconds)
    }

    /// Calls, each different from those before it.
    fn calls() -> impl FnMut() -> Call {
        let progress = Arc::default();
        let mut marker = Marker::new(Arc::clone(&progress), None);
        move || {
            marker.begin(Handler::Packet, 0, 7);
            progress.call()
        }
    }

    #[test]
    fn the_same_handler_for_longer_than_the_limit_stalls() {
        let mut next = calls();
        let mut watcher = Watcher::new(LIMIT, 1);
        for time in (0..1000).step_by(25) {
            assert_eq!(watcher.see(0, next(), at(time)), None, "every look finds another call");
        }
        let call = next();
        let seen: Vec<_> = (1000..1200).step_by(25).map(|time| watcher.see(0, call, at(time))).collect();
        assert_eq!(seen[..4], [None; 4]);
        let expected: Vec<_> = (4..8).map(|looks| Some((Duration::from_millis(25 * looks), looks == 4))).collect();
        assert_eq!(seen[4..], expected);
    }

    #[test]
    fn a_worker_that_waits_never_stalls() {
        let mut watcher = Watcher::new(LIMIT, 1);
        assert!((0..10_000).step_by(25).all(|time| watcher.see(0, Call::NONE, at(time)).is_none()));
        assert_eq!(watcher.line(at(10_000)), None);
    }

    #[test]
    fn a_process_that_was_suspended_has_not_stalled() {
        let call = calls()();
        let mut watcher = Watcher::new(LIMIT, 1);
        assert_eq!(watcher.see(0, call, at(0)), None);
        assert_eq!(watcher.see(0, call, at(60_000)), None, "it has not had the time to go on");
        assert_eq!(watcher.see(0, Call::NONE, at(60_025)), None);
    }

    #[test]
    fn there_is_a_line_a_second_however_many_stall() {
        let mut next = calls();
        let mut watcher = Watcher::new(LIMIT, 4);
        let mut stalls = 0;
        let mut lines = Vec::new();
        let mut current = [Call::NONE; 4];
        for time in (0..10_000).step_by(25) {
            for (worker, call) in current.iter_mut().enumerate() {
                if time % 200 == 0 {
                    *call = next();
                }
                stalls += u64::from(watcher.see(worker, *call, at(time)).is_some_and(|(_, is_new)| is_new));
            }
            lines.extend(watcher.line(at(time)).map(|line| (time, line)));
        }
        assert_eq!(stalls, 4 * 50);
        assert!(lines.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 1000), "{lines:?}");
        for worker in 0..4 {
            assert_eq!(watcher.see(worker, Call::NONE, at(10_000)), None);
        }
        lines.extend(watcher.line(at(12_000)).map(|line| (12_000, line)));
        let told: u64 = lines
            .iter()
            .map(|(_, line)| match line {
                Line::Stalled { suppressed, .. } => suppressed + 1,
                Line::Suppressed(suppressed) => *suppressed,
            })
            .sum();
        assert_eq!(told, stalls, "every one is told of, one by one or in a number");
    }

    #[test]
    fn an_endless_loop_is_told_of_again_and_again_but_ever_more_rarely() {
        let call = calls()();
        let mut watcher = Watcher::new(LIMIT, 1);
        let mut told = Vec::new();
        for time in (0..3_600_000).step_by(25) {
            let _ = watcher.see(0, call, at(time));
            told.extend(watcher.line(at(time)).map(|_| time));
        }
        assert!((8..20).contains(&told.len()), "{told:?}");
        assert_eq!(told[0], 100);
    }
}
