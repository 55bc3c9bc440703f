//! Sessions that are not received from, because they do not read what they are sent: what they say meanwhile is not heard, and
//! that is not their fault. Under virtual time.

mod support;

use std::io::Read;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use pogu::{Cause, CauseKind, Core, FanOutOutcome, Heartbeat, Limits, SendOverflow, Service, ServiceHandle};
use support::simulated::{Client, SERVER, World, at};
use support::{ECHO, Event, FLOOD, JOIN, probes};

const PING: u16 = 900;
const PONG: u16 = 901;

const SECOND: Duration = Duration::from_secs(1);
const TENTH: Duration = Duration::from_millis(100);

/// Frames of a flood whose rest, after what the system takes, is more than half of a send queue.
const CONGESTING: u32 = 220;

fn serve(world: &mut World, configure: impl FnOnce(Service) -> Service) -> (Core, ServiceHandle, Receiver<Event>) {
    let core = world.core(1);
    let (factory, reports) = probes();
    let service = core.serve(configure(Service::server(SERVER)), factory).expect("a service");
    (core, service, reports)
}

/// Sends more to everybody than who does not read may have.
fn congest(service: &ServiceHandle) {
    for _ in 0..CONGESTING {
        assert_eq!(service.broadcast(FLOOD, &[7; 1000]), FanOutOutcome::Posted);
    }
}

fn pong_within(seconds: u32) -> Heartbeat {
    Heartbeat::every(2 * SECOND, PING).pong_required(PONG, seconds * SECOND)
}

fn ends(reports: &Receiver<Event>) -> Vec<Cause> {
    let cause = |event| match event {
        Event::Disconnected(cause) => Some(cause),
        _ => None,
    };
    reports.try_iter().filter_map(cause).collect()
}

/// Reads at most so many bytes and answers the pings among them; gives how many there were.
fn read_and_answer(client: &mut Client, bytes: usize) -> usize {
    let mut space = vec![0; bytes];
    let count = client.peer.read(&mut space).unwrap_or(0);
    client.received.extend_from_slice(&space[..count]);
    let mut pings = 0;
    while let [low, high, id @ .., _] = client.received.get(..5).unwrap_or_default() {
        let frame_bytes = usize::from(u16::from_le_bytes([*low, *high]));
        let is_ping = u16::from_le_bytes([id[0], id[1]]) == PING;
        if client.received.len() < frame_bytes {
            break;
        }
        client.received.drain(..frame_bytes);
        if is_ping {
            client.send(PONG, b"");
            pings += 1;
        }
    }
    pings
}

#[test]
fn a_slow_reader_that_answers_every_ping_is_not_taken_for_dead() {
    let mut world = World::new();
    let heartbeat = pong_within(8).body([0]);
    let (_core, service, reports) = serve(&mut world, |service| service.heartbeat(heartbeat));
    let (mut slow, mut speaker) = (world.connect(&service), world.connect(&service));
    slow.number(JOIN, 1);
    speaker.number(JOIN, 1);
    world.settle();
    let mut pings = 0;
    for tick in 1..600 {
        world.run_for(TENTH);
        assert_eq!(ends(&reports), [], "after {tick} tenths of a second, {pings} pings answered");
        (0..7).for_each(|_| speaker.say(1, &[5; 900]));
        // Three seconds and a half late, and then as fast as the room talks.
        if tick > 35 {
            pings += read_and_answer(&mut slow, 7 * 904);
        }
        if tick % 10 == 0 {
            slow.send(ECHO, b"I am here");
        }
        speaker.frames();
    }
    // Once the room is quiet and it has caught up, pings come again, and their answers count again.
    for _ in 0..200 {
        world.run_for(TENTH);
        pings += read_and_answer(&mut slow, 7 * 904);
        pings += read_and_answer(&mut speaker, 7 * 904);
    }
    world.settle();
    assert_eq!(ends(&reports), []);
    let counters = service.counters();
    assert!(pings > 10 && counters.heartbeats_answered as usize == pings, "{pings}, {counters:?}");
    // And who then does not answer is dead.
    let asked = world.lockstep.now();
    let (time, cause) = world.end_of(&reports, &mut None, at(1000));
    assert_eq!(cause.kind(), CauseKind::HeartbeatTimeout);
    assert!(time.since(asked) <= 10 * SECOND, "{:?}", time.since(asked));
}

