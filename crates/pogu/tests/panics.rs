//! A thousand panics in everything that a user writes, beside sessions that live on: only the guilty end, and all are counted.

mod support;

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, Once};
use std::thread::JoinHandle;
use std::time::Duration;

use pogu::{
    Cause, CauseKind, Context, Core, DriverChoice, Incoming, JoinOutcome, Layer, Packet, PortConfig, Room, Service,
    ServiceHandle, Session,
};
use support::{ECHO, JOIN, PATIENCE, Peer, SAY, core, eventually};

on_every_driver!(
    panics_end_the_guilty_alone,
    panics_in_refused_broadcasts_end_the_guilty_alone,
    a_layer_whose_drop_panics_harms_nobody,
    what_factories_hold_may_panic_as_the_service_goes,
);

/// Where a session panics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mine {
    Nowhere,
    Factory,
    Connected,
    Packet,
    Joined,
    Timer,
    Disconnected,
    Drop,
    Stopping,
    BroadcastRefused,
}

/// Panics in each of these places while the core runs; with those below, a thousand per driver.
const EACH: usize = 125;
const RUNNING: [Mine; 7] =
    [Mine::Factory, Mine::Connected, Mine::Packet, Mine::Joined, Mine::Timer, Mine::Disconnected, Mine::Drop];
const AT_THE_STOP: usize = 63;
const REFUSED: usize = 62;

const TIMER: u16 = 20;
const BLOCK: u16 = 21;

/// Rooms enough that some have their home on either worker.
const ROOMS: u32 = 8;

/// What guilty sessions share with the test.
#[derive(Default)]
struct Told {
    panics: AtomicUsize,
    disconnected: AtomicUsize,
    refused: AtomicUsize,
    blocks: AtomicBool,
}

struct Guilty {
    mine: Mine,
    told: Arc<Told>,
    /// For the member that blocks its worker.
    let_go: Arc<Mutex<Receiver<()>>>,
}

impl Guilty {
    fn at(&self, place: Mine) {
        if self.mine == place {
            self.told.panics.fetch_add(1, Ordering::SeqCst);
            panic!("planted: {place:?}");
        }
    }
}

impl Session for Guilty {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        self.at(Mine::Connected);
        cx.send(ECHO, &(cx.worker() as u32).to_le_bytes());
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        self.at(Mine::Packet);
        match packet.id() {
            JOIN => assert!((0..ROOMS).all(|room| cx.join(Room(room.into())) == JoinOutcome::Asked)),
            TIMER => cx.set_timer(Duration::ZERO),
            SAY => (0..ROOMS).for_each(|room| {
                let _ = cx.broadcast(Room(room.into()), SAY, b"");
            }),
            BLOCK => {
                self.told.blocks.store(true, Ordering::SeqCst);
                let _ = self.let_go.lock().expect("one blocks").recv();
            }
            _ => {}
        }
        cx.send(packet.id(), packet.body());
    }

    fn on_joined(&mut self, _cx: &mut Context<'_>, _room: Room) {
        self.at(Mine::Joined);
    }

    fn on_broadcast_refused(&mut self, _cx: &mut Context<'_>, _room: Room) {
        self.told.refused.fetch_add(1, Ordering::SeqCst);
        self.at(Mine::BroadcastRefused);
    }

    fn on_timer(&mut self, _cx: &mut Context<'_>) {
        self.at(Mine::Timer);
    }

    fn on_stopping(&mut self, _cx: &mut Context<'_>) {
        self.at(Mine::Stopping);
    }

    fn on_disconnected(&mut self, _cx: &mut Context<'_>, _cause: &Cause) {
        if self.mine != Mine::Nowhere {
            self.told.disconnected.fetch_add(1, Ordering::SeqCst);
        }
        self.at(Mine::Disconnected);
    }
}

impl Drop for Guilty {
    fn drop(&mut self) {
        self.at(Mine::Drop);
    }
}

/// Planted panics write nothing to the log of the test; others do.
fn mute_planted_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let planted = info.payload().downcast_ref::<String>().is_some_and(|text| text.starts_with("planted"));
            if !planted {
                others(info);
            }
        }));
    });
}

/// A service, and what decides about its next session.
struct Scene {
    service: ServiceHandle,
    next: Arc<Mutex<Mine>>,
    told: Arc<Told>,
    let_go: Sender<()>,
}

impl Scene {
    fn new(core: &Core) -> Scene {
        mute_planted_panics();
        let (next, told) = (Arc::new(Mutex::new(Mine::Nowhere)), Arc::<Told>::default());
        let (let_go, gate) = channel();
        let gate = Arc::new(Mutex::new(gate));
        let (decided, shared) = (Arc::clone(&next), Arc::clone(&told));
        let make = move |_| {
            let mine = *decided.lock().expect("no panic while it is held");
            let guilty = Guilty { mine, told: Arc::clone(&shared), let_go: Arc::clone(&gate) };
            if mine == Mine::Factory {
                guilty.at(Mine::Factory);
            }
            guilty
        };
        let service = core.serve(Service::server("127.0.0.1:0"), make).expect("a service");
        Scene { service, next, told, let_go }
    }

