//! A port that echoes, whatever fails, and counts what it sees.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use pogu_port::{
    BoundListener, Clock, Completion, ConnectionId, Counters, DriverKind, Faults, Gather, ListenOptions, Operations,
    Owner, Port, PortConfig, PortSeed, Selection, StreamOptions,
};

pub const PATIENCE: Duration = Duration::from_secs(20);

const LISTENER: Owner = Owner(0);
const SESSION: Owner = Owner(1);

pub struct Server {
    pub port: Port<()>,
    pub driver: DriverKind,
    pub faults: Faults,
    pub address: SocketAddr,
    pub seen: Seen,
    /// A release that comes too early is planted.
    pub planted: bool,
    clock: Clock,
}

/// What came out of the port.
#[derive(Default)]
pub struct Seen {
    sessions: HashMap<ConnectionId, Session>,
    /// The addresses of the clients that were adopted.
    pub served: Vec<SocketAddr>,
    pub pauses: usize,
    pub refused_adopts: usize,
    /// Codes of receives and sends that failed.
    pub failed: Vec<i32>,
    pub failed_dispatches: usize,
    pub connected: Vec<ConnectionId>,
    pub failed_connects: Vec<(ConnectionId, i32)>,
    pub closed: usize,
    pub closed_listeners: usize,
}

#[derive(Default)]
struct Session {
    unsent: Gather,
    sends: bool,
    finished: bool,
    ending: bool,
}

impl Server {
    pub fn start(selection: &Selection) -> Server {
        Server::start_with(selection, |_| {})
    }

    pub fn start_with(selection: &Selection, change: impl FnOnce(&mut PortConfig)) -> Server {
        let mut config = PortConfig::default();
        change(&mut config);
        let mut port = PortSeed::open(selection, &config).expect("opens").start().expect("starts");
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let bound = BoundListener::bind(address, &ListenOptions::default()).expect("binds");
        let address = bound.local_address();
        port.operations().listen(LISTENER, bound).map_err(|refused| refused.error).expect("listens");
        let (faults, clock) = (config.faults, config.clock);
        Server { port, driver: selection.kind(), faults, address, seen: Seen::default(), planted: false, clock }
    }

    pub fn turn(&mut self, patience: Duration) {
        let Server { port, seen, clock, .. } = self;
        let until = clock.now() + patience;
        let turn = port.dispatch(Some(until), |operations, completion| seen.complete(operations, completion));
        self.seen.failed_dispatches += usize::from(turn.is_err());
    }

    pub fn run_for(&mut self, duration: Duration) {
        let end = self.clock.now() + duration;
        loop {
            let left = end.since(self.clock.now());
            if left.is_zero() {
                return;
            }
            self.turn(left);
        }
    }

    /// Dispatches until `done`, which it looks at after every turn and every 10 ms.
    pub fn run_until(&mut self, what: &str, mut done: impl FnMut(&mut Server) -> bool) {
        let began = Instant::now();
        while !done(self) {
            assert!(began.elapsed() < PATIENCE, "waited in vain for {what}: {:?}", self.counters());
            self.turn(Duration::from_millis(10));
        }
    }

    pub fn counters(&mut self) -> Counters {
        self.port.counters()
    }

    /// A client that was served: accepted and answered.
    pub fn serve_one(&mut self) {
        use std::io::{Read, Write};
        let mut client = client(self.address);
        let from = client.local_addr().expect("is bound");
        client.write_all(b"ping").expect("there is room");
        self.run_until("a client to be served", |server| server.seen.served.contains(&from));
        client.set_nonblocking(true).expect("an option");
        self.run_until("an answer", |_| client.peek(&mut [0; 4]).is_ok_and(|count| count == 4));
        let mut answer = [0; 4];
        client.read_exact(&mut answer).expect("is there");
        assert_eq!(&answer, b"ping");
    }

    /// Ends one of its own connections.
    #[cfg(windows)]
    pub fn abort(&mut self, connection: ConnectionId) {
        self.seen.session(connection).end(&mut self.port.operations(), connection);
    }

