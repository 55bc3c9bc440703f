//! What stands at the other end in a test: a connection that no port owns.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use super::network::{Arrival, State};
use super::socket::{ListeningSocket, StreamSocket};

/// How far a [`Peer`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerState {
    /// Nobody has answered yet.
    Connecting,
    /// Bytes may go both ways.
    Connected,
    /// It was refused, reset, or nobody answered for too long; reading tells which.
    Broken,
}

/// One end of a connection, in the hands of a test. Nothing here waits: a read that finds nothing and a write that finds no
/// room fail with [`io::ErrorKind::WouldBlock`]. Dropping it closes it: with a reset if something has come that was not
/// read.
#[derive(Debug)]
pub struct Peer(Box<StreamSocket>);

impl Peer {
    pub(super) fn new(socket: Box<StreamSocket>) -> Peer {
        Peer(socket)
    }

    /// How far it is.
    pub fn state(&self) -> PeerState {
        match self.0.state() {
            State::Connecting => PeerState::Connecting,
            State::Open => PeerState::Connected,
            State::Broken(_) => PeerState::Broken,
        }
    }

    /// Bytes that can be read now.
    pub fn readable(&self) -> usize {
        self.0.readable()
    }

    /// Bytes that a write would take now.
    pub fn room(&self) -> usize {
        self.0.room()
    }

    /// This side's address.
    pub fn local_address(&self) -> SocketAddr {
        self.0.local_address()
    }

    /// Shuts the write side: the other end reads the end of the stream.
    pub fn shutdown(&self) {
        self.0.shut();
    }

    /// Closes with a reset.
    pub fn reset(self) {
        self.0.set_linger(Some(Duration::ZERO));
    }

    /// Disappears without a word, like a machine whose cable was cut: what is sent here goes nowhere, until there is no room.
    pub fn vanish(self) {
        self.0.vanish();
    }

    /// Takes what has come, up to the end of the stream if it has come. `Ok(true)`: it has.
    ///
    /// # Errors
    /// The connection was refused or reset, or is not established.
    pub fn read_available(&self, into: &mut Vec<u8>) -> io::Result<bool> {
        let mut space = [0; 4096];
        loop {
            match (&mut &*self).read(&mut space) {
                Ok(0) => return Ok(true),
                Ok(count) => into.extend_from_slice(space.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Read for &Peer {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        match self.0.receive(space) {
            Arrival::Bytes(count) => Ok(count),
            Arrival::End => Ok(0),
            Arrival::Nothing if space.is_empty() => Ok(0),
            Arrival::Nothing => Err(io::ErrorKind::WouldBlock.into()),
            Arrival::Failed(failure) => Err(failure.io()),
        }
    }
}

impl Write for &Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.send_bytes(bytes) {
            Ok(0) if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            Ok(count) => Ok(count),
            Err(failure) => Err(failure.io()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Peer {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        (&mut &*self).read(space)
    }
}

impl Write for Peer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&mut &*self).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A listener in the hands of a test.
#[derive(Debug)]
pub struct PeerListener(ListeningSocket);

impl PeerListener {
    pub(super) fn new(socket: ListeningSocket) -> PeerListener {
        PeerListener(socket)
    }

    /// The address that it is bound to.
    pub fn local_address(&self) -> SocketAddr {
        self.0.local_address()
    }

    /// Takes the connection that has waited longest, if one waits.
    pub fn accept(&self) -> Option<Peer> {
        self.0.accept().map(Peer::new)
    }
}
