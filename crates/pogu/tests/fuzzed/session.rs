//! A whole core on the simulation, driven by operations out of bytes: what peers do, what the service's owner does, and
//! inside of frames what handlers do (`puppet.rs`).
//!
//! ```text
//!   faults | workers | network | port | limits | factory | operation, its arguments | operation, ...
//! ```
//!
//! Whatever happens: handlers are called in their order and not after the end, counters balance, a peer receives what its own
//! session was told is queued, each frame once, in order and unaltered, and all of it unless it is reset (`remote.rs`); no
//! queue outgrows its bound, and everything ends when the core stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pogu::sim::{Faults, Simulation, SimulationOptions};
use pogu::{
    Broadcast, Core, Delivery, Incoming, Limits, Lockstep, PortConfig, Rate, RateExceeded, Refusal, Room, SendOverflow,
    Service, ServiceHandle, SessionRef,
};

use super::faults;
use super::met::{Met, Order};
use super::puppet::Puppet;
use super::remote::Remote;
use super::script::Script;
use super::speech::{ADDRESSED, SPOKEN, addressed};
use super::witness::Witness;
use super::world::{Hall, QUEUES, World};

const SERVER: &str = "10.0.0.1:7777";

/// An input of a few hundred bytes is worth more than a long one.
const OPERATIONS_MAX: usize = 96;
const REMOTES_MAX: usize = 12;

/// How many orders there are, and how many there were when the first corpus was made.
pub const ORDERS: usize = 24;
const FIRST_ORDERS: usize = 20;

/// A room that has a state without members, once it is opened.
const STAYING: Room = Room(200);
const WINDOW: Duration = Duration::from_millis(10);

/// What threads that are held up may take longer to end.
const HELD_UP_MAX: Duration = Duration::from_secs(60);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Plays the script of `bytes` to its end and checks everything. `planted`: with a bug in the handlers, which must be noticed.
/// What was met.
pub fn check(bytes: &[u8], planted: bool) -> Met {
    let mut script = Script::new(bytes);
    let mut scene = Scene::new(&mut script, planted);
    for _ in 0..OPERATIONS_MAX {
        if script.is_over() {
            break;
        }
        scene.operate(&mut script);
        scene.judge();
    }
    scene.end()
}

struct Scene {
    simulation: Simulation,
    lockstep: Lockstep,
    core: Core,
    /// How long its end may take.
    end_timeout: Duration,
    service: ServiceHandle,
    witness: Witness,
    remotes: Vec<Remote>,
    /// Bytes that one direction of a connection takes.
    stream_bytes: usize,
    /// The largest send queue that was allowed so far.
    send_bytes_max: usize,
}

impl Scene {
    fn new(script: &mut Script<'_>, planted: bool) -> Scene {
        let mut options = SimulationOptions::default();
        faults::read(script, &mut options);
        let is_calm = options.faults == Faults::default();
        let end_timeout = if is_calm { DRAIN_TIMEOUT } else { DRAIN_TIMEOUT + HELD_UP_MAX };
        let workers = script.one_of(&[1, 2, 3]);
        options.latency = Duration::from_millis(script.one_of(&[0, 1, 70]));
        options.stream_bytes = script.one_of(&[65_536, 4096, 300, 17]);
        let simulation = Simulation::with_options(&options);
        let mut lockstep = Lockstep::new(&simulation);
        let core = lockstep.start(Core::builder().workers(workers).port(port(script))).expect("a core");
        let limits = limits(script);
        let (witness, send_bytes_max) = (Witness::default(), limits.send_bytes_max);
        let factory = factory(script, &witness, &World::of(&core, &witness), planted);
        let refusal = Refusal::new("full").with_packet(SPOKEN, *b"full");
        let service = Service::server(SERVER).limits(limits).refuse_full_with(refusal);
        let service = core.serve(service, factory).expect("a service");
        let stream_bytes = options.stream_bytes;
        let remotes = Vec::new();
        Scene { simulation, lockstep, core, end_timeout, service, witness, remotes, stream_bytes, send_bytes_max }
    }

