//! The phases of a run: connect, join, send, drain, close.

use std::sync::Arc;
use std::time::Duration;

use pogu::{CauseKind, Core, Counters, Interrupt, Limits, Refusal, SendOverflow, Service, ServiceHandle, Time};

use super::member::{Member, OVERTIME};
use super::progress::Progress;
use super::report::{Report, Run};
use super::state::{Shared, Stage};
use super::{Mode, Options, Pace};
use crate::descriptors;
use crate::failure::Failure;
use crate::numbers::{counted, grouped, seconds};

/// Between two looks at the sessions.
const LOOK: Duration = Duration::from_millis(20);

/// How long nothing may happen while connecting: a handshake that meets a full backlog is retried after 1, 3 and 7 seconds.
const CONNECT_PATIENCE: Duration = Duration::from_secs(12);

/// How long sessions may take to close in good order.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(7);

/// Bytes that a session may queue when it is ahead of its server; with --rate it then waits, and nothing is lost.
const SEND_QUEUE_MIN: usize = 1024 * 1024;

/// Runs a swarm. An interrupt ends it early, with its results; a second one at once.
///
/// # Errors
/// Nobody answers at the target, or the options cannot be had here.
pub fn run(options: &Options, progress: &mut Progress, interrupt: Option<&Interrupt>) -> Result<Report, Failure> {
    descriptors::allow(options.sessions as u64)?;
    let core = Core::builder().workers(options.workers).driver(options.driver).start()?;
    let shared = Arc::new(Shared::new(options, core.now()));
    let handle = core.connect(service(options), {
        let shared = Arc::clone(&shared);
        move |incoming| match shared.take_number() {
            Some(number) => Ok(Member::new(Arc::clone(&shared), number, incoming.worker)),
            None => Err(Refusal::new("there are enough sessions")),
        }
    })?;
    let mut watch = Watch { core: &core, shared, handle, progress, interrupt, interrupted: false };
    let sent = watch.phases();
    watch.progress.end();
    let sending_time = sent?;
    let Watch { shared, interrupted, .. } = watch;
    shared.close();
    let run = Run { interrupted, sending_time, driver: core.driver(), driver_reason: core.driver_reason().to_owned() };
    let counters = core.stop_unless_interrupted(CLOSE_TIMEOUT, interrupt)?;
    Ok(Report::new(&shared, &counters, &run))
}

fn service(options: &Options) -> Service {
    let in_flight = match options.pace {
        Pace::Depth(depth) => depth * options.frame_bytes(),
        Pace::Rate(_) => 0,
    };
    let mut limits = Limits::default();
    limits.sessions_max = options.sessions;
    // A slow schedule is silent for long; the server decides whether that is too long.
    limits.idle_timeout = Duration::from_secs(7 * 86_400);
    Service::client(&options.target)
        .limits(limits)
        .sessions(options.sessions)
        .send_queue(SEND_QUEUE_MIN.max(2 * in_flight), SendOverflow::DropNewest)
}

/// Watches a run from the thread that started it.
struct Watch<'a> {
    core: &'a Core,
    shared: Arc<Shared>,
    handle: ServiceHandle,
    progress: &'a mut Progress,
    interrupt: Option<&'a Interrupt>,
    interrupted: bool,
}

