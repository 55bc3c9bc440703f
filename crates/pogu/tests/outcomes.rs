//! What becomes of what is sent: told to the sender, counted, or delivered; and nobody is cut off for what others say.

mod support;

#[path = "support/crew.rs"]
mod crew;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crew::{Crew, turn};
use pogu::{
    BroadcastOutcome, Cause, Context, Core, Delivery, DriverChoice, FanOutOutcome, JoinOutcome, Packet, PortConfig,
    PostOutcome, Room, SendOutcome, Service, Session, SessionId, Worker, WorkerSet, WorkerStatus,
};
use support::rounds::in_time_at_least_once;
use support::simulated::at;
use support::{ECHO, JOIN, PATIENCE, Peer, SAY, core, eventually, frame, probes};

on_every_driver!(
    a_body_too_large_is_an_error_across_workers_too,
    a_name_of_another_core_reaches_nobody,
    a_refused_broadcast_is_counted,
    a_broadcast_in_on_stopping_arrives,
    a_session_can_say_that_it_left,
    a_client_that_reads_everything_is_not_cut_off,
    loud_members_do_not_get_the_others_cut_off,
);

/// Sends a body of the length that it is told to a session of another worker, and tells what came of it.
struct Writer {
    names: Arc<Mutex<Vec<SessionId>>>,
    outcomes: Sender<SendOutcome>,
}

impl Session for Writer {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        self.names.lock().expect("names").push(cx.id());
        cx.send(ECHO, b"hello");
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let own = cx.id();
        let other = *self.names.lock().expect("names").iter().find(|name| **name != own).expect("another");
        let length = packet.reader().u32().expect("a length") as usize;
        let _ = self.outcomes.send(cx.send_to(other, ECHO, &vec![7; length]));
    }
}

fn writers() -> (impl Fn(pogu::Incoming) -> Writer + Clone + Send + Sync + 'static, Receiver<SendOutcome>) {
    let names = Arc::default();
    let (outcomes, told) = channel();
    (move |_| Writer { names: Arc::clone(&names), outcomes: outcomes.clone() }, told)
}

fn writer_peer(service: &pogu::ServiceHandle) -> Peer {
    let mut peer = Peer::connect(service.address());
    assert_eq!(peer.receive(), (ECHO, b"hello".to_vec()));
    peer
}

fn a_body_too_large_is_an_error_across_workers_too(driver: DriverChoice) {
    let core = core(driver, 2).start().expect("a core");
    let (make, told) = writers();
    let service = core.serve(Service::server("127.0.0.1:0"), make).expect("a service");
    let mut one = writer_peer(&service);
    let mut two = writer_peer(&service);
    one.number(1, 70_000);
    let outcome = told.recv_timeout(PATIENCE).expect("told");
    assert!(matches!(outcome, SendOutcome::Unencodable(_)), "{outcome:?}");
    one.number(1, 3);
    assert_eq!(told.recv_timeout(PATIENCE), Ok(SendOutcome::Posted));
    assert_eq!(two.receive(), (ECHO, vec![7; 3]));
}

fn a_name_of_another_core_reaches_nobody(driver: DriverChoice) {
    let (first, second) = (core(driver, 1).start().expect("a core"), core(driver, 1).start().expect("a core"));
    let (make, told) = writers();
    let there = first.serve(Service::server("127.0.0.1:0"), make.clone()).expect("a service");
    let here = second.serve(Service::server("127.0.0.1:0"), make).expect("a service");
    let _addressee = writer_peer(&there);
    let mut sender = writer_peer(&here);
    sender.number(1, 3);
    assert_eq!(told.recv_timeout(PATIENCE), Ok(SendOutcome::Gone));
}

/// Broadcasts much when it is told to, and something at every occasion.
struct Shouter {
    outcomes: Sender<BroadcastOutcome>,
}

