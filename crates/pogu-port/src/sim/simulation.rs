//! The handle on a simulated world.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::audit::Imbalance;
use super::faults::{Fate, FaultCounts, Faults};
use super::network::Network;
use super::peer::{Peer, PeerListener};
use super::socket::{ListeningSocket, StreamSocket};
use crate::clock::{Clock, Time, VirtualTime};
use crate::error::{Operation, OsError};
use crate::options::ListenOptions;
use crate::random::Random;
use crate::selection::Selection;
use crate::stream::BoundListener;

/// Properties of a simulated network.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SimulationOptions {
    /// How long anything takes from one end of a connection to the other. Default 0: what is sent is there at once, and time
    /// passes only from one deadline to the next.
    pub latency: Duration,
    /// Bytes that one direction of a connection takes while its reader does not read: the system's send and receive buffers
    /// together. The buffer sizes of [`StreamOptions`](crate::StreamOptions) replace it for one connection. Default 64 KiB.
    pub stream_bytes: usize,
    /// Where the numbers come from that programs in the simulation draw: runs with one seed are the same. Default 0.
    /// They decide faults too, by dice of their own.
    pub seed: u64,
    /// What goes wrong. Default: nothing.
    pub faults: Faults,
    /// Chance, per round of turns and in parts per 1,000, that ports which sleep get a turn all the same, as waits of real
    /// threads end for no reason now and then. With 0 a thread whose port sleeps does nothing until the port is woken or its time
    /// has come: [`Port::is_asleep`](crate::Port::is_asleep) tells, and who dispatches ports in turn passes over it, so a
    /// wake-up that is lost stays lost. Default: 1,000, a port gets turns whenever others do, which hides that.
    pub idle_turns: u16,
}

impl Default for SimulationOptions {
    fn default() -> SimulationOptions {
        SimulationOptions {
            latency: Duration::ZERO,
            stream_bytes: 64 * 1024,
            seed: 0,
            faults: Faults::default(),
            idle_turns: 1000,
        }
    }
}

/// What [`Simulation::advance`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advance {
    /// A port has something to do now, or nobody has dispatched it to find out; time stands still until all have been
    /// dispatched often enough.
    Busy,
    /// It is later now: something has happened, or a port has reached the end of its wait.
    To(Time),
    /// Nothing will ever happen by itself.
    Nothing,
}

/// A network and a clock in memory. Clones are the same one. See the [module](super).
#[derive(Clone)]
pub struct Simulation {
    network: Arc<Mutex<Network>>,
    time: VirtualTime,
}

impl Default for Simulation {
    fn default() -> Simulation {
        Simulation::new()
    }
}

impl Simulation {
    /// An empty network at [`Time::ZERO`].
    pub fn new() -> Simulation {
        Simulation::with_options(&SimulationOptions::default())
    }

    /// An empty network at [`Time::ZERO`], with properties of yours.
    pub fn with_options(options: &SimulationOptions) -> Simulation {
        let time = VirtualTime::default();
        let mut network = Network::new(time.clone(), options.latency, options.stream_bytes.max(1));
        network.seeds = Random::new(options.seed);
        network.fate = Fate::new(&options.faults, options.seed);
        (network.idle_turns, network.idles) = (options.idle_turns, options.idle_turns >= 1000);
        Simulation { network: Arc::new(Mutex::new(network)), time }
    }

    /// What ports of this simulation are opened with.
    pub fn selection(&self) -> Selection {
        Selection::simulated(self.clone())
    }

    /// Its clock: the only one that its ports accept.
    pub fn clock(&self) -> Clock {
        Clock::simulated(self.time.clone())
    }

    /// The virtual time.
    pub fn now(&self) -> Time {
        self.time.now()
    }

    /// Binds an address of this network and listens on it.
    ///
    /// # Errors
    /// The address is in use.
    pub fn bind(&self, address: SocketAddr, options: &ListenOptions) -> Result<BoundListener, OsError> {
        ListeningSocket::bind(self, address, options).map(BoundListener::from)
    }

    /// A listener that is no port's: what a test accepts from by itself.
    ///
    /// # Errors
    /// The address is in use.
    pub fn listen(&self, address: SocketAddr, options: &ListenOptions) -> Result<PeerListener, OsError> {
        ListeningSocket::bind(self, address, options).map(PeerListener::new)
    }

    /// Opens a connection that is no port's. It may take until later to be established, or to be refused; see
    /// [`Peer::state`].
    ///
    /// # Errors
    /// The network has no address left.
    pub fn connect(&self, address: SocketAddr) -> Result<Peer, OsError> {
        StreamSocket::connect(self, address).map(Peer::new)
    }

    /// Makes `host` stand for `addresses` from now on, in this order; for none: unknown again. Names are compared as written.
    pub fn name(&self, host: &str, addresses: impl IntoIterator<Item = IpAddr>) {
        let addresses: Vec<IpAddr> = addresses.into_iter().collect();
        self.with(|network| network.names.insert(host.to_owned(), addresses));
    }

