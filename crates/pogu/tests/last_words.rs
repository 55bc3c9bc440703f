//! What sessions say when a core stops, to rooms whose home is in a worker that has no session of its own.

mod support;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use pogu::sim::Simulation;
use pogu::{
    BroadcastOutcome, Cause, CauseKind, Context, Core, FrameFormat, Incoming, JoinOutcome, Packet, PostOutcome, Room,
    RoomContext, RoomRef, RoomState, Service, Session, SessionId, Time, Worker, WorkerStatus,
};
use support::simulated::{Client, Flow, SERVER, World};
use support::{JOIN, LEAVE, PATIENCE, Peer, SAY, eventually};

/// Of two workers the second is its home; the only session lives in the first.
const LEDGER: Room = Room(1);

const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes down what it is told.
struct Ledger(Sender<&'static str>);

impl RoomState for Ledger {
    fn on_join(&mut self, cx: &mut RoomContext<'_>, _member: SessionId) {
        assert_eq!(cx.worker(), 1);
    }

    fn on_leave(&mut self, _cx: &mut RoomContext<'_>, _member: SessionId) {
        let _ = self.0.send("left");
    }
}

/// Says to the ledger what is to be kept: as the core stops, and in its last handler.
struct Player {
    ledger: RoomRef<Ledger>,
    is_member: bool,
    ends: Sender<CauseKind>,
}

impl Player {
    fn write(&self, cx: &mut Context<'_>, what: &'static str) {
        let posted = cx.post_to_room(&self.ledger, move |ledger, _cx| _ = ledger.0.send(what));
        assert_eq!(posted, PostOutcome::Posted);
    }
}

impl Session for Player {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        assert_eq!(cx.worker(), 0);
        if self.is_member {
            assert_eq!(cx.join(LEDGER), JoinOutcome::Asked);
        }
    }

    fn on_packet(&mut self, _cx: &mut Context<'_>, _packet: Packet<'_>) {}

    fn on_stopping(&mut self, cx: &mut Context<'_>) {
        self.write(cx, "stopping");
    }

    fn on_disconnected(&mut self, cx: &mut Context<'_>, cause: &Cause) {
        self.write(cx, "save");
        assert_eq!(cx.broadcast(LEDGER, SAY, b"it has gone"), BroadcastOutcome::Posted);
        let _ = self.ends.send(cause.kind());
    }
}

struct Stage {
    world: World,
    core: Core,
    client: Client,
    written: Receiver<&'static str>,
    ends: Receiver<CauseKind>,
}

type Reports = (Receiver<&'static str>, Receiver<CauseKind>);

/// What makes players, and what it writes down and who has ended.
fn players(core: &Core, is_member: bool) -> (impl Fn(Incoming) -> Player + Send + Sync + use<>, Reports) {
    let ((told, written), (ended, ends)) = (channel(), channel());
    let ledger = core.open_room(LEDGER, move |_room| Ledger(told.clone())).expect("a room");
    let factory = move |_incoming| Player { ledger: ledger.clone(), is_member, ends: ended.clone() };
    (factory, (written, ends))
}

impl Stage {
    fn new(is_member: bool) -> Stage {
        Stage::with_budget(is_member, Duration::ZERO)
    }

    fn with_budget(is_member: bool, latency_budget: Duration) -> Stage {
        let mut world = World::new();
        let core = world.lockstep.start(Core::builder().workers(2).latency_budget(latency_budget)).expect("a core");
        let (factory, (written, ends)) = players(&core, is_member);
        let service = core.serve(Service::server(SERVER), factory).expect("a service");
        let client = world.connect(&service);
        world.run_for(10 * latency_budget);
        Stage { world, core, client, written, ends }
    }

    /// Stops; the peer answers the end of the stream with its own only if it `is_polite`.
    fn stop(&mut self, is_polite: bool) {
        self.core.begin_stop(DRAIN_TIMEOUT);
        let limit = self.world.lockstep.now() + DRAIN_TIMEOUT + Duration::from_secs(1);
        let Stage { world, core, client, .. } = self;
        world.until("a stop", limit, || {
            if is_polite && client.take_what_came() == Flow::Finished {
                client.peer.shutdown();
            }
            core.has_stopped()
        });
    }

    fn written(&self) -> Vec<&'static str> {
        self.written.try_iter().collect()
    }
}

