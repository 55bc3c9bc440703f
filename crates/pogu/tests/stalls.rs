//! What a stall of a worker costs its peers: nothing. A worker that is not dispatched while the clock moves on (a slow handler,
//! a debugger, a game loop that hangs) has not seen what its peers did meanwhile, so their silence proves nothing.
//!
//! Under virtual time a stall is exact: the clock is moved and nobody is dispatched.

mod support;

use std::io::Write;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use pogu::{CauseKind, Context, Core, Heartbeat, Packet, PortConfig, Service, ServiceHandle, Session, Time};
use support::simulated::{Client, Flow, SERVER, World, at};
use support::{ECHO, Event, FLOOD, JOIN, flood_body, frame, probes};

fn serve(world: &mut World, workers: usize, port: PortConfig) -> (Core, ServiceHandle, Receiver<Event>) {
    let core = world.lockstep.start(Core::builder().workers(workers).port(port)).expect("a core");
    let (factory, reports) = probes();
    let service = core.serve(Service::server(SERVER), factory).expect("a service");
    (core, service, reports)
}

fn ends(reports: &Receiver<Event>) -> Vec<Event> {
    reports.try_iter().filter(|event| matches!(event, Event::Disconnected(_))).collect()
}

/// The moment before `time`.
fn just_before(time: Time) -> Time {
    Time::from_nanos(time.as_nanos() - 1)
}

#[test]
fn a_listener_is_not_idle_because_all_workers_stalled() {
    // Whichever worker comes back first: once it is the listener's, which has not heard from the speaker's then.
    for speaker in [0, 1] {
        let mut world = World::new();
        let (_core, service, reports) = serve(&mut world, 2, PortConfig::default());
        let mut members = [(); 2].map(|()| world.connect(&service));
        let workers: Vec<Event> = reports.try_iter().collect();
        assert_eq!(workers, [0, 1].map(|worker| Event::Connected { worker }), "one on each worker");
        let mut silent = world.connect(&service);
        world.run_to(at(1));
        for member in &mut members {
            member.number(JOIN, 5);
            world.settle();
            assert_eq!(member.frames(), [(JOIN, 5u32.to_le_bytes().to_vec())]);
        }
        world.simulation.advance_to(at(30));
        members[speaker].say(5, b"here");
        world.simulation.advance_to(at(200));
        world.settle();
        for member in &mut members {
            assert_eq!(member.frames(), [(support::SAY, b"here".to_vec())]);
        }
        // Who really was silent has a second longer, not for ever.
        world.run_to(just_before(at(201)));
        assert_eq!((silent.take_what_came(), ends(&reports)), (Flow::Open, Vec::new()));
        world.run_to(at(201));
        assert_eq!(silent.take_what_came(), Flow::Finished);
        // And the two have a whole minute from when they were heard.
        world.run_to(just_before(at(260)));
        assert_eq!(members.each_mut().map(Client::take_what_came), [Flow::Open; 2]);
        world.run_to(at(260));
        assert_eq!(members.each_mut().map(Client::take_what_came), [Flow::Finished; 2]);
    }
}

#[test]
fn limits_wait_as_long_as_the_stall_was_and_at_most_a_second() {
    // Milliseconds: how late the worker is for the idle timeout, and how long it then waits before it enforces it.
    for (stall, waits) in
        [(0, 0), (1, 0), (99, 0), (100, 100), (400, 400), (1000, 1000), (1001, 1000), (3_600_000, 1000)]
    {
        let mut world = World::new();
        let (_core, service, _reports) = serve(&mut world, 1, PortConfig::default());
        let mut silent = world.connect(&service);
        world.run_to(just_before(at(60)));
        assert_eq!(silent.take_what_came(), Flow::Open, "a sleep until something is due is no stall");
        let back = at(60) + Duration::from_millis(stall);
        world.simulation.advance_to(back);
        let end = back + Duration::from_millis(waits);
        if waits > 0 {
            world.run_to(just_before(end));
            assert_eq!(silent.take_what_came(), Flow::Open, "a stall of {stall} ms");
        }
        world.run_to(end);
        assert_eq!(silent.take_what_came(), Flow::Finished, "a stall of {stall} ms");
    }
}

#[test]
fn each_stall_is_made_up_for_if_limits_were_enforced_since_the_last() {
    const STALL: Duration = Duration::from_millis(400);
    let mut world = World::new();
    let (_core, service, _reports) = serve(&mut world, 1, PortConfig::default());
    for _ in 0..3 {
        let mut silent = world.connect(&service);
        let idle_at = world.lockstep.now() + Duration::from_secs(60);
        world.run_to(just_before(idle_at));
        world.simulation.advance_to(idle_at + STALL);
        world.run_to(just_before(idle_at + 2 * STALL));
        assert_eq!(silent.take_what_came(), Flow::Open);
        world.run_to(idle_at + 2 * STALL);
        assert_eq!(silent.take_what_came(), Flow::Finished);
    }
}

