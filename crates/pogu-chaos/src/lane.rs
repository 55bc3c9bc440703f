//! One direction of a pair: what has come, and when how much of it leaves.
//!
//! ```text
//!   received --> [ arrival | arrival | arrival ] --> next piece, with its due time --> sent
//!                  bounded: full = not received       drawn from the front, one at a time
//! ```
//!
//! Invariant: what leaves is what came, in its order, up to a cut. There is one queue, pieces are taken from its front only, and
//! the next is drawn when the one before has left; the end of the stream is an arrival like any other.

use std::collections::VecDeque;
use std::time::Duration;

use pogu_port::{ConnectionId, Gather, Operations, Random, Time};

use crate::account::{Account, Counts};
use crate::draw;
use crate::mistreatment::Mistreatment;

/// What is charged for an arrival besides its bytes.
const ARRIVAL_BYTES: usize = 64;

pub(crate) struct Lane {
    waiting: VecDeque<Arrival>,
    held_bytes: usize,
    next: Option<Piece>,
    /// No piece leaves earlier: that of the last one, or the end of a stall.
    not_before: Time,
    stall_at: Option<Time>,
    source: Source,
    outlet: Outlet,
    /// What comes from now on is thrown away.
    is_cut: bool,
}

struct Arrival {
    at: Time,
    what: What,
}

enum What {
    /// Those from `left` on have not left.
    Bytes {
        bytes: Vec<u8>,
        left: usize,
    },
    Finish,
    Reset,
}

struct Piece {
    due: Time,
    bytes: usize,
    is_delayed: bool,
}

/// The end that is received from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Flowing,
    /// Asked to pause; what was under way may still come.
    Pausing,
    Paused,
    /// It has finished, or failed.
    Over,
}

/// The end that is sent to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outlet {
    Free,
    Sending,
    /// It was told of the end, or is not there any more.
    Over,
}

/// What a step passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Passed {
    /// Bytes, or nothing.
    Bytes(usize),
    Finish,
    /// The end that is sent to has to be reset.
    Reset,
}

/// What a lane needs of its proxy to do something.
pub(crate) struct Hands<'a, 'o> {
    pub(crate) operations: &'a mut Operations<'o>,
    pub(crate) mistreatment: &'a Mistreatment,
    pub(crate) account: &'a mut Account,
    pub(crate) now: Time,
}

impl Lane {
    pub(crate) fn new(now: Time, mistreatment: &Mistreatment, random: &mut Random) -> Lane {
        Lane {
            waiting: VecDeque::new(),
            held_bytes: 0,
            next: None,
            not_before: now,
            stall_at: draw::until_next(mistreatment.stalls_per_minute, random).map(|after| now + after),
            source: Source::Flowing,
            outlet: Outlet::Free,
            is_cut: false,
        }
    }

    /// True if nothing can be passed on any more.
    pub(crate) fn is_over(&self) -> bool {
        self.outlet == Outlet::Over
    }

    /// True if nothing will come any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.source == Source::Over
    }

    fn discards(&self) -> bool {
        self.is_cut || self.outlet == Outlet::Over
    }
}

/// Receiving.
impl Lane {
    /// Takes what fits of `bytes`, and tells how much. Pauses the source if that filled the lane.
    pub(crate) fn receive(&mut self, bytes: &[u8], from: ConnectionId, hands: &mut Hands<'_, '_>) -> usize {
        if self.discards() {
            return bytes.len();
        }
        let room = hands.mistreatment.waiting_bytes_max.saturating_sub(self.held_bytes);
        let (taken, _) = bytes.split_at(room.min(bytes.len()));
        if !taken.is_empty() {
            self.held_bytes = self.held_bytes.saturating_add(taken.len()).saturating_add(ARRIVAL_BYTES);
            self.arrive(hands.now, What::Bytes { bytes: taken.to_vec(), left: 0 });
        }
        if self.held_bytes >= hands.mistreatment.waiting_bytes_max && self.source == Source::Flowing {
            hands.account.counts.pauses += 1;
            self.source = Source::Pausing;
            // Refused for a connection that is ending only; its end is told otherwise.
            let _ = hands.operations.pause(from);
        }
        taken.len()
    }

    /// The source has stopped as it was asked to.
    pub(crate) fn paused(&mut self, from: ConnectionId, hands: &mut Hands<'_, '_>) {
        if self.source == Source::Pausing {
            self.source = Source::Paused;
            self.resume(from, hands);
        }
    }

    /// Receives again if there is room: half of the bound, so that it is not switched for every piece.
    pub(crate) fn resume(&mut self, from: ConnectionId, hands: &mut Hands<'_, '_>) {
        let room = self.discards() || self.held_bytes <= hands.mistreatment.waiting_bytes_max / 2;
        if self.source == Source::Paused && room {
            self.source = Source::Flowing;
            let _ = hands.operations.receive(from);
        }
    }