#[test]
fn a_kept_room_hears_the_last_words_of_who_was_never_in_it() {
    let mut stage = Stage::new(false);
    stage.stop(true);
    assert_eq!(stage.written(), ["stopping", "save"]);
    assert_eq!(stage.ends.try_iter().collect::<Vec<_>>(), [CauseKind::ServiceStopping]);
    let counters = stage.core.counters();
    assert_eq!((counters.posts_to_gone, counters.room_calls_to_gone), (0, 0));
}

#[test]
fn a_kept_room_hears_the_last_words_of_its_last_member() {
    let mut stage = Stage::new(true);
    stage.stop(true);
    assert_eq!(stage.written(), ["stopping", "left", "save"]);
    let counters = stage.core.counters();
    assert_eq!((counters.posts_to_gone, counters.room_calls_to_gone), (0, 0));
}

#[test]
fn a_latency_budget_costs_no_last_words() {
    for budget in [Duration::from_micros(500), Duration::from_millis(2), Duration::from_secs(1)] {
        let mut stage = Stage::with_budget(true, budget);
        stage.stop(true);
        assert_eq!(stage.written(), ["stopping", "left", "save"], "{budget:?}");
        let counters = stage.core.counters();
        assert_eq!((counters.posts_to_gone, counters.room_calls_to_gone), (0, 0), "{budget:?}");
        for drain in [Duration::ZERO, budget / 2, 2 * budget] {
            let mut stage = Stage::with_budget(false, budget);
            stage.core.begin_stop(drain);
            stage.stop(false);
            assert_eq!(stage.written(), ["stopping", "save"], "{budget:?}, aborted after {drain:?}");
        }
    }
}

#[test]
fn a_kept_room_hears_the_last_words_of_whom_the_deadline_aborts() {
    let mut stage = Stage::new(false);
    // A drain shorter than the linger time of a peer that does not close.
    stage.core.begin_stop(Duration::from_secs(1));
    stage.stop(false);
    assert_eq!(stage.written(), ["stopping", "save"]);
    let counters = stage.core.counters();
    assert_eq!((counters.posts_to_gone, counters.room_calls_to_gone), (0, 0));
    assert!(stage.world.lockstep.now() <= Time::ZERO + Duration::from_millis(1_200));
}

/// On threads of the core's own: nobody dispatches a worker that sleeps.
#[test]
fn a_worker_without_sessions_is_woken_when_the_last_session_has_ended() {
    let core = Core::builder().workers(2).start().expect("a core");
    let (factory, (written, ends)) = players(&core, false);
    let service = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let mut client = Peer::connect(service.address());
    eventually("it is there", || core.counters().sessions_opened == 1);
    let reader = std::thread::spawn(move || client.ends_well());
    let begun = Instant::now();
    let counters = core.stop(6 * PATIENCE).expect("it stops");
    assert!(begun.elapsed() < PATIENCE, "before the drain is over");
    assert_eq!(reader.join().expect("a reader"), (Vec::new(), true));
    assert_eq!(written.try_iter().collect::<Vec<_>>(), ["stopping", "save"]);
    assert_eq!((ends.try_iter().count(), counters.posts_to_gone), (1, 0));
}

/// The thread of another worker does not dispatch it: nobody knows what its sessions would have said.
#[test]
fn nobody_waits_for_others_when_the_drain_is_over() {
    let simulation = Simulation::new();
    let (core, seeds) = Core::builder().simulated(&simulation).workers(2).hand_out().expect("a core");
    let mut workers: Vec<Worker> = seeds.into_iter().map(|seed| seed.start().expect("a worker")).collect();
    let mut turn = |milliseconds| {
        simulation.advance_to(Time::ZERO + Duration::from_millis(milliseconds));
        (0..4).map(|_| workers[0].dispatch(None).expect("a turn")).last()
    };
    assert_eq!(turn(0), Some(WorkerStatus::Running));
    core.begin_stop(Duration::from_secs(1));
    assert_eq!(turn(1_000), Some(WorkerStatus::Running), "the other one has not even heard of it");
    let last = Time::ZERO + Duration::from_millis(1_200);
    assert_eq!(simulation.next_due(), Some(last), "it wakes for that");
    assert_eq!(turn(1_199), Some(WorkerStatus::Running));
    assert_eq!(turn(1_200), Some(WorkerStatus::Stopped));
    drop(workers);
    assert!(core.has_stopped());
}

