//! Cores on every driver: own threads and handed-out workers, client services, stopping, several at a time. Their deadlines
//! are in `virtual_time`.

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pogu::{
    Cause, CauseKind, Context, Core, DriverChoice, Error, JoinOutcome, Packet, Room, SendOutcome, Service, Session,
    SessionId, WorkerStatus,
};
use support::{ECHO, Event, FAREWELL, Peer, core, eventually, next, next_end, probes};

on_every_driver!(
    a_stop_tells_the_sessions_and_flushes_what_they_say,
    dropping_a_core_ends_its_sessions,
    workers_run_on_threads_of_the_users,
    a_client_service_talks_to_a_server_of_another_core,
    a_client_service_that_finds_nobody_counts_it,
    a_session_sends_to_a_session_of_another_worker,
    a_stale_name_reaches_nobody,
    a_timer_wakes_a_waiting_worker,
    a_packet_that_does_not_fit_is_the_senders_error,
    a_session_is_in_a_bounded_number_of_rooms,
    a_taken_address_and_a_bad_one_are_clear_errors,
);

fn a_stop_tells_the_sessions_and_flushes_what_they_say(driver: DriverChoice) {
    let core = core(driver, 2).start().expect("a core");
    let (factory, reports) = probes();
    let make = move |incoming| {
        let mut probe = factory(incoming);
        probe.farewell = true;
        probe
    };
    let service = core.serve(Service::server("127.0.0.1:0"), make).expect("a service");
    let mut peers: Vec<Peer> = (0..20).map(|_| Peer::connect(service.address())).collect();
    (0..20).for_each(|_| assert!(matches!(next(&reports), Event::Connected { .. })));
    let stopper = std::thread::spawn(move || core.stop(Duration::from_secs(10)));
    for peer in &mut peers {
        assert_eq!(peer.receive(), (FAREWELL, b"farewell".to_vec()));
        assert_eq!(peer.ends_well(), (Vec::new(), true));
    }
    drop(peers);
    let counters = stopper.join().expect("no panic").expect("stopped");
    assert_eq!(counters.disconnects(CauseKind::ServiceStopping), 20);
    assert_eq!(counters.sessions_closed, 20);
    assert_eq!(counters.linger_expired, 0);
    assert!(std::net::TcpStream::connect(service.address()).is_err(), "nobody listens any more");
}

fn dropping_a_core_ends_its_sessions(driver: DriverChoice) {
    let core = core(driver, 2).start().expect("a core");
    let (factory, reports) = probes();
    let service = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let mut peer = Peer::connect(service.address());
    assert!(matches!(next(&reports), Event::Connected { .. }));
    drop(core);
    assert_eq!(next_end(&reports), CauseKind::ServiceStopping);
    peer.ends_well();
    assert_eq!(service.sessions(), 0);
}

