//! A layer for tests: a keyed stream that depends on the position, so that a byte that is transformed twice, or never, shows;
//! and peers behind it.

use std::borrow::Cow;
use std::io::{Read, Write};

use pogu::{Layer, ServiceHandle};

use super::simulated::{Client, World};
use super::{Peer, frame};

/// One direction of a key stream.
#[derive(Clone)]
pub struct Stream {
    pub key: u64,
    pub at: u64,
}

impl Stream {
    pub fn new(key: u64) -> Stream {
        Stream { key, at: 0 }
    }

    pub fn apply(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            let word = (self.key ^ self.at).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            *byte ^= (word >> 56) as u8;
            self.at += 1;
        }
    }
}

/// The same key in both directions, each with its own position.
#[derive(Clone)]
pub struct Keyed {
    pub received: Stream,
    pub leaving: Stream,
}

impl Keyed {
    pub fn new(key: u64) -> Keyed {
        Keyed { received: Stream::new(key), leaving: Stream::new(key) }
    }
}

impl Layer for Keyed {
    fn received(&mut self, bytes: &mut [u8]) -> Result<(), Cow<'static, str>> {
        self.received.apply(bytes);
        Ok(())
    }

    fn leaving(&mut self, bytes: &mut [u8]) {
        self.leaving.apply(bytes);
    }
}

/// A peer of a real driver behind the same layer.
pub struct KeyedPeer {
    pub peer: Peer,
    pub keyed: Keyed,
}

impl KeyedPeer {
    pub fn connect(service: &ServiceHandle, key: u64) -> KeyedPeer {
        KeyedPeer { peer: Peer::connect(service.address()), keyed: Keyed::new(key) }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        self.keyed.leaving.apply(&mut bytes);
        self.peer.stream.write_all(&bytes).expect("write");
    }

    pub fn send(&mut self, id: u16, body: &[u8]) {
        self.write(&frame(id, body));
    }

    pub fn receive(&mut self) -> (u16, Vec<u8>) {
        let mut header = [0; 4];
        self.peer.stream.read_exact(&mut header).expect("a header");
        self.keyed.received.apply(&mut header);
        let mut body = vec![0; usize::from(u16::from_le_bytes([header[0], header[1]])) - 4];
        self.peer.stream.read_exact(&mut body).expect("a body");
        self.keyed.received.apply(&mut body);
        (u16::from_le_bytes([header[2], header[3]]), body)
    }
}

/// The same in a simulation.
pub struct KeyedClient {
    pub client: Client,
    pub keyed: Keyed,
    pub plain: Vec<u8>,
    /// Everything as it came.
    pub raw: Vec<u8>,
}

impl KeyedClient {
    pub fn connect(world: &mut World, service: &ServiceHandle, key: u64) -> KeyedClient {
        KeyedClient { client: world.connect(service), keyed: Keyed::new(key), plain: Vec::new(), raw: Vec::new() }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        self.keyed.leaving.apply(&mut bytes);
        self.client.peer.write_all(&bytes).expect("there is room");
    }

    pub fn send(&mut self, id: u16, body: &[u8]) {
        self.write(&frame(id, body));
    }

    /// Whole frames that have come.
    pub fn frames(&mut self) -> Vec<(u16, Vec<u8>)> {
        self.client.take_what_came();
        let mut came = std::mem::take(&mut self.client.received);
        self.raw.extend_from_slice(&came);
        self.keyed.received.apply(&mut came);
        self.plain.extend(came);
        std::mem::swap(&mut self.plain, &mut self.client.received);
        let mut frames = Vec::new();
        while let [a, b, c, d, rest @ ..] = self.client.received.as_slice() {
            let body = usize::from(u16::from_le_bytes([*a, *b])) - 4;
            let Some(body) = rest.get(..body) else { break };
            frames.push((u16::from_le_bytes([*c, *d]), body.to_vec()));
            let taken = body.len() + 4;
            self.client.received.drain(..taken);
        }
        std::mem::swap(&mut self.plain, &mut self.client.received);
        frames
    }
}
