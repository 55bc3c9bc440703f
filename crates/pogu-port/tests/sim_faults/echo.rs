//! A small world: clients of one port send numbered bytes to an echo on another, and check what comes back.
//!
//! ```text
//!   port of clients (connect, send, compare) <--- simulated network ---> port of servers (accept, echo)
//! ```
//!
//! Every byte says what its place in the stream is, so that a byte that is lost, doubled or out of order is seen at once. A
//! client that is cut off connects again, until as many conversations as wanted have come to their end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use pogu_port::sim::{Advance, FaultCounts, Faults, Simulation, SimulationOptions};
use pogu_port::{
    Completion, ConnectionId, Counters, Gather, ListenOptions, Operations, Owner, Port, PortConfig, PortSeed,
    StreamOptions, Time,
};

const SERVER: &str = "10.0.0.1:7777";

/// Bytes of one conversation.
const BYTES: usize = 6_000;

/// Bytes that a client sends at once.
const PIECE: usize = 700;

/// Pieces after which a server pauses, and goes on as soon as that is confirmed.
const PAUSES_AFTER: usize = 7;

/// Conversations at the same time.
const CLIENTS: usize = 6;

/// Rounds of turns with faults, at most: conversations that are cut off too often end after the healing.
const ROUNDS_WITH_FAULTS: usize = 4_000;

/// Rounds of turns in which what is left has to come to its end once nothing goes wrong any more.
const ROUNDS_MAX: usize = 20_000;

/// What a run was like.
#[derive(Debug)]
pub struct Story {
    pub met: FaultCounts,
    pub transcript: String,
    pub servers: Counters,
    pub clients: Counters,
    pub operations: u64,
    pub completed: usize,
    pub cut_off: usize,
    pub end: Time,
}

/// How far a conversation is.
#[derive(Debug, Default)]
struct Talk {
    connected: bool,
    offered: usize,
    sending: bool,
    heard: usize,
    ends: bool,
}

/// What the two ports do.
struct Play {
    simulation: Simulation,
    address: SocketAddr,
    talks: BTreeMap<ConnectionId, Talk>,
    /// Of the servers: what waits for the send in flight.
    echoes: BTreeMap<ConnectionId, Option<Gather>>,
    completed: usize,
    cut_off: usize,
    wanted: usize,
    pieces: usize,
}

fn port(simulation: &Simulation) -> Port<()> {
    let mut config = PortConfig::default();
    config.clock = simulation.clock();
    config.receive_buffers = 16;
    config.receive_buffer_bytes = 512;
    PortSeed::open(&simulation.selection(), &config).expect("a port").start().expect("a port")
}

/// Plays `wanted` conversations with these faults as far as they let it, heals, and goes on until all of them are done and
/// nothing is left.
pub fn play(faults: Faults, seed: u64, wanted: usize) -> Story {
    let mut options = SimulationOptions::default();
    options.seed = seed;
    options.latency = Duration::from_micros(200);
    options.stream_bytes = 2_000;
    options.faults = faults;
    let simulation = Simulation::with_options(&options);
    simulation.record();
    let address = SERVER.parse().expect("an address");
    let mut servers = port(&simulation);
    let mut clients = port(&simulation);
    let listener = simulation.bind(address, &ListenOptions::default()).expect("it is free");
    let listener = servers.operations().listen(Owner(0), listener).expect("there is room");
    let mut play = Play {
        simulation,
        address,
        talks: BTreeMap::new(),
        echoes: BTreeMap::new(),
        completed: 0,
        cut_off: 0,
        wanted,
        pieces: 0,
    };
    play.run(&mut servers, &mut clients, ROUNDS_WITH_FAULTS);
    play.simulation.heal();
    play.run(&mut servers, &mut clients, ROUNDS_MAX);
    assert!(play.completed >= wanted, "{} of {wanted}: {}", play.completed, play.simulation.faults_met());
    play.cut_all(&mut clients);
    servers.operations().close_listener(listener).expect("it is open");
    play.drain(&mut servers, &mut clients);
    assert_eq!(servers.operations().in_flight() + clients.operations().in_flight(), 0, "all has come back");
    let (servers, clients) = (servers.counters(), clients.counters());
    let Play { simulation, completed, cut_off, .. } = play;
    simulation.audit().expect("it adds up without the ports");
    Story {
        met: simulation.faults_met(),
        transcript: simulation.transcript(),
        servers,
        clients,
        operations: simulation.operations(),
        completed,
        cut_off,
        end: simulation.now(),
    }
}

impl Play {
    /// Until the wanted conversations are done, or for so many rounds.
    fn run(&mut self, servers: &mut Port<()>, clients: &mut Port<()>, rounds_max: usize) {
        for _ in 0..rounds_max {
            if self.completed >= self.wanted {
                return;
            }
            while self.talks.len() < CLIENTS {
                let connected = clients.operations().connect(Owner(1), self.address, &StreamOptions::default());
                let Ok(connection) = connected else { break };
                self.talks.insert(connection, Talk::default());
            }
            self.round(servers, clients);
            if self.simulation.is_idle() && self.simulation.advance() == Advance::Nothing {
                // What was forgotten on its way says nothing: its client has to lose its patience.
                self.cut_all(clients);
            }
        }
    }

