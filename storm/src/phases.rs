//! The course of a storm.
//!
//! ```text
//!   storm: faults, and all that is drawn is said -- heal -- calm: everybody is back and everything came -- stop -- nothing left
//!                        \-- in one of four: stop while faults happen and a tenth is unsaid -- heal ---------- nothing left
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use pogu::Time;
use pogu::sim::{Advance, Simulation};

use crate::Size;
use crate::ledger::{Book, Ledger, Phase};
use crate::outcome::Outcome;
use crate::plan::{Plan, ServerPlan};
use crate::violation::Violation;
use crate::world::{Ended, World};

/// How long it may take in the calm until everything has come to its end: the longest times that are drawn (idle 30 s,
/// windows of 8 s, send age 10 s, linger 5 s, and to connect 5 s), one after the other. Once: who is lost twice is lost.
const CALM_TIME: Duration = Duration::from_secs(80);

/// Rounds that it may take for each number, and for each thing that is asked for meanwhile.
const CALM_ROUNDS_PER_NUMBER: u64 = 2_000;
const CALM_ROUNDS_PER_ASK: u64 = 50;

/// A stop ends with its drain, or a few turns later. A worker that is held up may add to that.
const ABORT_TIME: Duration = Duration::from_secs(2);

/// The same where workers may be held up for three seconds, now and then.
const ABORT_TIME_IN_STORM: Duration = Duration::from_secs(30);

/// Jobs take no time, and an answer that waits is tried again after a millisecond.
const LAST_JOBS_TIME: Duration = Duration::from_millis(2);

/// Goes through a whole storm. The violation is the ledger's where it saw one first.
pub(crate) fn run(
    seed: u64,
    size: Size,
    simulation: &Simulation,
    book: &Book,
    plan: Plan,
) -> Result<Outcome, Violation> {
    let somebody_comes_back = plan.clients.iter().any(|client| client.reconnects);
    let mut world = World::open(seed, plan, simulation, book)?;
    let ran = go_through(&mut world);
    // What ends when the world is dropped is not what was wrong.
    let ran = ran.inspect_err(|violation| book.reopen().violate(violation.clone()));
    // Handles keep factories, factories keep the ledger, the ledger keeps handles.
    book.let_go();
    ran?;
    let rounds = world.rounds;
    let addresses: Vec<SocketAddr> = world.servers.iter().map(pogu::ServiceHandle::address).collect();
    let jobs = world.jobs();
    drop(world);
    queues_end(book, &jobs);
    drop(jobs);
    nothing_left(simulation, &addresses)?;
    let mut ledger = book.reopen();
    ledger.close();
    match ledger.violation() {
        Some((_, violation)) => Err(violation),
        None => Ok(Outcome {
            hash: ledger.hash(),
            operations: simulation.operations(),
            messages: ledger.tally.messages,
            asked: ledger.tally.asked_in_storm + ledger.tally.asked_in_calm,
            asked_in_storm: ledger.tally.asked_in_storm,
            sessions: ledger.sessions(),
            rounds,
            time: simulation.now().since(Time::ZERO),
            faults: simulation.faults_met(),
            judged: ledger.tally.judged,
        }),
    }
    // Where nobody tries twice, everybody may have been refused.
    .inspect(|outcome| {
        debug_assert!(outcome.sessions > 0 || !somebody_comes_back, "seed {seed}, {size}: nobody was there");
    })
}

fn go_through(world: &mut World) -> Result<(), Violation> {
    storm(world)?;
    if !world.plan.stops_in_storm {
        calm(world)?;
    }
    stop(world)
}

fn storm(world: &mut World) -> Result<(), Violation> {
    let time = world.plan.storm_time;
    let all = world.book.reopen().unsaid();
    let enough = if world.plan.stops_in_storm { all / 10 } else { 0 };
    world.run_for(time, |ledger, _| ledger.unsaid() <= enough)?;
    Ok(())
}

