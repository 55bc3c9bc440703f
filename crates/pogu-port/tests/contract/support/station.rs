//! Ports with a memory.

use std::cell::Cell;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use pogu_port::{
    Clock, Completion, ConnectionId, Detached, Gather, ListenerId, OsError, Port, PortSeed, Poster, StreamOptions, Turn,
};

use super::checker::Checker;
use super::desk::Desk;
use super::peer::{Activity, Peer};
use super::stage::Stage;
use super::threads::Post;
use super::world::{PATIENCE, localhost};

/// How long a turn waits while a peer waits too: what the peer waits for may need no completion.
const PACE: Duration = Duration::from_millis(1);

/// More turns than any scenario needs, for worlds where time passes only in turns that wait.
const TURNS_MAX: usize = 500_000;

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
    stage: Stage,
    checker: Checker,
    pub helpers_done: Vec<usize>,
    drains: bool,
}

/// A hook that changes nothing: everything is consumed and remembered.
pub fn remember(_: &mut Desk<'_, '_>, _: &mut Completion<'_, Post>) {}

impl Station {
    pub fn start(stage: &Stage, seed: PortSeed<Post>) -> Station {
        Station {
            port: seed.start().expect("a port starts"),
            clock: stage.clock(),
            stage: stage.clone(),
            seen: Vec::new(),
            streams: Vec::new(),
            gathers: Vec::new(),
            turns: 0,
            checker: Checker::default(),
            helpers_done: Vec::new(),
            drains: true,
        }
    }

    /// One turn, and what the peers can do before it. `hook` sees every completion before it is remembered.
    pub fn turn_with(
        &mut self,
        patience: Duration,
        hook: impl FnMut(&mut Desk<'_, '_>, &mut Completion<'_, Post>),
    ) -> Turn {
        let patience = match self.stage.act() {
            Activity::Idle => patience,
            Activity::Waiting => patience.min(PACE),
            Activity::Busy => Duration::ZERO,
        };
        self.turn_alone(patience, hook)
    }

    /// How many turns there are in that time, in which the port waits for nobody but the system: peers have done all that they
    /// can before each.
    pub fn turns_in(
        &mut self,
        time: Duration,
        mut hook: impl FnMut(&mut Desk<'_, '_>, &mut Completion<'_, Post>),
    ) -> usize {
        let (before, end) = (self.turns, self.clock.now() + time);
        while self.clock.now() < end {
            while self.stage.act() == Activity::Busy {}
            let left = end.since(self.clock.now());
            self.turn_alone(left, &mut hook);
        }
        self.turns - before
    }

    /// One turn of the port alone.
    fn turn_alone(
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
            seen.push(remembered(completion, streams, gathers, helpers_done));
        });
        let turn = turn.expect("the port works");
        if turn.completions == 0 {
            self.stage.world().pass(until);
        }
        turn
    }

    /// A turn that does not wait.
    pub fn glance(&mut self) -> Turn {
        self.turn_with(Duration::ZERO, remember)
    }

    /// Some turns in which whatever is on its way arrives.
    pub fn settle(&mut self) {
        for _ in 0..5 {
            self.turn_with(PACE, remember);
        }
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
        let (end, turns) = (self.clock.now() + PATIENCE, self.turns);
        while !done(self) {
            let left = end.since(self.clock.now());
            let patient = !left.is_zero() && self.turns - turns < TURNS_MAX;
            assert!(patient, "waited in vain for {what}; seen: {}", self.summary());
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

    /// How many bytes were received from `connection`.
    pub fn count_from(&self, connection: ConnectionId) -> usize {
        let received = |seen: &Seen| match seen {
            Seen::Received(from, bytes) if *from == connection => bytes.len(),
            _ => 0,
        };
        self.seen.iter().map(received).sum()
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
        let listener = self.stage.bind(localhost()).expect("an address is free");
        let address = listener.local_address();
        (self.submit(|desk| desk.listen(listener)), address)
    }

    /// A connection that is not received on yet, and its peer.
    pub fn pair(&mut self) -> (ConnectionId, Peer) {
        self.pair_with(&StreamOptions::default())
    }

    pub fn pair_with(&mut self, options: &StreamOptions) -> (ConnectionId, Peer) {
        let (stream, peer) = self.accepted();
        let connection = self.submit(|desk| desk.adopt_with(stream, options)).expect("the port adopts");
        (connection, peer)
    }

    /// An accepted stream and its peer. The listener is closed again.
    pub fn accepted(&mut self) -> (Detached, Peer) {
        let (listener, address) = self.listen();
        let accepted = self.accepted_at(address);
        self.submit(|desk| desk.operations.close_listener(listener)).expect("it is open");
        accepted
    }

    /// An accepted stream of a listener of this port, and its peer.
    pub fn accepted_at(&mut self, address: SocketAddr) -> (Detached, Peer) {
        let peer = self.stage.connect(address);
        let before = self.streams.len();
        self.wait("an accept", |station| station.streams.len() > before);
        (self.streams.pop().expect("it was waited for"), peer)
    }

    /// Lets two connections receive at once: whichever is served first aborts the other, whose bytes are late then.
    pub fn duel(&mut self, address: SocketAddr) {
        let rivals = [(); 2].map(|()| {
            let (stream, mut peer) = self.accepted_at(address);
            peer.write(b"en garde");
            (self.submit(|desk| desk.adopt(stream)), peer)
        });
        self.settle();
        let [(one, _), (other, _)] = &rivals;
        self.submit(|desk| [*one, *other].map(|rival| desk.receive(rival).expect("it is open")));
        let loser = Cell::new(None);
        let strike = |desk: &mut Desk<'_, '_>, completion: &mut Completion<'_, Post>| {
            if let (Completion::Received { connection, .. }, None) = (completion, loser.get()) {
                loser.set(Some(if connection == one { *other } else { *one }));
                desk.abort(loser.get().expect("it was just set")).expect("it is open");
            }
        };
        let lost = |seen: &Seen| matches!(seen, Seen::Closed(connection) if loser.get() == Some(*connection));
        self.wait_with("the loser's end", strike, |station| station.seen.iter().any(lost));
        let winner = if loser.get() == Some(*one) { *other } else { *one };
        self.submit(|desk| desk.abort(winner)).expect("it is open");
        self.wait_closed(winner);
        for rival in [*one, *other] {
            let bytes = self.count_from(rival);
            assert_eq!(bytes, if rival == winner { 8 } else { 0 }, "bytes after an abort");
        }
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

/// What is kept of a completion; what it owns goes to the other places.
fn remembered(
    completion: Completion<'_, Post>,
    streams: &mut Vec<Detached>,
    gathers: &mut Vec<Gather>,
    helpers_done: &mut Vec<usize>,
) -> Seen {
    match completion {
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
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        if thread::panicking() {
            return;
        }
        if self.drains {
            self.drain();
        }
        assert_eq!(self.port.counters().memory_faults, 0, "operations that ended with EFAULT");
    }
}

/// A hook that sends back what comes from `connection`.
pub fn echo(connection: ConnectionId) -> impl FnMut(&mut Desk<'_, '_>, &mut Completion<'_, Post>) {
    move |desk, completion| match completion {
        Completion::Received { connection: from, bytes, .. } if *from == connection => desk.send(connection, bytes),
        _ => {}
    }
}