impl Shouter {
    fn shout(&self, cx: &mut Context<'_>, id: u16) {
        let _ = self.outcomes.send(cx.broadcast(Room(1), id, b"!"));
    }
}

impl Session for Shouter {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match packet.id() {
            JOIN => assert_eq!(cx.join(Room(1)), pogu::JoinOutcome::Asked),
            _ => (0..100).for_each(|_| self.shout(cx, SAY)),
        }
    }

    fn on_joined(&mut self, cx: &mut Context<'_>, _room: Room) {
        cx.send(JOIN, b"");
    }

    fn on_stopping(&mut self, cx: &mut Context<'_>) {
        self.shout(cx, 77);
    }

    fn on_disconnected(&mut self, cx: &mut Context<'_>, _cause: &Cause) {
        self.shout(cx, 78);
    }
}

fn shouters(
    driver: DriverChoice,
    workers: usize,
    posts_max: usize,
) -> (Core, pogu::ServiceHandle, Receiver<BroadcastOutcome>) {
    let mut port = PortConfig::default();
    port.posts_max = posts_max;
    let core = Core::builder().driver(driver).workers(workers).port(port).start().expect("a core");
    let (outcomes, told) = channel();
    let make = move |_| Shouter { outcomes: outcomes.clone() };
    let service = core.serve(Service::server("127.0.0.1:0"), make).expect("a service");
    (core, service, told)
}

fn shouter_peer(service: &pogu::ServiceHandle) -> Peer {
    let mut peer = Peer::connect(service.address());
    peer.send(JOIN, b"");
    assert_eq!(peer.receive(), (JOIN, Vec::new()));
    peer
}

fn a_refused_broadcast_is_counted(driver: DriverChoice) {
    let (core, service, told) = shouters(driver, 1, 16);
    let mut peer = shouter_peer(&service);
    peer.send(SAY, b"");
    let refused =
        (0..100).filter(|_| told.recv_timeout(PATIENCE).expect("told") == BroadcastOutcome::Overloaded).count() as u64;
    assert!(refused > 0);
    eventually("it is counted", || core.counters().broadcasts_refused == refused);
    (0..100 - refused).for_each(|_| assert_eq!(peer.receive(), (SAY, b"!".to_vec())));
}

fn a_broadcast_in_on_stopping_arrives(driver: DriverChoice) {
    // A worker that is kept from its processor may miss the time that a stop has for words to cross.
    in_time_at_least_once(|| {
        let (core, service, _told) = shouters(driver, 2, 4096);
        let mut peers: Vec<Peer> = (0..4).map(|_| shouter_peer(&service)).collect();
        let stop = std::thread::spawn(move || core.stop(Duration::from_secs(5)).expect("stopped"));
        let mut words = Vec::new();
        for peer in &mut peers {
            let (heard, well) = peer.ends_well();
            assert!(well, "an end in good order");
            let number = heard.len() / frame(77, b"!").len();
            assert_eq!(heard, frame(77, b"!").repeat(number), "last words, and nothing else");
            words.push(number);
        }
        drop(peers);
        assert_eq!(stop.join().expect("no panic").sessions_closed, 4);
        assert!(words.iter().all(|number| *number <= 4), "each word comes once: {words:?}");
        let is_all = words.iter().all(|number| *number == 4);
        is_all.then_some(()).ok_or_else(|| format!("of four last words each heard so many: {words:?}"))
    });
}

fn a_session_can_say_that_it_left(driver: DriverChoice) {
    let (_core, service, told) = shouters(driver, 1, 4096);
    let mut stays = shouter_peer(&service);
    drop(shouter_peer(&service));
    assert_eq!(told.recv_timeout(PATIENCE), Ok(BroadcastOutcome::Posted));
    assert_eq!(stays.receive(), (78, b"!".to_vec()));
}

/// Answers every packet with 60 bytes.
struct Answerer;

impl Session for Answerer {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        cx.send(packet.id(), &[7; 60]);
    }
}

