//! The phases of a run: connect, join, send, drain, close.

use std::sync::Arc;
use std::time::Duration;

use pogu::{Core, Counters, Interrupt, Limits, Refusal, SendOverflow, Service, ServiceHandle};

use super::helm::{Helm, LOOK, Patience, Signals};
use super::member::Member;
use super::outcome::{Outcome, not_connected};
use super::pacer::OVERTIME;
use super::progress::{Phase, Progress, Sight};
use super::report::Report;
use super::state::{Shared, Stage};
use super::{Mode, Options, Pace, chaos, churn, plaza, tally};
use crate::descriptors;
use crate::failure::Failure;
use crate::numbers::{counted, grouped};

/// How long nothing may happen while connecting: a handshake that meets a full backlog is retried after 1, 3 and 7 seconds.
pub(super) const CONNECT_PATIENCE: Duration = Duration::from_secs(12);

/// How long sessions may take to close in good order.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(7);

/// Bytes that a session may queue when it is ahead of its server; with --rate it then waits, and nothing is lost.
const SEND_QUEUE_MIN: usize = 1024 * 1024;

/// Runs a swarm in this process. An interrupt ends it early, with its results; a second one at once.
///
/// # Errors
/// Nobody answers at the target, or the options cannot be had here.
pub fn run(options: &Options, progress: &mut Progress, interrupt: Option<&Interrupt>) -> Result<Report, Failure> {
    let signals = interrupt.map_or(Signals::Nobody, Signals::Interrupt);
    let outcome = run_part(options, Helm::new(signals, progress))?;
    Ok(Report::new(options, 1, &outcome))
}

/// Runs what one process has to do of a swarm.
pub(super) fn run_part(options: &Options, helm: Helm<'_>) -> Result<Outcome, Failure> {
    descriptors::allow((options.sessions * options.descriptors_per_session()) as u64)?;
    match options.mode {
        Mode::Churn => churn::run(options, helm),
        Mode::Plaza => plaza::run(options, helm),
        _ if options.chaos.is_some() => chaos::run(options, helm),
        Mode::Echo | Mode::Room | Mode::Hello | Mode::Idle => run_sessions(options, helm),
    }
}

fn run_sessions(options: &Options, helm: Helm<'_>) -> Result<Outcome, Failure> {
    let core = Core::builder().workers(options.workers).driver(options.driver).start()?;
    let shared = Arc::new(Shared::new(options, core.now()));
    let handle = core.connect(service(options), {
        let shared = Arc::clone(&shared);
        move |incoming| match shared.take_number() {
            Some(number) => Ok(Member::new(Arc::clone(&shared), number, incoming.worker)),
            None => Err(Refusal::new("there are enough sessions")),
        }
    })?;
    let mut watch = Watch { core: &core, shared, handle, helm };
    let sent = watch.phases();
    watch.helm.end();
    let sending_time = sent?;
    let Watch { shared, handle, helm, .. } = watch;
    let (mut outcome, counters) = close(core, &shared, &helm, sending_time)?;
    tally::count(&shared, &mut outcome);
    count_missing(options, &handle, &counters, &mut outcome);
    Ok(outcome)
}

/// Ends the sessions and their core. What of the outcome does not depend on what they did.
pub(super) fn close(
    core: Core,
    shared: &Shared,
    helm: &Helm<'_>,
    sending_time: Duration,
) -> Result<(Outcome, Counters), Failure> {
    shared.close();
    let mut outcome = Outcome {
        driver: core.driver().to_string(),
        driver_reason: core.driver_reason().to_owned(),
        seconds: sending_time.as_secs_f64(),
        interrupted: helm.is_interrupted(),
        ..Outcome::default()
    };
    let counters = core.stop_unless_interrupted(CLOSE_TIMEOUT, helm.interrupt())?;
    outcome.take_counters(&counters);
    Ok((outcome, counters))
}

/// Adds why sessions could not be connected.
pub(super) fn count_missing(options: &Options, handle: &ServiceHandle, counters: &Counters, outcome: &mut Outcome) {
    let mut missing = (options.sessions as u64).saturating_sub(outcome.connected);
    for (label, count) in not_connected(handle, counters) {
        outcome.add_error(label, count);
        missing = missing.saturating_sub(count);
    }
    if !outcome.interrupted {
        outcome.add_error("still connecting", missing);
    }
}

pub(super) fn service(options: &Options) -> Service {
    let in_flight = match options.pace {
        Pace::Depth(depth) => depth * options.frame_bytes(),
        Pace::Rate(_) => 0,
    };
    Service::client(&options.target)
        .limits(limits(options))
        .sessions(options.sessions)
        .send_queue(SEND_QUEUE_MIN.max(2 * in_flight), SendOverflow::DropNewest)
}

pub(super) fn limits(options: &Options) -> Limits {
    let mut limits = Limits::default();
    limits.sessions_max = options.sessions;
    // A slow schedule is silent for long; the server decides whether that is too long.
    limits.idle_timeout = Duration::from_secs(7 * 86_400);
    limits
}

