//! A run through a proxy that treats connections badly: what may be promised then, and whether it held.
//!
//! The proxy stands between the sessions and their target. A connection that it cuts is no error: its place is dialled again,
//! and what comes is a new *visit* to the server, whose numbers start again. A number is the visit's and the message's:
//!
//! ```text
//!   [ visit, 24 bits | message of that visit, 40 bits ]
//! ```
//!
//! Which visit a cut has ended is known by what it said first, before anything else: its *introduction*, an ECHO with its own
//! number. What must hold:
//!
//! - a visit that was not cut gets everything, once, in order, unaltered, and does not end before it is asked to;
//! - one that was cut gets a beginning of that, and nothing twice;
//! - one that was told of the end by a half-close finishes in good order: all that it sent reaches the server;
//! - in a room, a visit gets everything of the others that was sent after its own JOIN was acknowledged and reached the server.
//!   That a message of a cut visit did is known if anybody got it, or a later one: then all who were not cut must have it.
//!
//! Nothing is cut before all have come, nor while what is under way is awaited; so the rest must come to an end, and every place
//! must be taken again.

mod crew;
mod judge;
mod run;
mod visitor;

use std::collections::BTreeMap;

use pogu_chaos::CutKind;
use serde::{Deserialize, Serialize};

pub(super) use run::run;

/// What the proxy did, and what that cost.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Mishaps {
    pub(super) resets: u64,
    pub(super) half_closes: u64,
    pub(super) half_closes_and_resets: u64,
    pub(super) never_cut: u64,
    pub(super) came_back: u64,
    pub(super) stayed_away: u64,
    pub(super) void: u64,
    pub(super) pieces: u64,
    pub(super) delayed: u64,
    pub(super) stalls: u64,
    pub(super) pauses: u64,
}

impl Mishaps {
    /// Adds those of another part.
    pub(super) fn add(&mut self, other: &Mishaps) {
        for (mine, others) in [
            (&mut self.resets, other.resets),
            (&mut self.half_closes, other.half_closes),
            (&mut self.half_closes_and_resets, other.half_closes_and_resets),
            (&mut self.never_cut, other.never_cut),
            (&mut self.came_back, other.came_back),
            (&mut self.stayed_away, other.stayed_away),
            (&mut self.void, other.void),
            (&mut self.pieces, other.pieces),
            (&mut self.delayed, other.delayed),
            (&mut self.stalls, other.stalls),
            (&mut self.pauses, other.pauses),
        ] {
            *mine += others;
        }
    }
}

/// One stay of one session at the server: its number in this process, and which stay.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Visit {
    session: usize,
    count: u32,
}

/// The visits that the proxy has cut.
type Cuts = BTreeMap<Visit, CutKind>;

const MESSAGE_BITS: u32 = 40;

/// The message number of an introduction: no session gets so far.
const INTRODUCTION: u64 = (1 << MESSAGE_BITS) - 1;

/// A message's number on the wire.
fn joined(visit: u32, message: u64) -> u64 {
    u64::from(visit) << MESSAGE_BITS | message & INTRODUCTION
}

/// Visit and message.
fn parted(number: u64) -> (u32, u64) {
    ((number >> MESSAGE_BITS) as u32, number & INTRODUCTION)
}
