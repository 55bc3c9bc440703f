//! Any schedule: which worker takes a turn when, how far time moves meanwhile, how small the network's buffers are, and which
//! freedoms the kernel takes, come from bytes. The clients are honest: they echo and talk in a room, and check what comes.
//!
//! ```text
//!   faults | workers | clients | network | step, step, ...     -- then everybody is turned until all is answered
//! ```
//!
//! Each message arrives once, in order, unaltered; all members of the room hear all of it in one order.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::time::Duration;

use pogu::sim::{Advance, Peer, PeerState, Simulation, SimulationOptions};
use pogu::{
    Broadcast, Context, Core, Delivery, Limits, Packet, PortConfig, Room, RoomContext, RoomRef, RoomState, Service,
    ServiceHandle, Session, Worker, WorkerStatus,
};

use super::faults;
use super::met::{Met, Order};
use super::script::Script;

const SERVER: &str = "10.0.0.1:7777";
const ECHO: u16 = 1;
const SAY: u16 = 2;
const JOINED: u16 = 3;
/// As the first two, but what is sent may wait for company.
const ECHO_LATER: u16 = 4;
const SAY_LATER: u16 = 5;
/// Is said by the room's state.
const SAY_BY_STATE: u16 = 6;

const WINDOW: Duration = Duration::from_millis(10);

/// How many kinds of steps there are, and how many there were when the first corpus was made.
pub const STEPS: usize = 11;
const FIRST_STEPS: usize = 8;

/// Turns of all workers within which everything is answered once nobody is held up any more.
const ROUNDS_MAX: usize = 20_000;
/// So many of them with faults, if there are any: then they end.
const ROUNDS_WITH_FAULTS_MAX: usize = 500;
const STEPS_MAX: usize = 400;
const MESSAGES_MAX: u32 = 24;
const PADDING_MAX: u8 = 64;

/// Plays the schedule of `bytes`. `planted`: the server loses a message now and then, which must be noticed. What was met.
pub fn check(bytes: &[u8], planted: bool) -> Met {
    let mut script = Script::new(bytes);
    let mut scene = Scene::new(&mut script, planted);
    for _ in 0..STEPS_MAX {
        if script.is_over() {
            break;
        }
        scene.step(&mut script);
    }
    scene.come_to_rest();
    scene.judge();
    Met { faults: scene.simulation.faults_met(), orders: scene.orders_met }
}

/// Says what it is told to.
struct Hall;

impl RoomState for Hall {}

impl Hall {
    fn say(&mut self, cx: &mut RoomContext<'_>, body: &[u8]) {
        let _ = cx.broadcast(SAY, body);
    }
}

/// Echoes, and says to the room what it is told to.
struct Host {
    planted: bool,
    hall: RoomRef<Hall>,
}

impl Session for Host {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        let _ = cx.join(Room(1));
    }

    fn on_joined(&mut self, cx: &mut Context<'_>, _room: Room) {
        cx.send(JOINED, &[]);
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let lost = self.planted && packet.body().ends_with(&[11, 11, 11]);
        let later = Delivery::within(WINDOW);
        match packet.id() {
            _ if lost => {}
            SAY => drop(cx.broadcast(Room(1), SAY, packet.body())),
            SAY_LATER => drop(cx.broadcast_with(Room(1), &Broadcast::to_all().delivery(later), SAY, packet.body())),
            SAY_BY_STATE => {
                let body = packet.body().to_vec();
                let _ = cx.post_to_room(&self.hall, move |hall, cx| hall.say(cx, &body));
            }
            ECHO_LATER => drop(cx.send_with(later, ECHO, packet.body())),
            id => drop(cx.send(id, packet.body())),
        }
    }
}

/// One client: what it has to write, and what it has heard.
struct Client {
    peer: Peer,
    number: u8,
    has_joined: bool,
    unwritten: Vec<u8>,
    unread: Vec<u8>,
    echoes: Vec<Vec<u8>>,
    expected: Vec<Vec<u8>>,
    heard: Vec<Vec<u8>>,
}

