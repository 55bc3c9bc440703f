//! The world in memory: a simulated network and its time, which passes only when nobody has anything to do.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use pogu_port::sim::{Advance, Peer, PeerState, Simulation, SimulationOptions};
use pogu_port::{BoundListener, Clock, Faults, ListenOptions, OpenError, OsError, PortConfig, PortSeed, Time};

use super::Post;
use super::world::{Capability, Line, PATIENCE, Silence, World, localhost};

/// How far time passes while a port that the scenario does not turn has something to do.
const STEP: Duration = Duration::from_micros(100);

/// See the [module](self).
pub struct Simulated {
    simulation: Simulation,
    calm: bool,
}

impl Simulated {
    /// A network in which everything takes `latency` from one end to the other.
    pub fn new(latency: Duration) -> Simulated {
        let mut options = SimulationOptions::default();
        options.latency = latency;
        Simulated { simulation: Simulation::with_options(&options), calm: true }
    }

    /// A network of one place, and a kernel that takes every freedom that costs no connection its life and no byte its place.
    pub fn rough(seed: u64) -> Simulated {
        let mut options = SimulationOptions::default();
        options.seed = seed;
        let faults = &mut options.faults;
        faults.overtaken_segments = 200;
        faults.shuffled_turns = 500;
        faults.held_completions = 200;
        faults.completion_entries_max = 4;
        faults.short_sends = 300;
        faults.held_sends = 200;
        faults.held_sends_max = Duration::from_micros(20);
        faults.ended_multishots = 200;
        faults.empty_pools = 100;
        faults.late_cancels = 300;
        faults.late_cancels_max = Duration::from_micros(20);
        faults.lost_cancels = 300;
        Simulated { simulation: Simulation::with_options(&options), calm: false }
    }

    /// Moves the clock until the peer's connection has been answered, or its patience has ended.
    fn answered(&self, peer: Peer) -> io::Result<Peer> {
        let end = self.simulation.now() + PATIENCE;
        while peer.state() == PeerState::Connecting && self.simulation.now() < end {
            self.simulation.advance_to(self.simulation.now() + STEP);
        }
        match peer.state() {
            PeerState::Connected => Ok(peer),
            PeerState::Connecting => Err(ErrorKind::TimedOut.into()),
            _ => Err((&peer).read(&mut [0]).err().unwrap_or(ErrorKind::Other.into())),
        }
    }
}

impl World for Simulated {
    fn lacks(&self, capability: Capability) -> Option<&'static str> {
        match capability {
            Capability::Threads => Some("one thread turns all ports of a simulation"),
            Capability::Descriptors => Some("streams are in memory, for ports of the same simulation"),
            Capability::Faults => Some("no system answers here"),
            Capability::Detaching | Capability::ShortSends | Capability::Vanishing => None,
            Capability::Rings => Some("nothing is queued for a kernel here"),
            Capability::Calm if !self.calm => Some("the kernel takes every freedom"),
            Capability::Calm => None,
        }
    }

    fn lateness_max(&self) -> Duration {
        Duration::ZERO
    }

    fn clock(&self) -> Clock {
        self.simulation.clock()
    }

    fn advance(&self, by: Duration) {
        self.simulation.advance_to(self.simulation.now() + by);
    }

    fn pass(&self, until: Time) {
        if self.simulation.advance_within(until) == Advance::Busy {
            // Another port: its thread is held up, and time passes all the same.
            self.simulation.advance_to(until.min(self.simulation.now() + STEP));
        }
    }

    fn faults(&self) -> Faults {
        Faults::new()
    }

    fn open(&self, config: &PortConfig) -> Result<PortSeed<Post>, OpenError> {
        PortSeed::open(&self.simulation.selection(), config)
    }

    fn bind(&self, address: SocketAddr) -> Result<BoundListener, OsError> {
        self.simulation.bind(address, &ListenOptions::default())
    }

    fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Line>> {
        let peer = self.simulation.connect(address).map_err(|error| io::Error::from_raw_os_error(error.code()))?;
        Ok(Box::new(SimulatedLine { peer: self.answered(peer)?, remote: address }))
    }

    fn nobody(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 9))
    }

    fn silence(&self) -> Silence {
        let mut options = ListenOptions::default();
        options.backlog = 0;
        let listener = self.simulation.listen(localhost(), &options).expect("an address is free");
        let address = listener.local_address();
        // One may wait beside the backlog.
        let first = self.simulation.connect(address).expect("an address is free");
        let first = self.answered(first).expect("there is room for one");
        Silence { address, _kept: Box::new((listener, first)) }
    }
}

struct SimulatedLine {
    peer: Peer,
    remote: SocketAddr,
}

impl Line for SimulatedLine {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        self.peer.read(space)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.peer.write(bytes)
    }

    fn shut(&mut self) {
        self.peer.shutdown();
    }

    fn reset(self: Box<Self>) {
        self.peer.reset();
    }

    fn vanish(self: Box<Self>) -> Option<Box<dyn Line>> {
        self.peer.vanish();
        None
    }

    fn local_address(&self) -> SocketAddr {
        self.peer.local_address()
    }

    fn peer_address(&self) -> SocketAddr {
        self.remote
    }
}