fn a_client_that_reads_everything_is_not_cut_off(driver: DriverChoice) {
    const PACKETS: usize = 16_000;
    let core = core(driver, 1).start().expect("a core");
    let service = core.serve(Service::server("127.0.0.1:0"), |_| Answerer).expect("a service");
    let mut peer = Peer::connect(service.address());
    let mut stream = peer.stream.try_clone().expect("a second handle");
    let reader = std::thread::spawn(move || {
        let mut answers = vec![0; PACKETS * 64];
        stream.read_exact(&mut answers).map(|()| answers)
    });
    peer.stream.write_all(&frame(5, b"").repeat(PACKETS)).expect("the server reads");
    let answers = reader.join().expect("a reader").expect("every answer");
    assert!(answers.chunks(64).all(|answer| answer == frame(5, &[7; 60])));
    eventually("all are counted", || service.counters().frames_sent == PACKETS as u64);
    assert_eq!(service.counters().causes().count(), 0);
}

fn loud_members_do_not_get_the_others_cut_off(driver: DriverChoice) {
    const LOUD: usize = 6;
    const SAYINGS: usize = 120;
    let (core, seeds) = core(driver, 1).hand_out().expect("a core");
    let (factory, _reports) = probes();
    let service = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let (is_held, held) = channel();
    let (resume, go_on) = channel::<()>();
    let hold = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&hold);
    let game = seeds.into_iter().next().map(|seed| {
        std::thread::spawn(move || {
            let mut worker = seed.start().expect("a worker");
            // A game loop that is held between two turns: the next one finds all that has come meanwhile.
            while worker.dispatch(Some(Duration::from_millis(5))).expect("a turn") == WorkerStatus::Running {
                if asked.swap(false, Ordering::SeqCst) {
                    let _ = is_held.send(());
                    let _ = go_on.recv();
                }
            }
        })
    });
    let mut members: Vec<Peer> = (0..=LOUD).map(|_| Peer::connect(service.address())).collect();
    members.iter_mut().for_each(|member| member.join(1));
    let saying = frame(SAY, &[&1u32.to_le_bytes()[..], &[1; 500]].concat());
    hold.store(true, Ordering::SeqCst);
    held.recv_timeout(PATIENCE).expect("the loop is held");
    for loud in members.iter_mut().skip(1) {
        loud.stream.set_write_timeout(Some(PATIENCE)).expect("an option");
        loud.stream.write_all(&saying.repeat(SAYINGS)).expect("the kernel has room");
    }
    resume.send(()).expect("the loop waits");
    let readers: Vec<_> = members
        .into_iter()
        .map(|mut member| {
            std::thread::spawn(move || {
                let mut heard = vec![0; LOUD * SAYINGS * (4 + 500)];
                member.stream.read_exact(&mut heard).map(|()| member)
            })
        })
        .collect();
    let members: Vec<_> = readers.into_iter().map(|reader| reader.join().expect("a reader")).collect();
    assert!(members.iter().all(Result::is_ok), "{:?}", service.counters().causes().collect::<Vec<_>>());
    core.stop(Duration::ZERO).expect("told");
    drop(members);
    game.expect("a worker").join().expect("the loop ends");
}

#[test]
fn a_worker_that_stops_delivers_what_its_sessions_said_last() {
    let mut crew = Crew::parting();
    assert_eq!(turn(&mut crew.workers[0]), WorkerStatus::Running, "the inbox of the other is full");
    (0..2).for_each(|_| crew.workers.iter_mut().rev().for_each(|worker| _ = turn(worker)));
    assert_eq!(crew.heard.try_recv(), Ok("bye"));
    assert_eq!(crew.clients[0].frames().last(), Some(&(SAY, b"bye".to_vec())));
}

