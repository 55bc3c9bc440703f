//! Sessions whose handlers run on a pool: in order, one at a time, bounded; and one that blocks holds up itself alone.

mod support;

use std::io::Write;
use std::time::Duration;

use pogu::sim::Simulation;
use pogu::{
    CauseKind, EncodeError, FrameFormat, JobQueue, JoinOutcome, Limits, Packet, Pooled, PooledContext,
    PooledSendOutcome, PooledSession, ROOMS_PER_SESSION_MAX, Refusal, Room, Service,
};
use support::pooled::{BLOCK, ECHO, Event, FLOOD, IN_WORKER, JOIN, PANIC, Probe, QUIT, SAY, TIMER, serve};
use support::simulated::{Flow, SERVER, World, at};
use support::{PATIENCE, PLAIN_DRIVER, Peer, eventually, frame};

#[test]
fn handlers_are_called_in_order_and_on_disconnected_last_and_once() {
    let mut world = World::new();
    let core = world.core(2);
    let (service, reports) = serve(&core, Service::server(SERVER));
    let mut client = world.connect(&service);
    for number in 0..50 {
        client.number(ECHO, number);
    }
    world.settle();
    let expected: Vec<_> = (0..50_u32).map(|number| (ECHO, number.to_le_bytes().to_vec())).collect();
    assert_eq!(client.frames(), expected);
    client.number(ECHO, 50);
    client.peer.shutdown();
    world.settle();
    let mut all = vec![Event::Connected];
    all.extend(vec![Event::Packet(ECHO); 51]);
    all.extend([Event::Disconnected(CauseKind::PeerClosed), Event::Dropped]);
    assert_eq!(reports.seen(), all);
    assert_eq!(service.sessions(), 0);
}

#[test]
fn rooms_timers_and_whatever_a_worker_can_do_is_done_there() {
    let mut world = World::new();
    let core = world.core(2);
    let (service, reports) = serve(&core, Service::server(SERVER));
    let mut clients = [(); 2].map(|()| world.connect(&service));
    clients.iter_mut().for_each(|client| client.send(JOIN, b""));
    world.settle();
    clients[0].send(SAY, b"hello");
    clients[1].send(TIMER, b"");
    world.settle();
    for client in &mut clients {
        assert_eq!(client.frames(), [(JOIN, vec![]), (SAY, b"hello".to_vec())]);
    }
    world.run_for(Duration::from_millis(2999));
    assert_eq!(clients[1].frames(), []);
    world.run_for(Duration::from_millis(1));
    assert_eq!(clients[1].frames(), [(TIMER, vec![])]);
    clients.iter_mut().for_each(|client| client.send(IN_WORKER, b""));
    world.settle();
    let workers = clients.map(|mut client| client.frames().remove(0).1[0]);
    assert_eq!((workers[0].min(workers[1]), workers[0].max(workers[1])), (0, 1), "each in its own");
    assert!(reports.seen().contains(&Event::Joined));
}

#[test]
fn a_handler_that_ends_its_session_is_the_last_but_for_on_disconnected() {
    let mut world = World::new();
    let core = world.core(1);
    let (service, reports) = serve(&core, Service::server(SERVER));
    let mut client = world.connect(&service);
    let packets = [frame(ECHO, b"one"), frame(QUIT, b""), frame(ECHO, b"two")].concat();
    client.peer.write_all(&packets).expect("there is room");
    world.settle();
    assert_eq!(client.frames(), [(ECHO, b"one".to_vec()), (QUIT, b"bye".to_vec())]);
    drop(client);
    world.run_to(at(10));
    let ended = [Event::Disconnected(CauseKind::HandlerAsked), Event::Dropped];
    let all = [&[Event::Connected, Event::Packet(ECHO), Event::Packet(QUIT)][..], &ended].concat();
    assert_eq!(reports.seen(), all);
}

