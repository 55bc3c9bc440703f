//! Services under virtual time: changed limits take effect at their exact times, closures keep their place, lists say what
//! they lack, and ten thousand sessions are one broadcast.

mod support;

#[path = "support/named.rs"]
mod named;

use std::io::Write;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use named::{Told, ask, named};
use pogu::sim::Simulation;
use pogu::{
    Cause, CauseKind, Context, Core, FanOutOutcome, Limit, LimitExceeded, Limits, Packet, PortConfig, PostOutcome,
    SendOutcome, SendOverflow, Service, ServiceHandle, Session, SessionId, SessionRef, Worker,
};
use support::simulated::{Client, Flow, SERVER, World, at};
use support::{ECHO, Event, FAREWELL, FLOOD, SAY, flood_body, probes};

const HELLO: (u16, &[u8]) = (ECHO, b"hello");

fn serve(world: &mut World, workers: usize) -> (Core, ServiceHandle, Told) {
    let core = world.core(workers);
    let (factory, told) = named();
    let service = core.serve(Service::server(SERVER), factory).expect("a service");
    (core, service, told)
}

fn change(service: &ServiceHandle, change: impl FnOnce(&mut Limits)) {
    service.change_limits(change).expect("it makes sense");
}

fn exceeded(limit: Limit, value: u64, maximum: u64) -> Cause {
    Cause::LimitExceeded(LimitExceeded { limit, value, maximum })
}

fn probe(world: &mut World) -> (Core, ServiceHandle, Receiver<Event>, Client) {
    let core = world.core(2);
    let (factory, reports) = probes();
    let service = core.serve(Service::server(SERVER), factory).expect("a service");
    let client = world.connect(&service);
    (core, service, reports, client)
}

#[test]
fn a_shortened_idle_timeout_takes_effect_at_its_exact_time() {
    let mut world = World::new();
    let (_core, service, reports, client) = probe(&mut world);
    world.run_to(at(10));
    change(&service, |limits| limits.idle_timeout = Duration::from_secs(20));
    let (time, cause) = world.end_of(&reports, &mut Some(client), at(1000));
    assert_eq!((time, cause), (at(20), exceeded(Limit::IdleTimeout, 20_000, 20_000)));
}

#[test]
fn a_timeout_shortened_to_what_is_over_ends_the_session_at_once() {
    let mut world = World::new();
    let (_core, service, reports, client) = probe(&mut world);
    world.run_to(at(10));
    change(&service, |limits| limits.idle_timeout = Duration::from_secs(5));
    let (time, cause) = world.end_of(&reports, &mut Some(client), at(1000));
    assert_eq!((time, cause), (at(10), exceeded(Limit::IdleTimeout, 10_000, 5_000)));
}

#[test]
fn a_lengthened_idle_timeout_is_counted_from_the_last_byte() {
    let mut world = World::new();
    let (_core, service, reports, client) = probe(&mut world);
    world.run_to(at(59));
    change(&service, |limits| limits.idle_timeout = Duration::from_secs(600));
    let (time, cause) = world.end_of(&reports, &mut Some(client), at(10_000));
    assert_eq!((time, cause), (at(600), exceeded(Limit::IdleTimeout, 600_000, 600_000)));
}

#[test]
fn a_shortened_frame_timeout_concerns_the_frame_that_has_begun() {
    let mut world = World::new();
    let (_core, service, reports, mut client) = probe(&mut world);
    world.run_to(at(2));
    client.peer.write_all(&[8, 0, 1]).expect("there is room");
    world.run_to(at(4));
    change(&service, |limits| limits.frame_timeout = Duration::from_secs(3));
    let (time, cause) = world.end_of(&reports, &mut Some(client), at(1000));
    assert_eq!((time, cause), (at(5), exceeded(Limit::FrameTimeout, 3_000, 3_000)));
}

#[test]
fn a_change_concerns_its_own_service() {
    let mut world = World::new();
    let (core, service, reports, _client) = probe(&mut world);
    let (factory, of_others) = probes();
    let other = core.serve(Service::server("10.0.0.2:7777"), factory).expect("a service");
    let _bystander = world.connect(&other);
    change(&service, |limits| limits.idle_timeout = Duration::from_secs(1));
    world.run_to(at(59));
    assert!(reports.try_iter().any(|event| matches!(event, Event::Disconnected(_))));
    assert!(!of_others.try_iter().any(|event| matches!(event, Event::Disconnected(_))));
    assert_eq!(other.limits(), Limits::default());
}

