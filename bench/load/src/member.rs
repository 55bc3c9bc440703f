//! One member of a room: its connection, the frame that has not come whole, and what the socket did not take.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::message;

/// How long the answer to a JOIN may take.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Member {
    pub stream: TcpStream,
    /// The beginning of a frame.
    unfinished: Vec<u8>,
    /// What was said and the socket did not take.
    unsent: Vec<u8>,
}

/// What a read came to.
pub enum Heard<'a> {
    /// Whole frames and the beginning of one.
    Bytes(&'a [u8]),
    Nothing,
    /// The server has ended the connection.
    End,
}

impl Member {
    /// Connects, and asks for the room. The answer is not waited for.
    pub fn connect(server: SocketAddr, room: u32) -> io::Result<Member> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.write_all(&message::join(room))?;
        Ok(Member { stream, unfinished: Vec::new(), unsent: Vec::new() })
    }

    /// Waits until it is in the room. From here on it never waits.
    pub fn joined(&mut self, room: u32) -> io::Result<()> {
        let expected = message::join(room);
        let mut answer = vec![0; expected.len()];
        self.stream.set_read_timeout(Some(JOIN_TIMEOUT))?;
        self.stream.read_exact(&mut answer)?;
        if answer != expected {
            return Err(io::Error::other(format!("a JOIN was answered by {answer:?}, expected {expected:?}")));
        }
        self.stream.set_nonblocking(true)
    }

    /// Reads once, behind the frame that has begun.
    pub fn hear<'a>(&mut self, buffer: &'a mut [u8]) -> io::Result<Heard<'a>> {
        let begun = self.unfinished.len();
        let (front, room) = buffer.split_at_mut(begun);
        match self.stream.read(room) {
            Ok(0) => Ok(Heard::End),
            Ok(count) => {
                front.copy_from_slice(&self.unfinished);
                self.unfinished.clear();
                Ok(Heard::Bytes(buffer.get(..begun + count).unwrap_or_default()))
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(Heard::Nothing),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ok(Heard::End),
                _ => Err(error),
            },
        }
    }

    /// Keeps the beginning of a frame for the next read.
    pub fn keep(&mut self, rest: &[u8]) {
        self.unfinished.extend_from_slice(rest);
    }

    /// Sends a frame behind what waits. True if something waits now.
    pub fn say(&mut self, frame: &[u8]) -> bool {
        let sent = if self.unsent.is_empty() { self.offer(frame) } else { 0 };
        self.unsent.extend_from_slice(frame.get(sent..).unwrap_or_default());
        !self.unsent.is_empty()
    }

    /// Sends what waits. True if something still waits.
    pub fn flush(&mut self) -> bool {
        let unsent = std::mem::take(&mut self.unsent);
        let sent = self.offer(&unsent);
        self.unsent.extend_from_slice(unsent.get(sent..).unwrap_or_default());
        !self.unsent.is_empty()
    }

    /// How much of it the socket takes. Of one that has ended, the next read tells.
    fn offer(&self, bytes: &[u8]) -> usize {
        (&self.stream).write(bytes).unwrap_or(0)
    }
}