#[test]
fn a_panic_ends_one_session_without_on_disconnected() {
    let mut world = World::new();
    let core = world.core(1);
    let (service, reports) = serve(&core, Service::server(SERVER));
    let (mut bad, mut good) = (world.connect(&service), world.connect(&service));
    bad.send(PANIC, b"");
    world.settle();
    good.send(ECHO, b"alive");
    world.settle();
    assert_eq!(good.frames(), [(ECHO, b"alive".to_vec())]);
    assert_eq!(bad.take_what_came(), Flow::Finished);
    drop(bad);
    world.settle();
    assert_eq!(service.counters().disconnects(CauseKind::HandlerPanicked), 1);
    let seen = reports.seen();
    assert!(
        seen.contains(&Event::Dropped) && !seen.iter().any(|event| matches!(event, Event::Disconnected(_))),
        "{seen:?}"
    );
    assert_eq!(core.jobs().report_of("probe").expect("a report").counts.panicked, 1);
}

#[test]
fn what_handlers_ask_for_is_bounded() {
    let mut world = World::new();
    let core = world.core(1);
    let (service, reports) = serve(&core, Service::server(SERVER));
    let mut client = world.connect(&service);
    client.send(FLOOD, b"");
    world.settle();
    client.take_what_came();
    drop(client);
    world.run_to(at(20));
    let bytes_max = Limits::default().send_bytes_max as u64;
    assert!(service.counters().bytes_sent <= bytes_max, "{}", service.counters().bytes_sent);
    assert!(service.counters().frames_sent >= bytes_max / 1100, "{}", service.counters().frames_sent);
    assert_eq!(reports.seen().last(), Some(&Event::Dropped));
    assert_eq!(service.sessions(), 0);
}

/// Says what does not fit, in each way, and then what just fits.
struct Loud;

const LOUD_FRAME_BYTES: usize = 100;

impl PooledSession for Loud {
    fn on_connected(&mut self, cx: &mut PooledContext<'_>) {
        self.say_too_much(cx);
        cx.join(Room(7));
    }

    fn on_packet(&mut self, cx: &mut PooledContext<'_>, _packet: Packet<'_>) {
        self.say_too_much(cx);
        let fits = [0; LOUD_FRAME_BYTES - 4];
        assert_eq!(cx.broadcast(Room(7), SAY, &fits), PooledSendOutcome::Asked);
    }

    fn on_broadcast_refused(&mut self, _cx: &mut PooledContext<'_>, _room: Room) {
        panic!("it was refused where it was said");
    }
}

impl Loud {
    fn say_too_much(&mut self, cx: &mut PooledContext<'_>) {
        let body = [0; LOUD_FRAME_BYTES - 3];
        let (body_bytes, frame_bytes, max) = (body.len(), LOUD_FRAME_BYTES + 1, LOUD_FRAME_BYTES);
        let refused = PooledSendOutcome::Unencodable(EncodeError::FrameTooLarge { body_bytes, frame_bytes, max });
        let own = cx.id();
        let outcomes = [cx.send(SAY, &body), cx.send_to(own, SAY, &body), cx.broadcast(Room(7), SAY, &body)];
        assert_eq!(outcomes, [refused; 3]);
    }
}

#[test]
fn what_does_not_fit_the_frame_format_is_refused_in_the_handler_and_counted() {
    let mut world = World::new();
    let core = world.core(2);
    let format = FrameFormat::course().frame_bytes_max(LOUD_FRAME_BYTES);
    let pooled = core.jobs().pooled("loud", |_incoming| Loud);
    let service = core.serve(Service::server(SERVER).format(format), pooled).expect("a service");
    let mut client = world.connect(&service);
    world.settle();
    client.send(SAY, b"");
    world.settle();
    assert_eq!(client.frames(), [(SAY, vec![0; LOUD_FRAME_BYTES - 4])]);
    assert_eq!((service.sessions(), service.counters().frames_unencodable), (1, 6));
}

#[test]
fn a_stop_tells_handlers_and_waits_for_their_last_words() {
    let mut world = World::new();
    let core = world.core(1);
    let (service, reports) = serve(&core, Service::server(SERVER));
    let mut client = world.connect(&service);
    core.begin_stop(Duration::from_secs(5));
    world.run_for(Duration::from_millis(100));
    assert_eq!(client.frames(), [(ECHO, b"farewell".to_vec())]);
    drop(client);
    world.run_to(at(6));
    assert!(core.has_stopped());
    drop(core);
    let stopped = [Event::Connected, Event::Stopping, Event::Disconnected(CauseKind::ServiceStopping), Event::Dropped];
    assert_eq!(reports.seen(), stopped);
    assert_eq!(service.sessions(), 0);
}

