//! Services on every driver, reached from plain threads and from other cores: lists, broadcasts, kicks, closures, and several
//! services and cores side by side. What changes with time is in `services_virtual_time`.

mod support;

#[path = "support/named.rs"]
mod named;

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use named::{Named, Told, ask, named};
use pogu::{
    Cause, CauseKind, Context, Core, DriverChoice, FanOutOutcome, Packet, PostOutcome, SendOutcome, Service,
    ServiceHandle, Session, SessionId, SessionRef,
};
use support::{ECHO, FAREWELL, PATIENCE, Peer, SAY, core, eventually};

on_every_driver!(
    a_list_names_every_session_of_its_service,
    a_broadcast_reaches_every_session_of_its_service_and_no_other,
    a_kick_flushes_its_farewell,
    all_are_kicked_and_newcomers_are_welcome,
    a_closure_runs_in_the_sessions_worker,
    a_panicking_closure_ends_its_session_alone,
    names_that_reach_nobody,
    closing_one_listener_concerns_nobody_else,
    sessions_of_two_cores_talk_to_each_other,
    full_inboxes_refuse_and_never_block,
    changes_of_limits_at_one_time_all_count,
);

fn serve(core: &Core) -> (ServiceHandle, Told) {
    let (factory, told) = named();
    (core.serve(Service::server("127.0.0.1:0"), factory).expect("a service"), told)
}

fn peer(service: &ServiceHandle) -> Peer {
    let mut peer = Peer::connect(service.address());
    assert_eq!(peer.receive(), (ECHO, b"hello".to_vec()));
    peer
}

fn peers(service: &ServiceHandle, told: &Told, count: usize) -> (Vec<Peer>, Vec<SessionRef<Named>>) {
    (0..count).map(|_| (peer(service), told.name())).unzip()
}

fn ids(names: &[SessionRef<Named>]) -> Vec<SessionId> {
    let mut ids: Vec<SessionId> = names.iter().map(|name| name.id()).collect();
    ids.sort();
    ids
}

fn kicked(reason: &'static str) -> Cause {
    Cause::Kicked(reason.into())
}

fn a_list_names_every_session_of_its_service(driver: DriverChoice) {
    let core = core(driver, 3).start().expect("a core");
    let ((games, of_games), (chats, of_chats)) = (serve(&core), serve(&core));
    let (mut players, player_names) = peers(&games, &of_games, 7);
    let (_talkers, talker_names) = peers(&chats, &of_chats, 2);
    assert_eq!(ask(&games).recv_timeout(PATIENCE), Ok((ids(&player_names), 0)));
    assert_eq!(ask(&chats).recv_timeout(PATIENCE), Ok((ids(&talker_names), 0)));
    drop(players.remove(0));
    assert_eq!(of_games.end().kind(), CauseKind::PeerClosed);
    assert_eq!(ask(&games).recv_timeout(PATIENCE), Ok((ids(&player_names[1..]), 0)));
    let outcome = games.enumerate(|_list| panic!("a planted panic in an answer"));
    assert!(outcome.is_posted());
    assert_eq!(ask(&games).recv_timeout(PATIENCE), Ok((ids(&player_names[1..]), 0)), "nobody noticed");
    assert_eq!((games.sessions(), chats.sessions()), (6, 2));
}

fn a_broadcast_reaches_every_session_of_its_service_and_no_other(driver: DriverChoice) {
    let core = core(driver, 3).start().expect("a core");
    let ((games, of_games), (chats, of_chats)) = (serve(&core), serve(&core));
    let (mut players, _) = peers(&games, &of_games, 7);
    let (mut talkers, _) = peers(&chats, &of_chats, 3);
    let large = vec![7; 30_000];
    assert_eq!(games.broadcast(SAY, b"news"), FanOutOutcome::Posted);
    assert_eq!(games.broadcast(SAY, &large), FanOutOutcome::Posted);
    assert_eq!(chats.broadcast(SAY, b"gossip"), FanOutOutcome::Posted);
    for player in &mut players {
        assert_eq!((player.receive(), player.receive()), ((SAY, b"news".to_vec()), (SAY, large.clone())));
    }
    for talker in &mut talkers {
        assert_eq!(talker.receive(), (SAY, b"gossip".to_vec()), "and nothing before it");
    }
    assert!(matches!(games.broadcast(SAY, &[0; 70_000]), FanOutOutcome::Unencodable(_)));
}