    fn operate(&mut self, script: &mut Script<'_>) {
        let order = script.below_or_later(FIRST_ORDERS, ORDERS);
        self.witness.met(Order::Owner(order));
        match order {
            0 | 1 => self.connect(),
            2..=4 => self.with_remote(script, |remote, script| remote.order(script.bytes())),
            5 => self.with_remote(script, |remote, script| remote.write(script.bytes())),
            6 => self.with_remote(script, |remote, _| remote.half_close()),
            7 => self.with_remote(script, |remote, _| remote.reset()),
            8 => self.with_remote(script, |remote, _| remote.vanish()),
            9 => self.with_remote(script, |remote, _| remote.close()),
            10 => {
                let witness = self.witness.clone();
                self.with_remote(script, |remote, _| remote.read(&witness));
            }
            11 => self.read_all(),
            12 => self.lockstep.settle().expect("it comes to rest"),
            13 | 14 => self.pass(script),
            15 => drop(self.service.kick_all("the owner says so")),
            16 => drop(self.service.broadcast(SPOKEN, script.bytes())),
            17 => self.concern_one(script),
            18 => self.change_limits(script),
            19 => self.service.close(),
            // Once at most, and not beside a full inbox.
            20 => drop(self.core.open_room(STAYING, Hall::factory(&self.witness))),
            21 => drop(self.service.broadcast_with(Delivery::within(WINDOW).newest(2, 1), SPOKEN, script.bytes())),
            22 => {
                let many: Vec<_> = (0..8).filter_map(|index| Some(self.witness.session(index)?.1)).collect();
                let _ = self.service.send_to_many(&many, Delivery::within(WINDOW), SPOKEN, script.bytes());
            }
            _ => {
                let how = Broadcast::to_all().delivery(Delivery::within(WINDOW));
                let room = self.core.room(Room(script.byte().into()));
                let _ = room.broadcast_with(&how, SPOKEN, script.bytes());
            }
        }
    }

    fn read_all(&mut self) {
        self.remotes.iter_mut().for_each(|remote| remote.read(&self.witness));
    }

    fn connect(&mut self) {
        if self.remotes.len() < REMOTES_MAX {
            let peer = self.simulation.connect(self.service.address()).expect("an address");
            self.remotes.push(Remote::new(peer));
        }
    }

    fn with_remote(&mut self, script: &mut Script<'_>, act: impl FnOnce(&mut Remote, &mut Script<'_>)) {
        let index = script.below(self.remotes.len());
        if let Some(remote) = self.remotes.get_mut(index) {
            act(remote, script);
        }
    }

    fn pass(&mut self, script: &mut Script<'_>) {
        let milliseconds = script.one_of(&[1, 10, 100, 1_000, 5_000, 10_000, 60_000, 600_000]);
        self.lockstep.run_for(Duration::from_millis(milliseconds)).expect("the workers work");
    }

    /// The owner's calls that name one session.
    fn concern_one(&mut self, script: &mut Script<'_>) {
        let Some((number, session)) = self.witness.session(script.below(64)) else { return };
        match script.below(4) {
            0 => drop(self.service.kick(session, "named by the owner")),
            1 => drop(self.service.send_to(session, ADDRESSED, &addressed(number, script.bytes()))),
            2 => drop(self.service.enumerate(|_| ())),
            _ => {
                let orders = script.bytes().to_vec();
                let reference = SessionRef::<Puppet>::new(session);
                let _ = self.service.post(reference, move |puppet, cx| puppet.visit(cx, &orders));
            }
        }
    }

    fn change_limits(&mut self, script: &mut Script<'_>) {
        let new = limits(script);
        self.send_bytes_max = self.send_bytes_max.max(new.send_bytes_max);
        self.service.change_limits(|limits| *limits = new).expect("limits that make sense");
    }

    /// What holds at any time.
    fn judge(&mut self) {
        self.witness.judge();
        let counters = self.service.counters();
        assert!(counters.sessions_closed <= counters.sessions_opened);
        let ended: u64 = counters.causes().map(|(_, count)| count).sum();
        let ended_max = counters.sessions_closed + self.witness.factory_panics();
        assert!((counters.sessions_closed..=ended_max).contains(&ended), "{counters:?}");
        for remote in &mut self.remotes {
            let Some((address, received)) = remote.received() else { continue };
            let queued = self.witness.queued_for(address);
            let bound = self.send_bytes_max + self.stream_bytes;
            assert!(queued <= received + bound, "{queued} bytes queued, {received} received, at most {bound} may wait");
        }
    }

    /// Everything comes to an end: within the drain time, whatever peers do not do.
    fn end(mut self) -> Met {
        self.core.begin_stop(DRAIN_TIMEOUT);
        let limit = self.lockstep.now() + self.end_timeout;
        let has_stopped = self.lockstep.run_until(limit, || self.core.has_stopped());
        assert!(has_stopped.expect("the workers work"), "it does not stop");
        let counters = self.core.counters();
        self.simulation.audit().expect("it adds up");
        self.read_all();
        self.witness.judge_ends();
        assert_eq!((self.lockstep.workers(), self.service.sessions()), (0, 0));
        assert_eq!(counters.sessions_opened, self.witness.sessions_made() as u64);
        assert_eq!(counters.sessions_opened, counters.sessions_closed);
        // A factory that panics ends a connection before there is a session.
        let ended: u64 = counters.causes().map(|(_, count)| count).sum();
        assert_eq!(ended, counters.sessions_closed + self.witness.factory_panics(), "{counters:?}");
        Met { faults: self.simulation.faults_met(), orders: self.witness.orders_met() }
    }
}