    /// So many clients, each of which the port has to refuse to adopt.
    pub fn refuse_clients(&mut self, times: u32) {
        let before = self.seen.refused_adopts;
        for _ in 0..times {
            drop(client(self.address));
        }
        self.run_until("refusals", |server| server.seen.refused_adopts - before == times as usize);
    }

    /// Nothing is left but the listener.
    pub fn settle(&mut self) {
        self.run_until("the sessions to end", |server| server.port.operations().open() == 1);
        assert!(self.seen.sessions.is_empty(), "every session has had its last word");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.planted && !std::thread::panicking() {
            assert_eq!(self.counters().memory_faults, 0, "operations that ended with EFAULT");
        }
    }
}

impl Seen {
    fn complete(&mut self, operations: &mut Operations<'_>, completion: Completion<'_, ()>) {
        match completion {
            Completion::Accepted { stream, .. } => self.accepted(operations, stream),
            Completion::AcceptPaused { .. } => self.pauses += 1,
            Completion::Connected { connection, .. } => {
                self.sessions.insert(connection, Session::default());
                self.connected.push(connection);
            }
            Completion::ConnectFailed { connection, error, .. } => {
                self.failed_connects.push((connection, error.code()))
            }
            Completion::Received { connection, bytes, .. } => {
                if let Some(session) = self.sessions.get_mut(&connection) {
                    session.unsent.push(&bytes);
                    session.go_on(operations, connection);
                }
            }
            Completion::PeerFinished { connection, .. } => {
                let session = self.session(connection);
                session.finished = true;
                session.go_on(operations, connection);
            }
            Completion::ReceiveEnded { connection, error, .. } => {
                let error = error.expect("nobody pauses");
                if !self.session(connection).ending {
                    self.failed.push(error.code());
                    self.session(connection).end(operations, connection);
                }
            }
            Completion::Sent { connection, gather, error, .. } => {
                if let Some(error) = error.filter(|_| !self.session(connection).ending) {
                    self.failed.push(error.code());
                    self.session(connection).end(operations, connection);
                }
                assert!(gather.is_empty() || error.is_some(), "what is sent is sent whole");
                let session = self.session(connection);
                session.sends = false;
                session.go_on(operations, connection);
            }
            Completion::Closed { connection, .. } => {
                self.sessions.remove(&connection);
                self.closed += 1;
            }
            Completion::ListenerClosed { .. } => self.closed_listeners += 1,
            other => panic!("unexpected: {other:?}"),
        }
    }

    fn accepted(&mut self, operations: &mut Operations<'_>, stream: pogu_port::Detached) {
        let from = stream.peer_address();
        match operations.adopt(SESSION, stream, &StreamOptions::default()) {
            Ok(connection) => {
                operations.receive(connection).expect("it is open");
                self.sessions.insert(connection, Session::default());
                self.served.extend(from);
            }
            Err(_) => self.refused_adopts += 1,
        }
    }

    fn session(&mut self, connection: ConnectionId) -> &mut Session {
        self.sessions.get_mut(&connection).expect("nothing comes after the last word, nor before the first")
    }
}

impl Session {
    fn go_on(&mut self, operations: &mut Operations<'_>, connection: ConnectionId) {
        if self.sends || self.ending {
            return;
        }
        if !self.unsent.is_empty() {
            self.sends = true;
            let gather = std::mem::take(&mut self.unsent);
            operations.send(connection, gather).map_err(|refused| refused.error).expect("none is in flight");
        } else if self.finished {
            self.ending = true;
            operations.close(connection).expect("it is open");
        }
    }

    fn end(&mut self, operations: &mut Operations<'_>, connection: ConnectionId) {
        if !self.ending {
            self.ending = true;
            operations.abort(connection).expect("it is open");
        }
    }
}

/// A blocking client that loses its patience.
pub fn client(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect_timeout(&address, PATIENCE).expect("somebody listens");
    impatient(&client);
    client
}

pub fn impatient(client: &TcpStream) {
    client.set_read_timeout(Some(PATIENCE)).expect("an option");
    client.set_write_timeout(Some(PATIENCE)).expect("an option");
}

/// Closes with a reset.
pub fn reset(client: TcpStream) {
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("an option");
}