fn a_kick_flushes_its_farewell(driver: DriverChoice) {
    let core = core(driver, 2).start().expect("a core");
    let (service, told) = serve(&core);
    let (mut peers, names) = peers(&service, &told, 3);
    assert_eq!(service.kick_with(names[0], "cheated", FAREWELL, b"out"), SendOutcome::Posted);
    assert_eq!(service.kick(names[1], String::from("idled")), PostOutcome::Posted);
    assert!(matches!(service.kick_with(names[2], "no", FAREWELL, &[0; 70_000]), SendOutcome::Unencodable(_)));
    assert_eq!(peers[0].receive(), (FAREWELL, b"out".to_vec()));
    assert_eq!(peers[0].ends_well(), (Vec::new(), true));
    assert_eq!(peers[1].ends_well(), (Vec::new(), true));
    let still_here = peers.pop().expect("the third");
    drop(peers);
    let mut ends = [told.end().to_string(), told.end().to_string()];
    ends.sort();
    assert_eq!(ends, ["it was put out: cheated", "it was put out: idled"]);
    eventually("the places are free", || service.sessions() == 1);
    eventually("they are counted", || service.counters().disconnects(CauseKind::Kicked) == 2);
    drop(still_here);
    assert_eq!(told.end(), Cause::PeerClosed);
}

fn all_are_kicked_and_newcomers_are_welcome(driver: DriverChoice) {
    let core = core(driver, 3).start().expect("a core");
    let ((games, of_games), (chats, of_chats)) = (serve(&core), serve(&core));
    let (players, _) = peers(&games, &of_games, 7);
    let (mut talkers, _) = peers(&chats, &of_chats, 2);
    assert_eq!(games.kick_all("maintenance"), FanOutOutcome::Posted);
    players.into_iter().for_each(|mut player| assert_eq!(player.ends_well(), (Vec::new(), true)));
    (0..7).for_each(|_| assert_eq!(of_games.end(), kicked("maintenance")));
    let mut newcomer = peer(&games);
    for here in talkers.iter_mut().chain([&mut newcomer]) {
        here.send(ECHO, b"alive");
        assert_eq!(here.receive(), (ECHO, b"alive".to_vec()));
    }
}

fn a_closure_runs_in_the_sessions_worker(driver: DriverChoice) {
    let core = core(driver, 3).start().expect("a core");
    let (service, told) = serve(&core);
    let (mut peers, names) = peers(&service, &told, 6);
    for (rounds, (peer, name)) in peers.iter_mut().zip(&names).enumerate() {
        for _ in 0..rounds {
            peer.send(ECHO, b"counted");
            assert_eq!(peer.receive(), (ECHO, b"counted".to_vec()));
        }
        let id = name.id();
        let outcome = service.post(*name, move |session, cx| {
            assert_eq!((cx.id(), cx.worker()), (id, id.worker()));
            cx.send(SAY, &session.packets.to_le_bytes());
            assert_eq!(cx.service().sessions(), 6);
        });
        assert_eq!(outcome, PostOutcome::Posted);
        assert_eq!(peer.receive(), (SAY, (rounds as u32).to_le_bytes().to_vec()));
    }
    // From session to session, within a worker and between two.
    for (from, to) in [(0, 3), (0, 1), (2, 2)] {
        let target = names[to];
        let relay = service.post(names[from], move |_, cx| {
            let outcome = cx.post(target, |_, cx| assert!(cx.send(SAY, b"relayed").is_accepted()));
            assert_eq!(outcome, PostOutcome::Posted);
        });
        assert_eq!((relay, peers[to].receive()), (PostOutcome::Posted, (SAY, b"relayed".to_vec())));
    }
}

fn a_panicking_closure_ends_its_session_alone(driver: DriverChoice) {
    let core = core(driver, 1).start().expect("a core");
    let (service, told) = serve(&core);
    let (mut peers, names) = peers(&service, &told, 2);
    let outcome = service.post(names[0], |_, cx| {
        cx.send(SAY, b"last words");
        panic!("a planted panic in a closure");
    });
    assert_eq!(outcome, PostOutcome::Posted);
    assert_eq!(peers[0].receive(), (SAY, b"last words".to_vec()));
    assert_eq!(peers[0].ends_well(), (Vec::new(), true));
    peers[1].send(ECHO, b"alive");
    assert_eq!(peers[1].receive(), (ECHO, b"alive".to_vec()));
    drop(peers);
    eventually("it is counted", || service.counters().disconnects(CauseKind::HandlerPanicked) == 1);
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("a planted panic in a Drop");
    }
}

