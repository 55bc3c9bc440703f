//! Workers on the user's threads: dispatched once per frame; and threads that do not dispatch any more hold up nobody else.

mod support;

use std::io::{ErrorKind, Read};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pogu::{CauseKind, Core, DriverChoice, Error, Service, ServiceHandle, Worker, WorkerSeed, WorkerStatus};
use support::{ECHO, Event, PATIENCE, Peer, core, frame, next, probes};

on_every_driver!(
    a_game_loop_dispatches_once_per_frame,
    a_thread_that_stopped_dispatching_is_named_and_the_others_drain,
    a_worker_that_was_dropped_is_not_waited_for,
    a_worker_that_was_never_started_is_named,
    a_stop_does_not_wait_for_the_thread_that_it_is_on,
    dropping_a_core_waits_for_no_absent_worker,
    a_handler_may_drop_its_core,
);

/// One frame: every worker is dispatched once and waits for nothing. False once all have stopped.
fn one_frame(workers: &mut [Worker]) -> bool {
    let turn = |worker: &mut Worker| worker.dispatch(Some(Duration::ZERO)).expect("a turn");
    let statuses: Vec<WorkerStatus> = workers.iter_mut().map(turn).collect();
    statuses.contains(&WorkerStatus::Running)
}

/// Frames until the peer has its answer.
fn frames_until_echo(workers: &mut [Worker], peer: &mut Peer, text: &[u8]) {
    let begun = Instant::now();
    peer.stream.set_nonblocking(true).expect("an option");
    peer.stream.set_nodelay(true).expect("an option");
    peer.send(ECHO, text);
    let mut heard = Vec::new();
    while heard != frame(ECHO, text) {
        assert!(begun.elapsed() < PATIENCE && one_frame(workers), "no answer");
        let mut bytes = [0; 64];
        match peer.stream.read(&mut bytes) {
            Ok(length) => heard.extend_from_slice(&bytes[..length]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

fn a_game_loop_dispatches_once_per_frame(driver: DriverChoice) {
    let (core, seeds) = core(driver, 2).hand_out().expect("a core");
    let mut workers: Vec<Worker> = seeds.into_iter().map(|seed| seed.start().expect("a worker")).collect();
    let (factory, _reports) = probes();
    let service = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let mut peers: Vec<Peer> = (0..6).map(|_| Peer::connect(service.address())).collect();
    for round in 0..3 {
        peers.iter_mut().for_each(|peer| frames_until_echo(&mut workers, peer, format!("round {round}").as_bytes()));
    }
    assert_eq!(workers.iter().map(Worker::sessions).collect::<Vec<_>>(), [3, 3]);
    core.begin_stop(Duration::from_secs(5));
    drop(peers);
    let begun = Instant::now();
    while one_frame(&mut workers) {
        assert!(begun.elapsed() < PATIENCE, "it does not stop");
    }
    assert!(core.has_stopped());
    let counters = core.stop(PATIENCE).expect("it has stopped already");
    assert_eq!((counters.sessions_opened, counters.sessions_closed), (6, 6));
    assert_eq!(counters.linger_expired, 0);
}

/// Dispatches until it is told to hold still; then holds the worker until it is told to let go.
struct Game {
    hold: Sender<()>,
    held: Receiver<()>,
    let_go: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Game {
    fn new(seed: WorkerSeed) -> Game {
        let (hold, is_told) = channel::<()>();
        let (told, held) = channel();
        let (let_go, may_go) = channel();
        let thread = std::thread::spawn(move || {
            let mut worker = seed.start().expect("a worker");
            while worker.dispatch(Some(Duration::from_millis(2))).expect("a turn") == WorkerStatus::Running {
                if is_told.try_recv().is_ok() {
                    let _ = told.send(());
                    let _ = may_go.recv();
                    return false;
                }
            }
            true
        });
        Game { hold, held, let_go, thread }
    }

    fn hold(&self) {
        self.hold.send(()).expect("it dispatches");
        self.held.recv_timeout(PATIENCE).expect("it holds still");
    }

    /// Has no effect on one that does not hold still.
    fn let_go(&self) {
        let _ = self.let_go.send(());
    }
}

/// Two workers on threads of their own, two sessions on each; the peers by worker.
fn two_games(driver: DriverChoice) -> (Core, ServiceHandle, Vec<Game>, [Vec<Peer>; 2], Receiver<Event>) {
    let (core, seeds) = core(driver, 2).hand_out().expect("a core");
    let games = seeds.into_iter().map(Game::new).collect();
    let (factory, reports) = probes();
    let service = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let mut peers = [Vec::new(), Vec::new()];
    for _ in 0..4 {
        let peer = Peer::connect(service.address());
        let Event::Connected { worker } = next(&reports) else { panic!("it connects first") };
        peers[worker].push(peer);
    }
    (core, service, games, peers, reports)
}

fn a_thread_that_stopped_dispatching_is_named_and_the_others_drain(driver: DriverChoice) {
    let (core, service, games, [mut drained, absent], _reports) = two_games(driver);
    games[1].hold();
    let (drain, begun) = (Duration::from_secs(1), Instant::now());
    let stop = std::thread::spawn(move || core.stop(drain));
    for peer in drained.drain(..) {
        let mut peer = peer;
        assert_eq!(peer.ends_well(), (Vec::new(), true), "in good order");
    }
    match stop.join().expect("no panic") {
        Err(Error::WorkersAbsent { workers, counters }) => {
            assert_eq!(workers, [1]);
            assert_eq!(counters.disconnects(CauseKind::ServiceStopping), 2);
        }
        other => panic!("{other:?}"),
    }
    assert!(begun.elapsed() >= drain, "it was given its time");
    assert_eq!(service.sessions(), 2, "the absent worker's");
    games.iter().for_each(Game::let_go);
    let ended: Vec<bool> = games.into_iter().map(|game| game.thread.join().expect("no panic")).collect();
    assert_eq!(ended, [true, false]);
    assert_eq!(service.sessions(), 0, "they end with the worker's drop");
    absent.into_iter().for_each(|mut peer| drop(peer.ends_well()));
}

fn a_worker_that_was_dropped_is_not_waited_for(driver: DriverChoice) {
    let (core, _service, mut games, [_kept, mut gone], _reports) = two_games(driver);
    let game = games.pop().expect("two");
    game.hold();
    game.let_go.send(()).expect("it waits");
    game.thread.join().expect("no panic");
    gone.iter_mut().for_each(|peer| drop(peer.ends_well()));
    drop(_kept);
    let counters = core.stop(PATIENCE).expect("the other one stops");
    assert_eq!(counters.sessions_closed, 4);
    assert!(games.pop().expect("one").thread.join().expect("no panic"));
}

fn a_worker_that_was_never_started_is_named(driver: DriverChoice) {
    let (core, seeds) = core(driver, 3).hand_out().expect("a core");
    let mut seeds = seeds.into_iter();
    let game = Game::new(seeds.next().expect("three"));
    let kept = seeds.next();
    drop(seeds);
    let stopped = core.stop(Duration::from_millis(50));
    assert!(matches!(&stopped, Err(Error::WorkersAbsent { workers, .. }) if *workers == [1]), "{stopped:?}");
    assert!(game.thread.join().expect("no panic"));
    drop(kept);
}

fn a_stop_does_not_wait_for_the_thread_that_it_is_on(driver: DriverChoice) {
    let (core, seeds) = core(driver, 1).hand_out().expect("a core");
    let mut workers: Vec<Worker> = seeds.into_iter().map(|seed| seed.start().expect("a worker")).collect();
    let (factory, _reports) = probes();
    let service = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let mut peer = Peer::connect(service.address());
    frames_until_echo(&mut workers, &mut peer, b"hello");
    let begun = Instant::now();
    let stopped = core.stop(6 * PATIENCE);
    assert!(matches!(&stopped, Err(Error::WorkersAbsent { workers, .. }) if *workers == [0]), "{stopped:?}");
    assert!(begun.elapsed() < PATIENCE);
    drop(peer);
    while one_frame(&mut workers) {
        assert!(begun.elapsed() < PATIENCE, "its thread can still end it");
    }
    assert_eq!(service.sessions(), 0);
}

fn dropping_a_core_waits_for_no_absent_worker(driver: DriverChoice) {
    let (core, _service, games, _peers, _reports) = two_games(driver);
    games[0].hold();
    drop(core);
    games.iter().for_each(Game::let_go);
    let ended: Vec<bool> = games.into_iter().map(|game| game.thread.join().expect("no panic")).collect();
    assert_eq!(ended, [false, true]);
}

fn a_handler_may_drop_its_core(driver: DriverChoice) {
    let core = core(driver, 1).start().expect("a core");
    let (give, mine) = channel::<Core>();
    let mine = std::sync::Arc::new(std::sync::Mutex::new(mine));
    let make = move |_| CoreOwner { core: std::sync::Arc::clone(&mine) };
    let service = core.serve(Service::server("127.0.0.1:0"), make).expect("a service");
    let mut peer = Peer::connect(service.address());
    give.send(core).expect("the factory lives");
    peer.send(ECHO, b"end");
    peer.ends_well();
    support::eventually("all is over", || service.sessions() == 0);
}

/// Drops the core that it lives in.
struct CoreOwner {
    core: std::sync::Arc<std::sync::Mutex<Receiver<Core>>>,
}

impl pogu::Session for CoreOwner {
    fn on_packet(&mut self, _cx: &mut pogu::Context<'_>, _packet: pogu::Packet<'_>) {
        drop(self.core.lock().expect("a receiver").recv_timeout(PATIENCE));
    }
}
