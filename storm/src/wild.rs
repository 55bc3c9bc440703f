//! Peers that behave badly: no port owns them, and what they do must harm nobody but themselves.

use std::io::Write;
use std::time::Duration;

use pogu::sim::{Peer, Simulation};
use pogu::{FrameFormat, Time};

use crate::draw::Draw;
use crate::ledger::Book;

/// What a peer does as long as it lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Habit {
    /// Says nothing.
    Silent,
    /// Sends a frame byte by byte.
    Trickling,
    /// Sends frames that are answered, and reads no answer.
    Deaf,
    /// Sends what is no frame.
    Babbling,
    /// Sends frames and reads.
    Honest,
}

/// How it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Close,
    Reset,
    /// Finishes its stream, reads on, and closes much later.
    HalfClose,
    /// Without a word, like a machine whose cable is cut.
    Vanish,
}

const HABITS: [Habit; 5] = [Habit::Silent, Habit::Trickling, Habit::Deaf, Habit::Babbling, Habit::Honest];
const ENDS: [End; 4] = [End::Close, End::Reset, End::HalfClose, End::Vanish];

/// A peer, how it is doing.
enum State {
    Expected,
    Here(Peer),
    HalfClosed { _until_due: Peer },
    Gone,
}

/// A peer that behaves badly.
pub(crate) struct Wild {
    server: usize,
    format: FrameFormat,
    habit: Habit,
    end: End,
    state: State,
    /// When it acts next.
    due: Time,
    actions_left: u32,
    pace: Duration,
    draw: Draw,
    bytes: Vec<u8>,
}

impl Wild {
    pub(crate) fn new(server: usize, format: FrameFormat, mut draw: Draw) -> Wild {
        Wild {
            server,
            format,
            habit: draw.one_of(&HABITS),
            end: draw.one_of(&ENDS),
            state: State::Expected,
            due: Time::ZERO + draw.milliseconds(0, 3_000),
            actions_left: draw.small(1, 60),
            pace: draw.milliseconds(5, 400),
            draw,
            bytes: Vec::new(),
        }
    }

    /// When it acts next; `None` if it is gone.
    pub(crate) fn due(&self) -> Option<Time> {
        (!matches!(self.state, State::Gone)).then_some(self.due)
    }

    /// Does what is due.
    pub(crate) fn act(&mut self, simulation: &Simulation, book: &Book) {
        let now = simulation.now();
        if self.due > now {
            return;
        }
        self.due = now + self.pace;
        self.state = match std::mem::replace(&mut self.state, State::Gone) {
            State::Expected => self.come(simulation, book),
            State::Here(peer) => match self.actions_left.checked_sub(1) {
                Some(left) => {
                    self.actions_left = left;
                    self.misbehave(&peer);
                    State::Here(peer)
                }
                None => self.leave(peer, now),
            },
            State::HalfClosed { .. } | State::Gone => State::Gone,
        };
    }

    fn come(&mut self, simulation: &Simulation, book: &Book) -> State {
        let address = std::net::SocketAddr::from(([10, 0, 0, self.server as u8 + 1], 7777));
        // Where there are no addresses left, nobody comes.
        let Ok(peer) = simulation.connect(address) else { return State::Gone };
        book.open(simulation.now()).expect_wild(peer.local_address());
        State::Here(peer)
    }

    fn leave(&mut self, peer: Peer, now: Time) -> State {
        match self.end {
            End::Close => drop(peer),
            End::Reset => peer.reset(),
            End::Vanish => peer.vanish(),
            End::HalfClose => {
                peer.shutdown();
                self.due = now + 50 * self.pace;
                return State::HalfClosed { _until_due: peer };
            }
        }
        State::Gone
    }

    /// What does not go because there is no room, or because the other side has had enough, does not go.
    fn misbehave(&mut self, peer: &Peer) {
        let mut to = peer;
        match self.habit {
            Habit::Silent => {}
            Habit::Babbling => {
                let bytes: Vec<u8> = (0..self.draw.count(1, 80)).map(|_| self.draw.number() as u8).collect();
                let _ = to.write(&bytes);
            }
            Habit::Trickling => {
                self.want_frame();
                if to.write(&self.bytes[..1]).is_ok_and(|count| count > 0) {
                    self.bytes.remove(0);
                }
            }
            Habit::Deaf | Habit::Honest => {
                self.want_frame();
                if let Ok(count) = to.write(&self.bytes) {
                    self.bytes.drain(..count);
                }
                if self.habit == Habit::Honest {
                    let _ = peer.read_available(&mut Vec::new());
                }
            }
        }
    }

    /// Has bytes of a frame ready, with an id that is no heartbeat's.
    fn want_frame(&mut self) {
        if self.bytes.is_empty() {
            let body = vec![7; self.draw.count(0, 1_500)];
            let id = if self.format.id_max() == 0 { 0 } else { self.draw.small(0, 100) as u16 };
            // Every format here takes so much.
            let _ = self.format.encode(id, &body, &mut self.bytes);
        }
    }
}
