//! Thousands of sessions that lost their server together: how soon and how evenly they come back. Under virtual time.

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use pogu::sim::SimulationOptions;
use pogu::{Counters, Reconnect, Service};
use support::ECHO;
use support::linked::{What, greet, links};
use support::simulated::{SERVER, World, at};

const SECOND: Duration = Duration::from_secs(1);

/// What is there while a server is not.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Outage {
    /// Its machine refuses at once.
    Refused,
    /// Nobody answers: dropped packets, a host that boots.
    Silent,
}

/// Bots, a server that goes down at 10 s and comes up again after `seconds`: how long after that each was made again, and
/// the counters.
fn restart(bots: usize, policy: Reconnect, (outage, seconds): (Outage, u64), seed: u64) -> (Vec<Duration>, Counters) {
    let mut options = SimulationOptions::default();
    options.latency = Duration::from_millis(20);
    options.seed = seed;
    let mut world = World::with_options(&options);
    let (server, greeting) = greet(&mut world, SERVER);
    greeting.id.store(ECHO.into(), Ordering::Relaxed);
    let core = world.core(2);
    let (client, log) = links(&core, Service::client(SERVER).sessions(bots).reconnect(policy));
    world.run_to(at(10));
    assert_eq!(log.attempts().len(), bots);
    world.lockstep.stop(server, SECOND).expect("the workers work");
    let nobody = (outage == Outage::Silent).then(|| world.silence(SERVER));
    let back = at(10 + seconds);
    world.run_to(back);
    drop(nobody);
    let (_server, greeting) = greet(&mut world, SERVER);
    greeting.id.store(ECHO.into(), Ordering::Relaxed);
    world.run_for(40 * SECOND);
    assert_eq!(client.sessions(), bots);
    let is_made = |what: &What| matches!(what, What::Made { .. });
    // One may have found the place that a deaf listener has.
    let made =
        log.take().into_iter().filter(|(time, what)| is_made(what) && *time >= back).map(|(time, _)| time.since(back));
    (made.collect(), client.counters())
}

/// How long it took until the last was back, and how many times the mean the busiest 100 ms were.
fn crowding(made: &[Duration]) -> (Duration, f64) {
    let hundred = Duration::from_millis(100);
    let within = |(index, begin): (usize, &Duration)| made[index..].partition_point(|time| *time - *begin < hundred);
    let busiest = made.iter().enumerate().map(within).max().expect("some") as f64;
    let last = *made.last().expect("some");
    (last, busiest / (made.len() as f64 / (last.as_secs_f64() * 10.0)))
}

#[test]
fn five_thousand_bots_come_back_soon_and_evenly_after_any_outage() {
    for outage in [Outage::Refused, Outage::Silent] {
        for (seconds, seed) in [1, 4, 10, 60].into_iter().flat_map(|seconds| [1, 2, 3].map(|seed| (seconds, seed))) {
            let what = format!("{outage:?} for {seconds} s, seed {seed}");
            let (made, counters) = restart(5_000, Reconnect::spread_over(8 * SECOND), (outage, seconds), seed);
            assert_eq!((made.len(), counters.gave_up), (5_000, 0), "{what}");
            let (last, crowding) = crowding(&made);
            println!("{what}: back in {last:?}, busiest 100 ms {crowding:.2} times the mean");
            assert!(last < 10 * SECOND, "{what}: {last:?}");
            assert!(crowding <= 2.0, "{what}: {crowding} times the mean");
        }
    }
}

#[test]
fn links_draw_again_while_a_server_is_silent() {
    for seconds in [4, 10, 60] {
        let (made, _) = restart(5_000, Reconnect::default(), (Outage::Silent, seconds), 1);
        let (last, crowding) = crowding(&made);
        let busiest = crowding * 500.0 / last.as_secs_f64();
        println!("silent for {seconds} s: back in {last:?}, {busiest:.0} in the busiest 100 ms");
        assert!(made.len() == 5_000 && last < 32 * SECOND, "{} in {last:?}", made.len());
        assert!(busiest <= 128.0, "{busiest} in 100 ms after {seconds} s");
    }
}

#[test]
fn runs_of_one_seed_are_the_same() {
    let run = |seed| restart(100, Reconnect::spread_over(8 * SECOND), (Outage::Refused, 1), seed);
    let one = run(7);
    assert_eq!(run(7), one);
    assert_ne!(run(8).0, one.0);
}

#[test]
fn a_server_that_is_silent_from_the_start_is_not_stormed_when_it_comes() {
    let mut world = World::new();
    let nobody = world.silence(SERVER);
    let core = world.core(2);
    let (client, log) =
        links(&core, Service::client(SERVER).sessions(5_000).reconnect(Reconnect::spread_over(8 * SECOND)));
    world.run_to(at(40));
    drop(nobody);
    let (_server, _greeting) = greet(&mut world, SERVER);
    world.run_for(20 * SECOND);
    let made: Vec<Duration> = log.take().into_iter().map(|(time, _)| time.since(at(40))).collect();
    let (last, crowding) = crowding(&made);
    println!("back in {last:?}, busiest 100 ms {crowding:.2} times the mean");
    assert!(client.sessions() == 5_000 && made.len() == 5_000 && last < 10 * SECOND, "{} in {last:?}", made.len());
    assert!(crowding <= 2.0, "{crowding} times the mean");
}
