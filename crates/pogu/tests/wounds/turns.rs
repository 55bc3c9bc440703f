//! What a turn is: 17, 18, 19, 20.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pogu::{
    CauseKind, Context, DriverChoice, FanOutOutcome, JoinOutcome, Packet, PortConfig, PostOutcome,
    ROOMS_PER_SESSION_MAX, Room, SendOutcome, Service, Session, SessionRef, WorkerStatus,
};

use crate::support::simulated::{Client, SERVER, World, at};
use crate::support::{ECHO, JOIN, PATIENCE, Peer, SAY, core, probes};
use crate::{on_every_driver, served, still_served};

on_every_driver!(
    w17_a_broadcast_waits_for_nobody,
    w18_a_turn_takes_all_that_has_completed,
    w18_a_timer_wakes_its_worker_by_itself,
    w20_a_panic_ends_one_session,
);

#[test]
fn w17_a_burst_of_broadcasts_is_one_send_per_session() {
    const MEMBERS: usize = 100;
    let mut world = World::new();
    let core = world.core(2);
    let (factory, _reports) = probes();
    let service = core.serve(Service::server(SERVER), factory).expect("a service");
    let mut members: Vec<Client> = (0..MEMBERS).map(|_| world.connect(&service)).collect();
    members.iter_mut().for_each(|member| member.number(JOIN, 1));
    world.settle();
    let before = service.counters();
    (0..40).for_each(|_| members[0].say(1, &[7; 50]));
    world.settle();
    let after = service.counters();
    assert_eq!(after.frames_sent - before.frames_sent, 40 * MEMBERS as u64);
    assert_eq!(after.sends - before.sends, MEMBERS as u64, "forty frames each, and one send each");
    members.iter_mut().for_each(|member| assert_eq!(member.frames().len(), 1 + 40));
}

/// Blocks its worker until it is let go.
struct Blocking {
    blocked: Sender<()>,
    let_go: Arc<Mutex<Receiver<()>>>,
}

const BLOCK: u16 = 10;

impl Session for Blocking {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        if packet.id() == BLOCK {
            let _ = self.blocked.send(());
            let _ = self.let_go.lock().expect("a receiver").recv();
        }
        cx.send(packet.id(), packet.body());
    }
}

fn w17_a_broadcast_waits_for_nobody(driver: DriverChoice) {
    let core = core(driver, 2).start().expect("a core");
    let ((blocked, is_blocked), (let_go, released)) = (channel(), channel());
    let released = Arc::new(Mutex::new(released));
    let make = move |_| Blocking { blocked: blocked.clone(), let_go: Arc::clone(&released) };
    let service = core.serve(Service::server("127.0.0.1:0"), make).expect("a service");
    // Sessions go to the worker with the fewest: these two live in different ones.
    let (mut one, mut other) = (served(&service), served(&service));
    one.send(BLOCK, b"");
    is_blocked.recv_timeout(PATIENCE).expect("its worker stands");
    for _ in 0..100 {
        assert_eq!(service.broadcast(SAY, b"news"), FanOutOutcome::Posted, "although a worker stands");
    }
    (0..100).for_each(|_| assert_eq!(other.receive(), (SAY, b"news".to_vec())));
    still_served(&mut other);
    let_go.send(()).expect("it waits");
    assert_eq!(one.receive(), (BLOCK, Vec::new()));
    (0..100).for_each(|_| assert_eq!(one.receive(), (SAY, b"news".to_vec())));
}

