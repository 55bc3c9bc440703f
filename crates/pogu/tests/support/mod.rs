//! What the engine's tests share: cores on every driver, a session that reports what happens to it, a plain peer.
#![allow(dead_code)] // every test binary uses a part of it

pub mod jobs;
pub mod layered;
pub mod linked;
pub mod log;
pub mod pooled;
#[path = "../../../pogu-port/tests/faults/rounds.rs"]
pub mod rounds;
pub mod simulated;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use pogu::{Cause, CauseKind, Context, Core, CoreBuilder, DriverChoice, Error, Packet, Room, Session};

/// No event of these tests takes this long unless something is broken.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub const JOIN: u16 = 1;
pub const SAY: u16 = 2;
pub const ECHO: u16 = 3;
pub const LEAVE: u16 = 4;
pub const QUIT: u16 = 5;
pub const PANIC: u16 = 6;
pub const FLOOD: u16 = 7;
pub const FAREWELL: u16 = 8;

/// Makes one test per driver of each function `fn name(driver: DriverChoice)`.
#[macro_export]
macro_rules! on_every_driver {
    ($($name:ident),* $(,)?) => {
        #[cfg(unix)]
        mod readiness {
            $(#[test] fn $name() { super::$name(pogu::DriverChoice::Readiness) })*
        }
        #[cfg(windows)]
        mod iocp {
            $(#[test] fn $name() { super::$name(pogu::DriverChoice::Iocp) })*
        }
        #[cfg(unix)]
        mod uring {
            $(#[test] fn $name() {
                if $crate::support::runs(pogu::DriverChoice::Uring) { super::$name(pogu::DriverChoice::Uring) }
            })*
        }
    };
}

/// The driver that runs on every machine with this system.
pub const PLAIN_DRIVER: DriverChoice = if cfg!(windows) { DriverChoice::Iocp } else { DriverChoice::Readiness };

/// Says what is not tested here, and why, where the test harness does not hide it.
pub fn skipped(why: &str) {
    let _ = std::io::stderr().write_all(format!("SKIPPED {why}\n").as_bytes());
}

/// Whether a text says that an address is taken: in the words of the system, or, if it has none, with its number.
pub fn says_in_use(text: &str) -> bool {
    text.contains("in use") || cfg!(windows) && text.contains("os error 10048")
}

/// Whether a driver runs here; says so if not. Fails where `POGU_REQUIRE_URING` says that it must.
pub fn runs(driver: DriverChoice) -> bool {
    match core(driver, 1).hand_out() {
        Ok(_) => true,
        Err(error @ Error::Driver(_)) => {
            assert!(std::env::var_os("POGU_REQUIRE_URING").is_none(), "{error}");
            skipped(&error.to_string());
            false
        }
        Err(error) => panic!("{error}"),
    }
}

pub fn core(driver: DriverChoice, workers: usize) -> CoreBuilder {
    let mut port = pogu::PortConfig::default();
    port.receive_buffers = 256;
    port.posts_max = 4096;
    Core::builder().driver(driver).workers(workers).port(port)
}

#[derive(Debug, PartialEq)]
pub enum Event {
    Connected { worker: usize },
    Joined(Room),
    Stopping,
    Timer,
    Disconnected(Cause),
    Dropped,
}

/// Does what packets tell it, and reports what happens to it.
pub struct Probe {
    pub events: Sender<Event>,
    pub panic_on_drop: bool,
    pub farewell: bool,
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Dropped);
        assert!(!self.panic_on_drop, "a planted panic in a Drop");
    }
}

impl Session for Probe {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        let _ = self.events.send(Event::Connected { worker: cx.worker() });
    }

    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let number = |packet: Packet<'_>| packet.reader().u32().expect("a number");
        match packet.id() {
            JOIN => assert_eq!(cx.join(Room(number(packet).into())), pogu::JoinOutcome::Asked),
            LEAVE => assert!(cx.leave(Room(number(packet).into()))),
            SAY => {
                let (room, text) = packet.body().split_at(4);
                let room = u32::from_le_bytes(room.try_into().expect("four bytes"));
                assert_eq!(cx.broadcast(Room(room.into()), SAY, text), pogu::BroadcastOutcome::Posted);
            }
            QUIT => cx.disconnect("asked to quit"),
            PANIC => panic!("a planted panic in a handler"),
            FLOOD => flood(cx, number(packet)),
            FAREWELL => {
                flood(cx, number(packet));
                cx.disconnect("said farewell");
            }
            id => drop(cx.send(id, packet.body())),
        }
    }

    fn on_joined(&mut self, cx: &mut Context<'_>, room: Room) {
        let _ = self.events.send(Event::Joined(room));
        cx.send(JOIN, &(room.0 as u32).to_le_bytes());
    }

    fn on_timer(&mut self, _cx: &mut Context<'_>) {
        let _ = self.events.send(Event::Timer);
    }

    fn on_stopping(&mut self, cx: &mut Context<'_>) {
        let _ = self.events.send(Event::Stopping);
        if self.farewell {
            cx.send(FAREWELL, b"farewell");
        }
    }

    fn on_disconnected(&mut self, cx: &mut Context<'_>, cause: &Cause) {
        assert!(!cx.is_live());
        assert_eq!(cx.send(ECHO, b"too late"), pogu::SendOutcome::Gone);
        let _ = self.events.send(Event::Disconnected(cause.clone()));
    }
}

