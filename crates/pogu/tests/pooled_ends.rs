//! How sessions end whose handlers run on a pool: what came before is answered, what nobody has seen is dropped, the place is
//! kept until the last handler has returned, and that one is called once.

mod support;

use std::io::Write;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use pogu::sim::Simulation;
use pogu::{
    Cause, CauseKind, Core, FanOutOutcome, Packet, PooledContext, PooledSession, Reconnect, SendOutcome, Service,
    ServiceHandle, Worker,
};
use support::pooled::{BLOCK, ECHO, Event, PANIC, PANIC_DROP, PANIC_LAST, Reports, probes, serve};
use support::simulated::{Client, Flow, SERVER, World, at};
use support::{PATIENCE, PLAIN_DRIVER, Peer, eventually, frame};

const PACKETS: u32 = 20;

/// A client has sent so many packets, the worker has received them, and no handler has seen one.
fn received(world: &mut World, service: &ServiceHandle) -> Client {
    let mut client = world.connect(service);
    (0..PACKETS).for_each(|number| client.number(ECHO, number));
    world.until("all are received", at(1), || service.counters().frames_received == PACKETS.into());
    client
}

/// Everything that was accepted has been answered, in order, and the connection has ended in good order.
fn assert_answered(world: &mut World, mut client: Client, then: &[(u16, Vec<u8>)]) {
    world.settle();
    let mut answers: Vec<_> = (0..PACKETS).map(|number| (ECHO, number.to_le_bytes().to_vec())).collect();
    answers.extend_from_slice(then);
    assert_eq!(client.frames(), answers);
    assert_eq!(client.take_what_came(), Flow::Finished);
    client.peer.shutdown();
    world.settle();
}

fn assert_ended(reports: &Reports, service: &ServiceHandle, cause: CauseKind) {
    let seen = reports.seen();
    assert_eq!(seen.iter().filter(|event| **event == Event::Packet(ECHO)).count(), PACKETS as usize);
    assert_eq!(seen[seen.len() - 2..], [Event::Disconnected(cause), Event::Dropped]);
    assert_eq!((service.sessions(), service.counters().disconnects(cause)), (0, 1));
}

#[test]
fn a_client_that_finishes_is_answered_first() {
    let mut world = World::new();
    let core = world.core(2);
    let (service, reports) = serve(&core, Service::server(SERVER));
    let client = received(&mut world, &service);
    client.peer.shutdown();
    assert_answered(&mut world, client, &[]);
    assert_ended(&reports, &service, CauseKind::PeerClosed);
}

#[test]
fn packets_before_a_bad_frame_are_answered() {
    let mut world = World::new();
    let core = world.core(2);
    let (service, reports) = serve(&core, Service::server(SERVER));
    let mut client = world.connect(&service);
    let mut burst: Vec<_> = (0..PACKETS).flat_map(|number| frame(ECHO, &number.to_le_bytes())).collect();
    burst.extend([1, 0, 0, 0]);
    client.peer.write_all(&burst).expect("there is room");
    assert_answered(&mut world, client, &[]);
    assert_ended(&reports, &service, CauseKind::PeerMisbehaved);
}

#[test]
fn who_is_kicked_is_answered_first() {
    let mut world = World::new();
    let core = world.core(2);
    let (service, reports) = serve(&core, Service::server(SERVER));
    let client = received(&mut world, &service);
    assert_eq!(service.kick_all("maintenance"), FanOutOutcome::Posted);
    assert_answered(&mut world, client, &[]);
    assert_ended(&reports, &service, CauseKind::Kicked);
}

#[test]
fn a_stop_waits_for_what_it_finds() {
    let core = support::core(PLAIN_DRIVER, 1).handler_threads(2).start().expect("a core");
    let (service, reports) = serve(&core, Service::server("127.0.0.1:0"));
    let [mut blocked, mut other] = [(); 2].map(|()| Peer::connect(service.address()));
    blocked.send(BLOCK, b"");
    blocked.send(ECHO, b"after");
    reports.wait_for(&Event::Packet(BLOCK));
    eventually("it is received", || service.counters().frames_received == 2);
    other.send(ECHO, b"other");
    assert_eq!(other.receive(), (ECHO, b"other".to_vec()));
    let stopping = std::thread::spawn(move || core.stop(PATIENCE).expect("stopped"));
    // All sessions are ending once one of them has ended.
    assert_eq!(other.ends_well(), (frame(ECHO, b"farewell"), true));
    drop(other);
    reports.wait_for(&Event::Disconnected(CauseKind::ServiceStopping));
    reports.let_go.send(()).expect("it waits");
    assert_eq!(blocked.receive(), (ECHO, b"after".to_vec()));
    assert_eq!(blocked.ends_well(), (frame(ECHO, b"farewell"), true));
    drop(blocked);
    let counters = stopping.join().expect("no panic");
    assert_eq!((counters.disconnects(CauseKind::ServiceStopping), counters.linger_expired), (2, 0));
}

