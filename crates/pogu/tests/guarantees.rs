//! What must hold when users do what they should not, and workers do not do what they should: nothing leaks, nobody else
//! notices, nothing is lost without a word.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pogu::{
    CauseKind, Context, Core, DriverChoice, Error, FrameFormat, Heartbeat, IdField, Limits, Packet, PortConfig,
    Refusal, Service, Session, SessionId, WorkerStatus,
};
use support::{ECHO, PATIENCE, PLAIN_DRIVER, Peer, core, eventually, probes};

on_every_driver!(
    a_timer_of_zero_starves_nobody,
    dropping_a_core_stops_handed_out_workers,
    a_stop_arrives_although_an_inbox_is_full,
    a_worker_that_has_gone_eats_no_connections,
    a_dropped_worker_gives_back_what_was_to_be_dialled,
    a_dropped_seed_is_never_chosen,
    counters_are_right_when_everything_is_quiet,
    contradictory_limits_are_configuration_errors,
    a_payload_that_panics_harms_nobody,
    a_panic_is_counted_as_a_panic,
    a_factory_may_choose_between_types,
    why_a_connection_could_not_be_made_is_told,
);

/// Sets a timer of zero again and again.
struct Restless;

impl Session for Restless {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        if packet.id() == 9 {
            cx.set_timer(Duration::ZERO);
        }
        cx.send(ECHO, packet.body());
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        cx.set_timer(Duration::ZERO);
    }
}

fn a_timer_of_zero_starves_nobody(driver: DriverChoice) {
    let core = core(driver, 1).start().expect("a core");
    let service = core.serve(Service::server("127.0.0.1:0"), |_| Restless).expect("a service");
    let mut restless = Peer::connect(service.address());
    restless.send(9, b"begin");
    assert_eq!(restless.receive(), (ECHO, b"begin".to_vec()));
    let mut other = Peer::connect(service.address());
    other.send(ECHO, b"hello");
    assert_eq!(other.receive(), (ECHO, b"hello".to_vec()));
}

fn dropping_a_core_stops_handed_out_workers(driver: DriverChoice) {
    let (core, seeds) = core(driver, 1).hand_out().expect("a core");
    let (factory, _reports) = probes();
    let service = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let games: Vec<_> = seeds
        .into_iter()
        .map(|seed| {
            std::thread::spawn(move || {
                let mut worker = seed.start().expect("a worker");
                while worker.dispatch(Some(Duration::from_millis(5))).expect("a turn") == WorkerStatus::Running {}
            })
        })
        .collect();
    let mut peer = Peer::connect(service.address());
    peer.send(ECHO, b"x");
    assert_eq!(peer.receive(), (ECHO, b"x".to_vec()));
    drop(core);
    games.into_iter().for_each(|game| game.join().expect("the loop ends by itself"));
}

/// Waits in its handler until it is let go; or sends much to a session of another worker.
struct Blocker {
    names: Arc<Mutex<Vec<SessionId>>>,
    let_go: Arc<Mutex<Receiver<()>>>,
    blocked: Sender<()>,
}

impl Session for Blocker {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        self.names.lock().expect("names").push(cx.id());
        cx.send(ECHO, b"hello");
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        if packet.id() == 1 {
            let _ = self.blocked.send(());
            let _ = self.let_go.lock().expect("a receiver").recv();
            return;
        }
        let own = cx.worker();
        let other = *self.names.lock().expect("names").iter().find(|name| name.worker() != own).expect("another");
        for _ in 0..64 {
            cx.send_to(other, ECHO, b"letter");
        }
        cx.send(ECHO, b"sent");
    }
}

fn a_stop_arrives_although_an_inbox_is_full(driver: DriverChoice) {
    let mut port = PortConfig::default();
    port.posts_max = 16;
    let core = Core::builder().driver(driver).workers(2).port(port).start().expect("a core");
    let names = Arc::default();
    let (release, let_go) = channel();
    let let_go = Arc::new(Mutex::new(let_go));
    let (blocked, is_blocked) = channel();
    let make = move |_| Blocker { names: Arc::clone(&names), let_go: Arc::clone(&let_go), blocked: blocked.clone() };
    let service = core.serve(Service::server("127.0.0.1:0"), make).expect("a service");
    let mut one = Peer::connect(service.address());
    one.receive();
    let mut two = Peer::connect(service.address());
    two.receive();
    one.send(1, b"");
    is_blocked.recv_timeout(PATIENCE).expect("the handler runs");
    two.send(2, b"");
    assert_eq!(two.receive(), (ECHO, b"sent".to_vec()));
    let (done, stopped) = channel();
    let stop = std::thread::spawn(move || {
        // No drain: neither peer would finish, and nothing here is about how long that may take.
        let result = core.stop(Duration::ZERO);
        let _ = done.send(());
        result
    });
    release.send(()).expect("it waits");
    stopped.recv_timeout(PATIENCE).expect("the stop returns once the handler has");
    stop.join().expect("no panic").expect("stopped");
}

