//! Client services that come back: when, where to, how often, and when no more. Under virtual time.

mod support;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Duration;

use pogu::sim::SimulationOptions;
use pogu::{Cause, CauseKind, Error, Limits, Reconnect, Service, Time};
use support::linked::{What, greet, links};
use support::simulated::{SERVER, World, at};
use support::{ECHO, PANIC, QUIT, probes};

const SECOND: Duration = Duration::from_secs(1);

/// A policy with windows of this length.
fn every(window: Duration) -> Reconnect {
    Reconnect::spread_over(window)
}

fn ips(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|address| address.parse().expect("an address")).collect()
}

#[test]
fn attempts_come_within_windows_that_double_up_to_the_longest() {
    const LINKS: u32 = 400;
    let mut world = World::new();
    let core = world.core(2);
    let reconnect = Reconnect::default().window_max(4 * SECOND).attempts_max(4);
    let (client, _) = links(&core, Service::client(SERVER).sessions(LINKS as usize).reconnect(reconnect));
    // Nobody listens, so every attempt fails at its time: the n-th ends at the latest after 1, 3, 7 and 11 seconds.
    let (mut times, mut seen) = (Vec::new(), 0);
    world.until("all are given up", at(60), || {
        let reconnects = client.counters().reconnects;
        times.extend((seen..reconnects).map(|_| core.now()));
        seen = reconnects;
        client.sessions() == 0
    });
    assert_eq!(times.len(), 4 * LINKS as usize);
    assert!(core.now() <= at(11) && core.now() > at(9), "{:?}", core.now());
    let mean = times.iter().map(|time| time.since(Time::ZERO).as_secs_f64()).sum::<f64>() / times.len() as f64;
    // The n-th comes after 0.5, 1.5, 3.5, 5.5 seconds on average.
    assert!((mean - 2.75).abs() < 0.15, "{mean}");
    let counters = client.counters();
    assert_eq!((counters.reconnects, counters.gave_up), (4 * u64::from(LINKS), u64::from(LINKS)));
    assert_eq!(counters.disconnects(CauseKind::ConnectFailed), 5 * u64::from(LINKS));
    let gave_up = client.gave_up().expect("a reason");
    assert!(matches!(&gave_up, pogu::GaveUp { attempts: 4, cause: Cause::ConnectFailed(_), .. }), "{gave_up:?}");
    let text = gave_up.to_string();
    assert!(text.starts_with("given up after 4 attempts") && text.contains("refused"), "{text}");
}

#[test]
fn the_first_useful_message_begins_anew() {
    let mut world = World::new();
    let (_server, greeting) = greet(&mut world, SERVER);
    greeting.closes.store(true, Ordering::Relaxed);
    let core = world.core(1);
    let (client, log) = links(&core, Service::client(SERVER).reconnect(every(SECOND).attempts_max(50)));
    // A server that accepts and closes brings nothing: attempts go on counting.
    world.run_to(at(10));
    let silent = log.attempts();
    assert!(silent.len() > 5 && silent.iter().copied().eq(0..silent.len() as u32), "{silent:?}");
    greeting.id.store(ECHO.into(), Ordering::Relaxed);
    world.run_to(at(20));
    let attempts = log.attempts();
    assert!(attempts.len() > 5 && attempts[2..].iter().all(|attempt| *attempt == 1), "{attempts:?}");
    assert!(client.gave_up().is_none() && client.sessions() == 1);
}

#[test]
fn a_message_that_ends_the_session_is_not_useful() {
    let mut world = World::new();
    let (_server, greeting) = greet(&mut world, SERVER);
    greeting.id.store(PANIC.into(), Ordering::Relaxed);
    let core = world.core(1);
    let (client, log) = links(&core, Service::client(SERVER).reconnect(every(SECOND).attempts_max(3)));
    world.until("it is given up", at(10), || client.sessions() == 0);
    assert_eq!(log.attempts(), [0, 1, 2, 3]);
    let gave_up = client.gave_up().expect("a reason");
    assert_eq!((gave_up.attempts, gave_up.cause), (3, Cause::HandlerPanicked));
}