#[test]
fn a_new_send_bound_holds_for_the_next_packet() {
    let mut world = World::new();
    let (_core, service, reports, mut client) = probe(&mut world);
    client.number(FLOOD, 20);
    world.settle();
    assert_eq!(client.frames().len(), 20);
    change(&service, |limits| limits.send_overflow = SendOverflow::DropNewest);
    change(&service, |limits| limits.send_bytes_max = 10_000);
    client.number(FLOOD, 20);
    world.settle();
    let came: Vec<Vec<u8>> = client.frames().into_iter().map(|(_, body)| body).collect();
    assert!((1..20).contains(&came.len()), "{} packets of a thousand bytes", came.len());
    assert!(came.iter().eq((0..came.len() as u32).map(flood_body).collect::<Vec<_>>().iter()));
    change(&service, |limits| limits.send_overflow = SendOverflow::Disconnect);
    client.number(FLOOD, 20);
    let (_, cause) = world.end_of(&reports, &mut Some(client), at(1));
    assert_eq!(cause.kind(), CauseKind::SendBytes);
}

#[test]
fn a_lowered_cap_refuses_newcomers_and_ends_nobody() {
    let mut world = World::new();
    let (_core, service, told) = serve(&mut world, 2);
    let mut clients: Vec<Client> = (0..5).map(|_| world.connect(&service)).collect();
    change(&service, |limits| limits.sessions_max = 3);
    let mut refused = world.connect(&service);
    assert_eq!((refused.take_what_came(), service.sessions()), (Flow::Finished, 5));
    clients.iter_mut().for_each(|client| assert_eq!(client.frames().len(), 1));
    clients.truncate(2);
    world.settle();
    assert_eq!((told.ends_so_far(), service.sessions()), (vec![Cause::PeerClosed; 3], 2));
    clients.push(world.connect(&service));
    assert_eq!(clients[2].frames(), [(HELLO.0, HELLO.1.to_vec())], "there is a place again");
    assert_eq!(service.counters().refused, 1);
}

#[test]
fn ten_thousand_sessions_are_listed_sent_to_and_kicked() {
    const SESSIONS: usize = 10_000;
    let mut world = World::new();
    let (_core, service, told) = serve(&mut world, 4);
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..SESSIONS / 100 {
        clients.extend((0..100).map(|_| Client::new(world.simulation.connect(service.address()).expect("an address"))));
        world.settle();
    }
    let mut names: Vec<SessionId> = (0..SESSIONS).map(|_| told.name().id()).collect();
    names.sort();
    let answered = ask(&service);
    world.settle();
    assert!(answered.try_recv() == Ok((names, 0)), "every one of them, once");
    for number in 0..3u32 {
        assert_eq!(service.broadcast(SAY, &number.to_le_bytes()), FanOutOutcome::Posted);
    }
    world.settle();
    let mut expected = vec![(HELLO.0, HELLO.1.to_vec())];
    expected.extend((0..3u32).map(|number| (SAY, number.to_le_bytes().to_vec())));
    assert!(clients.iter_mut().all(|client| client.frames() == expected), "each once, in order");
    assert_eq!(service.kick_all("the end"), FanOutOutcome::Posted);
    world.settle();
    assert!(clients.iter_mut().all(|client| client.take_what_came() == Flow::Finished));
    drop(clients);
    world.settle();
    assert_eq!(service.sessions(), 0);
    assert_eq!(service.counters().disconnects(CauseKind::Kicked), SESSIONS as u64);
    assert!(told.ends_so_far().into_iter().all(|cause| cause == Cause::Kicked("the end".into())));
    assert_eq!(world.lockstep.now(), at(0), "no time has passed");
}

#[test]
fn an_ending_session_is_on_no_list_and_gets_no_broadcast() {
    let mut world = World::new();
    let (_core, service, told) = serve(&mut world, 1);
    let mut clients: Vec<Client> = (0..3).map(|_| world.connect(&service)).collect();
    let names: Vec<SessionId> = (0..3).map(|_| told.name().id()).collect();
    assert_eq!(service.kick_with(names[0], "out", FAREWELL, b"bye"), SendOutcome::Posted);
    assert_eq!(service.broadcast(SAY, b"after it"), FanOutOutcome::Posted);
    assert!(service.kick(names[0], "out again").is_posted());
    let answered = ask(&service);
    world.settle();
    assert_eq!(answered.try_recv(), Ok((names[1..].to_vec(), 0)));
    assert_eq!(service.sessions(), 3, "it still waits for its peer");
    let hello = (HELLO.0, HELLO.1.to_vec());
    assert_eq!(clients[0].frames(), [hello.clone(), (FAREWELL, b"bye".to_vec())]);
    assert_eq!(clients[1].frames(), [hello, (SAY, b"after it".to_vec())]);
    drop(clients);
    world.settle();
    assert_eq!(told.ends_so_far()[0], Cause::Kicked("out".into()), "the first cause stays");
}