#[test]
fn a_connection_that_may_have_come_about_during_a_stall_is_not_given_up() {
    let mut world = World::new();
    let _deaf = world.silence(SERVER);
    let core = world.core(1);
    let (factory, _reports) = probes();
    let client = core.connect(Service::client(SERVER), factory).expect("a client service");
    world.run_to(just_before(at(10)));
    let back = at(10) + Duration::from_millis(400);
    world.simulation.advance_to(back);
    world.run_to(just_before(back + Duration::from_millis(400)));
    assert_eq!(client.sessions(), 1);
    world.run_to(back + Duration::from_millis(400));
    assert_eq!((client.sessions(), client.counters().disconnects(CauseKind::ConnectTimeout)), (0, 1));
}

#[test]
fn a_worker_that_stalls_all_the_time_enforces_limits_all_the_same() {
    for stall in [100, 110, 250, 900, 3_000] {
        let mut world = World::new();
        let (_core, service, _reports) = serve(&mut world, 1, PortConfig::default());
        let mut silent = world.connect(&service);
        let mut turns = 0;
        while silent.take_what_came() == Flow::Open {
            let next = world.simulation.now() + Duration::from_millis(stall);
            world.simulation.advance_to(next);
            world.settle();
            turns += 1;
            assert!(turns < 1_000, "turns of {stall} ms and never an end");
        }
        let late = world.simulation.now().since(at(60));
        assert!(late <= Duration::from_millis(1000 + 2 * stall), "turns of {stall} ms, {late:?} late");
    }
}

#[test]
fn a_frame_whose_rest_came_during_a_stall_is_taken() {
    let mut world = World::new();
    let mut port = PortConfig::default();
    // The rest takes many turns; the frame timeout is over in the first of them.
    port.receive_bytes_per_turn_max = 4096;
    let (_core, service, reports) = serve(&mut world, 1, port);
    let mut client = world.connect(&service);
    let bytes = frame(ECHO, &[7; 50_000]);
    client.peer.write_all(&bytes[..2]).expect("there is room");
    world.run_to(at(1));
    world.simulation.advance_to(at(5));
    client.peer.write_all(&bytes[2..]).expect("there is room");
    world.simulation.advance_to(at(50));
    world.settle();
    let frames = client.frames();
    assert!(frames == [(ECHO, vec![7; 50_000])], "{} frames; ends: {:?}", frames.len(), ends(&reports));
}

#[test]
fn a_peer_that_read_during_a_stall_is_not_deaf() {
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, 1, PortConfig::default());
    let mut client = world.connect(&service);
    client.number(FLOOD, 200);
    world.run_to(at(2));
    world.simulation.advance_to(at(5));
    let mut heard = client.frames();
    assert!(heard.len() < 200, "not all of it fits the system's buffers");
    // What waits in the queue is older than it may be, through no fault of the peer.
    world.simulation.advance_to(at(50));
    let time = world.until("the rest", at(51), || {
        heard.extend(client.frames());
        heard.len() == 200
    });
    assert_eq!((time, ends(&reports)), (at(50), Vec::new()));
    assert!(heard.into_iter().eq((0..200).map(|index| (FLOOD, flood_body(index)))));
}

/// Tells when its timer, set once per packet, went off.
struct Alarm;

impl Session for Alarm {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        cx.set_timer(Duration::from_millis(packet.reader().u32().expect("a number").into()));
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        cx.send(ECHO, &cx.now().as_nanos().to_le_bytes());
    }
}

#[test]
fn a_timer_goes_off_at_its_time_while_limits_wait() {
    for stall in [400, 1000, 60_000] {
        for timer in [-300, -1, 0, 1, 50, 399] {
            let mut world = World::new();
            let core = world.core(1);
            let service = core.serve(Service::server(SERVER).frame_timeout(Duration::from_secs(2)), |_| Alarm);
            let service = service.expect("a service");
            let mut client = world.connect(&service);
            // The worker comes back `stall` after its frame timeout, and the timer is due about then.
            let back = at(2) + Duration::from_millis(stall);
            let due = Time::from_nanos(back.as_nanos().saturating_add_signed(timer * 1_000_000));
            client.number(ECHO, u32::try_from(due.since(Time::ZERO).as_millis()).expect("a few seconds"));
            client.peer.write_all(&[9]).expect("there is room");
            world.settle();
            world.simulation.advance_to(back);
            let fired = due.max(back);
            world.run_to(fired);
            let expected = [(ECHO, fired.as_nanos().to_le_bytes().to_vec())];
            assert_eq!(client.frames(), expected, "a stall of {stall} ms, a timer {timer} ms after it");
            // The limit waits for what it has to wait, and not for longer.
            let end = back + Duration::from_millis(stall.min(1000));
            world.run_to(just_before(end));
            assert_eq!(client.take_what_came(), Flow::Open);
            world.run_to(end);
            assert_eq!(client.take_what_came(), Flow::Finished);
        }
    }
}

#[test]
fn a_ping_goes_out_at_its_time_while_limits_wait() {
    let mut world = World::new();
    let core = world.core(1);
    let service = Service::server(SERVER).heartbeat(Heartbeat::every(Duration::from_secs(3), 900));
    let service = core.serve(service.frame_timeout(Duration::from_secs(2)), |_| Alarm).expect("a service");
    let mut client = world.connect(&service);
    client.peer.write_all(&[9]).expect("there is room");
    world.settle();
    world.simulation.advance_to(at(2) + Duration::from_millis(600));
    world.run_to(at(3));
    assert_eq!(client.frames(), [(900, Vec::new())]);
}
