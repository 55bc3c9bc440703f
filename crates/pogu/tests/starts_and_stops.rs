//! Cores come and go and leave nothing behind: no thread, no descriptor, no memory. One test in a process of its own, so that
//! what it counts is its own.

mod support;

use std::fs;
use std::time::Duration;

use pogu::{Context, DriverChoice, Packet, Service, Session};
use support::{ECHO, PATIENCE, Peer, core, eventually, runs, skipped};

const ROUNDS: usize = 200;

/// Allocators and the kernel keep some memory for the next time; after so many rounds they have it.
const WARM_UP: usize = 20;

/// Resident memory that the rounds after the warm-up may add, all together: 12 KiB per round would be noticed.
const GROWTH_MAX: usize = 2 * 1024 * 1024;

struct Echo;

impl Session for Echo {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        cx.send(packet.id(), packet.body());
    }
}

fn entries(folder: &str) -> usize {
    fs::read_dir(folder).expect("proc").count()
}

fn resident_bytes() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").expect("proc");
    let resident = pages.split_whitespace().nth(1).expect("resident").parse::<usize>().expect("a number");
    resident * 4096
}

/// With a sanitizer on it says nothing: what was freed is kept.
fn memory_is_a_measure() -> bool {
    std::env::var_os("POGU_SANITIZER").is_none()
}

/// A core with traffic, stopped or dropped.
fn one_life(driver: DriverChoice, round: usize) {
    let core = core(driver, 2).start().expect("a core");
    let service = core.serve(Service::server("127.0.0.1:0"), |_| Echo).expect("a service");
    let link = core.connect(Service::client(service.address()).sessions(2), |_| Echo).expect("a client service");
    let mut peers: Vec<Peer> = (0..4).map(|_| Peer::connect(service.address())).collect();
    for number in 0..20 {
        peers.iter_mut().for_each(|peer| peer.number(ECHO, number));
        peers.iter_mut().for_each(|peer| assert_eq!(peer.receive(), (ECHO, number.to_le_bytes().to_vec())));
    }
    match round % 3 {
        0 => drop(core),
        1 => drop(core.stop(Duration::ZERO).expect("stopped")),
        _ => {
            drop(peers);
            core.stop(PATIENCE).expect("stopped");
        }
    }
    assert_eq!((service.sessions(), link.sessions()), (0, 0));
}

#[test]
fn cores_leave_nothing_behind() {
    // Of another system's program there may be a folder of that name, which is about another process.
    if !cfg!(target_os = "linux") {
        return skipped("cores_leave_nothing_behind: nothing tells the threads and descriptors of a process here");
    }
    for driver in [DriverChoice::Readiness, DriverChoice::Uring] {
        if !runs(driver) {
            continue;
        }
        one_life(driver, 0);
        // A joined thread is listed for a moment longer.
        let (threads, descriptors) = (entries("/proc/self/task"), entries("/proc/self/fd"));
        assert!(threads <= 3, "the test, its runner, and at most one that is just leaving: {threads}");
        let mut warm = 0;
        for round in 1..=ROUNDS {
            one_life(driver, round);
            eventually("its threads are gone", || entries("/proc/self/task") <= threads);
            assert_eq!(entries("/proc/self/fd"), descriptors, "round {round}");
            if round == WARM_UP {
                warm = resident_bytes();
            }
        }
        let now = resident_bytes();
        let grown = now.saturating_sub(warm);
        println!("{driver:?}: {ROUNDS} cores, {threads} threads, {descriptors} descriptors, {warm} then {now} bytes");
        assert!(grown <= GROWTH_MAX || !memory_is_a_measure(), "{grown} bytes after {ROUNDS} rounds");
    }
}
