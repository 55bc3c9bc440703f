//! Cores in a simulation, and peers of them.

use std::io::{ErrorKind, Write};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use pogu::sim::{Peer, Simulation, SimulationOptions};
use pogu::{Cause, Core, ListenOptions, Lockstep, ServiceHandle, Time};

use super::{Event, frame};

pub const SERVER: &str = "10.0.0.1:7777";

pub fn at(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

/// A simulation and what runs in it.
pub struct World {
    pub simulation: Simulation,
    pub lockstep: Lockstep,
}

impl World {
    pub fn new() -> World {
        World::with_options(&SimulationOptions::default())
    }

    pub fn with_options(options: &SimulationOptions) -> World {
        let simulation = Simulation::with_options(options);
        World { lockstep: Lockstep::new(&simulation), simulation }
    }

    pub fn core(&mut self, workers: usize) -> Core {
        let mut port = pogu::PortConfig::default();
        port.posts_max = 4096;
        self.lockstep.start(Core::builder().workers(workers).port(port)).expect("a core")
    }

    pub fn connect(&mut self, service: &ServiceHandle) -> Client {
        let client = Client::new(self.simulation.connect(service.address()).expect("an address"));
        self.settle();
        client
    }

    /// Takes an address, and answers nobody who connects to it: who asks asks again after 1, 3 and 7 seconds.
    pub fn silence(&self, address: &str) -> impl Sized + use<> {
        let mut options = ListenOptions::default();
        options.backlog = 0;
        let deaf = self.simulation.listen(address.parse().expect("an address"), &options).expect("it is free");
        let filler = self.simulation.connect(deaf.local_address()).expect("the one that fits");
        (deaf, filler)
    }

    pub fn settle(&mut self) {
        self.lockstep.settle().expect("it comes to rest");
    }

    pub fn run_to(&mut self, time: Time) {
        self.lockstep.run_to(time).expect("the workers work");
    }

    pub fn run_for(&mut self, duration: Duration) {
        self.lockstep.run_for(duration).expect("the workers work");
    }

    /// Goes on until `condition`, which has to come true by `limit`; gives the time.
    pub fn until(&mut self, what: &str, limit: Time, condition: impl FnMut() -> bool) -> Time {
        let came = self.lockstep.run_until(limit, condition).expect("the workers work");
        assert!(came, "by {limit:?} it never happened: {what}");
        self.lockstep.now()
    }

    /// Goes on until a session has ended; gives the time and the cause. `client` closes as soon as it is told to.
    pub fn end_of(&mut self, reports: &Receiver<Event>, client: &mut Option<Client>, limit: Time) -> (Time, Cause) {
        let mut ended = None;
        let time = self.until("an end", limit, || {
            if client.as_mut().is_some_and(|client| client.take_what_came() != Flow::Open) {
                *client = None;
            }
            ended = reports.try_iter().find_map(|event| match event {
                Event::Disconnected(cause) => Some(cause),
                _ => None,
            });
            ended.is_some()
        });
        (time, ended.expect("it was waited for"))
    }
}

/// How a connection stands, seen from a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    Open,
    Finished,
    Reset,
}

/// A peer that speaks course frames.
pub struct Client {
    pub peer: Peer,
    pub received: Vec<u8>,
}

impl Client {
    pub fn new(peer: Peer) -> Client {
        Client { peer, received: Vec::new() }
    }

    pub fn send(&mut self, id: u16, body: &[u8]) {
        self.peer.write_all(&frame(id, body)).expect("there is room");
    }

    pub fn number(&mut self, id: u16, number: u32) {
        self.send(id, &number.to_le_bytes());
    }

    pub fn say(&mut self, room: u32, text: &[u8]) {
        self.send(super::SAY, &[&room.to_le_bytes(), text].concat());
    }

    /// Reads what is there.
    pub fn take_what_came(&mut self) -> Flow {
        match self.peer.read_available(&mut self.received) {
            Ok(true) => Flow::Finished,
            Ok(false) => Flow::Open,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Flow::Reset,
            Err(error) if error.kind() == ErrorKind::NotConnected => Flow::Open,
            Err(error) => panic!("neither an end nor a reset: {error}"),
        }
    }

    /// The whole frames that have come and were not taken yet: id and body.
    pub fn frames(&mut self) -> Vec<(u16, Vec<u8>)> {
        self.take_what_came();
        self.frames_received()
    }

    /// As [`Client::frames`], of what was read already.
    pub fn frames_received(&mut self) -> Vec<(u16, Vec<u8>)> {
        let mut frames = Vec::new();
        while let [a, b, c, d, rest @ ..] = self.received.as_slice() {
            let body = usize::from(u16::from_le_bytes([*a, *b])) - 4;
            let Some(body) = rest.get(..body) else { break };
            frames.push((u16::from_le_bytes([*c, *d]), body.to_vec()));
            let taken = body.len() + 4;
            self.received.drain(..taken);
        }
        frames
    }
}