#[test]
fn who_ends_on_purpose_does_not_come_back() {
    let mut world = World::new();
    let (_server, greeting) = greet(&mut world, SERVER);
    greeting.id.store(QUIT.into(), Ordering::Relaxed);
    let core = world.core(1);
    let (client, log) = links(&core, Service::client(SERVER).sessions(5).reconnect(every(SECOND)));
    world.run_to(at(30));
    assert_eq!((client.sessions(), client.counters().reconnects, log.attempts().len()), (0, 0, 5));
    assert_eq!(client.gave_up(), None);
}

#[test]
fn without_a_policy_nobody_comes_back() {
    let mut world = World::new();
    let (_server, greeting) = greet(&mut world, SERVER);
    greeting.closes.store(true, Ordering::Relaxed);
    let core = world.core(1);
    let (client, log) = links(&core, Service::client(SERVER).sessions(3));
    world.run_to(at(30));
    assert_eq!((client.sessions(), log.attempts()), (0, vec![0; 3]));
}

#[test]
fn a_name_is_looked_up_again_at_each_attempt() {
    let mut world = World::new();
    let (_server, _) = greet(&mut world, "10.0.0.2:7777");
    world.simulation.name("game.example", ips(&["10.0.0.1"]));
    let core = world.core(1);
    let (client, log) = links(&core, Service::client("game.example:7777").reconnect(every(SECOND)));
    assert_eq!((client.address().to_string(), client.target()), ("0.0.0.0:0".to_owned(), "game.example:7777"));
    world.settle();
    assert_eq!(client.address().to_string(), SERVER);
    assert_eq!((client.counters().disconnects(CauseKind::ConnectFailed), client.sessions()), (1, 1));
    world.simulation.name("game.example", []);
    world.until("the name is unknown", at(10), || client.counters().disconnects(CauseKind::Unresolved) > 0);
    world.simulation.name("game.example", ips(&["10.0.0.2"]));
    world.run_for(2 * SECOND);
    let there: SocketAddr = "10.0.0.2:7777".parse().expect("an address");
    let made = log.take();
    assert!(matches!(made[..], [(_, What::Made { attempt: 2.., peer: Some(peer) })] if peer == there), "{made:?}");
    assert_eq!(client.address(), there);
}

#[test]
fn an_unknown_name_is_a_cause_and_a_senseless_one_an_error() {
    let mut world = World::new();
    let core = world.core(1);
    let (once, _) = links(&core, Service::client("nobody.example:1").sessions(3));
    let (thrice, _) = links(&core, Service::client("nobody.example:1").reconnect(every(SECOND).attempts_max(2)));
    world.run_to(at(5));
    assert_eq!((once.sessions(), once.counters().disconnects(CauseKind::Unresolved)), (0, 3));
    assert_eq!((thrice.sessions(), thrice.counters().disconnects(CauseKind::Unresolved)), (0, 3));
    assert!(matches!(thrice.gave_up().expect("a reason").cause, Cause::Unresolved(_)));
    let (factory, _reports) = probes();
    for senseless in ["nowhere", "db.example", ":80", "db.example:http"] {
        let refused = core.connect(Service::client(senseless), factory.clone());
        assert!(matches!(refused, Err(Error::Address { .. })), "{senseless}: {refused:?}");
    }
    let impossible = Service::client(SERVER).reconnect(Reconnect::default().attempts_max(0));
    assert!(matches!(core.connect(impossible, factory.clone()), Err(Error::Configuration { .. })));
    let server = core.serve(Service::server(SERVER).reconnect(Reconnect::default()), factory);
    assert!(matches!(server, Err(Error::Configuration { field: "reconnect", .. })), "{server:?}");
}

#[test]
fn every_address_of_a_name_is_tried_before_anything_has_failed() {
    let mut world = World::new();
    let (_server, _) = greet(&mut world, "[fd00::2]:7777");
    // The first refuses, the second does not answer, the third is there.
    let _deaf = world.silence("10.0.0.9:7777");
    world.simulation.name("game.example", ips(&["10.0.0.1", "10.0.0.9", "fd00::2"]));
    let core = world.core(2);
    let (client, log) = links(&core, Service::client("game.example:7777").sessions(300));
    world.run_to(at(40));
    let peer = Some("[fd00::2]:7777".parse().expect("an address"));
    let made = log.take();
    assert_eq!(made.len(), 300);
    assert!(made.iter().all(|(_, what)| *what == What::Made { attempt: 0, peer }));
    assert!(made.iter().all(|(time, _)| *time == at(10) || *time == at(20)), "64 or 128 at a time per worker");
    let counters = client.counters();
    assert_eq!((client.sessions(), counters.causes().count(), counters.reconnects), (300, 0, 0));
    assert!(client.connect_error().is_some(), "what was tried in vain is told");
}

