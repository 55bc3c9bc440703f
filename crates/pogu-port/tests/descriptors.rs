//! What ports do with descriptors: give all of them back, and live through a shortage of them.
//!
//! The descriptor table belongs to the process, so these scenarios have one of their own, and take turns in it.

#![cfg(target_os = "linux")]

#[path = "contract/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

use std::fs::File;
use std::io::ErrorKind;
use std::sync::Mutex;

use pogu_port::{Completion, Counters};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{Desk, Driver, PATIENCE, Peer, Post, Scenario, Seen, Stage, Station, play, remember};

static TABLE: Mutex<()> = Mutex::new(());

fn alone(driver: Driver, name: &'static str, scenario: fn(&Stage)) {
    let _table = TABLE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    play(driver, &Scenario { name, needs: &[], play: scenario });
}

#[test]
fn readiness_ports_give_their_descriptors_back() {
    alone(Driver::Readiness, "ports_give_their_descriptors_back", ports_give_their_descriptors_back);
}

#[test]
fn uring_ports_give_their_descriptors_back() {
    alone(Driver::Uring, "ports_give_their_descriptors_back", ports_give_their_descriptors_back);
}

#[test]
fn readiness_listeners_survive_a_shortage() {
    alone(Driver::Readiness, "listeners_survive_a_shortage", listeners_survive_a_shortage);
}

#[test]
fn uring_listeners_survive_a_shortage() {
    alone(Driver::Uring, "listeners_survive_a_shortage", listeners_survive_a_shortage);
}

#[test]
fn readiness_gives_back_what_comes_late() {
    alone(Driver::Readiness, "late_completions_give_back_what_they_carry", |stage| {
        let counters = late_completions_give_back_what_they_carry(stage);
        assert_eq!(counters.late_descriptors, 0, "clients of a closing listener stay in its backlog");
    });
}

#[test]
fn uring_gives_back_what_comes_late() {
    alone(Driver::Uring, "late_completions_give_back_what_they_carry", |stage| {
        let counters = late_completions_give_back_what_they_carry(stage);
        assert!(counters.late_descriptors >= LATE_ROUNDS, "one at least in each round: {counters:?}");
        assert!(counters.late_completions >= counters.late_descriptors + LATE_ROUNDS, "and bytes: {counters:?}");
    });
}

const LATE_ROUNDS: u64 = 50;

/// A client that is served closes the listener under the others, and a connection that is served aborts another.
fn late_completions_give_back_what_they_carry(stage: &Stage) -> Counters {
    let before = open_descriptors();
    let mut station = stage.station_with(|config| config.receive_buffers = 4);
    for _ in 0..LATE_ROUNDS {
        let (listener, address) = station.listen();
        station.duel(address);
        let clients: Vec<Peer> = (0..3).map(|_| stage.connect(address)).collect();
        let mut closed = false;
        let close = |desk: &mut Desk<'_, '_>, completion: &mut Completion<'_, Post>| {
            if matches!(completion, Completion::Accepted { .. }) && !std::mem::replace(&mut closed, true) {
                desk.operations.close_listener(listener).expect("it is open");
            }
        };
        let last = Seen::ListenerClosed(listener);
        station.wait_with("the last word", close, |station| station.seen.contains(&last));
        station.streams.clear();
        // Served, late, or never accepted: each is told.
        for mut client in clients {
            assert_eq!(client.read_to_end(&mut station).unwrap_or_default(), b"");
        }
        station.seen.clear();
    }
    let counters = station.port().counters();
    assert!(counters.late_completions >= LATE_ROUNDS, "one at least in each round: {counters:?}");
    drop(station);
    assert_eq!(open_descriptors(), before, "descriptors were leaked");
    counters
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("procfs").count()
}

fn ports_give_their_descriptors_back(stage: &Stage) {
    let before = open_descriptors();
    for drained in [true, false] {
        let mut station = stage.station();
        let (_, address) = station.listen();
        let mut peers = Vec::new();
        for index in 0..200 {
            let (stream, peer) = station.accepted_at(address);
            peers.push(peer);
            let connection = station.submit(|desk| desk.adopt(stream));
            let submitted = station.submit(|desk| match index % 4 {
                0 => desk.receive(connection),
                1 => desk.close(connection),
                2 => desk.detach(connection),
                _ => {
                    desk.send(connection, b"hello");
                    Ok(())
                }
            });
            submitted.expect("it is open");
        }
        station.submit(|desk| desk.connect(address));
        // Nobody takes this one out of the inbox.
        let (stream, _peer) = station.accepted();
        station.poster().post(pogu_port::Owner(9), Post::Stream(stream)).expect("there is room");
        if drained {
            drop(station);
        } else {
            station.drop_without_draining();
        }
    }
    assert_eq!(open_descriptors(), before, "descriptors were leaked");
}

fn listeners_survive_a_shortage(stage: &Stage) {
    const CLIENTS: usize = 6;
    let mut station = stage.station();
    let (_, address) = station.listen();
    // Connected means that they wait in the backlog: nothing has been dispatched yet.
    let mut clients: Vec<Peer> = (0..CLIENTS).map(|_| stage.connect(address)).collect();
    let shortage = Shortage::begin();
    station.wait("the shortage", |station| station.seen.contains(&Seen::AcceptPaused));
    // It lasts, and so a client is told now and then.
    let end = station.clock.now() + PATIENCE;
    while station.port().counters().accept_sheds == 0 {
        station.turn_with(end.since(station.clock.now()), remember);
        assert!(station.clock.now() < end, "nobody was told");
    }
    assert!(station.turns < 100, "{} turns: it spins", station.turns);
    drop(shortage);
    // The others are accepted; none is lost.
    while station.streams.len() + told(&mut station) < CLIENTS {
        station.turn_with(end.since(station.clock.now()), remember);
        assert!(station.clock.now() < end, "{} were accepted", station.streams.len());
    }
    let resets = clients.iter_mut().filter_map(was_reset).count();
    assert_eq!(resets, told(&mut station));
    assert_eq!(station.count(|seen| *seen == Seen::AcceptPaused), 1, "reported when it begins");
    assert_eq!(station.port().counters().accept_pauses, 1);
    station.streams.clear();
    station.accepted_at(address);
}

fn told(station: &mut Station) -> usize {
    usize::try_from(station.port().counters().accept_sheds).expect("a small number")
}

fn was_reset(client: &mut Peer) -> Option<ErrorKind> {
    let kind = client.look().expect_err("nobody has sent anything");
    Some(kind).filter(|kind| *kind == ErrorKind::ConnectionReset)
}

/// As long as it lives, the process can open nothing.
struct Shortage {
    limits: Rlimit,
    _fillers: Vec<File>,
}

impl Shortage {
    fn begin() -> Shortage {
        let limits = getrlimit(Resource::Nofile);
        // Low enough to be filled quickly; what is open above it stays open.
        let few = Rlimit { current: Some(256), ..limits };
        setrlimit(Resource::Nofile, few).expect("a lower limit is allowed");
        let fillers = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
        Shortage { limits, _fillers: fillers }
    }
}

impl Drop for Shortage {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.limits).expect("the old limit is allowed");
    }
}