#[test]
fn a_factory_may_refuse() {
    let mut world = World::new();
    let core = world.core(1);
    let make = |_| Err::<Probe, _>(Refusal::new("not today").with_packet(QUIT, b"not today"));
    let service = core.serve(Service::server(SERVER), core.jobs().pooled("refused", make)).expect("a service");
    let mut client = world.connect(&service);
    world.settle();
    assert_eq!(client.frames(), [(QUIT, b"not today".to_vec())]);
    assert_eq!(service.counters().refused, 1);
}

#[test]
fn a_handler_that_blocks_holds_up_its_own_session_alone() {
    // One worker, so that every session shares it with the one that blocks.
    let core = support::core(PLAIN_DRIVER, 1).handler_threads(2).start().expect("a core");
    let (service, reports) = serve(&core, Service::server("127.0.0.1:0"));
    let (mut blocked, mut other) = (Peer::connect(service.address()), Peer::connect(service.address()));
    blocked.send(ECHO, b"before");
    blocked.send(BLOCK, b"");
    blocked.send(ECHO, b"after");
    reports.wait_for(&Event::Packet(BLOCK));
    assert_eq!(blocked.receive(), (ECHO, b"before".to_vec()), "nor does it hold up what was said before");
    for number in 0..100 {
        other.number(ECHO, number);
        assert_eq!(other.receive(), (ECHO, number.to_le_bytes().to_vec()));
    }
    let counts = || core.jobs().report_of("probe").expect("a report").counts;
    let handled = reports.seen().into_iter().filter(|event| *event != Event::Connected);
    assert!(handled.eq(vec![Event::Packet(ECHO); 100]), "the one that follows waits");
    assert!(counts().waiting() >= 2);
    reports.let_go.send(()).expect("it waits");
    assert_eq!(blocked.receive(), (ECHO, b"after".to_vec()));
    drop((blocked, other));
    core.stop(PATIENCE).expect("stopped");
}

#[test]
fn a_session_whose_handlers_are_behind_is_not_received_from() {
    const PACKETS: u32 = 20_000;
    let core = support::core(PLAIN_DRIVER, 1).start().expect("a core");
    let (service, reports) = serve(&core, Service::server("127.0.0.1:0"));
    let mut peer = Peer::connect(service.address());
    peer.send(BLOCK, b"");
    reports.wait_for(&Event::Packet(BLOCK));
    let mut writing = Peer { stream: peer.stream.try_clone().expect("a clone") };
    let writer = std::thread::spawn(move || {
        (0..PACKETS).for_each(|number| writing.send(ECHO, &[number.to_le_bytes(); 64].concat()))
    });
    // So many packets are handed on, and no further one.
    let enough = (64 * 1024_u64).div_ceil(64 + 4 + 256);
    let received = || service.counters().frames_received;
    eventually("the bound", || received() >= enough);
    let mut other = Peer::connect(service.address());
    for _ in 0..100 {
        other.send(ECHO, b"other");
        assert_eq!(other.receive(), (ECHO, b"other".to_vec()));
    }
    assert!(received() <= enough + 101, "{} of {enough}", received());
    reports.let_go.send(()).expect("it waits");
    for number in 0..PACKETS {
        assert_eq!(peer.receive(), (ECHO, [number.to_le_bytes(); 64].concat()));
    }
    writer.join().expect("no panic");
    drop((peer, other));
    core.stop(PATIENCE).expect("stopped");
}

/// Asks a queue, and answers what that says in its own handler.
struct Asker {
    world: JobQueue<u32>,
    answered: u32,
}

impl PooledSession for Asker {
    fn on_packet(&mut self, cx: &mut PooledContext<'_>, packet: Packet<'_>) {
        let id = packet.id();
        let step = |steps: &mut u32| {
            *steps += 1;
            *steps
        };
        let asked = self.world.ask(cx.reference(self), step, move |asker, cx, steps| {
            let posted = asker.post(cx, move |asker: &mut Asker, cx| {
                asker.answered += 1;
                let answer = [steps.expect("an answer"), asker.answered].map(u32::to_le_bytes).concat();
                assert!(cx.send(id, &answer).is_asked());
            });
            assert!(posted.is_posted());
        });
        assert!(asked.is_pushed());
    }

