//! The phases of a run on the plaza: as those of any other, with a judge beside them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{ScopedJoinHandle, park_timeout, scope};
use std::time::Duration;

use pogu::{Core, Refusal};

use super::super::helm::{Helm, LOOK, Patience};
use super::super::outcome::Outcome;
use super::super::progress::Phase;
use super::super::run::{Watch, close, count_missing, service};
use super::super::{Options, tally};
use super::Square;
use super::bot::Bot;
use super::judge::{Judge, Note, Verdict};
use super::usher::Usher;
use crate::failure::Failure;

/// How long nothing may have come before the judge stops to listen, when all that was due has: what comes twice, or to somebody
/// too many, comes behind it.
const SILENCE: Duration = Duration::from_millis(500);

pub(in super::super) fn run(options: &Options, helm: Helm<'_>) -> Result<Outcome, Failure> {
    let core = Core::builder().workers(options.workers).driver(options.driver).start()?;
    let square = Arc::new(Square::new(options, core.now()));
    let handle = core.connect(service(options), {
        let square = Arc::clone(&square);
        move |incoming| match square.shared.take_number() {
            Some(number) => Ok(Bot::new(Arc::clone(&square), number, incoming.worker)),
            None => Err(Refusal::new("there are enough sessions")),
        }
    })?;
    let mut watch = Watch { core: &core, shared: Arc::clone(&square.shared), handle, helm };
    let (sent, verdict) = scope(|scope| {
        let judging = scope.spawn(|| judge(&square, Usher::new(&core, &square)));
        let sent = phases(&mut watch, &square, &judging);
        square.is_over.store(true, Ordering::Release);
        judging.thread().unpark();
        (sent, judging.join())
    });
    watch.helm.end();
    let sending_time = sent?;
    let verdict = verdict.map_err(|_| Failure::Run("the judge of the plaza panicked".to_owned()))??;
    let Watch { shared, handle, helm, .. } = watch;
    let (mut outcome, counters) = close(core, &shared, &helm, sending_time)?;
    tally::count_sessions(&shared, &mut outcome);
    take_verdict(verdict, &mut outcome);
    count_missing(options, &handle, &counters, &mut outcome);
    Ok(outcome)
}

/// Everything up to the close. For how long the bots walked.
fn phases(
    watch: &mut Watch<'_, '_>,
    square: &Square,
    judging: &ScopedJoinHandle<'_, Result<Verdict, Failure>>,
) -> Result<Duration, Failure> {
    watch.connect()?;
    let sending_time = watch.send()?;
    // Until the judge has nothing left that is not certain and nothing comes behind it, or nothing comes any more.
    let mut patience = Patience::new(watch.shared.options.patience, watch.core.now());
    let mut silence = Patience::new(SILENCE, watch.core.now());
    let rounds_before = square.rounds.load(Ordering::Acquire);
    loop {
        let right = square.right.load(Ordering::Acquire);
        watch.show(Phase::Draining, 0, 1);
        // What it keeps is known of a round that has begun since then.
        let has_looked = square.rounds.load(Ordering::Acquire) > rounds_before + 1;
        let is_settled = has_looked && square.waiting.load(Ordering::Acquire) == 0;
        let (_, received) = watch.totals();
        let is_silent = silence.is_over(received, watch.core.now());
        let is_over = is_settled && is_silent || patience.is_over(right, watch.core.now());
        if is_over || judging.is_finished() {
            return Ok(sending_time);
        }
        watch.nap()?;
    }
}

/// Judges until the run is over.
fn judge(square: &Square, mut usher: Usher<'_>) -> Result<Verdict, Failure> {
    let options = &square.shared.options;
    let mut judge = Judge::new(options.sessions, options.alone);
    let mut notes = Vec::new();
    loop {
        let is_last = square.is_over();
        look(square, &mut judge, &mut notes);
        if is_last {
            return Ok(judge.end());
        }
        usher.go_on(&judge)?;
        park_timeout(LOOK);
    }
}

/// One round of the judge. `notes` is empty before it and behind it.
pub(super) fn look(square: &Square, judge: &mut Judge, notes: &mut Vec<(u32, Note)>) {
    for worker in 0..square.notes.len() {
        std::mem::swap(&mut *square.notes(worker), notes);
        notes.drain(..).for_each(|(bot, note)| judge.note(bot, note));
    }
    judge.advance();
    square.waiting.store(judge.waiting(), Ordering::Release);
    square.right.store(judge.right(), Ordering::Release);
    square.rounds.fetch_add(1, Ordering::AcqRel);
}

fn take_verdict(verdict: Verdict, outcome: &mut Outcome) {
    let Verdict { counts, right, wrong: [lost, duplicated, reordered, altered, foreign], unanswered } = verdict;
    outcome.received += right;
    outcome.lost += lost;
    outcome.duplicated += duplicated;
    outcome.reordered += reordered;
    outcome.altered += altered;
    outcome.foreign += altered + foreign;
    outcome.unanswered += unanswered;
    outcome.plaza = Some(counts);
}