#[test]
fn a_kick_stays_a_kick_when_there_is_no_room_for_the_farewell() {
    let mut world = World::new();
    let (_core, service, told) = serve(&mut world, 1);
    let mut client = world.connect(&service);
    let name = told.name();
    change(&service, |limits| limits.send_bytes_max = 1000);
    assert_eq!(service.kick_with(name, "out", FAREWELL, &[0; 2000]), SendOutcome::Posted);
    world.settle();
    assert_eq!((client.take_what_came(), told.end()), (Flow::Reset, Cause::Kicked("out".into())));
}

/// Posts to itself and to others, and writes down what happens when.
struct Scribe {
    log: Arc<Mutex<Vec<String>>>,
}

impl Scribe {
    fn note(&self, what: &str) {
        self.log.lock().expect("the log").push(what.to_owned());
    }
}

impl Session for Scribe {
    fn on_packet(&mut self, cx: &mut Context<'_>, _packet: Packet<'_>) {
        let myself = cx.reference(self);
        let outcome = cx.post(myself, move |scribe: &mut Scribe, cx| {
            scribe.note("the closure runs");
            assert_eq!(cx.post(myself, |scribe, _| scribe.note("and the one that it posted")), PostOutcome::Posted);
            cx.disconnect("enough");
            assert_eq!(cx.post(myself, |_, _| unreachable!("it is ending")), PostOutcome::Gone);
        });
        assert_eq!(outcome, PostOutcome::Posted);
        self.note("the handler returns");
    }

    fn on_disconnected(&mut self, cx: &mut Context<'_>, _cause: &Cause) {
        assert_eq!(cx.broadcast_to_service(SAY, b"one less"), FanOutOutcome::Posted);
    }
}

#[test]
fn a_closure_for_oneself_runs_later_and_finds_the_type_in_its_boxes() {
    let mut world = World::new();
    let core = world.core(2);
    let log = Arc::<Mutex<Vec<String>>>::default();
    let written = Arc::clone(&log);
    let make = move |_incoming| -> Box<dyn Session> { Box::new(Box::new(Scribe { log: Arc::clone(&written) })) };
    let service = core.serve(Service::server(SERVER), make).expect("a service");
    let (mut speaker, mut witness) = (world.connect(&service), world.connect(&service));
    speaker.send(ECHO, b"go");
    world.settle();
    drop(speaker);
    world.settle();
    // What it posted to itself before it ended finds it ending.
    assert_eq!(*log.lock().expect("the log"), ["the handler returns", "the closure runs"]);
    assert_eq!(core.counters().posts_to_gone, 2, "and so does what it posted when it had");
    assert_eq!(witness.frames(), [(SAY, b"one less".to_vec())]);
}

#[test]
fn a_closure_for_another_type_is_dropped_and_counted() {
    let mut world = World::new();
    let (core, service, told) = serve(&mut world, 1);
    let mut client = world.connect(&service);
    let wrong = SessionRef::<Scribe>::new(told.name().id());
    assert_eq!(service.post(wrong, |_, _| unreachable!("it is no scribe")), PostOutcome::Posted);
    world.settle();
    assert_eq!((core.counters().posts_to_gone, service.sessions()), (1, 1));
    client.send(ECHO, b"alive");
    world.settle();
    assert_eq!(client.frames().last(), Some(&(ECHO, b"alive".to_vec())));
}

/// Two workers that are dispatched one by one, with room for two posts each, and a session in each.
fn by_hand(simulation: &Simulation) -> (Core, Vec<Worker>, ServiceHandle, Vec<SessionRef<named::Named>>, Vec<Client>) {
    let mut port = PortConfig::default();
    port.posts_max = 2;
    let builder = Core::builder().simulated(simulation).workers(2).port(port);
    let (core, seeds) = builder.hand_out().expect("a core");
    let mut workers: Vec<Worker> = seeds.into_iter().map(|seed| seed.start().expect("started")).collect();
    let (factory, told) = named();
    let service = core.serve(Service::server(SERVER), factory).expect("a service");
    let clients = (0..2).map(|_| Client::new(simulation.connect(service.address()).expect("an address"))).collect();
    (0..4).for_each(|_| workers.iter_mut().for_each(turn));
    let mut names = vec![told.name(), told.name()];
    names.sort_by_key(|name| name.id().worker());
    assert_eq!(names.iter().map(|name| name.id().worker()).collect::<Vec<_>>(), [0, 1]);
    (core, workers, service, names, clients)
}

fn turn(worker: &mut Worker) {
    let _ = worker.dispatch(None).expect("a turn");
}

