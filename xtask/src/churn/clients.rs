//! The clients: each opens a connection from the next loopback address, and ends it in one of four ways.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::Failure;

const THREADS: usize = 2;

/// Sources from 127.0.0.2 on: each has ports of its own.
const ADDRESSES: usize = 128;

/// Clients that speak at once; together they fill more receive buffers than a port has.
pub const CROWD: usize = 500;

const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of an ECHO frame's body in a burst, and frames of the two bursts: the first is answered, the second is about as much
/// as a server takes from one session per turn, so that it is not through with it when the reset comes.
const BODY: usize = 1_000;
const ANSWERED: usize = 4;
const IN_FLIGHT: usize = 64;

/// What a client takes without reading; the system doubles it. Less than the answers to a burst in flight: they cannot all
/// be here at its reset, however fast the server is.
const RECEIVE_BUFFER: usize = 8 * 1024;

/// Frames that each of the crowd says.
const CROWD_FRAMES: usize = 20;

/// How the connections went.
#[derive(Clone, Copy, Default, Debug)]
pub struct Ends {
    pub finished: usize,
    pub reset: usize,
    /// Of these, were to be reset with data in flight.
    pub reset_speaking: usize,
    /// Of these, had unread answers here and frames without an answer, looked at just before the reset.
    pub reset_in_flight: usize,
    /// Frames that had no answer at those looks.
    pub unanswered: usize,
    pub no_free_address: usize,
    /// Whole frames that left here. Of those of an orderly end every one is answered.
    pub frames: usize,
}

impl Ends {
    pub fn opened(&self) -> usize {
        self.finished + self.reset
    }

    pub fn add(&mut self, other: &Ends) {
        self.finished += other.finished;
        self.reset += other.reset;
        self.reset_speaking += other.reset_speaking;
        self.reset_in_flight += other.reset_in_flight;
        self.unanswered += other.unanswered;
        self.no_free_address += other.no_free_address;
        self.frames += other.frames;
    }
}

/// An ECHO frame of the course: size, id, body.
fn frame(body: usize) -> Vec<u8> {
    let size = u16::try_from(body + 4).unwrap_or(u16::MAX).to_le_bytes();
    [&size[..], &3u16.to_le_bytes(), &vec![0xA5; body]].concat()
}

pub fn run(server: SocketAddr, connections: usize, window: usize) -> Result<Ends, Failure> {
    let share = connections / THREADS;
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || some(server, thread, share, window))).collect();
        let mut ends = Ends::default();
        for client in clients {
            let those = client.join().map_err(|_| "a client panicked")??;
            ends.add(&those);
        }
        Ok(ends)
    })
    .map_err(|error: String| error.into())
}

/// A connection that is to end in its way once it leaves the window.
struct Open {
    stream: TcpStream,
    reset: bool,
    answers: usize,
}

fn some(server: SocketAddr, thread: usize, connections: usize, window: usize) -> Result<Ends, String> {
    let mut ends = Ends::default();
    let mut open = VecDeque::new();
    let burst = frame(BODY).repeat(ANSWERED);
    for index in 0..connections {
        let stream = connect(server, thread + index * THREADS, &mut ends).map_err(|error| error.to_string())?;
        let (reset, with_data) = (index % 2 == 1, index % 4 >= 2);
        // The server has it from here on: no more than the windows of all clients are open at the same time.
        let mut probe = Probe { stream, frames: 0 };
        probe.round_trip().map_err(|error| format!("a first round trip: {error}"))?;
        ends.frames += probe.frames;
        let stream = probe.stream;
        let mut one = Open { stream, reset, answers: if with_data { burst.len() } else { 0 } };
        if with_data {
            one.stream.write_all(&burst).map_err(|error| format!("a send: {error}"))?;
            ends.frames += ANSWERED;
        }
        if !reset {
            one.stream.shutdown(Shutdown::Write).map_err(|error| format!("a shutdown: {error}"))?;
        }
        open.push_back(one);
        if open.len() > window
            && let Some(oldest) = open.pop_front()
        {
            end(oldest, &mut ends)?;
        }
    }
    open.into_iter().try_for_each(|one| end(one, &mut ends))?;
    Ok(ends)
}

