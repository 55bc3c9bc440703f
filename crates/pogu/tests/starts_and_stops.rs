//! Cores come and go and leave nothing behind: no thread, no descriptor, no memory. One test in a process of its own, so that
//! what it counts is its own.

mod support;

use std::fs;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pogu::{Context, Core, DriverChoice, Packet, PooledContext, PooledSession, Service, Session};
use support::{ECHO, PATIENCE, Peer, core, eventually, runs, skipped};

const ROUNDS: usize = 200;

/// Allocators and the kernel keep some memory for the next time; after so many rounds they have it.
const WARM_UP: usize = 20;

/// Half of the rounds after the warm-up.
const HALF_WAY: usize = (WARM_UP + ROUNDS) / 2;

/// Resident memory that the rounds after the warm-up may add, all together: 12 KiB per round would be noticed. More may be added
/// once, as by an allocator that takes one more arena, if the second half of them adds no more than half of it: a leak goes on.
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

/// The names of this process's threads that begin so.
fn threads_named(beginning: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("proc").flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with(beginning)).count()
}

/// Threads for jobs begin with what needs them.
fn pools_begin_when_they_are_needed() {
    let core =
        core(DriverChoice::Readiness, 1).job_threads(3).blocking_threads(2).handler_threads(4).start().expect("a core");
    let pools = || ["pogu-jobs", "pogu-blocking", "pogu-delays", "pogu-handlers"].map(threads_named);
    let jobs = core.jobs();
    assert_eq!(pools(), [0, 0, 0, 0]);
    let queue = jobs.queue("room", ());
    eventually("the pool", || pools() == [3, 0, 0, 0]);
    let _files = jobs.blocking("files");
    eventually("the other pool", || pools() == [3, 2, 0, 0]);
    assert!(queue.push_after(PATIENCE, |()| ()).is_pushed());
    eventually("the thread of delayed jobs", || pools() == [3, 2, 1, 0]);
    let service = core.serve(Service::server("127.0.0.1:0"), core.jobs().pooled("waiter", |_| Waiter(None)));
    let peer = Peer::connect(service.expect("a service").address());
    eventually("the pool of handlers", || pools() == [3, 2, 1, 4]);
    drop((core, peer));
    eventually("their end", || pools() == [0, 0, 0, 0]);
}

/// Waits until nobody can let it go any more.
struct Waiter(Option<Arc<Mutex<Receiver<()>>>>);

impl PooledSession for Waiter {
    fn on_packet(&mut self, _cx: &mut PooledContext<'_>, packet: Packet<'_>) {
        if let Some(gate) = self.0.as_ref().filter(|_| packet.id() == ECHO) {
            let _ = gate.lock().map(|gate| gate.recv());
        }
    }
}

/// The threads of handlers that block for ever are left behind, those of others are not; they end with their handlers.
fn handlers_that_block_for_ever_hold_up_no_stop() {
    let core = core(DriverChoice::Readiness, 1).handler_threads(4).start().expect("a core");
    let (let_go, gate) = channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let make = core.jobs().pooled("waiter", move |_| Waiter(Some(Arc::clone(&gate))));
    let service = core.serve(Service::server("127.0.0.1:0"), make).expect("a service");
    let mut peers: Vec<Peer> = (0..2).map(|_| Peer::connect(service.address())).collect();
    peers.iter_mut().for_each(|peer| peer.number(ECHO, 0));
    let begun = |core: &Core| core.jobs().report_of("waiter").is_some_and(|report| report.counts.pushed >= 4);
    eventually("both have a packet", || begun(&core));
    core.stop(Duration::ZERO).expect("stopped");
    eventually("those that had nothing to do", || threads_named("pogu-handlers") <= 2);
    drop((let_go, peers));
    eventually("all of them", || threads_named("pogu-handlers") == 0);
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

/// Job queues of every kind, with what waits and what is delayed.
fn jobs(core: &Core) {
    let (room, files) = (core.jobs().queue("room", Vec::new()), core.jobs().blocking("files"));
    let (tell, told) = channel();
    let done = tell.clone();
    for number in 0..20 {
        assert!(room.push(move |numbers| numbers.push(number)).is_pushed());
    }
    assert!(room.push(move |numbers| tell.send(numbers.len()).expect("it is waited for")).is_pushed());
    assert!(files.push(move || done.send(20).expect("it is waited for")).is_pushed());
    for _ in 0..2 {
        assert_eq!(told.recv_timeout(PATIENCE), Ok(20));
    }
    // Both are left to the end of the core; the value holds its own queue.
    let own = room.clone();
    assert!(room.push_after(PATIENCE, move |_| drop(own)).is_pushed());
    assert!(files.push(|| ()).is_pushed());
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
    if round.is_multiple_of(2) {
        jobs(&core);
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
        pools_begin_when_they_are_needed();
        handlers_that_block_for_ever_hold_up_no_stop();
        // A joined thread is listed for a moment longer.
        let (threads, descriptors) = (entries("/proc/self/task"), entries("/proc/self/fd"));
        assert!(threads <= 3, "the test, its runner, and at most one that is just leaving: {threads}");
        let (mut warm, mut half_way) = (0, 0);
        for round in 1..=ROUNDS {
            one_life(driver, round);
            eventually("its threads are gone", || entries("/proc/self/task") <= threads);
            assert_eq!(entries("/proc/self/fd"), descriptors, "round {round}");
            match round {
                WARM_UP => warm = resident_bytes(),
                HALF_WAY => half_way = resident_bytes(),
                _ => {}
            }
        }
        let now = resident_bytes();
        let (grown, of_late) = (now.saturating_sub(warm), now.saturating_sub(half_way));
        println!(
            "{driver:?}: {ROUNDS} cores, {threads} threads, {descriptors} descriptors, {warm}, {half_way}, then {now} bytes"
        );
        let goes_on = grown > GROWTH_MAX && of_late > GROWTH_MAX / 2;
        assert!(
            !goes_on || !memory_is_a_measure(),
            "{grown} bytes after {ROUNDS} rounds, {of_late} in the second half"
        );
    }
}
