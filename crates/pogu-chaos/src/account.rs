//! What was done, and to whom.

use std::net::SocketAddr;

/// Bytes that are remembered of what a client said first.
pub const OPENING_BYTES: usize = 64;

/// Totals of a proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Clients that were accepted and not turned away.
    pub accepted: u64,
    /// Clients that were reset because there were as many pairs as there may be, or because the system refused.
    pub refused: u64,
    /// Clients that were reset because the target could not be reached.
    pub unreachable: u64,
    /// Pieces that left.
    pub pieces: u64,
    /// Of those, the ones that were held back for a time of their own.
    pub delayed: u64,
    /// Times that a lane stood still.
    pub stalls: u64,
    /// Times that a lane held as much as it may, and was not received for.
    pub pauses: u64,
    /// Cuts of [`CutKind::Reset`].
    pub resets: u64,
    /// Cuts of [`CutKind::HalfClose`].
    pub half_closes: u64,
    /// Cuts of [`CutKind::HalfCloseAndReset`].
    pub half_closes_and_resets: u64,
    /// Bytes that left for the target.
    pub bytes_up: u64,
    /// Bytes that left for clients.
    pub bytes_down: u64,
    /// Pairs that were there when the proxy was stopped.
    pub stopped: u64,
}

/// An end of what goes through a proxy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Side {
    /// Who dialled the proxy.
    Client,
    /// Whom the proxy dialled.
    Target,
}

/// How a connection was cut.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CutKind {
    /// Both ends were reset; what was under way is lost.
    Reset,
    /// The direction to this side ended in good order behind what was under way; the other one went on, and was whole if this
    /// side finished it in good order.
    HalfClose(Side),
    /// One end was finished in good order behind what was under way, the other one was reset.
    HalfCloseAndReset,
}

/// A connection that was cut, by the proxy and by nobody else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The client's address.
    pub client: SocketAddr,
    /// What the client had said first, [`OPENING_BYTES`] of it at most.
    pub opening: Vec<u8>,
    /// How.
    pub kind: CutKind,
}

/// What a proxy did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Account {
    /// How much.
    pub counts: Counts,
    /// To whom. A connection is cut once at most.
    pub cuts: Vec<Cut>,
}

impl Account {
    pub(crate) fn cut(&mut self, client: SocketAddr, opening: Vec<u8>, kind: CutKind) {
        let count = match kind {
            CutKind::Reset => &mut self.counts.resets,
            CutKind::HalfClose(_) => &mut self.counts.half_closes,
            CutKind::HalfCloseAndReset => &mut self.counts.half_closes_and_resets,
        };
        *count += 1;
        self.cuts.push(Cut { client, opening, kind });
    }
}