#[test]
fn a_reset_discards_what_no_handler_has_seen() {
    let mut world = World::new();
    let core = world.core(2);
    let (service, reports) = serve(&core, Service::server(SERVER));
    let client = received(&mut world, &service);
    client.peer.reset();
    world.settle();
    let seen = reports.seen();
    assert_eq!(seen[seen.len() - 2..], [Event::Disconnected(CauseKind::PeerReset), Event::Dropped]);
    let handled = seen.iter().filter(|event| **event == Event::Packet(ECHO)).count() as u64;
    let counts = core.jobs().report_of("probe").expect("a report").counts;
    assert_eq!(handled + counts.abandoned, PACKETS.into(), "{seen:?}");
    assert!(counts.abandoned > 0);
    assert_eq!((service.sessions(), counts.waiting()), (0, 0));
    assert_eq!(core.counters().posts_to_gone, 0, "what handlers say into the void is no post of anybody's");
}

/// A client has a handler blocked and packets behind it, and goes with `leave`: its place stays taken until the handler has
/// returned, and no other is called but the last.
fn a_place_is_kept(leave: fn(Peer), cause: CauseKind) {
    let core = support::core(PLAIN_DRIVER, 1).handler_threads(2).start().expect("a core");
    let service = Service::server("127.0.0.1:0").max_sessions(1).linger_timeout(Duration::from_millis(10));
    let (service, reports) = serve(&core, service);
    let mut peer = Peer::connect(service.address());
    peer.send(BLOCK, b"");
    reports.wait_for(&Event::Packet(BLOCK));
    (0..PACKETS).for_each(|number| peer.number(ECHO, number));
    eventually("all are received", || service.counters().frames_received == u64::from(PACKETS) + 1);
    leave(peer);
    let counts = || core.jobs().report_of("probe").expect("a report").counts;
    eventually("the packets that nobody has seen are gone", || counts().abandoned == PACKETS.into());
    let refused = |refused: u64| {
        let (rest, _) = Peer::connect(service.address()).ends_well();
        assert_eq!((rest, service.sessions()), (Vec::new(), 1));
        eventually("it is counted", || service.counters().refused == refused);
    };
    (1..=3).for_each(refused);
    reports.let_go.send(()).expect("it waits");
    reports.wait_for(&Event::Disconnected(cause));
    reports.wait_for(&Event::Dropped);
    eventually("the place is free", || service.sessions() == 0);
    eventually("it is counted", || service.counters().disconnects(cause) == 1);
    let mut next = Peer::connect(service.address());
    next.send(ECHO, b"next");
    assert_eq!(next.receive(), (ECHO, b"next".to_vec()));
    drop(next);
    core.stop(PATIENCE).expect("stopped");
    let seen = reports.seen();
    assert_eq!(seen.iter().filter(|event| **event == Event::Packet(ECHO)).count(), 1, "that of the next");
}

#[test]
fn the_place_of_a_peer_that_resets_is_kept_until_its_last_handler_has_returned() {
    a_place_is_kept(Peer::reset, CauseKind::PeerReset);
}

#[test]
fn a_peer_that_finishes_has_its_linger_time_and_then_no_more_than_one_that_resets() {
    a_place_is_kept(drop, CauseKind::PeerClosed);
}

#[test]
fn links_whose_handlers_run_on_a_pool_come_back() {
    const LINKS: usize = 3;
    let mut world = World::new();
    let (servers, clients) = (world.core(2), world.core(2));
    let (server, _server_reports) = serve(&servers, Service::server(SERVER));
    let (make, reports) = probes();
    let service = Service::client(server.address()).sessions(LINKS);
    let service = service.reconnect(Reconnect::spread_over(Duration::from_millis(200)));
    let links = clients.connect(service, clients.jobs().pooled("links", make)).expect("a service");
    world.run_to(at(1));
    let connected = || [server.sessions(), links.sessions()];
    assert_eq!(connected(), [LINKS; 2]);
    assert_eq!(server.kick_all("maintenance"), FanOutOutcome::Posted);
    world.run_to(at(5));
    assert_eq!(connected(), [LINKS; 2]);
    let seen = reports.seen();
    let count = |event: &Event| seen.iter().filter(|seen| *seen == event).count();
    let events = [Event::Connected, Event::Disconnected(CauseKind::PeerClosed), Event::Dropped];
    assert_eq!(events.map(|event| count(&event)), [2 * LINKS, LINKS, LINKS]);
}