#[test]
fn who_never_reads_ends_at_the_send_age_and_not_before() {
    for pong_seconds in [1, 3, 60] {
        let mut world = World::new();
        let configure = |service: Service| service.heartbeat(pong_within(pong_seconds)).idle_timeout(4 * SECOND);
        let (_core, service, reports) = serve(&mut world, configure);
        let mut deaf = world.connect(&service);
        world.run_to(at(1));
        deaf.number(FLOOD, CONGESTING);
        for second in 2..11 {
            world.run_to(at(second));
            deaf.send(ECHO, b"nobody hears this");
            assert_eq!(ends(&reports), [], "second {second}");
        }
        let (time, cause) = world.end_of(&reports, &mut None, at(1000));
        assert_eq!((time, cause.kind()), (at(11), CauseKind::SendAge));
    }
}

#[test]
fn a_silence_that_is_ours_is_no_idleness() {
    let mut limits = Limits::default();
    limits.send_age_max = 300 * SECOND;
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, |service| service.limits(limits));
    let mut client = world.connect(&service);
    client.number(FLOOD, CONGESTING);
    world.run_to(at(30));
    client.send(ECHO, b"are you there?");
    world.run_to(at(200));
    let mut heard = Vec::new();
    for _ in 0..10 {
        heard.extend(client.frames());
        world.settle();
    }
    assert_eq!((heard.len(), ends(&reports)), (CONGESTING as usize + 1, Vec::new()));
    assert_eq!(heard.last(), Some(&(ECHO, b"are you there?".to_vec())));
    // From here on it is its own silence.
    let (time, cause) = world.end_of(&reports, &mut Some(client), at(1000));
    assert_eq!((time, cause.kind()), (at(260), CauseKind::IdleTimeout));
}

#[test]
fn a_first_frame_that_we_do_not_read_is_not_late() {
    let mut limits = Limits::default();
    limits.send_age_max = 300 * SECOND;
    let mut world = World::new();
    let configure = |service: Service| {
        service.limits(limits).clients_speak_first(10 * SECOND).heartbeat(Heartbeat::every(2 * SECOND, PING).pong(PONG))
    };
    let (_core, service, reports) = serve(&mut world, configure);
    let mut client = world.connect(&service);
    congest(&service);
    world.run_to(at(4));
    // An answer to a heartbeat is heard, and found to be of one who does not read.
    client.send(PONG, b"");
    world.run_to(at(5));
    client.send(ECHO, b"my name");
    world.run_to(at(40));
    assert_eq!((service.counters().frames_received, ends(&reports)), (0, Vec::new()));
    let mut heard = Vec::new();
    for _ in 0..10 {
        heard.extend(client.frames());
        world.settle();
    }
    assert!(heard.contains(&(ECHO, b"my name".to_vec())));
    // One that is silent has the rest of its time after the pause, and no more.
    let mut silent = world.connect(&service);
    congest(&service);
    world.run_to(at(44));
    silent.send(PONG, b"");
    world.run_to(at(70));
    for _ in 0..10 {
        silent.frames();
        client.frames();
        world.settle();
    }
    let (time, cause) = world.end_of(&reports, &mut Some(silent), at(1000));
    assert_eq!((time, cause.kind()), (at(76), CauseKind::FirstFrameTimeout));
}

#[test]
fn what_leaves_lets_nothing_in_while_half_of_the_bound_still_waits() {
    let mut world = World::new();
    let (_core, service, _reports) = serve(&mut world, |service| service.send_queue(1 << 20, SendOverflow::DropNewest));
    let mut client = world.connect(&service);
    client.number(FLOOD, 900);
    world.settle();
    (0..5).for_each(|_| client.send(ECHO, b""));
    world.settle();
    let mut read_until = |what: &dyn Fn() -> bool| {
        while !what() {
            assert!(client.peer.read(&mut [0; 4096]).expect("it is open") > 0);
            world.settle();
        }
    };
    let before = service.counters().bytes_sent;
    read_until(&|| service.counters().bytes_sent > before);
    assert_eq!(service.counters().frames_received, 1, "a batch has left, and too much waits");
    read_until(&|| service.counters().frames_received > 1);
    assert_eq!(service.counters().frames_received, 6);
}