impl Client {
    fn new(peer: Peer, number: u8) -> Client {
        let (unwritten, unread, echoes, expected, heard) = Default::default();
        Client { peer, number, has_joined: false, unwritten, unread, echoes, expected, heard }
    }

    /// A message that only this client can have written, and only once.
    fn speak(&mut self, id: u16, padding: u8) -> Vec<u8> {
        let number = self.expected.len() as u8;
        let body = [&[self.number, number][..], &vec![number; padding.into()]].concat();
        let size = u16::try_from(body.len() + 4).unwrap_or(u16::MAX);
        self.unwritten.extend([&size.to_le_bytes()[..], &id.to_le_bytes(), &body].concat());
        self.expected.push(body.clone());
        body
    }

    fn write(&mut self, bytes_max: usize) {
        if self.peer.state() != PeerState::Connected || self.unwritten.is_empty() {
            return;
        }
        let piece = self.unwritten.get(..bytes_max.min(self.unwritten.len())).unwrap_or_default();
        match self.peer.write(piece) {
            Ok(count) => drop(self.unwritten.drain(..count)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "an honest client is cut off"),
        }
    }

    fn read(&mut self) {
        match self.peer.read_available(&mut self.unread) {
            Ok(ended) => assert!(!ended, "an honest client is ended"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotConnected, "an honest client is cut off"),
        }
        while let [low, high, id, 0, rest @ ..] = self.unread.as_slice() {
            let body = usize::from(u16::from_le_bytes([*low, *high])).checked_sub(4).expect("the size of a frame");
            let Some(body) = rest.get(..body).map(<[u8]>::to_vec) else { break };
            let id = u16::from(*id);
            self.unread.drain(..body.len() + 4);
            self.hear(id, body);
        }
    }

    fn hear(&mut self, id: u16, body: Vec<u8>) {
        match id {
            JOINED => assert!(!std::mem::replace(&mut self.has_joined, true), "joined twice"),
            ECHO => self.echoes.push(body),
            SAY => self.heard.push(body),
            _ => panic!("nobody says {id}"),
        }
    }
}

struct Scene {
    simulation: Simulation,
    workers: Vec<Worker>,
    clients: Vec<Client>,
    /// What was said in the room, by all.
    said: Vec<Vec<u8>>,
    messages: u32,
    orders_met: BTreeSet<Order>,
    _core: Core,
    _service: ServiceHandle,
}

impl Scene {
    fn new(script: &mut Script<'_>, planted: bool) -> Scene {
        let mut options = SimulationOptions::default();
        faults::read(script, &mut options);
        let workers = script.one_of(&[1, 2, 3]);
        let clients = script.one_of(&[1, 2, 5]);
        options.latency = Duration::from_micros(script.one_of(&[0, 1, 333, 40_000]));
        options.stream_bytes = script.one_of(&[65_536, 1000, 64, 1]);
        let simulation = Simulation::with_options(&options);
        let mut port = PortConfig::default();
        port.posts_max = 1024;
        port.receive_buffers = script.one_of(&[16, 1]);
        port.receive_buffer_bytes = script.one_of(&[2048, 64]);
        port.accepts_outstanding = 1;
        let builder = Core::builder().workers(workers).port(port).simulated(&simulation);
        let (core, seeds) = builder.hand_out().expect("a core");
        let workers = seeds.into_iter().map(|seed| seed.start().expect("a worker")).collect();
        let service = Service::server(SERVER).limits(patient());
        let hall = core.open_room(Room(1), |_| Hall).expect("the first to open it");
        let make = move |_incoming| Host { planted, hall: hall.clone() };
        let service = core.serve(service, make).expect("a service");
        let connect = |number| Client::new(simulation.connect(service.address()).expect("an address"), number);
        let clients = (0..clients).map(connect).collect();
        let (said, orders_met) = Default::default();
        Scene { simulation, workers, clients, said, messages: 0, orders_met, _core: core, _service: service }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let client = script.below(self.clients.len());
        let order = script.below_or_later(FIRST_STEPS, STEPS);
        self.orders_met.insert(Order::Step(order));
        match order {
            0..=2 => self.turn(script.below(3)),
            3 => self.speak(client, ECHO, script.byte() % PADDING_MAX),
            4 => self.speak(client, SAY, script.byte() % PADDING_MAX),
            5 => self.with(client, |client| client.write(1 + usize::from(script.byte()))),
            6 => self.with(client, Client::read),
            8 => self.speak(client, ECHO_LATER, script.byte() % PADDING_MAX),
            9 => self.speak(client, SAY_LATER, script.byte() % PADDING_MAX),
            10 => self.speak(client, SAY_BY_STATE, script.byte() % PADDING_MAX),
            _ => {
                let microseconds = script.one_of(&[1, 40, 1000, 50_000, 1_000_000]);
                // Past workers that have something to do: as if their threads had been held up.
                self.simulation.advance_to(self.simulation.now() + Duration::from_micros(microseconds));
            }
        }
    }