/// No fault happens any more, and no limit keeps anybody out.
fn calm(world: &mut World) -> Result<(), Violation> {
    world.book.reopen().begin(Phase::Calm, world.simulation.now());
    world.simulation.heal();
    for handle in world.servers.iter().chain(&world.clients) {
        handle.change_limits(ServerPlan::lift).map_err(|error| Violation::Engine(error.to_string()))?;
    }
    world.wild.clear();
    world.owner = None;
    let before = world.rounds;
    let simulation = world.simulation.clone();
    let has_settled = |ledger: &Ledger, cores: &[pogu::Core]| {
        let is_back = ledger.unsettled(cores).is_none() && ledger.absent().is_none();
        let nothing_is_out = ledger.unfinished().is_none() && ledger.awaited_list().is_none();
        let is_done = nothing_is_out && ledger.disagreement().is_none();
        is_back && is_done && simulation.open_ends() == ledger.ends()
    };
    let ended = world.run_for(CALM_TIME, has_settled)?;
    let rounds = world.rounds - before;
    let numbers: usize = world.plan.clients.iter().map(|client| client.sessions).sum();
    let asked = world.book.reopen().tally.asked_in_calm;
    let rounds_max = CALM_ROUNDS_PER_NUMBER * numbers as u64 + CALM_ROUNDS_PER_ASK * asked;
    match ended {
        Ended::TimeUp => Err(world.book.reopen().stuck(&world.cores, world.simulation.open_ends())),
        Ended::Came if rounds > rounds_max => {
            Err(Violation::Stuck(format!("it took {rounds} rounds of turns, and {rounds_max} are plenty")))
        }
        Ended::Came => Ok(()),
    }
}

fn stop(world: &mut World) -> Result<(), Violation> {
    world.book.reopen().begin(Phase::Stop, world.simulation.now());
    world.owner = None;
    let servers = world.plan.servers.iter().map(|server| server.core + 1).max().unwrap_or(0);
    let mut sides = [0..servers, servers..world.cores.len()];
    if !world.plan.servers_stop_first {
        sides.reverse();
    }
    let drain = world.plan.drain_time;
    let abort = if world.plan.stops_in_storm { ABORT_TIME_IN_STORM } else { ABORT_TIME };
    for side in sides {
        for core in side.clone() {
            world.book.reopen().core_stops(core, world.simulation.now() + drain);
            world.cores[core].begin_stop(drain);
        }
        let has_stopped = |cores: &[pogu::Core]| cores[side.clone()].iter().all(pogu::Core::has_stopped);
        if world.run_for(drain + abort, |_, cores| has_stopped(cores))? == Ended::TimeUp {
            return Err(Violation::Stuck(format!("cores {side:?} do not stop")));
        }
    }
    let left = world.lockstep.workers();
    let sessions: usize = world.servers.iter().chain(&world.clients).map(pogu::ServiceHandle::sessions).sum();
    if left > 0 || sessions > 0 {
        return Err(Violation::LeftOver(format!("{left} workers, {sessions} sessions in services that have stopped")));
    }
    // What sessions pushed at their end runs, late as its pool may be, and answers that waited for an inbox have seen that it is
    // closed.
    world.simulation.heal();
    world.run_for(LAST_JOBS_TIME + world.plan.held_max().unwrap_or_default(), |_, _| false)?;
    let [servers, clients, cores] = world.counters();
    let reports = world.reports();
    let mut ledger = world.book.reopen();
    ledger.balance(&servers, &clients, &cores);
    reports.iter().for_each(|(core, reports)| ledger.job_balance(*core, reports));
    ledger.unfinished().map_or(Ok(()), Err)
}

/// The cores are gone: what waited in their queues went with them, counted.
fn queues_end(book: &Book, jobs: &[(usize, pogu::Jobs)]) {
    let mut ledger = book.reopen();
    ledger.queues_end();
    jobs.iter().for_each(|(core, jobs)| ledger.job_balance(*core, &jobs.report()));
}

/// Everything was dropped: what is on the agenda concerns nobody, and passes. Nobody owns a socket any more, so that the audit
/// finds each that is left; nobody listens, so that the addresses are free.
fn nothing_left(simulation: &Simulation, addresses: &[SocketAddr]) -> Result<(), Violation> {
    for address in addresses {
        let free = simulation.listen(*address, &pogu::ListenOptions::default());
        drop(free.map_err(|error| Violation::LeftOver(format!("a listener on {address}: {error}")))?);
    }
    for _ in 0..100_000 {
        match simulation.advance() {
            Advance::To(_) => {}
            Advance::Busy => return Err(Violation::LeftOver("a port that has something to do".to_owned())),
            Advance::Nothing => {
                return simulation.audit().map_err(|imbalance| Violation::Imbalance(imbalance.to_string()));
            }
        }
    }
    Err(Violation::LeftOver("events that make further events, and nobody is there".to_owned()))
}