#[test]
fn a_core_that_is_dropped_calls_the_last_handlers() {
    const SESSIONS: usize = 20;
    let core = support::core(PLAIN_DRIVER, 2).handler_threads(2).start().expect("a core");
    let (service, reports) = serve(&core, Service::server("127.0.0.1:0"));
    let peers: Vec<_> = (0..SESSIONS).map(|_| Peer::connect(service.address())).collect();
    (0..SESSIONS).for_each(|_| reports.wait_for(&Event::Connected));
    drop(core);
    let ended = [Event::Disconnected(CauseKind::ServiceStopping), Event::Dropped];
    let seen: Vec<_> = reports.seen().into_iter().filter(|event| *event != Event::Stopping).collect();
    for event in &ended {
        assert_eq!(seen.iter().filter(|seen| *seen == event).count(), SESSIONS, "{event:?}");
    }
    assert_eq!((seen.len(), service.sessions()), (2 * SESSIONS, 0));
    drop(peers);
}

#[test]
fn a_simulated_core_that_is_dropped_calls_the_last_handlers() {
    let mut world = World::new();
    let core = world.core(1);
    let (service, reports) = serve(&core, Service::server(SERVER));
    let client = world.connect(&service);
    drop(core);
    world.run_to(at(1));
    let ended = [Event::Connected, Event::Disconnected(CauseKind::ServiceStopping), Event::Dropped];
    assert_eq!(reports.seen(), ended);
    assert_eq!(service.sessions(), 0);
    drop(client);
}

#[test]
fn a_stop_waits_for_no_blocked_handler_and_each_is_told_all_the_same() {
    let core = support::core(PLAIN_DRIVER, 1).handler_threads(2).start().expect("a core");
    let (service, reports) = serve(&core, Service::server("127.0.0.1:0"));
    let [mut blocked, other] = [(); 2].map(|()| Peer::connect(service.address()));
    blocked.send(BLOCK, b"");
    blocked.send(ECHO, b"never seen");
    reports.wait_for(&Event::Packet(BLOCK));
    eventually("both are there", || service.counters().sessions_opened == 2);
    core.stop(Duration::ZERO).expect("stopped, a thread left behind");
    assert_eq!(service.sessions(), 0, "a place in a core that has ended is nobody's");
    let ended = [Event::Disconnected(CauseKind::ServiceStopping), Event::Dropped];
    reports.wait_for(&ended[0]);
    reports.wait_for(&ended[1]);
    assert_eq!(reports.seen(), [], "the one that blocks has not returned");
    reports.let_go.send(()).expect("it waits");
    reports.wait_for(&ended[0]);
    reports.wait_for(&ended[1]);
    assert_eq!(reports.seen(), []);
    drop((blocked, other));
}

/// A client that has asked for a panic finishes: the session is counted for that, whatever it has ended for.
fn a_panic_is_blamed(packet: u16, last: &[Event]) {
    let mut world = World::new();
    let core = world.core(1);
    let (service, reports) = serve(&core, Service::server(SERVER));
    let mut client = world.connect(&service);
    client.send(packet, b"");
    client.peer.shutdown();
    world.settle();
    assert_eq!(client.take_what_came(), Flow::Finished);
    let all = [&[Event::Connected, Event::Packet(packet)], last].concat();
    assert_eq!(reports.seen(), all);
    let counters = service.counters();
    assert_eq!(counters.disconnects(CauseKind::HandlerPanicked), 1);
    assert_eq!(counters.disconnects(CauseKind::PeerClosed), 0);
    assert_eq!(core.jobs().report_of("probe").expect("a report").counts.panicked, 1);
    assert_eq!(service.sessions(), 0);
}

#[test]
fn a_panic_of_an_ending_session_is_blamed_and_counted() {
    a_panic_is_blamed(PANIC, &[Event::Dropped]);
}

#[test]
fn a_panic_of_the_last_handler_is_blamed_and_counted() {
    a_panic_is_blamed(PANIC_LAST, &[Event::Disconnected(CauseKind::PeerClosed), Event::Dropped]);
}