    fn with(&mut self, client: usize, act: impl FnOnce(&mut Client)) {
        if let Some(client) = self.clients.get_mut(client) {
            act(client);
        }
    }

    fn turn(&mut self, worker: usize) {
        let count = self.workers.len();
        if let Some(worker) = self.workers.get_mut(worker % count) {
            assert_eq!(worker.dispatch(None).expect("the worker works"), WorkerStatus::Running);
        }
    }

    fn speak(&mut self, client: usize, id: u16, padding: u8) {
        // Who has not joined yet may miss what is said; echoes are for everybody.
        let all_have_joined = self.clients.iter().all(|client| client.has_joined);
        let is_for_all = !matches!(id, ECHO | ECHO_LATER);
        if self.messages >= MESSAGES_MAX || is_for_all && !all_have_joined {
            return;
        }
        self.messages += 1;
        let Some(client) = self.clients.get_mut(client) else { return };
        let body = client.speak(id, padding);
        if is_for_all {
            client.expected.pop();
            client.expected.push(Vec::new());
            self.said.push(body);
        }
    }

    /// Nobody is held up any more.
    fn come_to_rest(&mut self) {
        for round in 0..ROUNDS_MAX {
            if round == ROUNDS_WITH_FAULTS_MAX {
                self.simulation.heal();
            }
            for client in &mut self.clients {
                client.write(usize::MAX);
                client.read();
            }
            self.simulation.order(self.workers.len()).into_iter().for_each(|worker| self.turn(worker));
            self.simulation.audit().expect("it adds up");
            if self.has_all() {
                return;
            }
            if let Advance::Nothing = self.simulation.advance() {
                break;
            }
        }
        assert!(self.has_all(), "{} messages, not all of them have arrived", self.messages);
    }

    fn has_all(&self) -> bool {
        self.clients.iter().all(|client| {
            let echoes = client.expected.iter().filter(|body| !body.is_empty()).count();
            client.has_joined && client.echoes.len() >= echoes && client.heard.len() >= self.said.len()
        })
    }

    fn judge(&self) {
        let mut said = self.said.clone();
        said.sort();
        for client in &self.clients {
            let expected: Vec<&Vec<u8>> = client.expected.iter().filter(|body| !body.is_empty()).collect();
            assert!(client.echoes.iter().eq(expected), "each once, in order, unaltered");
            assert!(client.unread.is_empty() && client.unwritten.is_empty());
            assert_eq!(client.heard, self.clients[0].heard, "one order for all members");
            for speaker in 0..self.clients.len() {
                let own = |bodies: &[Vec<u8>]| {
                    let own = bodies.iter().filter(|body| body.first() == Some(&(speaker as u8)));
                    own.cloned().collect::<Vec<_>>()
                };
                assert_eq!(own(&client.heard), own(&self.said), "in the order of its speaker");
            }
            let mut heard = client.heard.clone();
            heard.sort();
            assert_eq!(heard, said, "all of it, once");
        }
    }
}

/// Time moves at will here: no deadline is to be met.
fn patient() -> Limits {
    let day = Duration::from_secs(86_400);
    let mut limits = Limits::default();
    limits.idle_timeout = day;
    limits.frame_timeout = day;
    limits.send_age_max = day;
    limits
}