fn port(script: &mut Script<'_>) -> PortConfig {
    let mut port = PortConfig::default();
    port.posts_max = script.one_of(&[256, 1, 8]);
    port.receive_buffers = script.one_of(&[16, 1]);
    port.receive_buffer_bytes = script.one_of(&[2048, 64]);
    port.receive_bytes_per_turn_max = script.one_of(&[65_536, 2048]);
    port.accepts_per_turn_max = script.one_of(&[64, 1]);
    port.accepts_outstanding = 1;
    port
}

fn limits(script: &mut Script<'_>) -> Limits {
    let mut limits = Limits::default();
    limits.sessions_max = script.one_of(&[100, 1, 3]);
    limits.send_bytes_max = script.one_of(&[256 * 1024, 4096, 100, 1]);
    limits.send_overflow = script.one_of(&[SendOverflow::Disconnect, SendOverflow::DropNewest]);
    limits.lingering_refusals_max = script.one_of(&[256, 1]);
    limits.linger_timeout = script.one_of(&[Duration::from_secs(5), Duration::from_millis(1)]);
    limits.idle_timeout = script.one_of(&[Duration::from_secs(60), Duration::from_millis(300)]);
    limits.first_frame_timeout = script.one_of(&[None, Some(Duration::from_secs(1))]);
    limits.connections_per_address_max = script.one_of(&[None, Some(2)]);
    let rates = [None, Some(Rate { per_second: 1, burst: 2 }), Some(Rate::per_second(1000))];
    limits.connection_rate_per_address = script.one_of(&rates);
    limits.message_rate = script.one_of(&rates);
    limits.byte_rate = script.one_of(&rates);
    limits.cost_rate = script.one_of(&rates);
    limits.delay_max = script.one_of(&[Duration::from_secs(600), Duration::from_secs(3)]);
    limits.rate_exceeded = script.one_of(&[RateExceeded::Delay, RateExceeded::Disconnect]);
    limits
}

/// Makes puppets, but not of every connection.
fn factory(
    script: &mut Script<'_>,
    witness: &Witness,
    world: &Arc<World>,
    planted: bool,
) -> impl Fn(Incoming) -> Result<Puppet, Refusal> + Send + Sync + 'static {
    let (witness, world, made) = (witness.clone(), Arc::clone(world), AtomicU32::new(0));
    let (refused, panicking) = (script.byte(), script.byte());
    move |incoming| {
        let turn = made.fetch_add(1, Ordering::Relaxed) % 8;
        if panicking >> turn & 1 == 1 {
            witness.factory_panics_now();
            std::panic::resume_unwind(Box::new("planted"));
        }
        if refused >> turn & 1 == 1 {
            return Err(Refusal::new("not today").with_packet(SPOKEN, *b"no"));
        }
        let number = witness.made(incoming.session, incoming.peer_address);
        let (id, witness, world) = (incoming.session, witness.clone(), Arc::clone(&world));
        let (timers, tickets, answered) = (Vec::new(), Vec::new(), [0; QUEUES]);
        Ok(Puppet { id, number, witness, planted, timers, world, tickets, answered })
    }
}
