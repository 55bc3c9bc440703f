//! A client and the target, as the proxy sees them.
//!
//! ```text
//!   Dialling --connected--> Open --both lanes over, or cut by a reset--> Ending --both closed--> (gone)
//!       '---------------------- the target cannot be reached --------------^
//! ```
//!
//! An open pair is left when nothing can happen on it any more: each lane has told its end, and nobody is there to send. An end
//! that has been aborted is *leaving*: what still comes of it means nothing.

use std::net::SocketAddr;

use pogu_port::{ConnectionId, Random, Time};

use crate::account::{CutKind, OPENING_BYTES, Side};
use crate::draw;
use crate::lane::{Hands, Lane, Passed};
use crate::mistreatment::Mistreatment;

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Client => Side::Target,
            Side::Target => Side::Client,
        }
    }
}

pub(crate) enum Pair {
    /// The target is being dialled; the client waits, and is not received from.
    Dialling { client: ConnectionId, target: ConnectionId, address: SocketAddr, random: Random },
    /// Both are there, or were.
    Open(Box<Open>),
    /// Only the last words are missing, of so many ends.
    Ending { ends: u8 },
}

pub(crate) struct Open {
    address: SocketAddr,
    opening: Vec<u8>,
    client: End,
    target: End,
    /// From the client to the target.
    up: Lane,
    down: Lane,
    temper: Temper,
    random: Random,
}

enum End {
    Here(ConnectionId),
    /// Aborted; its last word has not come.
    Leaving,
    Gone,
}

impl End {
    fn here(&self) -> Option<ConnectionId> {
        match self {
            End::Here(connection) => Some(*connection),
            End::Leaving | End::Gone => None,
        }
    }
}

/// Whether a pair will be cut.
enum Temper {
    /// Its client has said nothing yet: it would have no name.
    Patient,
    /// At these times, if not before; `None`: never.
    Short { reset: Option<Time>, half_close: Option<Time> },
    /// It has been cut, or is ending by itself.
    Spent,
}

impl Open {
    pub(crate) fn new(
        address: SocketAddr,
        [client, target]: [ConnectionId; 2],
        mut random: Random,
        now: Time,
        mistreatment: &Mistreatment,
    ) -> Open {
        Open {
            address,
            opening: Vec::new(),
            client: End::Here(client),
            target: End::Here(target),
            up: Lane::new(now, mistreatment, &mut random),
            down: Lane::new(now, mistreatment, &mut random),
            temper: Temper::Patient,
            random,
        }
    }

    fn end(&self, side: Side) -> Option<ConnectionId> {
        match side {
            Side::Client => self.client.here(),
            Side::Target => self.target.here(),
        }
    }

    fn set_end(&mut self, side: Side, end: End) {
        match side {
            Side::Client => self.client = end,
            Side::Target => self.target = end,
        }
    }

    /// The lane that is received from this side.
    fn lane_from(&mut self, side: Side) -> &mut Lane {
        match side {
            Side::Client => &mut self.up,
            Side::Target => &mut self.down,
        }
    }

    fn lane_to(&mut self, side: Side) -> &mut Lane {
        self.lane_from(side.other())
    }
}

/// What the ends do.
impl Open {
    /// Takes what there is room for; tells how much.
    pub(crate) fn received(&mut self, side: Side, bytes: &[u8], hands: &mut Hands<'_, '_>) -> usize {
        let Some(from) = self.end(side) else { return bytes.len() };
        let taken = self.lane_from(side).receive(bytes, from, hands);
        if side == Side::Client {
            let missing = OPENING_BYTES.saturating_sub(self.opening.len());
            self.opening.extend(bytes.iter().take(taken.min(missing)));
            if matches!(self.temper, Temper::Patient) && taken > 0 {
                self.lose_patience(hands.mistreatment, hands.now);
            }
        }
        taken
    }

    pub(crate) fn finished(&mut self, side: Side, hands: &mut Hands<'_, '_>) {
        if self.end(side).is_some() {
            self.temper = Temper::Spent;
            self.lane_from(side).finished(hands.now);
        }
    }

    pub(crate) fn paused(&mut self, side: Side, hands: &mut Hands<'_, '_>) {
        if let Some(from) = self.end(side) {
            self.lane_from(side).paused(from, hands);
        }
    }

    /// A receive or a send has failed: the end has reset its connection, or will have to.
    pub(crate) fn failed(&mut self, side: Side, hands: &mut Hands<'_, '_>) {
        if self.end(side).is_some() {
            self.temper = Temper::Spent;
            self.lane_from(side).failed(hands.now);
            self.abort(side, hands);
        }
    }

    pub(crate) fn sent(&mut self, side: Side, hands: &mut Hands<'_, '_>) {
        self.lane_to(side).sent();
        if let Some(from) = self.end(side.other()) {
            self.lane_to(side).resume(from, hands);
        }
    }

