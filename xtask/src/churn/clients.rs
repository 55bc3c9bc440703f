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

/// How the connections went.
#[derive(Clone, Copy, Default, Debug)]
pub struct Ends {
    pub finished: usize,
    pub reset: usize,
    pub with_data: usize,
    pub no_free_address: usize,
}

impl Ends {
    pub fn opened(&self) -> usize {
        self.finished + self.reset
    }

    pub fn add(&mut self, other: &Ends) {
        self.finished += other.finished;
        self.reset += other.reset;
        self.with_data += other.with_data;
        self.no_free_address += other.no_free_address;
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
    let burst = frame(1000).repeat(4);
    for index in 0..connections {
        let stream = connect(server, thread + index * THREADS, &mut ends).map_err(|error| error.to_string())?;
        let (reset, with_data) = (index % 2 == 1, index % 4 >= 2);
        // The server has it from here on: no more than the windows of all clients are open at the same time.
        let mut probe = Probe(stream);
        probe.round_trip().map_err(|error| format!("a first round trip: {error}"))?;
        let Probe(stream) = probe;
        let mut one = Open { stream, reset, answers: if with_data { burst.len() } else { 0 } };
        if with_data {
            one.stream.write_all(&burst).map_err(|error| format!("a send: {error}"))?;
            ends.with_data += 1;
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

/// Resets, or reads the answers to the end.
fn end(mut one: Open, ends: &mut Ends) -> Result<(), String> {
    if one.reset {
        ends.reset += 1;
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

/// Connects from the source of that number; where it has no free port, from the next.
fn connect(server: SocketAddr, number: usize, ends: &mut Ends) -> std::io::Result<TcpStream> {
    for attempt in 0..ADDRESSES {
        let host = u8::try_from(2 + (number + attempt) % ADDRESSES).unwrap_or(2);
        let source = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), 0);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
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

/// Many clients that speak before any of them listens; every answer is checked.
pub fn crowd(server: SocketAddr) -> Result<(), Failure> {
    let mut streams = (0..CROWD).map(|_| TcpStream::connect(server)).collect::<Result<Vec<_>, _>>()?;
    let said = frame(2_000).repeat(20);
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
    Ok(())
}

/// A client that asks whether the server answers.
pub struct Probe(TcpStream);

impl Probe {
    pub fn connect(server: SocketAddr) -> Result<Probe, Failure> {
        let stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Probe(stream))
    }

    pub fn round_trip(&mut self) -> Result<(), Failure> {
        let said = frame(8);
        self.0.write_all(&said)?;
        let mut answer = vec![0; said.len()];
        self.0.read_exact(&mut answer)?;
        if answer == said { Ok(()) } else { Err("the probe was answered wrongly".into()) }
    }
}