fn names_that_reach_nobody(driver: DriverChoice) {
    let (here, elsewhere) = (core(driver, 1).start().expect("a core"), core(driver, 1).start().expect("another"));
    let ((service, told), (foreign, _)) = (serve(&here), serve(&elsewhere));
    let (peers, names) = peers(&service, &told, 1);
    assert_eq!(foreign.kick(names[0], "who?"), PostOutcome::Gone);
    assert_eq!(foreign.kick_with(names[0], "who?", FAREWELL, b""), SendOutcome::Gone);
    assert_eq!(foreign.send_to(names[0], ECHO, b""), SendOutcome::Gone);
    assert_eq!(foreign.post(names[0], |_, _| unreachable!("it is not there")), PostOutcome::Gone);
    drop(peers);
    assert_eq!(told.end(), Cause::PeerClosed);
    eventually("it has ended", || service.sessions() == 0);
    let carried = PanicsWhenDropped;
    assert!(service.post(names[0], move |_, _| drop(carried)).is_posted(), "a stale name is found out there");
    assert!(service.kick(names[0], "too late").is_posted());
    eventually("both are counted", || here.counters().posts_to_gone == 2);
    here.stop(PATIENCE).expect("stopped");
    assert_eq!(service.kick(names[0], "too late"), PostOutcome::Gone);
    assert_eq!(service.broadcast(SAY, b"anybody?"), FanOutOutcome::Gone);
    assert_eq!(service.enumerate(|_| ()), PostOutcome::Gone);
}

fn closing_one_listener_concerns_nobody_else(driver: DriverChoice) {
    let core = core(driver, 2).start().expect("a core");
    let ((games, of_games), (chats, of_chats)) = (serve(&core), serve(&core));
    let (mut players, names) = peers(&games, &of_games, 4);
    games.listener().expect("a server").close();
    eventually("nobody listens", || std::net::TcpStream::connect(games.address()).is_err());
    let (mut talkers, _) = peers(&chats, &of_chats, 1);
    assert_eq!(chats.listener().map(|listener| listener.is_open()), Some(true));
    talkers[0].send(ECHO, b"still open");
    assert_eq!(talkers[0].receive(), (ECHO, b"still open".to_vec()));
    assert_eq!(games.broadcast(SAY, b"still here"), FanOutOutcome::Posted);
    assert_eq!(ask(&games).recv_timeout(PATIENCE), Ok((ids(&names), 0)));
    for player in &mut players {
        player.send(ECHO, b"alive");
        assert_eq!((player.receive(), player.receive()), ((SAY, b"still here".to_vec()), (ECHO, b"alive".to_vec())));
    }
    assert_eq!(games.kick_all("closing time"), FanOutOutcome::Posted);
    players.iter_mut().for_each(|player| assert!(player.ends_well().1));
}

/// Hands what its client says to a partner in another core.
struct Gate {
    halls: ServiceHandle,
    partner: SessionRef<Hall>,
}

impl Session for Gate {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let (gates, from, text) = (cx.service(), cx.id(), packet.body().to_vec());
        assert_eq!(self.halls.send_to(self.partner, SAY, &text), SendOutcome::Posted);
        let outcome = self.halls.post(self.partner, move |hall, cx| {
            hall.visits += 1;
            cx.send(ECHO, &hall.visits.to_le_bytes());
            assert_eq!(gates.send_to(from, ECHO, &hall.visits.to_le_bytes()), SendOutcome::Posted);
        });
        assert_eq!(outcome, PostOutcome::Posted);
    }
}

struct Hall {
    visits: u32,
    names: Mutex<Sender<SessionRef<Hall>>>,
}

impl Session for Hall {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        let _ = self.names.lock().expect("names").send(cx.reference(self));
    }

    fn on_packet(&mut self, _cx: &mut Context<'_>, _packet: Packet<'_>) {}
}

