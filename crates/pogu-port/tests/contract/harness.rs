//! Ports with a memory, and peers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pogu_port::{
    BoundListener, Clock, Completion, ConnectionId, Detached, DriverChoice, Gather, ListenOptions, ListenerId, OsError,
    Owner, Port, PortConfig, PortSeed, Poster, Selection, StreamOptions, Turn,
};

use crate::checker::Checker;
pub use crate::desk::Desk;

/// How long a scenario waits for anything before it fails.
pub const PATIENCE: Duration = Duration::from_secs(5);

pub const LISTENER: Owner = Owner(1);
pub const CONNECTION: Owner = Owner(2);
const HELPER: Owner = Owner(3);

/// Runs `scenario` on the driver, if it can run here.
pub fn run(choice: DriverChoice, name: &str, scenario: fn(&World)) {
    match Selection::choose(choice) {
        Ok(selection) => scenario(&World { selection }),
        Err(unavailable) => {
            assert!(std::env::var_os("POGU_REQUIRE_URING").is_none(), "{unavailable}");
            // Not `eprintln`, which the test harness would hide.
            let _ = writeln!(io::stderr(), "SKIPPED {name}: {unavailable}");
        }
    }
}

/// Opens ports with one driver.
pub struct World {
    pub selection: Selection,
}

impl World {
    pub fn station(&self) -> Station {
        self.station_with(|_| {})
    }

    pub fn station_with(&self, change: impl FnOnce(&mut PortConfig)) -> Station {
        let mut config = PortConfig::default();
        change(&mut config);
        let seed = PortSeed::open(&self.selection, &config).expect("a port opens");
        Station::start(seed, config.clock)
    }
}

/// What is posted in scenarios.
#[derive(Debug)]
pub enum Post {
    /// The helper thread of that number has done its work.
    Done(usize),
    Number(u32, u32),
    Stream(Detached),
}

/// What came out of a port, kept for the assertions.
#[derive(Debug, PartialEq)]
pub enum Seen {
    Accepted(ListenerId),
    AcceptPaused,
    ListenerClosed(ListenerId),
    Connected(ConnectionId),
    ConnectFailed(ConnectionId, OsError),
    Received(ConnectionId, Vec<u8>),
    PeerFinished(ConnectionId),
    ReceiveEnded(ConnectionId, Option<OsError>),
    /// With the bytes that had not left.
    Sent(ConnectionId, usize, Option<OsError>),
    Closed(ConnectionId),
    Detached(ConnectionId),
    Number(u32, u32),
    Other,
}

/// A port with a memory.
pub struct Station {
    port: Port<Post>,
    pub clock: Clock,
    pub seen: Vec<Seen>,
    /// Streams that came out: accepted, detached, posted.
    pub streams: Vec<Detached>,
    /// Gathers that came back.
    pub gathers: Vec<Gather>,
    pub turns: usize,
    checker: Checker,
    helpers_done: Vec<usize>,
    helpers: usize,
    drains: bool,
}

