//! One connection: the frame that has not come whole, and what the socket did not take.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::frames::{Unfinished, Unreadable};
use crate::message::Form;

/// How long a connection or an answer that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Connection {
    pub stream: TcpStream,
    unfinished: Unfinished,
    /// What was said and the socket did not take, behind what it has taken of it.
    unsent: Vec<u8>,
    taken_bytes: usize,
}

/// What a read came to.
pub enum Heard<'a> {
    Bytes(&'a [u8]),
    Nothing,
    /// The server has ended the connection, or never had it.
    End,
}

impl Connection {
    /// Waits until it is connected. It waits in questions and their answers, too, until [`Connection::never_wait`].
    pub fn connect(server: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_nodelay(true)?;
        Ok(Connection::of(stream))
    }

    /// Begins to connect, from this address if it is told one. It never waits: what is said meanwhile is sent later.
    pub fn begin(server: SocketAddr, source: Option<IpAddr>) -> io::Result<Connection> {
        let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        if let Some(source) = source {
            rustix::net::bind(&socket, &SocketAddr::new(source, 0))?;
        }
        match rustix::net::connect(&socket, &server) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(Connection::of(TcpStream::from(socket))),
            Err(error) => Err(error.into()),
        }
    }

    fn of(stream: TcpStream) -> Connection {
        Connection { stream, unfinished: Unfinished::default(), unsent: Vec::new(), taken_bytes: 0 }
    }

    pub fn never_wait(&self) -> io::Result<()> {
        self.stream.set_nonblocking(true)
    }

    /// Says something whose answer is waited for elsewhere.
    pub fn ask(&mut self, question: &[u8]) -> io::Result<()> {
        self.stream.write_all(question)
    }

    /// Waits for this answer.
    pub fn expect(&mut self, expected: &[u8]) -> io::Result<()> {
        let mut answer = vec![0; expected.len()];
        self.stream.set_read_timeout(Some(PATIENCE))?;
        self.stream.read_exact(&mut answer)?;
        if answer == expected {
            return Ok(());
        }
        Err(io::Error::other(format!("the server answered {answer:?}, expected {expected:?}")))
    }

    /// Reads once.
    pub fn hear<'a>(&mut self, buffer: &'a mut [u8]) -> io::Result<Heard<'a>> {
        match self.stream.read(buffer) {
            Ok(0) => Ok(Heard::End),
            Ok(count) => Ok(Heard::Bytes(buffer.get(..count).unwrap_or_default())),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(Heard::Nothing),
                ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::ConnectionRefused
                | ErrorKind::BrokenPipe
                | ErrorKind::NotConnected
                | ErrorKind::TimedOut => Ok(Heard::End),
                _ => Err(error),
            },
        }
    }

    /// Hands over the body of each frame that is whole with what was heard.
    pub fn cut(&mut self, form: Form, heard: &[u8], each: impl FnMut(&[u8])) -> Result<(), Unreadable> {
        self.unfinished.feed(form, heard, each)
    }

    /// Sends frames behind what waits. True if something waits now.
    pub fn send(&mut self, frames: &[u8]) -> bool {
        let sent = if self.unsent.is_empty() { self.offer(frames) } else { 0 };
        self.unsent.extend_from_slice(frames.get(sent..).unwrap_or_default());
        !self.unsent.is_empty()
    }

    /// Keeps frames for the next [`Connection::flush`].
    pub fn keep(&mut self, frames: &[u8]) {
        self.unsent.extend_from_slice(frames);
    }

    /// Sends what waits. True if something still waits.
    pub fn flush(&mut self) -> bool {
        let waiting = self.unsent.get(self.taken_bytes..).unwrap_or_default();
        self.taken_bytes += self.offer(waiting);
        if self.taken_bytes < self.unsent.len() {
            return true;
        }
        self.unsent.clear();
        self.taken_bytes = 0;
        false
    }

    /// Says that nothing more is said. Of a connection that has ended, the next read tells.
    pub fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// How much of it the socket takes. Of a connection that has ended, the next read tells.
    fn offer(&self, bytes: &[u8]) -> usize {
        (&self.stream).write(bytes).unwrap_or(0)
    }
}