fn sessions_of_two_cores_talk_to_each_other(driver: DriverChoice) {
    let (outer, inner) = (core(driver, 2).start().expect("a core"), core(driver, 2).start().expect("another"));
    let (names, named) = channel();
    let make = move |_incoming| Hall { visits: 0, names: Mutex::new(names.clone()) };
    let halls = inner.serve(Service::server("127.0.0.1:0"), make).expect("a service");
    let mut resident = Peer::connect(halls.address());
    let partner = named.recv_timeout(PATIENCE).expect("a name");
    let doors = halls.clone();
    let make = move |_incoming| Gate { halls: doors.clone(), partner };
    let gates = outer.serve(Service::server("127.0.0.1:0"), make).expect("a service");
    let mut visitors: Vec<Peer> = (0..6).map(|_| Peer::connect(gates.address())).collect();
    for (index, visitor) in visitors.iter_mut().enumerate() {
        let visits = (index as u32 + 1).to_le_bytes().to_vec();
        visitor.send(SAY, b"let me in");
        assert_eq!(resident.receive(), (SAY, b"let me in".to_vec()));
        assert_eq!((resident.receive(), visitor.receive()), ((ECHO, visits.clone()), (ECHO, visits)));
    }
    drop(outer);
    assert_eq!(gates.broadcast(SAY, b"anybody?"), FanOutOutcome::Gone);
    assert_eq!(halls.broadcast(SAY, b"unharmed"), FanOutOutcome::Posted);
    assert_eq!(resident.receive(), (SAY, b"unharmed".to_vec()));
}

fn full_inboxes_refuse_and_never_block(driver: DriverChoice) {
    let mut port = pogu::PortConfig::default();
    port.posts_max = 8;
    let (core, mut seeds) = Core::builder().driver(driver).workers(1).port(port).hand_out().expect("a core");
    let mut worker = seeds.pop().expect("a worker").start().expect("started");
    let (service, told) = serve(&core);
    let mut turn = || {
        let status = worker.dispatch(Some(std::time::Duration::from_millis(1))).expect("a turn");
        assert_eq!(status, pogu::WorkerStatus::Running);
    };
    let mut peer = Peer::connect(service.address());
    eventually("it is a session", || {
        turn();
        service.sessions() == 1
    });
    turn();
    let name = told.name();
    let ran = Arc::new(Mutex::new(0));
    let post = || {
        let ran = Arc::clone(&ran);
        service.post(name, move |_, _| *ran.lock().expect("a number") += 1)
    };
    let outcomes: Vec<PostOutcome> = (0..10).map(|_| post()).collect();
    assert_eq!((&outcomes[..8], &outcomes[8..]), (&[PostOutcome::Posted; 8][..], &[PostOutcome::Overloaded; 2][..]));
    assert_eq!(service.kick(name, "no room"), PostOutcome::Overloaded);
    assert_eq!(service.kick_with(name, "no room", FAREWELL, b""), SendOutcome::Overloaded);
    assert_eq!(service.send_to(name, SAY, b""), SendOutcome::Overloaded);
    assert_eq!(service.broadcast(SAY, b""), FanOutOutcome::Overloaded);
    assert_eq!(service.kick_all("no room"), FanOutOutcome::Overloaded);
    assert_eq!(service.enumerate(|_| unreachable!("it was refused")), PostOutcome::Overloaded);
    eventually("what was posted is done", || {
        turn();
        *ran.lock().expect("a number") == 8
    });
    assert_eq!(service.broadcast(SAY, b"room again"), FanOutOutcome::Posted);
    turn();
    turn();
    assert_eq!((peer.receive(), peer.receive()), ((ECHO, b"hello".to_vec()), (SAY, b"room again".to_vec())));
    assert!(told.ends_so_far().is_empty(), "nobody was kicked");
}

fn changes_of_limits_at_one_time_all_count(driver: DriverChoice) {
    let core = core(driver, 2).start().expect("a core");
    let (service, _told) = serve(&core);
    let before = service.limits();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..250 {
                    service.change_limits(|limits| limits.lingering_refusals_max += 1).expect("it makes sense");
                }
            });
        }
    });
    assert_eq!(service.limits().lingering_refusals_max, before.lingering_refusals_max + 1000);
    let refused = service.change_limits(|limits| {
        limits.sessions_max = 7;
        limits.send_bytes_max = 0;
    });
    assert_eq!(refused.map_err(|error| error.to_string()), Err("send_bytes_max is 0, allowed is 1 or more".to_owned()));
    assert_eq!(service.limits().sessions_max, before.sessions_max, "nothing has changed");
}
