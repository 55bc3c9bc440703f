//! What sessions make others hear in one turn, by ways that are longer than a broadcast of a handler: handlers on a pool, whose
//! orders come all at once, and the state of a room that repeats what it is told.

mod support;

use std::io::{Read, Write};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pogu::sim::Simulation;
use pogu::{BroadcastOutcome, Context, Core, JoinOutcome, Packet, Room, RoomRef, RoomState, Service, Session, Worker};
use support::pooled::{BLOCK, Event, JOIN, SAY, serve};
use support::simulated::{Client, SERVER};
use support::{PATIENCE, PLAIN_DRIVER, Peer, core, frame};

const LOUD: usize = 6;
const SAYINGS: usize = 100;
const SAYING: [u8; 500] = [1; 500];

/// Dispatches until something has come about.
fn dispatch_until(worker: &mut Worker, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "it does not come about");
        let _ = worker.dispatch(Some(Duration::from_millis(1))).expect("a turn");
    }
}

#[test]
fn what_handlers_on_a_pool_have_said_meanwhile_gets_nobody_cut_off() {
    let (core, seeds) = core(PLAIN_DRIVER, 1).hand_out().expect("a core");
    let mut worker = seeds.into_iter().next().expect("one").start().expect("a worker");
    let (service, reports) = serve(&core, Service::server("127.0.0.1:0"));
    let mut members: Vec<Peer> = (0..=LOUD).map(|_| Peer::connect(service.address())).collect();
    members.iter_mut().for_each(|member| member.send(JOIN, b""));
    let mut joined = 0;
    dispatch_until(&mut worker, || {
        joined += reports.events.try_iter().filter(|event| *event == Event::Joined).count();
        joined > LOUD
    });
    // The first handler of each blocks, and everything else waits behind it.
    let sayings = [frame(BLOCK, b""), frame(SAY, &SAYING).repeat(SAYINGS)].concat();
    members.iter_mut().skip(1).for_each(|loud| loud.stream.write_all(&sayings).expect("the kernel has room"));
    let all = (LOUD + 1 + LOUD * (1 + SAYINGS)) as u64;
    dispatch_until(&mut worker, || service.counters().frames_received == all);
    // While the worker has no turn, all of them are called.
    (0..LOUD).for_each(|_| reports.let_go.send(()).expect("they wait"));
    (0..LOUD * SAYINGS).for_each(|_| reports.wait_for(&Event::Packet(SAY)));
    let read = |mut member: Peer| {
        std::thread::spawn(move || {
            // The answer to its JOIN is the first frame.
            let mut heard = vec![0; 4 + LOUD * SAYINGS * (4 + SAYING.len())];
            member.stream.read_exact(&mut heard).map(|()| member)
        })
    };
    let readers: Vec<JoinHandle<_>> = members.into_iter().map(read).collect();
    dispatch_until(&mut worker, || readers.iter().all(JoinHandle::is_finished));
    let members: Vec<_> = readers.into_iter().map(|reader| reader.join().expect("a reader")).collect();
    assert!(members.iter().all(Result::is_ok), "{:?}", service.counters().causes().collect::<Vec<_>>());
}

/// Repeats to all who are there what it is told.
struct Echoing(Sender<usize>);

impl RoomState for Echoing {}

/// Has a room repeat each packet.
struct Teller {
    room: RoomRef<Echoing>,
}

impl Session for Teller {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        assert_eq!(cx.join(self.room.room()), JoinOutcome::Asked);
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let said = packet.body().to_vec();
        let posted = cx.post_to_room(&self.room, move |room, cx| {
            assert_eq!(cx.broadcast(SAY, &said), BroadcastOutcome::Posted);
            let _ = room.0.send(said.len());
        });
        assert!(posted.is_posted());
    }
}

#[test]
fn a_post_to_a_room_is_charged_for_the_packet_that_it_passes_on() {
    let simulation = Simulation::new();
    let (core, seeds) = Core::builder().simulated(&simulation).workers(1).hand_out().expect("a core");
    let mut worker = seeds.into_iter().next().expect("one").start().expect("a worker");
    let (told, repeated) = channel();
    let room = core.open_room(Room(1), move |_room| Echoing(told.clone())).expect("a room");
    let service = core.serve(Service::server(SERVER), move |_| Teller { room: room.clone() }).expect("a service");
    let mut client = Client::new(simulation.connect(service.address()).expect("an address"));
    let mut turn = || {
        let _ = worker.dispatch(None).expect("a turn");
        repeated.try_iter().sum::<usize>()
    };
    (0..4).for_each(|_| _ = turn());
    for (packets, bytes) in [(200, 16), (24, 2_000), (6, 10_000)] {
        (0..packets).for_each(|_| client.send(SAY, &vec![7; bytes]));
        let by_turn: Vec<usize> = (0..50).map(|_| turn()).filter(|bytes| *bytes > 0).collect();
        assert_eq!(by_turn.iter().sum::<usize>(), packets * bytes);
        let most = by_turn.iter().max().expect("there were some");
        assert!(*most <= 8 * 1024 + bytes && *most <= 32 * bytes.max(256), "{by_turn:?}");
    }
}