fn a_worker_that_has_gone_eats_no_connections(driver: DriverChoice) {
    let (core, mut seeds) = core(driver, 2).hand_out().expect("a core");
    let (factory, _reports) = probes();
    let service = core.serve(Service::server("127.0.0.1:0").max_sessions(20), factory).expect("a service");
    let gone = seeds.pop().expect("two workers");
    std::thread::spawn(move || drop(gone.start().expect("a worker"))).join().expect("dropped");
    let seed = seeds.pop().expect("one worker");
    let over = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&over);
    let game = std::thread::spawn(move || {
        let mut worker = seed.start().expect("a worker");
        while !until.load(Ordering::Relaxed) {
            let _ = worker.dispatch(Some(Duration::from_millis(5))).expect("a turn");
        }
    });
    let mut peers: Vec<Peer> = (0..20).map(|_| Peer::connect(service.address())).collect();
    for peer in &mut peers {
        peer.send(ECHO, b"served");
        assert_eq!(peer.receive(), (ECHO, b"served".to_vec()));
    }
    drop(peers);
    eventually("all places are free", || service.sessions() == 0);
    over.store(true, Ordering::Relaxed);
    game.join().expect("the loop ends");
}

fn a_dropped_worker_gives_back_what_was_to_be_dialled(driver: DriverChoice) {
    let (core, mut seeds) = core(driver, 1).hand_out().expect("a core");
    let (factory, _reports) = probes();
    let client = core.connect(Service::client("127.0.0.1:1").sessions(300), factory.clone()).expect("a service");
    assert_eq!(client.sessions(), 300);
    let seed = seeds.pop().expect("a worker");
    let body = move || {
        let mut worker = seed.start().expect("a worker");
        let _ = worker.dispatch(Some(Duration::ZERO)).expect("a turn");
    };
    std::thread::spawn(body).join().expect("dropped");
    assert_eq!(client.sessions(), 0);
    let late = core.connect(Service::client("127.0.0.1:1"), factory);
    assert!(matches!(late, Err(Error::Workers(_))), "{late:?}");
}

fn a_dropped_seed_is_never_chosen(driver: DriverChoice) {
    let (core, seeds) = core(driver, 1).hand_out().expect("a core");
    drop(seeds);
    let (factory, _reports) = probes();
    let client = core.connect(Service::client("127.0.0.1:1").sessions(3), factory);
    assert!(matches!(client, Err(Error::Workers(_))), "{client:?}");
}

fn counters_are_right_when_everything_is_quiet(driver: DriverChoice) {
    let core = core(driver, 1).start().expect("a core");
    let (factory, _reports) = probes();
    let service = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let mut peer = Peer::connect(service.address());
    for round in 1..=100 {
        let over = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (until, service) = (Arc::clone(&over), service.clone());
                std::thread::spawn(move || {
                    while !until.load(Ordering::Relaxed) {
                        service.counters();
                    }
                })
            })
            .collect();
        peer.send(ECHO, b"x");
        peer.receive();
        over.store(true, Ordering::Relaxed);
        readers.into_iter().for_each(|reader| reader.join().expect("a reader"));
        eventually("the last turn is counted", || {
            let counters = service.counters();
            counters.frames_received == round && counters.bytes_sent == round * 5
        });
    }
}

fn contradictory_limits_are_configuration_errors(driver: DriverChoice) {
    let core = core(driver, 1).start().expect("a core");
    let (factory, _reports) = probes();
    let mut never_dials = Limits::default();
    never_dials.connects_in_flight_max = 0;
    let mut no_time = Limits::default();
    no_time.idle_timeout = Duration::ZERO;
    let clients = [
        Service::client("127.0.0.1:1").limits(never_dials),
        Service::client("127.0.0.1:1").limits(no_time),
        Service::client("127.0.0.1:1").sessions(50).max_sessions(20),
        Service::client("127.0.0.1:1").max_sessions(0),
    ];
    for client in clients {
        let refused = core.connect(client, factory.clone());
        assert!(matches!(refused, Err(Error::Configuration { .. })), "{refused:?}");
    }
    let server = core.serve(Service::server("127.0.0.1:0").sessions(5), factory.clone());
    assert!(matches!(server, Err(Error::Configuration { field: "sessions", .. })), "{server:?}");
    assert!(matches!(core.connect(Service::server("127.0.0.1:0"), factory), Err(Error::Address { .. })));
}

