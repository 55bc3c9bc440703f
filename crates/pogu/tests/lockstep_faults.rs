//! Cores in a simulation with faults: workers are held up and take turns in any order, and whatever the seed draws, everything
//! adds up, a link hears its answers in order and once, and after the healing all links talk again.

mod support;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pogu::sim::{FaultClass, FaultCounts, Faults, SimulationOptions};
use pogu::{Context, Core, Packet, Reconnect, Service, ServiceHandle, Session, Time};
use support::simulated::{SERVER, World, at};

const LINKS: usize = 8;
const QUESTION: u16 = 7;
const INTERVAL: Duration = Duration::from_millis(500);

struct Echo;

impl Session for Echo {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        cx.send(packet.id(), packet.body());
    }
}

/// Asks with a number and a text of some length, and compares what comes back.
struct Link {
    asked: u64,
    answered: u64,
    answers: Arc<AtomicU64>,
    wrong: Arc<Mutex<Vec<String>>>,
}

impl Link {
    fn body(number: u64) -> Vec<u8> {
        let mut body = number.to_le_bytes().to_vec();
        body.resize(8 + (number as usize * 389) % 3000, number as u8);
        body
    }
}

impl Session for Link {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        self.on_timer(cx);
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        cx.send(QUESTION, &Link::body(self.asked));
        self.asked += 1;
        cx.set_timer(INTERVAL);
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        if packet.body() != Link::body(self.answered) || self.answered >= self.asked {
            let note = format!("{:?}: answer {} is not what was asked", cx.id(), self.answered);
            self.wrong.lock().expect("the list").push(note);
        }
        self.answered += 1;
        self.answers.fetch_add(1, Ordering::Relaxed);
    }
}

struct Play {
    world: World,
    servers: Core,
    clients: Core,
    links: ServiceHandle,
    answers: Arc<AtomicU64>,
    wrong: Arc<Mutex<Vec<String>>>,
}

impl Play {
    fn new(faults: Faults, seed: u64) -> Play {
        let mut options = SimulationOptions::default();
        options.seed = seed;
        options.faults = faults;
        Play::with_options(options)
    }

    fn with_options(mut options: SimulationOptions) -> Play {
        options.latency = Duration::from_millis(2);
        let mut world = World::with_options(&options);
        world.simulation.record();
        let (servers, clients) = (world.core(3), world.core(2));
        let server = servers.serve(Service::server(SERVER), |_incoming| Echo).expect("a service");
        let (answers, wrong) = (Arc::default(), Arc::default());
        let (count, list) = (Arc::clone(&answers), Arc::clone(&wrong));
        let make =
            move |_incoming| Link { asked: 0, answered: 0, answers: Arc::clone(&count), wrong: Arc::clone(&list) };
        let links = Service::client(server.address()).sessions(LINKS).reconnect(Reconnect::spread_over(INTERVAL));
        let links = clients.connect(links, make).expect("a service");
        Play { world, servers, clients, links, answers, wrong }
    }

    /// Runs to that time; everything adds up before each round.
    fn run_to(&mut self, time: Time) {
        let simulation = self.world.simulation.clone();
        let imbalance = Rc::new(RefCell::new(None));
        let found = Rc::clone(&imbalance);
        let watch = move || {
            let unbalanced = simulation.audit().err();
            let stop = unbalanced.is_some();
            *found.borrow_mut() = unbalanced;
            stop
        };
        self.world.lockstep.run_until(time, watch).expect("the workers work");
        assert_eq!(*imbalance.borrow(), None);
    }

    fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Faults, healing, liveness, the end.
    fn story(mut self) -> (FaultCounts, String) {
        self.run_to(at(60));
        self.world.simulation.heal();
        // The longest that is left: a request to connect that nobody answers is given up after 127 seconds.
        self.run_to(at(60 + 180));
        assert_eq!(self.links.sessions(), LINKS, "all links are back");
        let before = self.answers();
        self.run_to(at(60 + 190));
        let heard = self.answers() - before;
        assert!(heard >= 18 * LINKS as u64, "{heard} answers in ten seconds");
        assert_eq!(*self.wrong.lock().expect("the list"), [""; 0]);
        let Play { mut world, servers, clients, .. } = self;
        world.lockstep.stop(servers, Duration::from_secs(10)).expect("the workers work");
        world.lockstep.stop(clients, Duration::from_secs(10)).expect("the workers work");
        assert_eq!(world.lockstep.workers(), 0);
        world.simulation.audit().expect("it adds up at the end");
        (world.simulation.faults_met(), world.simulation.transcript())
    }
}

#[test]
fn whatever_a_seed_draws_the_links_come_back() {
    let mut met = FaultCounts::default();
    for seed in 0..60 {
        met += &Play::new(Faults::drawn(seed), seed).story().0;
    }
    for class in [FaultClass::ShuffledRound, FaultClass::Pause, FaultClass::LateWait, FaultClass::Partition] {
        assert!(met.of(class) > 0, "{class:?} was never met: {met}");
    }
}

#[test]
fn a_seed_with_faults_is_the_same_in_every_run() {
    for seed in [3, 4] {
        let stories = [(); 2].map(|()| Play::new(Faults::drawn(seed), seed).story());
        assert_eq!(stories[0], stories[1]);
    }
}

#[test]
fn a_worker_that_is_held_up_does_not_hold_up_the_clock() {
    let mut faults = Faults::default();
    faults.pauses = 100;
    faults.pauses_max = Duration::from_secs(2);
    let mut play = Play::new(faults, 1);
    play.run_to(at(60));
    let met = play.world.simulation.faults_met();
    assert!(met.of(FaultClass::Pause) > 50 && met.total() == met.of(FaultClass::Pause), "{met}");
    assert!(play.answers() > 100, "{} answers", play.answers());
    play.story();
}

#[test]
fn workers_that_sleep_soundly_miss_nothing_and_get_fewer_turns() {
    let [awake, now_and_then, asleep] = [1000, 200, 0].map(|idle_turns| {
        let mut options = SimulationOptions::default();
        options.idle_turns = idle_turns;
        let mut play = Play::with_options(options);
        play.run_to(at(60));
        let turns = [&play.servers, &play.clients].map(|core| core.port_counters().turns);
        let heard = play.answers();
        play.story();
        (heard, turns.iter().sum::<u64>())
    });
    assert_eq!(awake.0, asleep.0, "the same answers by the same time");
    assert_eq!(awake.0, now_and_then.0, "the same answers by the same time");
    assert!(asleep.1 * 4 < awake.1 * 3, "{} turns, and {} where everybody has one", asleep.1, awake.1);
    assert!(asleep.1 < now_and_then.1 && now_and_then.1 < awake.1, "{} turns now and then", now_and_then.1);
}