/// The failure of a run for which no connection could be made.
pub(super) fn nobody_answers(handle: &ServiceHandle, wanted: u64) -> Failure {
    let causes: Vec<&str> = handle.counters().causes().map(|(kind, _)| kind.label()).collect();
    let why = match handle.connect_error() {
        Some(error) => error.to_string(),
        None if causes.is_empty() => "no answer".to_owned(),
        None => causes.join(", "),
    };
    let (connections, target) = (counted(wanted, "connection"), handle.target());
    Failure::Run(format!("nobody answers at {target}: of {connections} none could be made ({why})"))
}

/// Watches a run from the thread that started it.
pub(super) struct Watch<'core, 'a> {
    pub(super) core: &'core Core,
    pub(super) shared: Arc<Shared>,
    pub(super) handle: ServiceHandle,
    pub(super) helm: Helm<'a>,
}

impl Watch<'_, '_> {
    /// Everything up to the close. For how long the sessions sent.
    fn phases(&mut self) -> Result<Duration, Failure> {
        self.connect()?;
        self.helm.step()?;
        self.join()?;
        self.helm.step()?;
        let sending_time = self.send()?;
        self.drain()?;
        // Those that leave would be noise in what the others still measure.
        self.helm.step()?;
        Ok(sending_time)
    }

    pub(super) fn connect(&mut self) -> Result<(), Failure> {
        let wanted = self.shared.slots.len() as u64;
        let mut patience = Patience::new(CONNECT_PATIENCE, self.core.now());
        while !self.helm.is_interrupted() {
            let ended = self.shared.count_stage(|stage| stage == Stage::Ended);
            let opened = self.shared.opened();
            let connecting = (self.handle.sessions() + ended).saturating_sub(opened);
            self.show(Phase::Connecting, opened as u64, wanted);
            if connecting == 0 && self.shared.count_stage(|stage| stage == Stage::Away) == 0 {
                break;
            }
            // One less with each that is made and each that fails.
            if patience.is_over(connecting as u64, self.core.now()) {
                break;
            }
            self.nap()?;
        }
        match self.shared.opened() {
            0 if !self.helm.is_interrupted() => Err(nobody_answers(&self.handle, wanted)),
            _ => Ok(()),
        }
    }

    /// Waits until every session may miss nothing that is said in its room.
    pub(super) fn join(&mut self) -> Result<(), Failure> {
        if self.shared.options.mode != Mode::Room {
            return Ok(());
        }
        let members = self.shared.opened() as u64;
        let mut patience = Patience::new(self.shared.options.patience, self.core.now());
        while !self.helm.is_interrupted() {
            let waiting = self.shared.count_stage(|stage| stage == Stage::Connected) as u64;
            let joined = members.saturating_sub(waiting);
            self.show(Phase::Joining, joined, members);
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
    pub(super) fn send(&mut self) -> Result<Duration, Failure> {
        let duration = self.shared.sending_time();
        let total = milliseconds(duration);
        self.shared.go();
        let began = self.core.now();
        // Sessions begin a little later than they are let go, and those that are behind finish a little later.
        let give_up = duration + 4 * self.shared.look_again() + 2 * OVERTIME;
        while !self.helm.is_interrupted() && self.core.now().since(began) < give_up {
            let elapsed = self.core.now().since(began).min(duration);
            self.show(Phase::Sending, milliseconds(elapsed), total);
            if self.shared.count_stage(|stage| stage < Stage::Done) == 0 {
                break;
            }
            self.nap()?;
        }
        self.shared.stop();
        Ok(if self.helm.is_interrupted() { self.core.now().since(began).min(duration) } else { duration })
    }

    /// Waits for what is still under way.
    fn drain(&mut self) -> Result<(), Failure> {
        let mut patience = Patience::new(self.shared.options.patience, self.core.now());
        let mut complete_before = false;
        loop {
            let (_, received) = self.totals();
            self.show(Phase::Draining, 0, 1);
            // Twice: a session may have been about to send when it was told to stop.
            let complete = self.shared.is_complete();
            if complete && complete_before || patience.is_over(received, self.core.now()) {
                return Ok(());
            }
            complete_before = complete;
            self.nap()?;
        }
    }

    pub(super) fn show(&mut self, phase: Phase, done: u64, total: u64) {
        let (sent, received) = self.totals();
        self.helm.show(Sight { sent, received, ..Sight::new(phase, self.core.now(), done, total) });
    }

    pub(super) fn totals(&self) -> (u64, u64) {
        let slots = self.shared.known();
        (slots.iter().map(|slot| slot.sent()).sum(), slots.iter().map(|slot| slot.received()).sum())
    }

    pub(super) fn nap(&mut self) -> Result<(), Failure> {
        self.helm.nap(LOOK)?;
        if self.helm.is_interrupted() {
            self.shared.stop();
        }
        Ok(())
    }
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