impl Watch<'_> {
    /// Everything up to the close. For how long the sessions sent.
    fn phases(&mut self) -> Result<Duration, Failure> {
        self.connect()?;
        self.join()?;
        let sending_time = self.send()?;
        self.drain()?;
        Ok(sending_time)
    }

    fn connect(&mut self) -> Result<(), Failure> {
        let wanted = self.shared.slots.len() as u64;
        self.progress.begin("connecting", wanted);
        let mut patience = Patience::new(CONNECT_PATIENCE, self.core.now());
        while !self.interrupted {
            let ended = self.shared.count_stage(|stage| stage == Stage::Ended);
            let opened = self.shared.opened();
            let connecting = (self.handle.sessions() + ended).saturating_sub(opened);
            self.progress.update(
                self.core.now(),
                opened as u64,
                format_args!("{} of {}", grouped(opened as u64), grouped(wanted)),
            );
            if connecting == 0 && self.shared.count_stage(|stage| stage == Stage::Away) == 0 {
                break;
            }
            if patience.is_over(opened as u64 + connecting as u64, self.core.now()) {
                break;
            }
            self.nap()?;
        }
        match self.shared.opened() {
            0 if !self.interrupted => Err(self.nobody_answers()),
            _ => Ok(()),
        }
    }

    fn nobody_answers(&self) -> Failure {
        let causes: Vec<&str> = self.handle.counters().causes().map(|(kind, _)| kind.label()).collect();
        let why = match self.handle.connect_error() {
            Some(error) => error.to_string(),
            None if causes.is_empty() => "no answer".to_owned(),
            None => causes.join(", "),
        };
        let connections = counted(self.shared.slots.len() as u64, "connection");
        let target = self.handle.target();
        Failure::Run(format!("nobody answers at {target}: of {connections} none could be made ({why})"))
    }

    /// Waits until every session may miss nothing that is said in its room.
    fn join(&mut self) -> Result<(), Failure> {
        if self.shared.options.mode != Mode::Room {
            return Ok(());
        }
        let members = self.shared.opened() as u64;
        self.progress.begin("joining", members);
        let mut patience = Patience::new(self.shared.options.patience, self.core.now());
        while !self.interrupted {
            let waiting = self.shared.count_stage(|stage| stage == Stage::Connected) as u64;
            let joined = members.saturating_sub(waiting);
            self.progress.update(self.core.now(), joined, format_args!("{} of {}", grouped(joined), grouped(members)));
            if waiting == 0 {
                break;
            }
            if patience.is_over(waiting, self.core.now()) {
                let (waiting, members) = (grouped(waiting), counted(members, "JOIN"));
                return Err(Failure::Run(format!("the server left {waiting} of {members} without an answer")));
            }
            self.nap()?;
        }
        Ok(())
    }

    /// Lets the sessions send. Returns for how long they did.
    fn send(&mut self) -> Result<Duration, Failure> {
        let duration = self.shared.options.duration;
        self.progress.begin("sending", u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        self.shared.go();
        let began = self.core.now();
        // Sessions begin a little later than they are let go, and those that are behind finish a little later.
        let give_up = duration + 4 * self.shared.look_again() + 2 * OVERTIME;
        while !self.interrupted && self.core.now().since(began) < give_up {
            self.show(self.core.now().since(began));
            if self.shared.count_stage(|stage| stage < Stage::Done) == 0 {
                break;
            }
            self.nap()?;
        }
        self.shared.stop();
        Ok(if self.interrupted { self.core.now().since(began).min(duration) } else { duration })
    }

    /// Waits for what is still under way.
    fn drain(&mut self) -> Result<(), Failure> {
        self.progress.begin("draining", 1);
        let mut patience = Patience::new(self.shared.options.patience, self.core.now());
        let mut complete_before = false;
        loop {
            let (_, received) = self.totals();
            self.progress.update(self.core.now(), 0, format_args!("{} received", grouped(received)));
            // Twice: a session may have been about to send when it was told to stop.
            let complete = self.shared.is_complete();
            if complete && complete_before || patience.is_over(received, self.core.now()) {
                return Ok(());
            }
            complete_before = complete;
            self.nap()?;
        }
    }

    fn show(&mut self, elapsed: Duration) {
        let (sent, received) = self.totals();
        let elapsed = elapsed.min(self.shared.options.duration);
        let note = format!("{}  {} sent, {} received", seconds(elapsed), grouped(sent), grouped(received));
        self.progress.update(self.core.now(), elapsed.as_millis() as u64, note);
    }

    fn totals(&self) -> (u64, u64) {
        let slots = self.shared.known();
        (slots.iter().map(|slot| slot.sent()).sum(), slots.iter().map(|slot| slot.received()).sum())
    }

    fn nap(&mut self) -> Result<(), Failure> {
        let Some(interrupt) = self.interrupt else {
            std::thread::park_timeout(LOOK);
            return Ok(());
        };
        if interrupt.wait_timeout(LOOK) {
            if self.interrupted {
                return Err(Failure::Run("interrupted twice: left without results".to_owned()));
            }
            self.interrupted = true;
            self.shared.stop();
        }
        Ok(())
    }
}

/// Runs out when a number has not changed for a while.
struct Patience {
    allowed: Duration,
    number: u64,
    since: Time,
}

impl Patience {
    fn new(allowed: Duration, now: Time) -> Patience {
        Patience { allowed, number: u64::MAX, since: now }
    }

    fn is_over(&mut self, number: u64, now: Time) -> bool {
        if self.number != number {
            (self.number, self.since) = (number, now);
        }
        now.since(self.since) >= self.allowed
    }
}

/// The causes for which a connection is not made.
pub(super) fn not_connected(counters: &Counters) -> impl Iterator<Item = (CauseKind, u64)> {
    counters.causes().filter(|(kind, _)| {
        matches!(kind, CauseKind::ConnectFailed | CauseKind::ConnectTimeout | CauseKind::Unresolved)
    })
}
