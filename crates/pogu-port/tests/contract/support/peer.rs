//! Those at the other end. A peer is told what to do, and does it piece by piece whenever a port of its stage turns, so
//! that one thread plays both sides.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::stage::Stage;
use super::station::Station;
use super::tools::Random;
use super::world::{Line, PATIENCE};

/// What a peer is about, the busiest last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Activity {
    /// It has nothing to do.
    Idle,
    /// It has something to do, and the other side must act first.
    Waiting,
    /// It did something, and may do more at once.
    Busy,
}

/// One thing that a peer is told to do.
enum Act {
    Write(Vec<u8>),
    /// Writes without an end.
    Flood,
    Shut,
    Close,
}

/// A peer as its stage sees it.
pub struct Actor {
    /// Until it closes.
    line: Option<Box<dyn Line>>,
    script: VecDeque<Act>,
    vanished: bool,
    /// Reads until it has read that many bytes in all.
    wanted: usize,
    read: Vec<u8>,
    /// Reads one small piece at a time.
    nibbles: Option<Random>,
    end: Option<Result<(), ErrorKind>>,
}

impl Actor {
    pub fn new(line: Box<dyn Line>) -> Actor {
        let script = VecDeque::new();
        Actor { line: Some(line), script, vanished: false, wanted: 0, read: Vec::new(), nibbles: None, end: None }
    }

    pub fn has_left(&self) -> bool {
        self.line.is_none()
    }

    /// Does what can be done now: one thing of the script, and all the reading.
    pub fn act(&mut self) -> Activity {
        if self.vanished || self.line.is_none() {
            return Activity::Idle;
        }
        let written = self.act_out();
        written.max(self.read_on())
    }

    fn act_out(&mut self) -> Activity {
        let (Some(line), Some(act)) = (&mut self.line, self.script.front_mut()) else { return Activity::Idle };
        match act {
            Act::Write(bytes) => match write_some(&mut **line, bytes) {
                Ok(false) => return Activity::Waiting,
                Ok(true) if !bytes.is_empty() => return Activity::Busy,
                Ok(true) => {}
                Err(error) => panic!("a peer cannot write: {error}"),
            },
            Act::Flood => match line.write(&[7; 65_536]) {
                Ok(_) => return Activity::Busy,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Activity::Waiting,
                Err(_) => {}
            },
            Act::Shut => line.shut(),
            Act::Close => self.line = None,
        }
        self.script.pop_front();
        Activity::Busy
    }

    fn read_on(&mut self) -> Activity {
        let mut activity = Activity::Idle;
        while self.wants_more() {
            match self.read_once(self.wanted - self.read.len()) {
                Ok(_) => activity = Activity::Busy,
                Err(ErrorKind::WouldBlock) => return activity.max(Activity::Waiting),
                Err(_) => return Activity::Busy,
            }
            if self.nibbles.is_some() {
                return activity;
            }
        }
        activity
    }

    fn wants_more(&self) -> bool {
        self.line.is_some() && self.end.is_none() && self.read.len() < self.wanted
    }

    /// One read of at most `limit` bytes.
    fn read_once(&mut self, limit: usize) -> Result<usize, ErrorKind> {
        let Some(line) = &mut self.line else { return Err(ErrorKind::NotConnected) };
        let mut space = [0; 65_536];
        let mut limit = limit.min(space.len());
        if let Some(random) = &mut self.nibbles {
            limit = limit.min(1 + random.below(5_000));
        }
        let result = line.read(&mut space[..limit]).map_err(|error| error.kind());
        match result {
            Ok(0) => self.end = Some(Ok(())),
            Ok(count) => self.read.extend_from_slice(&space[..count]),
            Err(ErrorKind::WouldBlock) => {}
            Err(kind) => self.end = Some(Err(kind)),
        }
        result
    }
}