    fn panics(&self) -> u64 {
        self.service.counters().disconnects(CauseKind::HandlerPanicked)
    }

    /// A session that says which worker it lives in.
    fn connect(&self, mine: Mine) -> (Peer, u32) {
        *self.next.lock().expect("no panic while it is held") = mine;
        let mut peer = Peer::connect(self.service.address());
        let (id, worker) = peer.receive();
        assert_eq!(id, ECHO);
        (peer, u32::from_le_bytes(worker.try_into().expect("a number")))
    }

    /// One session that panics and ends.
    fn one_panic(&self, mine: Mine) {
        if mine == Mine::Factory || mine == Mine::Connected {
            *self.next.lock().expect("no panic while it is held") = mine;
            let mut peer = Peer::connect(self.service.address());
            assert!(peer.ends_well().1, "{mine:?}");
            return;
        }
        let (mut peer, _) = self.connect(mine);
        match mine {
            Mine::Disconnected | Mine::Drop => return,
            Mine::Joined => peer.send(JOIN, b""),
            Mine::Timer => peer.send(TIMER, b""),
            _ => peer.send(ECHO, b""),
        }
        assert!(peer.ends_well().1, "{mine:?}");
    }
}

/// A session that says something again and again and expects it back, until it is told that it is over.
struct Neighbour {
    thread: JoinHandle<Peer>,
}

impl Neighbour {
    fn new(mut peer: Peer, over: &Arc<AtomicBool>, rounds: &Arc<AtomicU64>) -> Neighbour {
        let (over, rounds) = (Arc::clone(over), Arc::clone(rounds));
        let thread = std::thread::spawn(move || {
            for round in 0u32.. {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                peer.number(ECHO, round);
                assert_eq!(peer.receive(), (ECHO, round.to_le_bytes().to_vec()));
                rounds.fetch_add(1, Ordering::SeqCst);
            }
            peer
        });
        Neighbour { thread }
    }
}

fn panics_end_the_guilty_alone(driver: DriverChoice) {
    let core = core(driver, 2).start().expect("a core");
    let scene = Scene::new(&core);
    let (over, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let neighbours: Vec<Neighbour> =
        (0..4).map(|_| Neighbour::new(scene.connect(Mine::Nowhere).0, &over, &rounds)).collect();
    for mine in RUNNING.repeat(EACH) {
        scene.one_panic(mine);
    }
    let running = (RUNNING.len() * EACH) as u64;
    eventually("all have ended", || scene.panics() == running && scene.service.sessions() == 4);
    let seen = rounds.load(Ordering::SeqCst);
    eventually("the neighbours go on", || rounds.load(Ordering::SeqCst) > seen + 8);
    let mut at_the_stop: Vec<Peer> = (0..AT_THE_STOP).map(|_| scene.connect(Mine::Stopping).0).collect();
    over.store(true, Ordering::SeqCst);
    let neighbours: Vec<Peer> =
        neighbours.into_iter().map(|neighbour| neighbour.thread.join().expect("well")).collect();
    let Scene { service, told, .. } = scene;
    let stop = std::thread::spawn(move || core.stop(PATIENCE));
    at_the_stop.iter_mut().for_each(|peer| assert!(peer.ends_well().1));
    drop(at_the_stop);
    neighbours.into_iter().for_each(|mut peer| assert_eq!(peer.ends_well(), (Vec::new(), true)));
    let counters = stop.join().expect("no panic").expect("stopped");

    let all = running + AT_THE_STOP as u64;
    assert_eq!(told.panics.load(Ordering::SeqCst) as u64, all);
    let causes: Vec<_> = counters.causes().collect();
    assert_eq!(causes, [(CauseKind::HandlerPanicked, all), (CauseKind::ServiceStopping, 4)]);
    // Those whose factory panicked were never opened.
    assert_eq!(counters.sessions_opened, all + 4 - EACH as u64);
    assert_eq!(counters.sessions_closed, counters.sessions_opened);
    assert_eq!(
        told.disconnected.load(Ordering::SeqCst),
        2 * EACH,
        "only those that panicked there or later hear of it"
    );
    assert_eq!((service.sessions(), counters.linger_expired), (0, 0));
}

/// A worker whose inbox is full makes the homes on the other one refuse broadcasts.
fn panics_in_refused_broadcasts_end_the_guilty_alone(driver: DriverChoice) {
    let mut port = PortConfig::default();
    port.posts_max = 16;
    let core = Core::builder().driver(driver).workers(2).port(port).start().expect("a core");
    let scene = Scene::new(&core);
    let (mut member, blocked) = scene.connect(Mine::Nowhere);
    let mut innocent = Vec::new();
    let mut guilty = Vec::new();
    while guilty.len() < REFUSED || innocent.is_empty() {
        let mine = if innocent.is_empty() { Mine::Nowhere } else { Mine::BroadcastRefused };
        match scene.connect(mine) {
            (peer, worker) if mine == Mine::BroadcastRefused && worker != blocked => guilty.push(peer),
            other => innocent.push(other),
        }
    }
    let place = innocent.iter().position(|(_, worker)| *worker != blocked).expect("the workers take turns");
    let (mut filler, _) = innocent.swap_remove(place);
    member.send(JOIN, b"");
    assert_eq!(member.receive().0, JOIN);
    member.send(SAY, b"");
    (0..=ROOMS).for_each(|_| assert_eq!(member.receive().0, SAY));
    member.send(BLOCK, b"");
    // An inbox that is full before that may be emptied once more.
    eventually("it blocks", || scene.told.blocks.load(Ordering::SeqCst));
    let refused = scene.told.refused.load(Ordering::SeqCst);
    eventually("its inbox is full", || {
        filler.send(SAY, b"");
        assert_eq!(filler.receive().0, SAY);
        scene.told.refused.load(Ordering::SeqCst) > refused
    });
    for peer in &mut guilty {
        peer.send(SAY, b"");
        assert!(peer.ends_well().1);
    }
    filler.send(ECHO, b"alive");
    while filler.receive() != (ECHO, b"alive".to_vec()) {}
    scene.let_go.send(()).expect("it blocks");
    while member.receive().0 != BLOCK {}
    drop(guilty);
    eventually("all are counted", || scene.panics() == REFUSED as u64);
    assert_eq!(scene.told.panics.load(Ordering::SeqCst), REFUSED);
    assert_eq!(scene.told.disconnected.load(Ordering::SeqCst), 0);
    assert_eq!(scene.service.counters().causes().count(), 1, "nobody else has ended");
    for (peer, _) in &mut innocent {
        peer.send(ECHO, b"alive");
        assert_eq!(peer.receive(), (ECHO, b"alive".to_vec()));
    }
}

struct Glass;

impl Layer for Glass {
    fn received(&mut self, _bytes: &mut [u8]) -> Result<(), Cow<'static, str>> {
        Ok(())
    }

    fn leaving(&mut self, _bytes: &mut [u8]) {}
}