    fn round(&mut self, servers: &mut Port<()>, clients: &mut Port<()>) {
        servers.dispatch(None, |operations, completion| self.serve(operations, completion)).expect("the port works");
        clients.dispatch(None, |operations, completion| self.talk(operations, completion)).expect("the port works");
        self.simulation.audit().unwrap_or_else(|error| panic!("{error}"));
    }

    fn cut_all(&mut self, clients: &mut Port<()>) {
        for connection in self.talks.keys() {
            let _ = clients.operations().abort(*connection);
        }
    }

    /// Until both ports are empty.
    fn drain(&mut self, servers: &mut Port<()>, clients: &mut Port<()>) {
        self.wanted = 0;
        for _ in 0..ROUNDS_MAX {
            self.round(servers, clients);
            if self.simulation.is_idle() && self.simulation.advance() == Advance::Nothing {
                if servers.operations().open() + clients.operations().open() == 0 {
                    return;
                }
                // Whose peer was forgotten on the way hears nothing, and has to give up by itself.
                for connection in self.echoes.keys() {
                    let _ = servers.operations().abort(*connection);
                }
            }
        }
        panic!("{} and {} are left", servers.operations().open(), clients.operations().open());
    }

    fn serve(&mut self, operations: &mut Operations<'_>, completion: Completion<'_, ()>) {
        match completion {
            Completion::Accepted { stream, .. } => {
                let connection = operations.adopt(Owner(1), stream, &StreamOptions::default()).expect("there is room");
                operations.receive(connection).expect("it is open");
                self.echoes.insert(connection, None);
            }
            Completion::Received { connection, bytes, .. } => {
                let mut gather = Gather::new();
                gather.push(&bytes);
                if let Err(refused) = operations.send(connection, gather) {
                    let waiting = self.echoes.get_mut(&connection).expect("nothing comes after the end");
                    waiting.get_or_insert_default().push(&bytes);
                    drop(refused);
                }
                self.pieces += 1;
                if self.pieces.is_multiple_of(PAUSES_AFTER) {
                    let _ = operations.pause(connection);
                }
            }
            Completion::ReceiveEnded { connection, error: None, .. } => drop(operations.receive(connection)),
            Completion::Sent { connection, error: None, .. } => {
                let waiting = self.echoes.get_mut(&connection).expect("nothing comes after the end");
                if let Some(gather) = waiting.take() {
                    let _ = operations.send(connection, gather);
                }
            }
            Completion::PeerFinished { connection, .. } => drop(operations.close(connection)),
            Completion::ReceiveEnded { connection, .. } | Completion::Sent { connection, .. } => {
                let _ = operations.abort(connection);
            }
            Completion::Closed { connection, .. } => {
                self.echoes.remove(&connection).expect("closed once");
            }
            _ => {}
        }
    }

    fn talk(&mut self, operations: &mut Operations<'_>, completion: Completion<'_, ()>) {
        match completion {
            Completion::Connected { connection, .. } => {
                operations.receive(connection).expect("it is open");
                self.talks.get_mut(&connection).expect("it was connected").connected = true;
                self.say(operations, connection);
            }
            Completion::Received { connection, bytes, .. } => {
                let talk = self.talks.get_mut(&connection).expect("nothing comes after the end");
                for byte in bytes.iter() {
                    assert_eq!(*byte, byte_at(talk.heard), "at {} of {connection:?}", talk.heard);
                    talk.heard += 1;
                }
                assert!(talk.heard <= talk.offered, "more than was said");
                if talk.heard == BYTES && !std::mem::replace(&mut talk.ends, true) {
                    self.completed += 1;
                    operations.close(connection).expect("it is open");
                }
            }
            Completion::Sent { connection, error: None, .. } => {
                self.talks.get_mut(&connection).expect("nothing comes after the end").sending = false;
                self.say(operations, connection);
            }
            Completion::ReceiveEnded { connection, .. }
            | Completion::PeerFinished { connection, .. }
            | Completion::Sent { connection, .. } => drop(operations.abort(connection)),
            Completion::Closed { connection, .. } => {
                let talk = self.talks.remove(&connection).expect("closed once");
                self.cut_off += usize::from(!talk.ends);
            }
            _ => {}
        }
    }

    fn say(&mut self, operations: &mut Operations<'_>, connection: ConnectionId) {
        let talk = self.talks.get_mut(&connection).expect("nothing comes after the end");
        let count = PIECE.min(BYTES - talk.offered);
        if count == 0 || talk.sending || talk.ends {
            return;
        }
        let piece: Vec<u8> = (talk.offered..talk.offered + count).map(byte_at).collect();
        let mut gather = Gather::new();
        gather.push(&piece);
        if operations.send(connection, gather).is_ok() {
            talk.offered += count;
            talk.sending = true;
        }
    }
}

/// The byte at that place of every stream; its period is prime.
fn byte_at(place: usize) -> u8 {
    (place % 251) as u8
}