/// A hook that changes nothing: everything is consumed and remembered.
pub fn remember(_: &mut Desk<'_, '_>, _: &mut Completion<'_, Post>) {}

impl Station {
    pub fn start(seed: PortSeed<Post>, clock: Clock) -> Station {
        Station {
            port: seed.start().expect("a port starts"),
            clock,
            seen: Vec::new(),
            streams: Vec::new(),
            gathers: Vec::new(),
            turns: 0,
            checker: Checker::default(),
            helpers_done: Vec::new(),
            helpers: 0,
            drains: true,
        }
    }

    /// One turn. `hook` sees every completion before it is remembered.
    pub fn turn_with(
        &mut self,
        patience: Duration,
        mut hook: impl FnMut(&mut Desk<'_, '_>, &mut Completion<'_, Post>),
    ) -> Turn {
        let Station { port, clock, seen, streams, gathers, checker, helpers_done, .. } = self;
        let until = clock.now() + patience;
        self.turns += 1;
        let turn = port.dispatch(Some(until), |operations, mut completion| {
            checker.completed(&completion);
            hook(&mut Desk { operations, checker }, &mut completion);
            seen.push(match completion {
                Completion::Accepted { listener, stream, .. } => {
                    streams.push(stream);
                    Seen::Accepted(listener)
                }
                Completion::AcceptPaused { .. } => Seen::AcceptPaused,
                Completion::ListenerClosed { listener, .. } => Seen::ListenerClosed(listener),
                Completion::Connected { connection, .. } => Seen::Connected(connection),
                Completion::ConnectFailed { connection, error, .. } => Seen::ConnectFailed(connection, error),
                Completion::Received { connection, bytes, .. } => Seen::Received(connection, bytes.to_vec()),
                Completion::PeerFinished { connection, .. } => Seen::PeerFinished(connection),
                Completion::ReceiveEnded { connection, error, .. } => Seen::ReceiveEnded(connection, error),
                Completion::Sent { connection, gather, error, .. } => {
                    let left = gather.len();
                    gathers.push(gather);
                    Seen::Sent(connection, left, error)
                }
                Completion::Closed { connection, .. } => Seen::Closed(connection),
                Completion::Detached { connection, stream, .. } => {
                    streams.push(stream);
                    Seen::Detached(connection)
                }
                Completion::Posted { value: Post::Done(helper), .. } => {
                    helpers_done.push(helper);
                    Seen::Other
                }
                Completion::Posted { value: Post::Number(thread, number), .. } => Seen::Number(thread, number),
                Completion::Posted { value: Post::Stream(stream), .. } => {
                    streams.push(stream);
                    Seen::Other
                }
                _ => Seen::Other,
            });
        });
        turn.expect("the port works")
    }

    /// A turn that does not wait.
    pub fn glance(&mut self) -> Turn {
        self.turn_with(Duration::ZERO, remember)
    }

    /// Dispatches until `done`, or fails.
    pub fn wait(&mut self, what: &str, done: impl Fn(&Station) -> bool) {
        self.wait_with(what, remember, done);
    }

    /// Dispatches with `hook` until `done`, or fails.
    pub fn wait_with(
        &mut self,
        what: &str,
        mut hook: impl FnMut(&mut Desk<'_, '_>, &mut Completion<'_, Post>),
        done: impl Fn(&Station) -> bool,
    ) {
        let end = self.clock.now() + PATIENCE;
        while !done(self) {
            let left = end.since(self.clock.now());
            assert!(!left.is_zero(), "waited in vain for {what}; seen: {}", self.summary());
            self.turn_with(left, &mut hook);
        }
    }

    fn summary(&self) -> String {
        let short = |seen: &Seen| match seen {
            Seen::Received(connection, bytes) => format!("Received({connection:?}, {} bytes)", bytes.len()),
            other => format!("{other:?}"),
        };
        let last = self.seen.len().saturating_sub(40);
        self.seen[last..].iter().map(short).collect::<Vec<_>>().join("; ")
    }

    pub fn wait_seen(&mut self, expected: &Seen) {
        self.wait(&format!("{expected:?}"), |station| station.seen.contains(expected));
    }

    pub fn wait_closed(&mut self, connection: ConnectionId) {
        self.wait_seen(&Seen::Closed(connection));
    }

    pub fn submit<R>(&mut self, submit: impl FnOnce(&mut Desk<'_, '_>) -> R) -> R {
        let mut operations = self.port.operations();
        submit(&mut Desk { operations: &mut operations, checker: &mut self.checker })
    }

    pub fn port(&mut self) -> &mut Port<Post> {
        &mut self.port
    }

    pub fn poster(&self) -> Poster<Post> {
        self.port.poster()
    }

    pub fn is_live(&self, connection: ConnectionId) -> bool {
        self.checker.is_live(connection)
    }

    /// Everything received from `connection`, joined.
    pub fn bytes_of(&self, connection: ConnectionId) -> Vec<u8> {
        let received = |seen: &Seen| match seen {
            Seen::Received(from, bytes) if *from == connection => bytes.clone(),
            _ => Vec::new(),
        };
        self.seen.iter().flat_map(received).collect()
    }

    pub fn count(&self, matches: impl Fn(&Seen) -> bool) -> usize {
        self.seen.iter().filter(|seen| matches(seen)).count()
    }

    /// A listener on an address of the system's choice.
    pub fn listen(&mut self) -> (ListenerId, SocketAddr) {
        let listener = BoundListener::bind(localhost(), &ListenOptions::default()).expect("an address is free");
        let address = listener.local_address();
        (self.submit(|desk| desk.listen(listener)), address)
    }

    /// A connection that is not received on yet, and its peer.
    pub fn pair(&mut self) -> (ConnectionId, TcpStream) {
        self.pair_with(&StreamOptions::default())
    }

    pub fn pair_with(&mut self, options: &StreamOptions) -> (ConnectionId, TcpStream) {
        let (stream, peer) = self.accepted();
        let connection = self.submit(|desk| desk.adopt_with(stream, options)).expect("the port adopts");
        (connection, peer)
    }

    /// An accepted stream and its peer. The listener is closed again.
    pub fn accepted(&mut self) -> (Detached, TcpStream) {
        let (listener, address) = self.listen();
        let peer = peer(address);
        let before = self.streams.len();
        self.wait("an accept", |station| station.streams.len() > before);
        let stream = self.streams.pop().expect("it was waited for");
        self.submit(|desk| desk.operations.close_listener(listener)).expect("it is open");
        (stream, peer)
    }

    /// Runs `work` on another thread; [`join`](Station::join) dispatches until it is done.
    pub fn help<T: Send + 'static>(&mut self, work: impl FnOnce() -> T + Send + 'static) -> Helper<T> {
        let (number, poster) = (self.helpers, self.poster());
        self.helpers += 1;
        let thread = thread::spawn(move || {
            let _done = DoneGuard(number, poster);
            work()
        });
        Helper { number, thread }
    }

    pub fn join<T>(&mut self, helper: Helper<T>) -> T {
        self.join_with(helper, remember)
    }

    pub fn join_with<T>(
        &mut self,
        helper: Helper<T>,
        hook: impl FnMut(&mut Desk<'_, '_>, &mut Completion<'_, Post>),
    ) -> T {
        let Helper { number, thread } = helper;
        self.wait_with("a helper", hook, |station| station.helpers_done.contains(&number));
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Drops the port as it is, with everything open.
    pub fn drop_without_draining(mut self) {
        self.drains = false;
    }

    /// Ends everything and checks that everything ended.
    pub fn drain(&mut self) {
        for listener in self.checker.live_listeners() {
            let _ = self.submit(|desk| desk.operations.close_listener(listener));
        }
        for connection in self.checker.live() {
            // Refused if it is ending already.
            let _ = self.submit(|desk| desk.abort(connection));
        }
        self.wait("the last words", |station| {
            station.checker.live().is_empty() && station.checker.live_listeners().is_empty()
        });
        assert_eq!(self.port.operations().open(), 0, "names that live on");
        self.glance();
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        if self.drains && !thread::panicking() {
            self.drain();
        }
    }
}

/// Work on another thread.
pub struct Helper<T> {
    number: usize,
    thread: JoinHandle<T>,
}

/// Posts that a helper is done, even if it panics.
struct DoneGuard(usize, Poster<Post>);

impl Drop for DoneGuard {
    fn drop(&mut self) {
        let _ = self.1.post(HELPER, Post::Done(self.0));
    }
}

pub fn localhost() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A blocking socket that loses its patience.
pub fn peer(address: SocketAddr) -> TcpStream {
    impatient(TcpStream::connect_timeout(&address, PATIENCE).expect("somebody listens"))
}

fn impatient(peer: TcpStream) -> TcpStream {
    peer.set_read_timeout(Some(PATIENCE)).expect("an option");
    peer.set_write_timeout(Some(PATIENCE)).expect("an option");
    peer.set_nodelay(true).expect("an option");
    peer
}

/// Closes with a reset.
pub fn reset(peer: TcpStream) {
    socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("an option");
}

/// Everything until the end of the stream.
pub fn read_to_end(mut peer: &TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub fn read_exactly(mut peer: &TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    peer.read_exact(&mut bytes).expect("the bytes come");
    bytes
}

/// Small buffers in the kernel, so that a send meets its limits early.
pub fn narrow() -> StreamOptions {
    let mut options = StreamOptions::default();
    options.send_buffer_bytes = Some(64 * 1024);
    options
}

/// Bytes whose order can be checked: no two positions within four gigabytes of a stream look alike.
pub fn pattern(count: usize) -> Vec<u8> {
    (0..count as u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Numbers that are the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// Fails with a position instead of a megabyte of text.
pub fn assert_same(found: &[u8], expected: &[u8]) {
    let differs = found.iter().zip(expected).position(|(one, other)| one != other);
    assert_eq!(differs, None, "the bytes differ there");
    assert_eq!(found.len(), expected.len(), "the number of bytes");
}