impl Drop for Glass {
    fn drop(&mut self) {
        panic!("planted: {:?}", "a layer");
    }
}

fn a_layer_whose_drop_panics_harms_nobody(driver: DriverChoice) {
    mute_planted_panics();
    let core = core(driver, 1).start().expect("a core");
    let (factory, _reports) = support::probes();
    let service = core.serve(Service::server("127.0.0.1:0").layer(|_| Glass), factory).expect("a service");
    let mut neighbour = Peer::connect(service.address());
    for _ in 0..10 {
        let mut guilty = Peer::connect(service.address());
        guilty.send(ECHO, b"x");
        assert_eq!(guilty.receive(), (ECHO, b"x".to_vec()));
    }
    eventually("they have ended", || service.sessions() == 1);
    neighbour.send(ECHO, b"alive");
    assert_eq!(neighbour.receive(), (ECHO, b"alive".to_vec()));
}

/// What a factory holds.
struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        panic!("planted: {:?}", "what a factory holds");
    }
}

struct Clear;

impl Layer for Clear {
    fn received(&mut self, _bytes: &mut [u8]) -> Result<(), Cow<'static, str>> {
        Ok(())
    }

    fn leaving(&mut self, _bytes: &mut [u8]) {}
}

struct Silent;

impl Session for Silent {
    fn on_packet(&mut self, _cx: &mut Context<'_>, _packet: Packet<'_>) {}
}

fn what_factories_hold_may_panic_as_the_service_goes(driver: DriverChoice) {
    mute_planted_panics();
    let core = core(driver, 1).start().expect("a core");
    let (factory, _reports) = support::probes();
    let other = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let mut neighbour = Peer::connect(other.address());
    let gone = Arc::new(AtomicUsize::new(0));
    let [by_the_layer, by_the_factory] = [(); 2].map(|()| Held(Arc::clone(&gone)));
    let service = Service::server("127.0.0.1:0").layer(move |_| {
        let _ = &by_the_layer;
        Clear
    });
    let service = core.serve(service, move |_: Incoming| {
        let _ = &by_the_factory;
        Silent
    });
    let service = service.expect("a service");
    let guest = Peer::connect(service.address());
    eventually("it is there", || service.sessions() == 1);
    service.close();
    // From here on only the worker has the service, for its guest.
    drop(service);
    assert_eq!(gone.load(Ordering::SeqCst), 0);
    drop(guest);
    eventually("the service has gone", || gone.load(Ordering::SeqCst) == 2);
    neighbour.send(ECHO, b"alive");
    assert_eq!(neighbour.receive(), (ECHO, b"alive".to_vec()));
    core.stop(PATIENCE).expect("its worker is well");
}
