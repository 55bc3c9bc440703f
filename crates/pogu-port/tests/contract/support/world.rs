//! The surroundings of a port as a trait: whatever has one runs the scenarios.

use std::any::Any;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use pogu_port::{BoundListener, Clock, Faults, OpenError, OsError, PortConfig, PortSeed, Time};

use super::Post;

/// How long a scenario waits for anything before it fails, by the clock of its world.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What not every world has. A scenario that needs one is skipped where the world says why it has none, and only there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capability {
    /// Ports may run and be posted to on several threads at once.
    Threads,
    /// Streams are descriptors of the system: every driver can adopt them.
    Descriptors,
    /// What the system answers can be replaced.
    Faults,
    /// A connection can be taken out of its port while it is open.
    Detaching,
    /// A send takes what there is room for, and is continued by the driver.
    ShortSends,
    /// A peer can go without a word, as a machine does that loses its power.
    Vanishing,
    /// Operations, completions and receive buffers wait in queues that the kernel shares and that can be full, and the port
    /// counts when they are.
    Rings,
    /// What can be done at once is done at once, and nothing runs out that the scenario has not made scarce.
    Calm,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Capability::Threads => "threads",
            Capability::Descriptors => "descriptors",
            Capability::Faults => "faults",
            Capability::Detaching => "detaching",
            Capability::ShortSends => "short sends",
            Capability::Vanishing => "vanishing",
            Capability::Rings => "rings",
            Capability::Calm => "calm",
        })
    }
}

/// What a driver lives in: a clock, a network, and those at the other ends. Nothing here waits.
pub trait World {
    /// Why there is no such thing here; `None` where there is.
    fn lacks(&self, capability: Capability) -> Option<&'static str>;

    /// The clock of every port of this world.
    fn clock(&self) -> Clock;

    /// How late the end of a wait may be noticed, at the best of a few times.
    fn lateness_max(&self) -> Duration;

    /// Lets time pass outside of a turn, where time does not pass by itself.
    fn advance(&self, by: Duration);

    /// Called after a turn that found nothing and may wait until `until`: time passes, where it does not by itself.
    fn pass(&self, until: Time);

    /// The plan of what fails, for every port of this world.
    fn faults(&self) -> Faults;

    fn open(&self, config: &PortConfig) -> Result<PortSeed<Post>, OpenError>;

    fn bind(&self, address: SocketAddr) -> Result<BoundListener, OsError>;

    /// A peer's end of a new connection. An error if nobody listens.
    fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Line>>;

    /// An address where nobody listens.
    fn nobody(&self) -> SocketAddr;

    /// An address where connecting gets no answer.
    fn silence(&self) -> Silence;
}

/// A peer's end of a connection. Nothing here waits: what cannot be done now is `WouldBlock`.
pub trait Line {
    /// 0 is the end of the stream.
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize>;
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Ends the stream of what this end writes.
    fn shut(&mut self);
    /// Closes with a reset; dropping closes without.
    fn reset(self: Box<Self>);
    /// From here on this end neither says nor acknowledges anything. What must be kept for that comes back.
    fn vanish(self: Box<Self>) -> Option<Box<dyn Line>>;
    fn local_address(&self) -> SocketAddr;
    fn peer_address(&self) -> SocketAddr;
}

/// An address where connecting gets no answer, for as long as this lives.
pub struct Silence {
    pub address: SocketAddr,
    pub _kept: Box<dyn Any>,
}

pub fn localhost() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}