#[test]
fn a_list_says_which_workers_it_lacks() {
    let (_core, mut workers, service, names, _clients) = by_hand(&Simulation::new());
    let (here, there) = (names[0], names[1].id());
    let fill = move |_: &mut named::Named, cx: &mut Context<'_>| while cx.send_to(there, SAY, b"").is_accepted() {};
    assert_eq!(service.post(here, fill), PostOutcome::Posted);
    let answered = ask(&service);
    turn(&mut workers[0]);
    assert_eq!(answered.try_recv(), Ok((vec![here.id()], 1)), "messages to the other worker pile up");
    assert_eq!(service.enumerate(|_| unreachable!("it was refused")), PostOutcome::Overloaded);
    (0..4).for_each(|_| workers.iter_mut().for_each(turn));
    let answered = ask(&service);
    (0..2).for_each(|_| workers.iter_mut().for_each(turn));
    assert_eq!(answered.try_recv(), Ok((vec![here.id(), there], 0)));
}

#[test]
fn a_list_passes_over_a_worker_that_has_gone_and_is_lost_with_one_that_holds_it() {
    let (_core, mut workers, service, names, _clients) = by_hand(&Simulation::new());
    let held = ask(&service);
    workers.remove(0);
    assert_eq!(held.try_recv(), Err(TryRecvError::Disconnected));
    let answered = ask(&service);
    turn(&mut workers[0]);
    assert_eq!(answered.try_recv(), Ok((vec![names[1].id()], 0)));
    assert_eq!(service.broadcast(SAY, b"who is left"), FanOutOutcome::Posted);
    assert_eq!(service.kick(names[0], "gone already"), PostOutcome::Gone);
    drop(workers);
    assert_eq!(service.broadcast(SAY, b"nobody"), FanOutOutcome::Gone);
}

#[test]
fn new_limits_arrive_although_an_inbox_is_full() {
    let simulation = Simulation::new();
    let (_core, mut workers, service, names, mut clients) = by_hand(&simulation);
    while service.send_to(names[1], SAY, b"").is_accepted() {}
    change(&service, |limits| limits.idle_timeout = Duration::from_secs(2));
    (0..4).for_each(|_| workers.iter_mut().for_each(turn));
    simulation.advance_to(at(2));
    (0..2).for_each(|_| workers.iter_mut().for_each(turn));
    assert!(clients.iter_mut().all(|client| client.take_what_came() == Flow::Finished));
}

/// Only listens.
struct Link;

impl Session for Link {
    fn on_packet(&mut self, _cx: &mut Context<'_>, _packet: Packet<'_>) {}
}

#[test]
fn two_links_and_a_server_share_a_core() {
    let mut world = World::new();
    let (core, server, told) = serve(&mut world, 2);
    let links = Service::client(server.address()).sessions(2);
    let links = core.connect(links, |_incoming| Link).expect("a client service");
    world.settle();
    let (_first, second) = (told.name(), told.name());
    let answered = ask(&links);
    world.settle();
    assert_eq!(answered.try_recv().map(|(names, missed)| (names.len(), missed)), Ok((2, 0)));
    assert_eq!(server.kick(second, "one link less"), PostOutcome::Posted);
    world.settle();
    assert_eq!(told.ends_so_far(), [Cause::Kicked("one link less".into())]);
    assert_eq!(links.counters().disconnects(CauseKind::PeerClosed), 1);
    assert_eq!((server.sessions(), server.counters().disconnects(CauseKind::Kicked)), (1, 1));
}

#[test]
fn a_service_that_is_over_stays_in_the_totals_of_its_core() {
    let mut world = World::new();
    let (core, lasting, _told) = serve(&mut world, 2);
    let mut client = world.connect(&lasting);
    for round in 1..=100u64 {
        let (factory, _told) = named();
        let service = core.serve(Service::server("10.0.0.2:7777"), factory).expect("a service");
        drop(world.connect(&service));
        world.settle();
        assert_eq!(service.counters().sessions_closed, 1);
        service.listener().expect("a server").close();
        world.settle();
        drop(service);
        client.send(ECHO, b"a turn");
        world.settle();
        let (all, counters) = (core.counters(), lasting.counters());
        assert_eq!((all.sessions_closed, counters.sessions_closed), (round, 0));
        assert_eq!((all.frames_received, counters.frames_received), (round, round));
    }
}

/// Broadcasts whatever comes.
struct Crier;

impl Session for Crier {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        assert_eq!(cx.broadcast_to_service(SAY, packet.body()), FanOutOutcome::Posted);
    }
}

#[test]
fn a_burst_of_broadcasts_does_not_fill_the_queues_of_all() {
    let mut world = World::new();
    let core = world.core(2);
    let service = Service::server(SERVER).send_queue(20 * 1024, SendOverflow::Disconnect);
    let service = core.serve(service, |_incoming| Crier).expect("a service");
    let (mut crier, mut listener) = (world.connect(&service), world.connect(&service));
    (0..30).for_each(|number| crier.send(SAY, &flood_body(number)));
    world.settle();
    assert_eq!((crier.frames().len(), listener.frames().len(), service.sessions()), (30, 30, 2));
}