/// A session that is its handler of packets.
pub struct Act<F>(pub F);

impl<F: FnMut(&mut Context<'_>, Packet<'_>) + 'static> Session for Act<F> {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        (self.0)(cx, packet);
    }
}

fn flood(cx: &mut Context<'_>, frames: u32) {
    for index in 0..frames {
        cx.send(FLOOD, &flood_body(index));
    }
}

/// 1,000 bytes that tell their number.
pub fn flood_body(index: u32) -> Vec<u8> {
    let mut body = vec![index as u8; 1000];
    body[..4].copy_from_slice(&index.to_le_bytes());
    body
}

/// A factory of probes, and what they report.
pub fn probes() -> (impl Fn(pogu::Incoming) -> Probe + Send + Sync + Clone + 'static, Receiver<Event>) {
    let (events, reports) = channel();
    (move |_| Probe { events: events.clone(), panic_on_drop: false, farewell: false }, reports)
}

/// The next report; fails the test if none comes.
pub fn next(reports: &Receiver<Event>) -> Event {
    reports.recv_timeout(PATIENCE).expect("a report")
}

/// Waits for the report of an end, skipping others; gives the kind of its cause.
pub fn next_end(reports: &Receiver<Event>) -> CauseKind {
    loop {
        if let Event::Disconnected(cause) = next(reports) {
            return cause.kind();
        }
    }
}

/// Calls `check` until it is true; fails the test if it never is. For counters, which have no event to wait for.
pub fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !check() {
        assert!(begun.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::yield_now();
    }
}

/// A peer on a plain blocking socket, speaking course frames.
pub struct Peer {
    pub stream: TcpStream,
}

impl Peer {
    pub fn connect(address: SocketAddr) -> Peer {
        Peer::on(TcpStream::connect(address).expect("connect"))
    }

    /// `None` if the server has reset the connection before the call that makes it has returned.
    pub fn connect_unless_reset(address: SocketAddr) -> Option<Peer> {
        match TcpStream::connect(address) {
            Ok(stream) => Some(Peer::on(stream)),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("connect: {error}"),
        }
    }

    fn on(stream: TcpStream) -> Peer {
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream.set_nodelay(true).expect("nodelay");
        Peer { stream }
    }

    pub fn send(&mut self, id: u16, body: &[u8]) {
        self.stream.write_all(&frame(id, body)).expect("write");
    }

    pub fn number(&mut self, id: u16, number: u32) {
        self.send(id, &number.to_le_bytes());
    }

    /// The next frame: id and body.
    pub fn receive(&mut self) -> (u16, Vec<u8>) {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).expect("a header");
        let size = usize::from(u16::from_le_bytes([header[0], header[1]]));
        let mut body = vec![0; size - 4];
        self.stream.read_exact(&mut body).expect("a body");
        (u16::from_le_bytes([header[2], header[3]]), body)
    }

    pub fn join(&mut self, room: u32) {
        self.number(JOIN, room);
        assert_eq!(self.receive(), (JOIN, room.to_le_bytes().to_vec()));
    }

    pub fn say(&mut self, room: u32, text: &[u8]) {
        self.send(SAY, &[&room.to_le_bytes(), text].concat());
    }

    /// Reads until the connection ends. True if it ended with an end of stream, false if with a reset.
    pub fn ends_well(&mut self) -> (Vec<u8>, bool) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => (rest, true),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => (rest, false),
            Err(error) => panic!("neither an end nor a reset: {error}"),
        }
    }

    /// Closes with a reset.
    pub fn reset(self) {
        let socket = socket2::Socket::from(self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("linger");
    }
}

/// True if a connection is reset before anything is said, which may be before `connect` returns.
pub fn is_reset_at_once(address: SocketAddr) -> bool {
    let reset = |error: std::io::Error| error.kind() == ErrorKind::ConnectionReset;
    let stream = match TcpStream::connect(address) {
        Ok(stream) => stream,
        Err(error) => return reset(error),
    };
    stream.set_read_timeout(Some(PATIENCE)).and_then(|()| (&stream).read_exact(&mut [0])).is_err_and(reset)
}

pub fn frame(id: u16, body: &[u8]) -> Vec<u8> {
    let size = u16::try_from(body.len() + 4).expect("a small body");
    [&size.to_le_bytes(), &id.to_le_bytes(), body].concat()
}