    /// The source has finished in good order.
    pub(crate) fn finished(&mut self, now: Time) {
        self.source_over(now, What::Finish);
    }

    /// The source has failed, or was reset.
    pub(crate) fn failed(&mut self, now: Time) {
        self.source_over(now, What::Reset);
    }

    fn source_over(&mut self, now: Time, what: What) {
        if self.source != Source::Over {
            self.source = Source::Over;
            if !self.discards() {
                self.arrive(now, what);
            }
        }
    }

    /// The end of the stream, here and now: what waits still leaves, what comes later does not.
    pub(crate) fn cut(&mut self, now: Time) {
        self.arrive(now, What::Finish);
        self.is_cut = true;
    }

    fn arrive(&mut self, at: Time, what: What) {
        self.waiting.push_back(Arrival { at, what });
    }
}

/// Sending.
impl Lane {
    /// When the next piece leaves, if nothing else has to happen first.
    pub(crate) fn due(
        &mut self,
        mistreatment: &Mistreatment,
        counts: &mut Counts,
        random: &mut Random,
    ) -> Option<Time> {
        if self.outlet != Outlet::Free {
            return None;
        }
        if self.next.is_none() {
            self.next = Some(self.draw(mistreatment, counts, random)?);
        }
        self.next.as_ref().map(|piece| piece.due)
    }

    /// Draws how much of the first arrival leaves, and when.
    fn draw(&mut self, mistreatment: &Mistreatment, counts: &mut Counts, random: &mut Random) -> Option<Piece> {
        let arrival = self.waiting.front()?;
        let bytes = match &arrival.what {
            What::Bytes { bytes, left } => {
                let (min, max) = (mistreatment.piece_bytes_min, mistreatment.piece_bytes_max);
                let span = (max.saturating_sub(min) as u64).saturating_add(1);
                let drawn = min.saturating_add(usize::try_from(random.below(span)).unwrap_or(usize::MAX));
                drawn.max(1).min(bytes.len().saturating_sub(*left))
            }
            What::Finish | What::Reset => 0,
        };
        let jitter = draw::up_to(mistreatment.jitter.saturating_mul(2), random);
        let delay = mistreatment.delay.saturating_add(jitter).saturating_sub(mistreatment.jitter);
        let due = self.not_before.max(arrival.at + delay);
        if let Some(at) = self.stall_at.filter(|at| *at <= due) {
            counts.stalls += 1;
            self.not_before = due.max(at) + draw::up_to(mistreatment.stall, random);
            let after = draw::until_next(mistreatment.stalls_per_minute, random);
            self.stall_at = after.map(|after| self.not_before + after);
        } else {
            self.not_before = due;
        }
        Some(Piece { due: self.not_before, bytes, is_delayed: delay > Duration::ZERO })
    }

    /// Passes on what is due, one piece.
    pub(crate) fn pass(&mut self, to: ConnectionId, hands: &mut Hands<'_, '_>) -> Passed {
        if self.outlet != Outlet::Free {
            return Passed::Bytes(0);
        }
        let Some(piece) = self.next.take_if(|piece| piece.due <= hands.now) else { return Passed::Bytes(0) };
        let Some(Arrival { what, .. }) = self.waiting.front_mut() else { return Passed::Bytes(0) };
        match what {
            What::Bytes { bytes, left } => {
                let mut gather = Gather::new();
                let end = left.saturating_add(piece.bytes);
                gather.push(bytes.get(*left..end).unwrap_or_default());
                *left = end;
                self.held_bytes = self.held_bytes.saturating_sub(piece.bytes);
                if end >= bytes.len() {
                    self.held_bytes = self.held_bytes.saturating_sub(ARRIVAL_BYTES);
                    self.waiting.pop_front();
                }
                hands.account.counts.pieces += 1;
                hands.account.counts.delayed += u64::from(piece.is_delayed);
                // Refused for a connection that is ending only; its end is told otherwise.
                if hands.operations.send(to, gather).is_ok() {
                    self.outlet = Outlet::Sending;
                }
                Passed::Bytes(piece.bytes)
            }
            What::Finish => {
                self.close_outlet();
                let _ = hands.operations.shut(to);
                Passed::Finish
            }
            What::Reset => {
                self.close_outlet();
                Passed::Reset
            }
        }
    }

    /// A piece has left.
    pub(crate) fn sent(&mut self) {
        if self.outlet == Outlet::Sending {
            self.outlet = Outlet::Free;
        }
    }

    /// Nothing is passed on any more.
    pub(crate) fn close_outlet(&mut self) {
        self.outlet = Outlet::Over;
        self.waiting = VecDeque::new();
        self.held_bytes = 0;
        self.next = None;
    }
}
