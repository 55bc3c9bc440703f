//! The plaza that `pogu serve` hosts, and the bots of `--mode plaza` on it, in a simulation with faults: whatever the seed
//! draws, everybody whose connection lives is told exactly of whom it has to see.

use std::sync::Arc;
use std::time::Duration;

use pogu::sim::{FaultCounts, Faults, Simulation, SimulationOptions};
use pogu::{Core, Lockstep, Refusal, Time};

use super::super::helm::LOOK;
use super::super::run::service;
use super::super::state::Stage;
use super::super::{Mode, Options, Pace, Part};
use super::Square;
use super::bot::Bot;
use super::counts::Counts;
use super::judge::{Judge, Verdict};
use super::run::look;
use super::usher::Usher;
use crate::serve;

const BOTS: usize = 24;
const WORKERS: usize = 2;
const SEEDS: u64 = 32;

/// Connections are made for so long before the bots walk.
const CONNECTING: Duration = Duration::from_secs(4);
const WALKING: Duration = Duration::from_secs(12);
/// So long before their last step nothing goes wrong any more: who speaks into a connection that is lost learns of it.
const HEALED: Duration = Duration::from_secs(3);
/// Longer than somebody who is not answered waits before the connection is given up, which is 924 s.
const QUIET: Duration = Duration::from_secs(1_000);

/// What has to go wrong in some seed.
const MET: [&str; 16] = [
    "delays",
    "overtaken_segments",
    "resets",
    "half_open",
    "partitions",
    "lost_answers",
    "shuffled_turns",
    "held_completions",
    "short_sends",
    "held_sends",
    "short_receives",
    "ended_multishots",
    "empty_pools",
    "late_wakes",
    "pauses",
    "shuffled_rounds",
];

/// What came of a seed.
struct Played {
    verdict: Verdict,
    cut_off: usize,
    stayed: usize,
    faults: FaultCounts,
}