#[test]
fn a_panic_of_the_last_drop_is_blamed_and_counted() {
    a_panic_is_blamed(PANIC_DROP, &[Event::Disconnected(CauseKind::PeerClosed), Event::Dropped]);
}

#[test]
fn who_waits_for_a_handler_does_not_idle() {
    let core = support::core(PLAIN_DRIVER, 1).handler_threads(2).start().expect("a core");
    let service = Service::server("127.0.0.1:0").idle_timeout(Duration::from_millis(500));
    let (service, reports) = serve(&core, service);
    let mut waiting = Peer::connect(service.address());
    waiting.send(BLOCK, b"");
    waiting.send(ECHO, b"answer");
    reports.wait_for(&Event::Packet(BLOCK));
    // One that has come later, and is silent for as long as it may be.
    let mut silent = Peer::connect(service.address());
    assert!(silent.ends_well().1);
    drop(silent);
    eventually("it is counted", || service.counters().disconnects(CauseKind::IdleTimeout) == 1);
    assert_eq!(service.sessions(), 1);
    reports.let_go.send(()).expect("it waits");
    assert_eq!(waiting.receive(), (ECHO, b"answer".to_vec()));
    assert!(waiting.ends_well().1, "and then it idles as everybody does");
    drop(waiting);
    eventually("it is counted", || service.counters().disconnects(CauseKind::IdleTimeout) == 2);
    core.stop(PATIENCE).expect("stopped");
}

/// Nobody steps the jobs of workers that are dispatched by hand: the last handler does not return.
#[test]
fn a_worker_that_waits_for_a_last_handler_sleeps_meanwhile() {
    let simulation = Simulation::new();
    let (core, seeds) = Core::builder().simulated(&simulation).workers(1).hand_out().expect("a core");
    let mut workers: Vec<Worker> = seeds.into_iter().map(|seed| seed.start().expect("a worker")).collect();
    let (service, _reports) = serve(&core, Service::server(SERVER));
    let mut turns = || (0..8).for_each(|_| _ = workers[0].dispatch(None).expect("a turn"));
    let peer = simulation.connect(service.address()).expect("an address");
    turns();
    drop(peer);
    turns();
    // What has not been handled by the end of the linger time is handled by nobody.
    simulation.advance_to(at(60));
    turns();
    assert_eq!(service.sessions(), 1, "its last handler is called all the same");
    assert!(simulation.is_idle(), "and is all that is waited for");
}

/// Has its worker send something for it in its last handler.
struct Late(Sender<SendOutcome>);

impl PooledSession for Late {
    fn on_packet(&mut self, _cx: &mut PooledContext<'_>, _packet: Packet<'_>) {}

    fn on_disconnected(&mut self, cx: &mut PooledContext<'_>, _cause: &Cause) {
        let outcomes = self.0.clone();
        cx.in_worker(move |cx| outcomes.send(cx.send(ECHO, b"too late")).expect("somebody reads it"));
    }
}

#[test]
fn what_the_last_handler_sends_is_gone_and_counted() {
    let mut world = World::new();
    let core = world.core(1);
    let (outcomes, told) = channel();
    let factory = core.jobs().pooled("late", move |_| Late(outcomes.clone()));
    let service = core.serve(Service::server(SERVER), factory).expect("a service");
    drop(world.connect(&service));
    world.settle();
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [SendOutcome::Gone]);
    let counters = service.counters();
    assert_eq!((counters.frames_to_gone, counters.frames_sent, service.sessions()), (1, 0, 0));
}

/// Does nothing, every ten seconds.
struct Ticking;

impl PooledSession for Ticking {
    fn on_connected(&mut self, cx: &mut PooledContext<'_>) {
        cx.set_timer(Duration::from_secs(10));
    }

    fn on_timer(&mut self, cx: &mut PooledContext<'_>) {
        self.on_connected(cx);
    }

    fn on_packet(&mut self, _cx: &mut PooledContext<'_>, _packet: Packet<'_>) {}
}

#[test]
fn who_only_hears_its_own_timer_idles() {
    let mut world = World::new();
    let core = world.core(1);
    let service = core.serve(Service::server(SERVER), core.jobs().pooled("ticking", |_| Ticking)).expect("a service");
    let client = world.connect(&service);
    world.run_to(at(61));
    assert_eq!(core.jobs().report_of("ticking").expect("a report").counts.ran, 6);
    assert_eq!(client.peer.readable(), 0);
    drop(client);
    world.settle();
    assert_eq!(service.counters().disconnects(CauseKind::IdleTimeout), 1);
}