fn w18_a_turn_takes_all_that_has_completed(driver: DriverChoice) {
    const PEERS: usize = 60;
    let (core, mut seeds) = core(driver, 1).hand_out().expect("a core");
    let (factory, _reports) = probes();
    let service = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let mut worker = seeds.pop().expect("one worker").start().expect("a worker");
    let mut turn = || assert_eq!(worker.dispatch(Some(PATIENCE)).expect("a turn"), WorkerStatus::Running);
    turn();
    let mut peers: Vec<Peer> = (0..PEERS).map(|_| Peer::connect(service.address())).collect();
    while service.counters().sessions_opened < PEERS as u64 {
        turn();
    }
    // Everything is there before the worker looks.
    peers.iter_mut().for_each(|peer| peer.send(ECHO, b"now"));
    let mut turns = 0;
    while service.counters().frames_received < PEERS as u64 {
        turn();
        turns += 1;
    }
    assert!(turns <= 5, "{turns} turns for {PEERS} completions");
    while service.counters().bytes_sent < 7 * PEERS as u64 {
        turn();
    }
    peers.iter_mut().for_each(|peer| assert_eq!(peer.receive(), (ECHO, b"now".to_vec())));
}

/// Sets a timer of a millisecond, and tells when it rings.
struct Ringing(Sender<()>);

impl Session for Ringing {
    fn on_packet(&mut self, cx: &mut Context<'_>, _packet: Packet<'_>) {
        cx.set_timer(Duration::from_millis(1));
    }

    fn on_timer(&mut self, _cx: &mut Context<'_>) {
        let _ = self.0.send(());
    }
}

fn w18_a_timer_wakes_its_worker_by_itself(driver: DriverChoice) {
    let (core, mut seeds) = core(driver, 1).hand_out().expect("a core");
    let (ring, rings) = channel();
    let service = core.serve(Service::server("127.0.0.1:0"), move |_| Ringing(ring.clone())).expect("a service");
    let mut worker = seeds.pop().expect("one worker").start().expect("a worker");
    let mut peer = Peer::connect(service.address());
    peer.send(ECHO, b"");
    let mut turns = 0;
    // Without a timeout: what is due is what wakes it, and nothing has to look now and then.
    while service.counters().frames_received == 0 {
        assert_eq!(worker.dispatch(None).expect("a turn"), WorkerStatus::Running);
    }
    while rings.try_recv().is_err() {
        assert_eq!(worker.dispatch(None).expect("a turn"), WorkerStatus::Running);
        turns += 1;
    }
    assert!(turns <= 5, "{turns} turns for one timer");
}

/// What lives in one worker and never leaves it need not be `Send`, nor be locked: this compiles, and is reached from elsewhere.
struct Unlocked(Rc<RefCell<u32>>);

impl Session for Unlocked {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        *self.0.borrow_mut() += 1;
        cx.send(packet.id(), &self.0.borrow().to_le_bytes());
    }
}

#[test]
fn w19_a_session_needs_no_lock() {
    let mut world = World::new();
    let core = world.core(2);
    let make = |_| Unlocked(Rc::new(RefCell::new(0)));
    let service = core.serve(Service::server(SERVER), make).expect("a service");
    let mut client = world.connect(&service);
    client.send(ECHO, b"");
    world.settle();
    assert_eq!(client.frames(), [(ECHO, 1u32.to_le_bytes().to_vec())]);
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn w19_nothing_spins_and_no_lock_is_on_the_path_of_a_session() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let code = |path: &Path| -> Vec<String> {
        let text = fs::read_to_string(path).expect("readable");
        text.lines().filter(|line| !line.trim_start().starts_with("//")).map(str::to_owned).collect()
    };
    let check = |paths: Vec<PathBuf>, banned: &[&str]| {
        assert!(!paths.is_empty(), "this rule sees nothing");
        for path in paths {
            for line in code(&path) {
                let found = banned.iter().find(|word| line.contains(**word));
                assert!(found.is_none(), "{}: {line}", path.display());
            }
        }
    };
    check(sources(&folder), &["spin_loop", "yield_now", "RwLock"]);
    // A worker and what its sessions are called with: no lock at all, and no atomic of its own.
    let of_workers = [folder.join("context.rs"), folder.join("session.rs"), folder.join("layer.rs")];
    let of_workers = sources(&folder.join("worker")).into_iter().chain(of_workers).collect();
    check(of_workers, &["Mutex", "Atomic", ".lock()"]);
}

/// Joins as many rooms as it is told to, and tells what became of it.
struct Joining(Sender<JoinOutcome>);