    fn on_join_refused(&mut self, cx: &mut PooledContext<'_>, room: Room, outcome: JoinOutcome) {
        assert_eq!(outcome, JoinOutcome::TooMany);
        cx.send(JOIN, &room.0.to_le_bytes());
    }
}

#[test]
fn who_asks_a_queue_is_answered_in_its_own_handler() {
    let mut world = World::new();
    let core = world.core(2);
    let queue = core.jobs().queue("world", 0);
    let make = move |_| Asker { world: queue.clone(), answered: 0 };
    let service = core.serve(Service::server(SERVER), core.jobs().pooled("askers", make)).expect("a service");
    let mut clients = [(); 2].map(|()| world.connect(&service));
    for round in 1..=3_u32 {
        for (first, client) in (1..).zip(&mut clients) {
            client.send(ECHO, b"");
            world.settle();
            let steps = 2 * (round - 1) + first;
            assert_eq!(client.frames(), [(ECHO, [steps, round].map(u32::to_le_bytes).concat())]);
        }
    }
}

#[test]
fn what_is_posted_reaches_the_handlers_within_a_bound_and_a_refused_join_is_told() {
    let mut world = World::new();
    let core = world.core(1);
    let queue = core.jobs().queue("world", 0);
    let (tell, sessions) = std::sync::mpsc::channel();
    let make = move |incoming: pogu::Incoming| {
        tell.send(incoming.session).expect("it is read");
        Asker { world: queue.clone(), answered: 0 }
    };
    let service = core.serve(Service::server(SERVER), core.jobs().pooled("askers", make)).expect("a service");
    let mut client = world.connect(&service);
    let id = sessions.try_recv().expect("a session");
    let reference = pogu::SessionRef::<Pooled<Asker>>::new(id);
    let posted = service.post(reference, |asker, cx| {
        let most = (0_u32..).find(|number| {
            let number = *number;
            !asker.post(cx, move |_, cx| assert!(cx.send(SAY, &number.to_le_bytes()).is_asked())).is_posted()
        });
        // 128 KiB, and each is charged 64 bytes and the four that it holds.
        assert_eq!(most, Some(128 * 1024 / 68));
    });
    assert!(posted.is_posted());
    world.settle();
    let expected = (0..128 * 1024 / 68_u32).map(|number| (SAY, number.to_le_bytes().to_vec()));
    assert!(client.frames().into_iter().eq(expected));
    assert_eq!(service.counters().posts_refused, 1);
    let joins = service.post(reference, |asker, cx| {
        let posted = asker.post(cx, |_, cx| (0..=ROOMS_PER_SESSION_MAX as u64).for_each(|room| cx.join(Room(room))));
        assert!(posted.is_posted());
    });
    assert!(joins.is_posted());
    world.settle();
    assert_eq!(client.frames(), [(JOIN, (ROOMS_PER_SESSION_MAX as u64).to_le_bytes().to_vec())]);
}

/// Blocks for as many milliseconds as a packet says.
struct Sleeper(Simulation);

impl PooledSession for Sleeper {
    fn on_packet(&mut self, cx: &mut PooledContext<'_>, packet: Packet<'_>) {
        let milliseconds = packet.reader().u32().expect("a number");
        self.0.advance_to(cx.now() + Duration::from_millis(milliseconds.into()));
    }
}

#[test]
fn a_handler_that_blocks_for_ten_seconds_is_counted_as_long() {
    let mut world = World::new();
    let core = world.core(1);
    let simulation = world.simulation.clone();
    let make = move |_| Sleeper(simulation.clone());
    let service = core.serve(Service::server(SERVER), core.jobs().pooled("sleepers", make)).expect("a service");
    let mut client = world.connect(&service);
    let counts = || core.jobs().report_of("sleepers").expect("a report").counts;
    for (milliseconds, long) in [(9_999, 0), (10_000, 1), (1, 1), (20_000, 2)] {
        client.number(ECHO, milliseconds);
        world.settle();
        assert_eq!(counts().long, long, "{milliseconds} ms");
    }
}