/// An arena that says goodbye when the core stops, and writes down what happens to it.
struct Arena(Sender<(u64, &'static str)>);

/// Its state panics as it is told.
const CURSED: u64 = 4;

/// A state of its own, of [`Core::open_room`], and nobody in it.
const KEPT: u64 = 20;

impl RoomState for Arena {
    fn on_leave(&mut self, cx: &mut RoomContext<'_>, _member: SessionId) {
        let _ = self.0.send((cx.room().0, "left"));
    }

    fn on_stopping(&mut self, cx: &mut RoomContext<'_>) {
        let _ = self.0.send((cx.room().0, "stopping"));
        assert_ne!(cx.room().0, CURSED, "a planted panic");
        assert_eq!(cx.broadcast(SAY, b"goodbye"), BroadcastOutcome::Posted);
    }
}

/// Joins and leaves as its peer says.
struct Fighter;

impl Session for Fighter {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let room = Room(packet.reader().u32().expect("a number").into());
        match packet.id() {
            JOIN => assert_eq!(cx.join(room), JoinOutcome::Asked),
            _ => assert!(cx.leave(room)),
        }
    }
}

#[test]
fn each_state_of_a_room_is_told_of_the_stop_once_and_its_members_hear_its_last_words() {
    let mut world = World::new();
    let core = world.core(3);
    let (told, written) = channel();
    let of_kept = told.clone();
    let opened = core.open_rooms(1..=9, FrameFormat::course(), move |_room| Arena(told.clone()));
    let kept = core.open_room(Room(KEPT), move |_room| Arena(of_kept.clone()));
    assert!(opened.is_ok() && kept.is_ok());
    let service = core.serve(Service::server(SERVER), |_incoming| Fighter).expect("a service");
    // Rooms with every home, and members of each in every worker.
    let mut clients: Vec<(u32, Client)> = (0..15).map(|index| (1 + index / 3, world.connect(&service))).collect();
    for (room, client) in &mut clients {
        client.number(JOIN, *room);
    }
    world.settle();
    // The fifth room empties: that is no stop.
    for (room, client) in clients.iter_mut().filter(|(room, _)| *room == 5) {
        client.number(LEAVE, *room);
    }
    world.settle();
    assert_eq!(written.try_iter().collect::<Vec<_>>(), [(5, "left"); 3]);
    let begun = world.lockstep.now();
    core.begin_stop(DRAIN_TIMEOUT);
    world.until("a stop", begun + Duration::from_secs(1), || {
        for (_, client) in &mut clients {
            if client.take_what_came() == Flow::Finished {
                client.peer.shutdown();
            }
        }
        core.has_stopped()
    });
    let written: Vec<(u64, &str)> = written.try_iter().collect();
    for room in 1..=4 {
        let of_room: Vec<&str> = written.iter().filter(|(of, _)| *of == room).map(|(_, what)| *what).collect();
        let expected = if room == CURSED { &["stopping"][..] } else { &["stopping", "left", "left", "left"] };
        assert_eq!(of_room, expected, "{room}");
    }
    assert_eq!(written.iter().filter(|(room, _)| *room > 4).collect::<Vec<_>>(), [&(KEPT, "stopping")]);
    for (room, client) in &mut clients {
        let heard = client.frames_received();
        let expected = if *room < 4 { vec![(SAY, b"goodbye".to_vec())] } else { Vec::new() };
        assert_eq!(heard, expected, "{room}");
    }
    let counters = core.counters();
    assert_eq!((counters.room_panics, counters.sessions_closed), (1, 15));
}