impl Session for Joining {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        for room in 0..packet.reader().u32().expect("a number") {
            let _ = self.0.send(cx.join(Room(room.into())));
        }
    }
}

#[test]
fn w20_a_session_is_in_so_many_rooms() {
    let mut world = World::new();
    let core = world.core(2);
    let (outcomes, told) = channel();
    let service = core.serve(Service::server(SERVER), move |_| Joining(outcomes.clone())).expect("a service");
    let mut client = world.connect(&service);
    client.number(JOIN, 100);
    world.settle();
    let outcomes: Vec<JoinOutcome> = told.try_iter().collect();
    let (asked, refused) = outcomes.split_at(ROOMS_PER_SESSION_MAX);
    assert!(asked.iter().all(|outcome| *outcome == JoinOutcome::Asked));
    assert_eq!(refused, [JoinOutcome::TooMany].repeat(100 - ROOMS_PER_SESSION_MAX));
}

#[test]
fn w20_what_is_posted_is_bounded_and_its_sender_is_told() {
    const POSTS_MAX: usize = 16;
    let mut port = PortConfig::default();
    port.posts_max = POSTS_MAX;
    let mut world = World::new();
    let core = world.lockstep.start(pogu::Core::builder().workers(1).port(port)).expect("a core");
    let (names, named) = channel();
    let service = core.serve(Service::server(SERVER), move |_| Telling(names.clone())).expect("a service");
    let mut client = world.connect(&service);
    let session: SessionRef<Telling> = named.try_recv().expect("a name");
    // Nobody dispatches the worker now: a job that is posted waits, and so many wait.
    let posted: Vec<PostOutcome> = (0..100)
        .map(|_| {
            service.post(session, |_, cx| {
                cx.send(ECHO, b"done");
            })
        })
        .collect();
    let (taken, refused) = posted.split_at(POSTS_MAX);
    assert_eq!(taken, [PostOutcome::Posted].repeat(POSTS_MAX));
    assert_eq!(refused, [PostOutcome::Overloaded].repeat(100 - POSTS_MAX));
    assert_eq!(service.send_to(session, ECHO, b"one more"), SendOutcome::Overloaded);
    assert_eq!(service.kick(session, "one more"), PostOutcome::Overloaded);
    assert_eq!(service.broadcast(ECHO, b"one more"), FanOutOutcome::Overloaded);
    world.run_to(at(1));
    assert_eq!(client.frames(), vec![(ECHO, b"done".to_vec()); POSTS_MAX], "nothing refused came through");
    assert_eq!(service.post(session, |_, _| ()), PostOutcome::Posted);
}

struct Telling(Sender<SessionRef<Telling>>);

impl Session for Telling {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        let _ = self.0.send(cx.reference(self));
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        assert_ne!(packet.id(), BLOCK, "a planted panic");
        cx.send(packet.id(), packet.body());
    }
}

fn w20_a_panic_ends_one_session(driver: DriverChoice) {
    let core = core(driver, 1).start().expect("a core");
    let (names, named) = channel();
    let service = core.serve(Service::server("127.0.0.1:0"), move |_| Telling(names.clone())).expect("a service");
    let mut neighbour = served(&service);
    named.recv_timeout(PATIENCE).expect("a name");
    // In a handler.
    let mut guilty = served(&service);
    named.recv_timeout(PATIENCE).expect("a name");
    guilty.send(BLOCK, b"");
    assert_eq!(guilty.ends_well(), (Vec::new(), true));
    drop(guilty);
    // In a posted job.
    let mut guilty = served(&service);
    let session = named.recv_timeout(PATIENCE).expect("a name");
    assert_eq!(service.post(session, |_, _| panic!("a planted panic in a job")), PostOutcome::Posted);
    assert_eq!(guilty.ends_well(), (Vec::new(), true));
    drop(guilty);
    still_served(&mut neighbour);
    crate::support::eventually("both are counted", || service.counters().disconnects(CauseKind::HandlerPanicked) == 2);
}
