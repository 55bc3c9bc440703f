//! The far end of a connection: may do what it likes, and checks what it is sent.
//!
//! ```text
//!   session:  queued 0, queued 1, dropped, queued 2, ...      the witness keeps what it was told is queued
//!   remote:          0,        1,                 2 | end     the same in the same order, and all of it before an end in good order
//! ```

use std::io::Write;
use std::net::SocketAddr;

use pogu::sim::Peer;

use super::speech::{ADDRESSED, NUMBERED, PASSING, SPOKEN, addressee, passed};
use super::witness::Witness;

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

    /// Reads what has come: whole frames, and before an end in good order all that its session was told is queued.
    pub fn read(&mut self, witness: &Witness) {
        let Line::Open(peer) = &self.line else { return };
        let (address, before) = (peer.local_address(), self.unfinished.len());
        let ended = peer.read_available(&mut self.unfinished);
        self.received += self.unfinished.len() - before;
        while let Some((id, bytes)) = self.first_frame() {
            let frame: Vec<u8> = self.unfinished.drain(..bytes).collect();
            hear(witness, address, id, frame.get(4..).unwrap_or_default());
        }
        match ended {
            Ok(false) => {}
            Ok(true) => {
                assert!(self.unfinished.is_empty(), "an end in good order within a frame: {:?}", self.unfinished);
                let missed = witness.next_frame(address);
                assert_eq!(missed.map(beginning), None, "an end in good order, and this was queued and has not come");
                assert!(
                    witness.passing_missed(address).is_empty(),
                    "an end in good order, and the last of a key has not come"
                );
                self.line = Line::Over;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotConnected => {}
            Err(_) => self.line = Line::Over,
        }
    }

    /// The id of the first frame and its size, if it is whole.
    fn first_frame(&self) -> Option<(u16, usize)> {
        let [low, high, id_low, id_high, ..] = *self.unfinished.as_slice() else { return None };
        let bytes = usize::from(u16::from_le_bytes([low, high]));
        let id = u16::from_le_bytes([id_low, id_high]);
        assert!(bytes >= 4, "no frame has {bytes} bytes");
        (bytes <= self.unfinished.len()).then_some((id, bytes))
    }
}

/// A whole frame has come: one that this remote has to hear now.
fn hear(witness: &Witness, address: SocketAddr, id: u16, body: &[u8]) {
    match id {
        SPOKEN => {}
        ADDRESSED => assert_eq!(addressee(body), witness.number_at(address), "said to another session"),
        NUMBERED => {
            let next = witness.next_frame(address);
            let is_next = next.as_deref() == Some(body);
            assert!(is_next, "{:?} came, next is {:?}", beginning(body.to_vec()), next.map(beginning));
        }
        PASSING => {
            assert_eq!(addressee(body), witness.number_at(address), "said to another session");
            let (key, number) = passed(body).expect("a whole body");
            assert!(
                witness.passing_heard(address, key, number),
                "{number} of key {key} is out of order, or not queued"
            );
        }
        _ => panic!("nobody says {id}"),
    }
}

/// What tells frames apart.
fn beginning(mut body: Vec<u8>) -> Vec<u8> {
    body.truncate(12);
    body
}
