//! `pogu serve` in a simulation, from the flags of its command line on, and clients that speak to it there.

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::time::Duration;

use pogu::sim::{FaultCounts, Peer, Simulation, SimulationOptions};
use pogu::{Lockstep, Time};
use pogu_cli::command_line::{Command, Parsed, parse};
use pogu_cli::serve::{Options, Server, Summary};

use super::{ECHO, JOIN, frame};

/// The time so many milliseconds after the beginning.
pub fn at(milliseconds: u64) -> Time {
    Time::ZERO + Duration::from_millis(milliseconds)
}

/// A simulation and the server in it.
pub struct World {
    simulation: Simulation,
    lockstep: Lockstep,
    pub server: Server,
}

impl World {
    /// What `pogu serve` with these flags serves.
    pub fn serve(flags: &[&str]) -> World {
        let arguments = ["pogu", "serve", "--workers", "2"].iter().chain(flags).map(OsString::from);
        let Ok(Parsed::Run(Command::Serve(arguments))) = parse(arguments) else { panic!("these are flags of serve") };
        World::of(&arguments.options().expect("these flags mean something"))
    }

    /// A server with these options.
    pub fn of(options: &Options) -> World {
        World::in_simulation(&SimulationOptions::default(), options)
    }

    /// The same in another simulation.
    pub fn in_simulation(simulation: &SimulationOptions, options: &Options) -> World {
        let simulation = Simulation::with_options(simulation);
        let mut lockstep = Lockstep::new(&simulation);
        let server = Server::start_simulated(options, &mut lockstep).expect("a server");
        World { simulation, lockstep, server }
    }

    pub fn connect(&mut self) -> Client {
        self.connect_to(0)
    }

    /// A client of the service with this index.
    pub fn connect_to(&mut self, service: usize) -> Client {
        let address = self.server.services()[service].handle.address();
        let peer = self.simulation.connect(address).expect("an address");
        self.settle();
        Client { peer, received: Vec::new() }
    }

    pub fn joined(&mut self, room: u32) -> Client {
        let mut client = self.connect();
        client.send(JOIN, &room.to_le_bytes());
        self.settle();
        client.expect(JOIN, &room.to_le_bytes());
        client
    }

    /// A client sends ECHO and gets it back.
    pub fn echo(&mut self, client: &mut Client, body: &[u8]) {
        client.send(ECHO, body);
        self.settle();
        client.expect(ECHO, body);
    }

    /// Does all that can be done now.
    pub fn settle(&mut self) {
        self.lockstep.settle().expect("it comes to rest");
    }

    /// Goes on until it is `time`, everything that is due by then done.
    pub fn run_to(&mut self, time: Time) {
        self.lockstep.run_to(time).expect("the workers work");
    }

    /// Goes on until the moment before `time`.
    pub fn run_to_just_before(&mut self, time: Time) {
        self.run_to(Time::from_nanos(time.as_nanos() - 1));
    }

    /// What has gone wrong in its simulation.
    pub fn faults_met(&self) -> FaultCounts {
        self.simulation.faults_met()
    }

    /// What the command would print at its end.
    pub fn summary(&mut self) -> String {
        self.settle();
        Summary::from(self.server.counters()).to_string()
    }
}

/// How a connection stands, seen from a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    Open,
    Finished,
    Reset,
}

/// A client of the course's frames. It closes its connection when it is dropped, and not before.
pub struct Client {
    pub peer: Peer,
    received: Vec<u8>,
}

impl Client {
    pub fn raw(&mut self, bytes: &[u8]) {
        self.peer.write_all(bytes).expect("there is room");
    }

    pub fn send(&mut self, id: u16, body: &[u8]) {
        self.raw(&frame(id, body));
    }

    /// Takes what has come: how the connection stands behind it.
    pub fn flow(&mut self) -> Flow {
        match self.peer.read_available(&mut self.received) {
            Ok(true) => Flow::Finished,
            Ok(false) => Flow::Open,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Flow::Reset,
            Err(error) => panic!("neither an end nor a reset: {error}"),
        }
    }

    /// This frame has come, and nothing before it.
    pub fn expect(&mut self, id: u16, body: &[u8]) {
        let flow = self.flow();
        let expected = frame(id, body);
        assert!(self.received.starts_with(&expected), "{} bytes, then {flow:?}", self.received.len());
        self.received.drain(..expected.len());
    }

    /// All frames that have come.
    pub fn take_what_came(&mut self) -> Vec<(u16, Vec<u8>)> {
        self.flow();
        let mut frames = Vec::new();
        while let [low, high, id_low, id_high, ..] = *self.received {
            let size = usize::from(u16::from_le_bytes([low, high]));
            assert!((4..=self.received.len()).contains(&size), "a whole frame");
            let frame: Vec<u8> = self.received.drain(..size).collect();
            frames.push((u16::from_le_bytes([id_low, id_high]), frame[4..].to_vec()));
        }
        frames
    }

    /// Nothing has come that was not expected.
    pub fn expect_nothing_more(&mut self) {
        self.flow();
        assert_eq!(self.received.len(), 0, "bytes that nobody expected");
    }
}