    pub(crate) fn closed(&mut self, side: Side) {
        self.set_end(side, End::Gone);
    }

    /// Resets the connection of an end; nothing more reaches it.
    fn abort(&mut self, side: Side, hands: &mut Hands<'_, '_>) {
        let Some(connection) = self.end(side) else { return };
        self.set_end(side, End::Leaving);
        // Refused only if it is gone already.
        let _ = hands.operations.abort(connection);
        self.lane_to(side).close_outlet();
        // What comes for it is thrown away from now on, and there is room for that.
        if let Some(from) = self.end(side.other()) {
            self.lane_to(side).resume(from, hands);
        }
    }
}

/// What the proxy does.
impl Open {
    /// Passes on what is due.
    pub(crate) fn pass(&mut self, hands: &mut Hands<'_, '_>) {
        for side in [Side::Target, Side::Client] {
            let Some(to) = self.end(side) else { continue };
            match self.lane_to(side).pass(to, hands) {
                Passed::Bytes(bytes) => {
                    let total = match side {
                        Side::Target => &mut hands.account.counts.bytes_up,
                        Side::Client => &mut hands.account.counts.bytes_down,
                    };
                    *total += bytes as u64;
                }
                Passed::Finish => {
                    if let Some(from) = self.end(side.other()) {
                        self.lane_to(side).resume(from, hands);
                    }
                }
                Passed::Reset => self.abort(side, hands),
            }
        }
    }

    /// When something is to be done next, if no end does anything before.
    pub(crate) fn wakes_at(&mut self, hands: &mut Hands<'_, '_>) -> Option<Time> {
        let Open { up, down, random, .. } = self;
        let due = [up, down].map(|lane| lane.due(hands.mistreatment, &mut hands.account.counts, random));
        let cuts = match self.temper {
            Temper::Short { reset, half_close } => [reset, half_close],
            Temper::Patient | Temper::Spent => [None, None],
        };
        due.into_iter().chain(cuts).flatten().min()
    }

    /// True if nothing can happen any more.
    pub(crate) fn is_over(&self) -> bool {
        let over = |lane: &Lane, from: &End| lane.is_over() && (lane.has_ended() || from.here().is_none());
        over(&self.up, &self.client) && over(&self.down, &self.target)
    }

    /// Closes in good order what is still there. How many last words are to come.
    pub(crate) fn close(&mut self, hands: &mut Hands<'_, '_>) -> u8 {
        for side in [Side::Client, Side::Target] {
            if let Some(connection) = self.end(side) {
                self.set_end(side, End::Leaving);
                let _ = hands.operations.close(connection);
            }
        }
        self.ends_left()
    }

    /// Resets what is still there. How many last words are to come.
    pub(crate) fn abort_both(&mut self, hands: &mut Hands<'_, '_>) -> u8 {
        self.abort(Side::Client, hands);
        self.abort(Side::Target, hands);
        self.ends_left()
    }

    fn ends_left(&self) -> u8 {
        [&self.client, &self.target].map(|end| u8::from(!matches!(end, End::Gone))).into_iter().sum()
    }
}

/// Cutting.
impl Open {
    fn lose_patience(&mut self, mistreatment: &Mistreatment, now: Time) {
        let random = &mut self.random;
        let mut next = |per_minute| draw::until_next(per_minute, random).map(|after| now + after);
        let reset = next(mistreatment.resets_per_minute);
        let half_close = next(mistreatment.half_closes_per_minute);
        self.temper = Temper::Short { reset, half_close };
    }

    /// Cuts the pair if it is time; if nothing may be cut now, another time is drawn.
    pub(crate) fn lose_temper(&mut self, may_cut: bool, hands: &mut Hands<'_, '_>) {
        let Temper::Short { reset, half_close } = self.temper else { return };
        let is_due = |at: Option<Time>| at.is_some_and(|at| at <= hands.now);
        if !is_due(reset) && !is_due(half_close) {
            return;
        }
        if !may_cut {
            return self.lose_patience(hands.mistreatment, hands.now);
        }
        self.temper = Temper::Spent;
        let side = if self.random.below(2) == 0 { Side::Target } else { Side::Client };
        let kind = if is_due(reset) {
            let _ = self.abort_both(hands);
            CutKind::Reset
        } else if self.random.below(2) == 0 {
            self.finish(side, hands);
            CutKind::HalfClose(side)
        } else {
            self.finish(side, hands);
            self.abort(side.other(), hands);
            CutKind::HalfCloseAndReset
        };
        hands.account.cut(self.address, std::mem::take(&mut self.opening), kind);
    }

    /// This end is told of an end of the stream, behind what waits for it.
    fn finish(&mut self, side: Side, hands: &mut Hands<'_, '_>) {
        let now = hands.now;
        self.lane_to(side).cut(now);
        if let Some(from) = self.end(side.other()) {
            self.lane_to(side).resume(from, hands);
        }
    }
}