/// Resets, with data in flight if it spoke, or reads the answers to the end.
fn end(mut one: Open, ends: &mut Ends) -> Result<(), String> {
    if one.reset {
        ends.reset += 1;
        if one.answers > 0 {
            fly(&mut one.stream, ends).map_err(|error| format!("a burst before a reset: {error}"))?;
        }
        let socket = Socket::from(one.stream);
        return socket.set_linger(Some(Duration::ZERO)).map_err(|error| format!("an option: {error}"));
    }
    let mut answers = Vec::new();
    one.stream.read_to_end(&mut answers).map_err(|error| format!("an orderly end: {error}"))?;
    if answers.len() != one.answers {
        return Err(format!("{} bytes came back of {}", answers.len(), one.answers));
    }
    ends.finished += 1;
    Ok(())
}

/// Brings data in flight, both ways: waits until answers lie here unread, then says more than is answered before the reset
/// that follows at once, and looks.
fn fly(stream: &mut TcpStream, ends: &mut Ends) -> std::io::Result<()> {
    if stream.peek(&mut [0])? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let size = frame(BODY).len();
    let burst = frame(BODY).repeat(IN_FLIGHT);
    let mut answers = vec![0; (ANSWERED + IN_FLIGHT) * size];
    stream.set_nonblocking(true)?;
    let sent = match stream.write(&burst) {
        Ok(taken) => taken / size,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    let answered = stream.peek(&mut answers)?.div_ceil(size);
    let unanswered = (ANSWERED + sent).saturating_sub(answered);
    ends.frames += sent;
    ends.unanswered += unanswered;
    ends.reset_speaking += 1;
    ends.reset_in_flight += usize::from(unanswered > 0);
    Ok(())
}

/// Connects from the source of that number; where it has no free port, from the next.
fn connect(server: SocketAddr, number: usize, ends: &mut Ends) -> std::io::Result<TcpStream> {
    for attempt in 0..ADDRESSES {
        let host = u8::try_from(2 + (number + attempt) % ADDRESSES).unwrap_or(2);
        let source = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), 0);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        let connected = socket.bind(&source.into()).and_then(|()| socket.connect(&server.into()));
        match connected.map_err(|error| (error.kind(), error)) {
            Ok(()) => {
                let stream = TcpStream::from(socket);
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err((ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable, _)) => ends.no_free_address += 1,
            Err((_, error)) => return Err(error),
        }
    }
    Err(std::io::Error::new(ErrorKind::AddrNotAvailable, "no source address has a free port"))
}

/// Many clients that speak before any of them listens; every answer is checked. Says how many frames there were.
pub fn crowd(server: SocketAddr) -> Result<usize, Failure> {
    let mut streams = (0..CROWD).map(|_| TcpStream::connect(server)).collect::<Result<Vec<_>, _>>()?;
    let said = frame(2_000).repeat(CROWD_FRAMES);
    for stream in &mut streams {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&said)?;
    }
    for mut stream in streams {
        let mut answers = vec![0; said.len()];
        stream.read_exact(&mut answers)?;
        if answers != said {
            return Err("a client of the crowd was answered wrongly".into());
        }
    }
    Ok(CROWD * CROWD_FRAMES)
}

/// A client that asks whether the server answers.
pub struct Probe {
    stream: TcpStream,
    /// Frames that it has sent.
    pub frames: usize,
}

impl Probe {
    pub fn connect(server: SocketAddr) -> Result<Probe, Failure> {
        let stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Probe { stream, frames: 0 })
    }

    pub fn round_trip(&mut self) -> Result<(), Failure> {
        let said = frame(8);
        self.stream.write_all(&said)?;
        self.frames += 1;
        let mut answer = vec![0; said.len()];
        self.stream.read_exact(&mut answer)?;
        if answer == said { Ok(()) } else { Err("the probe was answered wrongly".into()) }
    }
}