#[test]
fn what_a_worker_that_stops_cannot_deliver_by_its_deadline_is_counted() {
    let mut crew = Crew::parting();
    crew.simulation.advance_to(at(11));
    assert_eq!(turn(&mut crew.workers[0]), WorkerStatus::Stopped);
    let counters = crew.core.counters();
    assert_eq!((counters.frames_to_gone, counters.posts_to_gone), (1, 1));
}

#[test]
fn what_is_on_its_way_to_a_worker_that_goes_is_counted() {
    let mut crew = Crew::parting();
    drop(crew.workers.pop());
    assert_eq!(crew.core.counters().frames_to_gone, 2, "what was in its inbox");
    assert_eq!(turn(&mut crew.workers[0]), WorkerStatus::Running, "what was said before may just have come");
    assert_eq!(turn(&mut crew.workers[0]), WorkerStatus::Stopped);
    let counters = crew.core.counters();
    assert_eq!((counters.frames_to_gone, counters.posts_to_gone), (2 + 2, 2), "and the last words of both sessions");
}

#[test]
fn a_room_whose_home_has_gone_says_so() {
    let mut crew = Crew::new();
    drop(crew.workers.pop());
    let _ = turn(&mut crew.workers[0]);
    let outcomes = crew.act(|cx| [1, 2].map(|room| (cx.join(Room(room)), cx.broadcast(Room(room), SAY, b""))));
    let expected = [(JoinOutcome::Asked, BroadcastOutcome::Posted), (JoinOutcome::Gone, BroadcastOutcome::Gone)];
    assert!(expected.iter().all(|outcome| outcomes.contains(outcome)), "one has its home here: {outcomes:?}");
    let counters = crew.core.counters();
    assert_eq!((counters.room_calls_to_gone, counters.broadcasts_refused), (2, 0));
}

#[test]
fn what_is_refused_is_counted_by_what_it_was() {
    let mut crew = Crew::new();
    let other = crew.names[1];
    let (joins, broadcasts) = crew.act(move |cx| {
        while cx.send_to(other, SAY, b"").is_accepted() {}
        assert_eq!(cx.post(other, |_, _| ()), PostOutcome::Overloaded);
        let joins = (0..8).filter(|room| cx.join(Room(*room)) == JoinOutcome::Overloaded).count() as u64;
        let broadcast = |room: &u64| cx.broadcast(Room(*room), SAY, b"") == BroadcastOutcome::Overloaded;
        (joins, (0..8).filter(broadcast).count() as u64)
    });
    let Crew { core, service, .. } = &crew;
    let of_handlers = service.counters();
    assert_eq!((of_handlers.frames_refused, of_handlers.posts_refused), (1, 1));
    assert_eq!((of_handlers.joins_refused, core.counters().broadcasts_refused), (joins, broadcasts));
    assert!(joins > 0 && broadcasts > 0);
    assert_eq!(service.send_to(other, SAY, b""), SendOutcome::Overloaded);
    assert_eq!(service.kick_with(other, "no room", SAY, b""), SendOutcome::Overloaded);
    assert_eq!(service.kick(other, "no room"), PostOutcome::Overloaded);
    assert_eq!(service.post(other, |_, _| ()), PostOutcome::Overloaded);
    assert_eq!(service.enumerate(|_| ()), PostOutcome::Overloaded);
    assert_eq!(service.kick_all("no room"), FanOutOutcome::Overloaded);
    assert_eq!(service.broadcast(SAY, b""), FanOutOutcome::Overloaded);
    let (all, of_service) = (core.counters(), service.counters());
    assert_eq!((all.frames_refused, of_service.frames_refused), (2, 2));
    assert_eq!((all.posts_refused, of_service.posts_refused), (1 + 5, 1 + 5));
    assert_eq!((all.broadcasts_refused, of_service.broadcasts_refused), (broadcasts + 1, 1));
}

