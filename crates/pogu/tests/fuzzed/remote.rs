//! The far end of a connection: may do what it likes, and checks what it is sent.

use std::io::Write;
use std::net::SocketAddr;

use pogu::sim::Peer;

use super::puppet::SPOKEN;

/// How a remote stands.
enum Line {
    Open(Peer),
    Over,
}

pub struct Remote {
    line: Line,
    /// Bytes of a frame that has not come whole.
    unfinished: Vec<u8>,
    received: usize,
}

impl Remote {
    pub fn new(peer: Peer) -> Remote {
        Remote { line: Line::Open(peer), unfinished: Vec::new(), received: 0 }
    }

    /// The address, and the bytes that came; nothing once the connection is over.
    pub fn received(&self) -> Option<(SocketAddr, usize)> {
        match &self.line {
            Line::Open(peer) => Some((peer.local_address(), self.received)),
            Line::Over => None,
        }
    }

    /// Writes a frame that a session will obey.
    pub fn order(&mut self, orders: &[u8]) {
        let size = u16::try_from(orders.len() + 4).unwrap_or(u16::MAX);
        self.write(&[&size.to_le_bytes(), &[1, 0], orders].concat());
    }

    /// Writes what there is room for.
    pub fn write(&mut self, bytes: &[u8]) {
        if let Line::Open(peer) = &mut self.line {
            let _ = peer.write(bytes);
        }
    }

    pub fn half_close(&mut self) {
        if let Line::Open(peer) = &self.line {
            peer.shutdown();
        }
    }

    pub fn reset(&mut self) {
        if let Line::Open(peer) = std::mem::replace(&mut self.line, Line::Over) {
            peer.reset();
        }
    }

    pub fn vanish(&mut self) {
        if let Line::Open(peer) = std::mem::replace(&mut self.line, Line::Over) {
            peer.vanish();
        }
    }

    pub fn close(&mut self) {
        self.line = Line::Over;
    }

    /// Reads what has come: whole frames, and no half one before an end in good order.
    pub fn read(&mut self) {
        let Line::Open(peer) = &self.line else { return };
        let before = self.unfinished.len();
        let ended = peer.read_available(&mut self.unfinished);
        self.received += self.unfinished.len() - before;
        while let Some(frame) = self.first_frame() {
            self.unfinished.drain(..frame);
        }
        match ended {
            Ok(false) => {}
            Ok(true) => {
                assert!(self.unfinished.is_empty(), "an end in good order within a frame: {:?}", self.unfinished);
                self.line = Line::Over;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotConnected => {}
            Err(_) => self.line = Line::Over,
        }
    }

    /// The size of the first frame, if it is whole.
    fn first_frame(&self) -> Option<usize> {
        let [low, high, id_low, id_high, ..] = *self.unfinished.as_slice() else { return None };
        let frame = usize::from(u16::from_le_bytes([low, high]));
        let id = u16::from_le_bytes([id_low, id_high]);
        assert!(frame >= 4 && id == SPOKEN, "nobody said this: {frame} bytes with id {id}");
        (frame <= self.unfinished.len()).then_some(frame)
    }
}