#[test]
fn who_was_connected_by_one_address_does_not_go_on_to_the_next() {
    let mut options = SimulationOptions::default();
    options.latency = Duration::from_millis(100);
    let mut world = World::with_options(&options);
    let (_first, greeting) = greet(&mut world, SERVER);
    greeting.closes.store(true, Ordering::Relaxed);
    let (second, _) = greet(&mut world, "10.0.0.2:7777");
    world.simulation.name("game.example", ips(&["10.0.0.1", "10.0.0.2"]));
    let core = world.core(1);
    // One connects while the one before it ends: the addresses are known.
    let mut limits = Limits::default();
    limits.connects_in_flight_max = 1;
    let (client, log) = links(&core, Service::client("game.example:7777").sessions(3).limits(limits));
    world.run_to(at(10));
    assert_eq!((client.sessions(), client.counters().disconnects(CauseKind::PeerClosed)), (0, 3));
    assert_eq!((log.attempts(), second.counters().sessions_opened), (vec![0; 3], 0));
}

#[test]
fn ipv6_literals_and_names_are_addresses_like_others() {
    let mut world = World::new();
    let (_server, _) = greet(&mut world, "[::1]:7777");
    world.simulation.name("six.example", ips(&["::1"]));
    let core = world.core(1);
    for target in ["[::1]:7777", "six.example:7777"] {
        let (client, log) = links(&core, Service::client(target).reconnect(every(SECOND)));
        world.settle();
        assert_eq!((log.attempts(), client.address().to_string()), (vec![0], "[::1]:7777".to_owned()), "{target}");
    }
}

#[test]
fn what_waits_is_gone_when_the_core_stops() {
    let mut world = World::new();
    let core = world.core(3);
    let (client, _) = links(&core, Service::client(SERVER).sessions(100).reconnect(Reconnect::default()));
    let (unknown, _) = links(&core, Service::client("nobody.example:1").sessions(100).reconnect(Reconnect::default()));
    world.run_to(at(100));
    assert_eq!((client.sessions(), unknown.sessions()), (100, 100), "they wait");
    let counters = world.lockstep.stop(core, SECOND).expect("the workers work");
    assert!(world.lockstep.now() < at(101), "nothing waits for what waits");
    assert_eq!((client.sessions(), unknown.sessions(), counters.gave_up), (0, 0, 0));
}

#[test]
fn a_dropped_core_gives_back_what_waits() {
    let mut world = World::new();
    let core = world.core(1);
    let (client, _) = links(&core, Service::client(SERVER).sessions(10).reconnect(Reconnect::default()));
    world.run_to(at(9));
    drop((core, world));
    assert_eq!(client.sessions(), 0);
}

#[test]
fn who_comes_by_a_second_address_is_not_held_back_by_the_silence_of_the_first() {
    let mut world = World::new();
    let _deaf = world.silence("10.0.0.9:7777");
    let (server, _) = greet(&mut world, "10.0.0.2:7777");
    world.simulation.name("game.example", ips(&["10.0.0.9", "10.0.0.2"]));
    let core = world.core(1);
    let (client, log) = links(&core, Service::client("game.example:7777").sessions(200).reconnect(every(SECOND)));
    world.run_to(at(25));
    assert_eq!(log.attempts().len(), 200);
    world.lockstep.stop(server, SECOND).expect("the workers work");
    let (_server, _) = greet(&mut world, "10.0.0.2:7777");
    // A few find it after a connect timeout, then as many as may be under way, then the rest.
    let made = || log.0.lock().expect("the log").iter().filter(|(_, what)| matches!(what, What::Made { .. })).count();
    let back = world.until("all are back", at(100), || made() == 200).since(at(25));
    assert!(client.sessions() == 200 && back < 33 * SECOND, "{back:?}");
}