    /// The addresses that `address` stands for: a literal, or a name with a port. Known are the names that
    /// [`Simulation::name`] was told, and `localhost`.
    ///
    /// # Errors
    /// It is none of them.
    pub fn resolve(&self, address: &str) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = address.parse() {
            return Ok(vec![address]);
        }
        let unknown = || io::Error::new(io::ErrorKind::InvalidInput, "a simulation knows no such address");
        let (host, port) = address.rsplit_once(':').ok_or_else(unknown)?;
        let port = port.parse().map_err(|_| unknown())?;
        let addresses = match self.with(|network| network.names.get(host).cloned()) {
            None if host == "localhost" => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            named => named.unwrap_or_default(),
        };
        match addresses.is_empty() {
            true => Err(unknown()),
            false => Ok(addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()),
        }
    }

    /// The next of the seeds that this simulation gives out.
    pub(crate) fn next_seed(&self) -> u64 {
        self.with(|network| network.seeds.next_number())
    }

    /// True if every started port slept after its last dispatch, and nothing has happened since that would wake one.
    pub fn is_idle(&self) -> bool {
        self.look(|network| !network.ports.is_busy(network.now()))
    }

    /// When something will happen by itself: something arrives, or a sleeping port reaches the end of its wait.
    pub fn next_due(&self) -> Option<Time> {
        self.look(|network| network.ports.next().into_iter().chain(network.agenda.next()).min())
    }

    /// If all ports are idle, moves the clock to the next time at which something happens.
    pub fn advance(&self) -> Advance {
        self.advance_within(Time::from_nanos(u64::MAX))
    }

    /// As [`Simulation::advance`], but not beyond `limit`: if nothing happens before, moves the clock there and says
    /// [`Advance::Nothing`].
    pub fn advance_within(&self, limit: Time) -> Advance {
        if !self.is_idle() {
            return Advance::Busy;
        }
        match self.next_due() {
            Some(due) if due <= limit => {
                self.advance_to(due);
                Advance::To(due)
            }
            _ if limit == Time::from_nanos(u64::MAX) => Advance::Nothing,
            _ => {
                self.advance_to(limit);
                Advance::Nothing
            }
        }
    }

    /// Moves the clock to `time` (never back), whatever the ports are doing. What arrives meanwhile arrives at its time; ports
    /// that would have been dispatched on the way are late, as if their threads had been held up.
    pub fn advance_to(&self, time: Time) {
        self.with(|network| {
            while let Some(due) = network.agenda.next().filter(|due| *due <= time) {
                network.time.move_to(due);
                network.settle();
            }
            network.time.move_to(time);
        });
    }

    /// Writes down from now on what happens in the network.
    pub fn record(&self) {
        self.with(|network| network.transcript.begin());
    }

    /// Shows from now on what happens in the network, each line when it happens: of a run that does not come to its end there is
    /// what led there. Nothing is kept for [`Simulation::transcript`]. The network waits for `show`, which must not use it.
    pub fn record_to(&self, show: impl FnMut(&str) + Send + 'static) {
        self.with(|network| network.transcript.show(Box::new(show)));
    }

    /// Adds a line to the record, if there is one.
    pub fn note(&self, what: impl fmt::Display) {
        self.with(|network| network.transcript.line(network.time.now(), format_args!("{what}")));
    }

    /// The record: one line per event, each with its time. Two runs of one program have the same.
    pub fn transcript(&self) -> String {
        self.with(|network| network.transcript.text().to_owned())
    }

    /// From now on no fault happens: partitions and shortages end, and what was delayed arrives.
    pub fn heal(&self) {
        self.with(Network::heal);
    }

    /// How often each class of fault was met so far.
    pub fn faults_met(&self) -> FaultCounts {
        self.with(|network| network.fate.met().clone())
    }

    /// Operations that ports have submitted to the simulated kernel so far.
    pub fn operations(&self) -> u64 {
        self.with(|network| network.operations())
    }

    /// Ends of connections that are there, those of machines that have vanished not counted.
    pub fn open_ends(&self) -> usize {
        self.with(|network| network.open_ends())
    }

    /// Whether everything adds up. Meant for between turns, and cheap enough for between all of them.
    ///
    /// # Errors
    /// What does not.
    pub fn audit(&self) -> Result<(), Imbalance> {
        self.look(Network::audit)
    }

    /// The order in which `count` workers get their next turns: as they are numbered, unless it is a fault's to say.
    pub fn order(&self, count: usize) -> Vec<usize> {
        self.with(|network| network.order(count))
    }

    /// Until when a task that is to run now has to wait for a thread, if that is a fault's to say.
    pub fn held_task(&self) -> Option<Time> {
        self.with(Network::held_task)
    }

    /// Works on the network; afterwards everything that is due has happened. Nothing that `work` does may come back here.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut Network) -> R) -> R {
        let mut network = self.network.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut network);
        network.settle();
        result
    }

    /// Looks at the network, in which nothing happens by that.
    pub(super) fn look<R>(&self, work: impl FnOnce(&Network) -> R) -> R {
        work(&self.network.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn is_same(&self, other: &Simulation) -> bool {
        Arc::ptr_eq(&self.network, &other.network)
    }

    pub(super) fn shows(&self, clock: &Clock) -> bool {
        clock.shows(&self.time)
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation").field("now", &self.now()).finish_non_exhaustive()
    }
}

pub(super) fn failed<T>(result: Result<T, super::failure::Failure>, operation: Operation) -> Result<T, OsError> {
    result.map_err(|failure| failure.of(operation))
}