/// Writes what there is room for; says whether that was anything.
fn write_some(line: &mut dyn Line, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let mut written = 0;
    while written < bytes.len() {
        match line.write(&bytes[written..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    let any = written > 0 || bytes.is_empty();
    bytes.drain(..written);
    Ok(any)
}

/// The director's handle. Dropping it closes the connection behind what it was told before.
pub struct Peer {
    stage: Stage,
    actor: Rc<RefCell<Actor>>,
    taken: usize,
}

impl Peer {
    pub fn new(stage: Stage, actor: Rc<RefCell<Actor>>) -> Peer {
        Peer { stage, actor, taken: 0 }
    }

    /// Writes `bytes`: at once what there is room for, the rest as room comes.
    pub fn write(&mut self, bytes: &[u8]) {
        self.tell(Act::Write(bytes.to_vec()));
    }

    /// Writes `bytes` in pieces of at most `limit`, with the port's turns between them.
    pub fn write_in_pieces(&mut self, mut bytes: &[u8], limit: usize, random: &mut Random) {
        while !bytes.is_empty() {
            let (piece, rest) = bytes.split_at(bytes.len().min(1 + random.below(limit)));
            self.actor.borrow_mut().script.push_back(Act::Write(piece.to_vec()));
            bytes = rest;
        }
    }

    /// Writes whenever there is room, from here on.
    pub fn flood(&mut self) {
        self.tell(Act::Flood);
    }

    /// Finishes its stream behind what it writes.
    pub fn shut(&mut self) {
        self.tell(Act::Shut);
    }

    fn tell(&mut self, act: Act) {
        let mut actor = self.actor.borrow_mut();
        actor.script.push_back(act);
        if actor.script.len() == 1 && !actor.vanished {
            actor.act_out();
        }
    }

    /// Closes with a reset, whatever it was told before.
    pub fn reset(self) {
        let line = self.actor.borrow_mut().line.take();
        line.expect("it is open").reset();
    }

    /// Says and answers nothing from here on.
    pub fn vanish(self) {
        let mut actor = self.actor.borrow_mut();
        actor.vanished = true;
        let line = actor.line.take().expect("it is open");
        actor.line = line.vanish();
    }

    pub fn local_address(&self) -> SocketAddr {
        self.actor.borrow().line.as_ref().expect("it is open").local_address()
    }

    pub fn peer_address(&self) -> SocketAddr {
        self.actor.borrow().line.as_ref().expect("it is open").peer_address()
    }

    /// Reads in small pieces of all sizes from here on, with the port's turns between them.
    pub fn nibble(&mut self, seed: u64) {
        self.actor.borrow_mut().nibbles = Some(Random(seed));
    }

    /// Begins to read `count` bytes more than what has been taken.
    pub fn want(&mut self, count: usize) {
        self.actor.borrow_mut().wanted = self.taken.saturating_add(count);
    }

    /// Whether it has read all that it wants, or nothing more comes.
    pub fn has_read(&self) -> bool {
        !self.actor.borrow().wants_more()
    }

    /// What it has read since the last time.
    pub fn take(&mut self) -> Vec<u8> {
        let taken = self.actor.borrow().read[self.taken..].to_vec();
        self.taken += taken.len();
        taken
    }

    /// Reads once, now.
    pub fn look(&mut self) -> Result<usize, ErrorKind> {
        self.actor.borrow_mut().read_once(8)
    }

    /// Reads exactly that many bytes while `station` turns.
    pub fn read_exactly(&mut self, station: &mut Station, count: usize) -> Vec<u8> {
        self.want(count);
        station.wait("the peer's bytes", |_| self.has_read());
        let bytes = self.take();
        assert_eq!(bytes.len(), count, "it ended with {:?}", self.actor.borrow().end);
        bytes
    }

    /// Reads everything until the end of the stream while `station` turns. An error is how it ended instead.
    pub fn read_to_end(&mut self, station: &mut Station) -> Result<Vec<u8>, ErrorKind> {
        self.want(usize::MAX);
        station.wait("the end of the peer's stream", |_| self.has_read());
        self.ended()
    }

    /// The same without a port.
    pub fn read_to_end_alone(&mut self) -> Result<Vec<u8>, ErrorKind> {
        self.want(usize::MAX);
        let clock = self.stage.clock();
        let end = clock.now() + PATIENCE;
        while !self.has_read() {
            assert!(clock.now() < end, "waited in vain for the end of the peer's stream");
            if self.stage.act() != Activity::Busy {
                self.stage.world().advance(Duration::from_millis(1));
            }
        }
        self.ended()
    }

    fn ended(&mut self) -> Result<Vec<u8>, ErrorKind> {
        let end = self.actor.borrow().end.expect("it was waited for");
        end.map(|()| self.take())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let vanished = self.actor.borrow().vanished;
        // Behind a flood nothing else would come.
        self.actor.borrow_mut().script.retain(|act| !matches!(act, Act::Flood));
        if !vanished && !self.actor.borrow().has_left() {
            self.tell(Act::Close);
        }
    }
}