fn workers_run_on_threads_of_the_users(driver: DriverChoice) {
    let (core, seeds) = core(driver, 2).hand_out().expect("a core");
    let (factory, reports) = probes();
    let service = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let frames = Arc::new(AtomicU64::new(0));
    let games: Vec<_> = seeds
        .into_iter()
        .map(|seed| {
            let frames = Arc::clone(&frames);
            std::thread::spawn(move || {
                let mut worker = seed.start().expect("a worker");
                while worker.dispatch(Some(Duration::from_millis(5))).expect("a turn") == WorkerStatus::Running {
                    frames.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut peers: Vec<Peer> = (0..4).map(|_| Peer::connect(service.address())).collect();
    for peer in &mut peers {
        peer.send(ECHO, b"game loop");
        assert_eq!(peer.receive(), (ECHO, b"game loop".to_vec()));
    }
    drop(peers);
    (0..4).for_each(|_| assert_eq!(next_end(&reports), CauseKind::PeerClosed));
    let idle = frames.load(Ordering::Relaxed);
    eventually("the loops go on without traffic", || frames.load(Ordering::Relaxed) > idle + 4);
    core.stop(Duration::from_secs(5)).expect("told to stop");
    games.into_iter().for_each(|game| game.join().expect("the loop ended by itself"));
}

/// Sends a number, expects it back one higher, ends after ten rounds.
struct Counter {
    results: Sender<u32>,
}

impl Session for Counter {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        cx.send(ECHO, &0u32.to_le_bytes());
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let number = packet.reader().u32().expect("a number");
        if number == 10 {
            let _ = self.results.send(number);
            return cx.disconnect("done");
        }
        cx.send(ECHO, &(number + 1).to_le_bytes());
    }
}

fn a_client_service_talks_to_a_server_of_another_core(driver: DriverChoice) {
    let servers = core(driver, 2).start().expect("a core");
    let (factory, reports) = probes();
    let server = servers.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let clients = core(driver, 2).start().expect("another core");
    let (results, counted) = channel();
    let link = Service::client(server.address()).sessions(50);
    let client =
        clients.connect(link, move |_incoming| Counter { results: results.clone() }).expect("a client service");
    (0..50).for_each(|_| assert_eq!(counted.recv_timeout(support::PATIENCE), Ok(10)));
    (0..50).for_each(|_| assert_eq!(next_end(&reports), CauseKind::PeerClosed));
    eventually("all places are free", || client.sessions() == 0 && server.sessions() == 0);
    // Places are free before the turn that freed them has published what it counted.
    eventually("all are counted", || clients.counters().disconnects(CauseKind::HandlerAsked) == 50);
    assert_eq!(clients.counters().sessions_opened, 50);
}

fn a_client_service_that_finds_nobody_counts_it(driver: DriverChoice) {
    // Bound and not listening: refuses, and nobody else can take the address meanwhile.
    let nobody = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    nobody.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("bind");
    let address = nobody.local_addr().expect("bound").as_socket().expect("an address");
    let core = core(driver, 1).start().expect("a core");
    let (factory, reports) = probes();
    let client = core.connect(Service::client(address).sessions(300), factory).expect("a client service");
    eventually("every refusal is counted", || client.counters().disconnects(CauseKind::ConnectFailed) == 300);
    eventually("all places are free", || client.sessions() == 0);
    assert!(reports.try_recv().is_err(), "no session was made");
}

/// Tells its name to everybody; passes what it is told on to the session that it is told.
struct Pen {
    names: Arc<Mutex<Vec<SessionId>>>,
    outcomes: Sender<SendOutcome>,
}

impl Session for Pen {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        self.names.lock().expect("names").push(cx.id());
        cx.send(ECHO, b"hello");
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let target = self.names.lock().expect("names")[packet.id() as usize];
        let _ = self.outcomes.send(cx.send_to(target, ECHO, packet.body()));
    }
}

fn pens(driver: DriverChoice, workers: usize) -> (Core, pogu::ServiceHandle, Receiver<SendOutcome>) {
    let core = core(driver, workers).start().expect("a core");
    let names = Arc::default();
    let (outcomes, told) = channel();
    let make = move |_incoming| Pen { names: Arc::clone(&names), outcomes: outcomes.clone() };
    let service = core.serve(Service::server("127.0.0.1:0"), make).expect("a service");
    (core, service, told)
}

fn pen_peer(service: &pogu::ServiceHandle) -> Peer {
    let mut peer = Peer::connect(service.address());
    assert_eq!(peer.receive(), (ECHO, b"hello".to_vec()));
    peer
}

fn a_session_sends_to_a_session_of_another_worker(driver: DriverChoice) {
    let (_core, service, told) = pens(driver, 3);
    let mut peers: Vec<Peer> = (0..6).map(|_| pen_peer(&service)).collect();
    for target in 0..6u16 {
        peers[0].send(target, b"letter");
        assert!(told.recv_timeout(support::PATIENCE).expect("told").is_accepted());
        assert_eq!(peers[usize::from(target)].receive(), (ECHO, b"letter".to_vec()));
    }
}

fn a_stale_name_reaches_nobody(driver: DriverChoice) {
    let (_core, service, told) = pens(driver, 1);
    let mut first = pen_peer(&service);
    drop(pen_peer(&service));
    eventually("it has ended", || service.sessions() == 1);
    let mut reuse = pen_peer(&service);
    first.send(1, b"to the dead");
    assert_eq!(told.recv_timeout(support::PATIENCE), Ok(SendOutcome::Gone));
    first.send(2, b"to the living");
    assert_eq!(told.recv_timeout(support::PATIENCE), Ok(SendOutcome::Queued));
    assert_eq!(reuse.receive(), (ECHO, b"to the living".to_vec()), "and nothing before it");
}

/// Fires a timer as many milliseconds after each packet as the packet says.
struct Alarm;

impl Session for Alarm {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        cx.set_timer(Duration::from_millis(packet.reader().u32().expect("a number").into()));
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        cx.send(ECHO, b"it rings");
    }
}

/// That a driver sleeps no longer than it was told. At which time timers fire, and which of them, `virtual_time` tells.
fn a_timer_wakes_a_waiting_worker(driver: DriverChoice) {
    let core = core(driver, 1).start().expect("a core");
    let service = core.serve(Service::server("127.0.0.1:0"), |_incoming| Alarm).expect("a service");
    let mut peer = Peer::connect(service.address());
    // It must not sleep until the first, which the second replaces.
    peer.number(ECHO, 3_600_000);
    peer.number(ECHO, 1);
    assert_eq!(peer.receive(), (ECHO, b"it rings".to_vec()));
}

/// Does what cannot work, and tells what came of it.
struct Clumsy {
    outcomes: Sender<String>,
}

impl Session for Clumsy {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match packet.id() {
            1 => {
                let outcome = cx.send(ECHO, &vec![0; 70_000]);
                let _ = self.outcomes.send(format!("{outcome:?}"));
                let outcome = cx.broadcast(Room(1), ECHO, &vec![0; 70_000]);
                let _ = self.outcomes.send(format!("{outcome:?}"));
            }
            _ => {
                let joins = (0..65).map(|room| cx.join(Room(room)));
                let outcomes: Vec<JoinOutcome> = joins.collect();
                let asked = outcomes.iter().filter(|outcome| **outcome == JoinOutcome::Asked).count();
                let _ = self.outcomes.send(format!("{asked} then {:?}, {:?}", outcomes[64], cx.join(Room(3))));
            }
        }
        cx.send(ECHO, b"unharmed");
    }

    fn on_disconnected(&mut self, _cx: &mut Context<'_>, cause: &Cause) {
        let _ = self.outcomes.send(cause.to_string());
    }
}

fn clumsy(driver: DriverChoice) -> (Core, Peer, Receiver<String>) {
    let core = core(driver, 1).start().expect("a core");
    let (outcomes, told) = channel();
    let service = core
        .serve(Service::server("127.0.0.1:0"), move |_incoming| Clumsy { outcomes: outcomes.clone() })
        .expect("a service");
    let peer = Peer::connect(service.address());
    (core, peer, told)
}

fn a_packet_that_does_not_fit_is_the_senders_error(driver: DriverChoice) {
    let (_core, mut peer, told) = clumsy(driver);
    peer.send(1, b"");
    for _ in 0..2 {
        let outcome = told.recv_timeout(support::PATIENCE).expect("told");
        assert!(outcome.contains("FrameTooLarge") && outcome.contains("70000"), "{outcome}");
    }
    assert_eq!(peer.receive(), (ECHO, b"unharmed".to_vec()));
}

fn a_session_is_in_a_bounded_number_of_rooms(driver: DriverChoice) {
    let (_core, mut peer, told) = clumsy(driver);
    peer.send(2, b"");
    assert_eq!(told.recv_timeout(support::PATIENCE).as_deref(), Ok("64 then TooMany, Already"));
    assert_eq!(peer.receive(), (ECHO, b"unharmed".to_vec()));
}

fn a_taken_address_and_a_bad_one_are_clear_errors(driver: DriverChoice) {
    let core = core(driver, 1).start().expect("a core");
    let (factory, _reports) = probes();
    let first = core.serve(Service::server("127.0.0.1:0"), factory.clone()).expect("a service");
    let taken = core.serve(Service::server(first.address()), factory.clone());
    let message = taken.map(drop).expect_err("taken").to_string();
    assert!(message.contains(&first.address().to_string()) && support::says_in_use(&message), "{message}");
    for bad in ["", "127.0.0.1", "127.0.0.1:99999", "no such host:1"] {
        let refused = core.serve(Service::server(bad), factory.clone());
        assert!(matches!(refused, Err(Error::Address { .. })), "{bad:?}: {refused:?}");
    }
    let message = support::core(driver, 0).start().map(drop).expect_err("no workers").to_string();
    assert!(message.contains("workers is 0"), "{message}");
}