#[test]
fn what_a_list_does_not_get_is_counted_with_the_service_of_its_sender() {
    let mut crew = Crew::new();
    let [own, other] = [crew.names[0].id(), crew.names[1].id()];
    let outcomes = crew.act(move |cx| {
        while cx.send_to(other, SAY, b"").is_accepted() {}
        let some = [other, own, other];
        [&some[..], &some[2..]].map(|list| cx.send_to_many(list, Delivery::PROMPT, SAY, b""))
    });
    assert_eq!(
        outcomes,
        [FanOutOutcome::Partial { workers_missed: WorkerSet::from_iter([1]) }, FanOutOutcome::Overloaded]
    );
    let counters = crew.service.counters();
    assert_eq!(counters.frames_refused, 1 + 2 + 1, "the one before, and three of lists");
    assert_eq!(crew.core.counters().frames_refused, counters.frames_refused);
    assert_eq!(crew.service.send_to_many(&[other, other], Delivery::PROMPT, SAY, b""), FanOutOutcome::Overloaded);
    assert_eq!((crew.service.counters().frames_refused, crew.core.counters().frames_refused), (6, 6));
}

#[test]
fn what_is_meant_for_those_who_have_gone_is_counted_wherever_it_comes_from() {
    let (mut here, there) = (Crew::new(), Crew::new());
    let stranger = there.names[0];
    let outcomes = here.act(move |cx| (cx.send_to(stranger, SAY, b""), cx.post(stranger, |_, _| ())));
    assert_eq!(outcomes, (SendOutcome::Gone, PostOutcome::Gone));
    let Crew { core, service, .. } = &here;
    assert_eq!((core.counters().frames_to_gone, core.counters().posts_to_gone), (1, 1));
    assert_eq!(service.send_to(stranger, SAY, b""), SendOutcome::Gone);
    assert_eq!(service.post(stranger, |_, _| ()), PostOutcome::Gone);
    assert_eq!(service.kick(stranger, "who?"), PostOutcome::Gone);
    assert!(matches!(service.send_to(stranger, SAY, &[0; 70_000]), SendOutcome::Unencodable(_)));
    assert!(matches!(service.broadcast(SAY, &[0; 70_000]), FanOutOutcome::Unencodable(_)));
    let (all, of_service) = (core.counters(), service.counters());
    assert_eq!((all.frames_to_gone, all.posts_to_gone, all.frames_unencodable), (2, 3, 2));
    assert_eq!((of_service.frames_to_gone, of_service.posts_to_gone, of_service.frames_unencodable), (1, 2, 2));
}

#[test]
fn a_core_tells_what_its_ports_count() {
    let mut crew = Crew::new();
    while crew.service.send_to(crew.names[1], ECHO, b"").is_accepted() {}
    let (all, each) = (crew.core.port_counters(), crew.core.port_counters_by_worker());
    assert_eq!((each.len(), all.accepted, all.sent_bytes), (2, 2, 2 * 5));
    assert_eq!((each[0].refused_posts, each[1].refused_posts), (0, 1), "before the worker has a turn");
    (0..2).for_each(|_| crew.workers.iter_mut().for_each(|worker| _ = turn(worker)));
    let each = crew.core.port_counters_by_worker();
    let of_workers: Vec<_> = crew.workers.iter_mut().map(Worker::port_counters).collect();
    assert_eq!(each, of_workers);
    let mut sum = each[0];
    sum += each[1];
    assert_eq!(crew.core.port_counters(), sum);
}

#[test]
fn for_a_worker_wait_posts_max_messages_and_as_many_on_their_way_from_each() {
    let mut crew = Crew::of(3);
    let slow = crew.names[2];
    let accepted = [0, 1].map(|worker| {
        crew.act_in(worker, move |cx| (0..100).filter(|_| cx.send_to(slow, SAY, b"").is_accepted()).count())
    });
    assert_eq!(accepted, [2 + 2, 2], "its inbox is full, and so is each way to it");
}