/// In every second seed connections live, and bots leave and come back over others. In the others some are lost, and nobody
/// leaves: the end of a connection may be noticed long after its bot is back, and none could tell that from one forgotten.
fn lives(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

fn faults_of(seed: u64) -> Faults {
    let mut faults = Faults::drawn(seed);
    // Rare enough that some are left whose sight can be judged.
    let few = u16::from(!lives(seed));
    let chances = [
        &mut faults.resets,
        &mut faults.half_open,
        &mut faults.partitions,
        &mut faults.send_errors,
        &mut faults.receive_errors,
    ];
    chances.into_iter().for_each(|chance| *chance = few.min(*chance));
    if lives(seed) {
        // Without descriptors a server has to turn clients away.
        (faults.accepts_refused, faults.descriptor_shortages, faults.accepts_aborted) = (0, 0, 0);
        (faults.connects_refused, faults.connects_unreachable, faults.connects_timed_out) = (0, 0, 0);
        (faults.connects_without_address, faults.sockets_refused) = (0, 0);
    }
    faults
}

fn server(lockstep: &mut Lockstep) -> serve::Server {
    let mut options = serve::Options::default();
    options.core.workers = Some(WORKERS);
    // Who has walked enough is silent until everything is certain.
    options.services[0].limits.idle_timeout = 2 * QUIET;
    serve::Server::start_simulated(&options, lockstep).expect("a server")
}

fn play(seed: u64) -> Played {
    let mut options = SimulationOptions::default();
    (options.seed, options.faults, options.latency) = (seed, faults_of(seed), Duration::from_millis(2));
    let simulation = Simulation::with_options(&options);
    let mut lockstep = Lockstep::new(&simulation);
    let server = server(&mut lockstep);
    let core = lockstep.start(Core::builder().workers(WORKERS)).expect("a core");
    let options = Options {
        target: server.address().to_string(),
        sessions: BOTS,
        mode: Mode::Plaza,
        // Who speaks only when it is answered does not learn that its connection is lost.
        pace: if seed % 4 == 2 { Pace::Depth(2) } else { Pace::Rate(8.0) },
        duration: WALKING,
        workers: WORKERS,
        // The run's number: with it, the bots always walk as the seed has it.
        part: Some(Part { first: 0, run: seed as u32 }),
        ..Options::default()
    };
    let square = Arc::new(Square::new(&options, core.now()));
    let bots = Arc::clone(&square);
    let connected = core.connect(service(&options), move |incoming| match bots.shared.take_number() {
        Some(number) => Ok(Bot::new(Arc::clone(&bots), number, incoming.worker)),
        None => Err(Refusal::new("there are enough sessions")),
    });
    connected.expect("a service");
    let mut judge = Judge::new(BOTS, true);
    let (mut usher, mut notes) = (Usher::new(&core, &square), Vec::new());
    let mut walk_until = |lockstep: &mut Lockstep, judge: &mut Judge, end: Time| {
        while lockstep.now() < end {
            lockstep.run_for(LOOK).expect("the workers work");
            look(&square, judge, &mut notes);
            if lives(seed) {
                usher.go_on(judge).expect("a service");
            }
        }
    };
    let begin = Time::ZERO + CONNECTING;
    walk_until(&mut lockstep, &mut judge, begin);
    square.shared.go();
    walk_until(&mut lockstep, &mut judge, begin + (WALKING - HEALED));
    simulation.heal();
    walk_until(&mut lockstep, &mut judge, begin + WALKING + HEALED);
    lockstep.run_for(QUIET).expect("the workers work");
    look(&square, &mut judge, &mut notes);
    let foreign: u64 = square.shared.shards().map(|shard| shard.foreign).sum();
    assert_eq!(foreign, 0, "seed {seed}: what is no packet of the plaza's");
    let ended = square.shared.shards().map(|shard| shard.ended.len()).sum();
    square.shared.close();
    let (verdict, faults) = (judge.end(), simulation.faults_met());
    Played { verdict, cut_off: ended, stayed: square.shared.count_stage(|stage| stage == Stage::Done), faults }
}

#[test]
fn everybody_whose_connection_lives_sees_exactly_whom_it_has_to_see() {
    let (mut right, mut right_in_losses, mut cut_off, mut stayed) = (0, 0, 0, 0);
    let (mut counts, mut faults) = (Counts::default(), FaultCounts::default());
    for seed in 0..SEEDS {
        let Played { verdict, cut_off: ended, stayed: present, faults: met } = play(seed);
        assert_eq!(verdict.wrong, [0; 5], "seed {seed}: lost, duplicated, reordered, altered, foreign");
        if lives(seed) {
            assert_eq!((present, ended, verdict.unanswered), (BOTS, 0, 0), "seed {seed}");
            assert!(verdict.counts.left > 0, "seed {seed}: nobody has left and come back");
        }
        right_in_losses += if lives(seed) { 0 } else { verdict.right };
        (right, cut_off, stayed) = (right + verdict.right, cut_off + ended, stayed + present);
        counts.add(&verdict.counts);
        faults += &met;
    }
    // It was worth while.
    assert!(
        right > 1_000_000 && right_in_losses > 50_000,
        "{right}, of them {right_in_losses} where connections are lost"
    );
    assert!(cut_off > 50 && stayed > 400, "{cut_off} cut off, {stayed} stayed");
    let Counts { enters, walks, chats, exits, left, vanished, replaced, .. } = counts;
    let did = [(enters, 1_000), (walks, 100_000), (chats, 2_000), (exits, 500), (left, 300)];
    let saw = [(vanished, 50_000), (replaced, 100_000)];
    assert!(did.iter().chain(&saw).all(|(count, floor)| count > floor), "{counts:?}");
    for class in MET {
        let met = faults.iter().find(|(name, _)| *name == class).map_or(0, |(_, count)| count);
        assert!(met >= 10, "{class}: {faults:?}");
    }
}