#[test]
fn packets_of_the_service_s_own_that_cannot_be_sent_or_never_end_are_refused_at_the_start() {
    let core = core(PLAIN_DRIVER, 1).start().expect("a core");
    let (factory, _reports) = probes();
    let small = FrameFormat::course().frame_bytes_max(64);
    let one_byte = FrameFormat::course().id_field(IdField::U8);
    let full = |id, bytes| Refusal::new("full").with_packet(id, vec![0; bytes]);
    let server = || Service::server("127.0.0.1:0");
    let beats = Heartbeat::every(Duration::from_secs(1), 900).pong(901);
    for (service, expected) in [
        (server().answer_heartbeats(900, 900), Some("the answer's pong id")),
        (server().answer_heartbeats(901, 902).heartbeat(beats.clone()), Some("the answer's ping id")),
        (server().answer_heartbeats(900, 901).heartbeat(beats), None),
        (server().answer_heartbeats(255, 256).format(one_byte), Some("the answer's pong id")),
        (server().answer_heartbeats(256, 255).format(one_byte), Some("the answer's ping id")),
        (server().answer_heartbeats(254, 255).format(one_byte), None),
        (server().refuse_full_with(full(99, 61)).format(small), Some("the refusal's body")),
        (server().refuse_full_with(full(99, 60)).format(small), None),
        (server().refuse_full_with(full(256, 0)).format(one_byte), Some("the refusal's packet id")),
    ] {
        let named = match core.serve(service, factory.clone()) {
            Ok(_) => None,
            Err(Error::Configuration { field, .. }) => Some(field),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(named, expected);
    }
}

/// Answers every packet with 60 bytes.
struct Answerer;

impl Session for Answerer {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        cx.send(packet.id(), &[7; 60]);
    }
}

struct PanicsInItsDrop;

impl Drop for PanicsInItsDrop {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a planted panic in the drop of a payload");
    }
}

struct Mine;

impl Session for Mine {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match packet.id() {
            1 => std::panic::panic_any(PanicsInItsDrop),
            2 => {
                cx.disconnect("in good order, so far");
                panic!("a planted panic behind a disconnect");
            }
            id => {
                cx.send(id, packet.body());
            }
        }
    }
}

fn a_payload_that_panics_harms_nobody(driver: DriverChoice) {
    let core = core(driver, 1).start().expect("a core");
    let service = core.serve(Service::server("127.0.0.1:0"), |_| Mine).expect("a service");
    let mut neighbour = Peer::connect(service.address());
    let mut guilty = Peer::connect(service.address());
    guilty.send(1, b"");
    assert!(guilty.ends_well().1);
    neighbour.send(ECHO, b"hm?");
    assert_eq!(neighbour.receive(), (ECHO, b"hm?".to_vec()));
}

fn a_panic_is_counted_as_a_panic(driver: DriverChoice) {
    let core = core(driver, 1).start().expect("a core");
    let service = core.serve(Service::server("127.0.0.1:0"), |_| Mine).expect("a service");
    let mut guilty = Peer::connect(service.address());
    guilty.send(2, b"");
    assert!(guilty.ends_well().1);
    drop(guilty);
    eventually("it is counted", || service.counters().causes().eq([(CauseKind::HandlerPanicked, 1)]));
}

fn a_factory_may_choose_between_types(driver: DriverChoice) {
    let core = core(driver, 1).start().expect("a core");
    let turn = AtomicBool::new(false);
    let make = move |_| -> Box<dyn Session> {
        match turn.fetch_xor(true, Ordering::Relaxed) {
            false => Box::new(Answerer),
            true => Box::new(Restless),
        }
    };
    let service = core.serve(Service::server("127.0.0.1:0"), make).expect("a service");
    for expected in [vec![7; 60], b"mine".to_vec()] {
        let mut peer = Peer::connect(service.address());
        peer.send(ECHO, b"mine");
        assert_eq!(peer.receive(), (ECHO, expected));
    }
}

fn why_a_connection_could_not_be_made_is_told(driver: DriverChoice) {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        listener.local_addr().expect("an address")
    };
    let core = core(driver, 1).start().expect("a core");
    let (factory, _reports) = probes();
    let client = core.connect(Service::client(address), factory).expect("a client service");
    eventually("it is counted", || client.counters().disconnects(CauseKind::ConnectFailed) == 1);
    let why = client.connect_error().expect("a reason").to_string();
    assert!(why.contains("connecting") && why.contains("refused"), "{why}");
}
