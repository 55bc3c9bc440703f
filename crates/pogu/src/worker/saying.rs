//! What a session makes others hear in one turn: charged, and bounded by whichever way.
//!
//! A broadcast goes to every member of a room, a post to a room's state often becomes one, and send queues leave at the end of a
//! turn only: a few that burst must not fill the queues of all. At the bound a session's further packets, and what its handlers
//! on a pool have asked for, wait for the next turn.

use pogu_port::slots::Name;

use crate::worker::{Carrier, State};

/// Bytes that one session may broadcast in one turn before its further packets wait for the next turn. A broadcast is sent
/// to every member, whose send queues leave only at the end of a turn: a few members that burst must not fill the queues of
/// all. 8 KiB: a hundred small packets, and thirty members bursting at once stay below the default bound of a queue.
const BROADCAST_BYTES_PER_TURN: usize = 8 * 1024;

/// What a post to a room's state is charged against these at least. 32 posts are as many as one turn has room for.
const POST_TO_ROOM_BYTES: usize = 256;

impl Carrier {
    /// True if the session has broadcast as much as it may in `turn`.
    pub(super) fn has_said_enough(&self, turn: u32) -> bool {
        self.has_broadcast(turn) >= BROADCAST_BYTES_PER_TURN
    }
}

impl State {
    pub(crate) fn charge_broadcast(&mut self, name: Name, bytes: usize) {
        let turn = self.turn;
        if let Some(carrier) = self.carriers.get_mut(name) {
            let before = carrier.has_broadcast(turn);
            carrier.broadcasts = (turn as u16, u16::try_from(before.saturating_add(bytes)).unwrap_or(u16::MAX));
        }
    }

    /// True if a session has broadcast as much as it may in this turn.
    pub(super) fn has_said_enough(&self, name: Name) -> bool {
        self.carriers.get(name).is_some_and(|carrier| carrier.has_said_enough(self.turn))
    }

    /// What a post to a room's state is charged: what the state makes of it is not known yet, and often a broadcast of what the
    /// session has just received.
    pub(crate) fn charge_post_to_room(&mut self, name: Name) {
        self.charge_broadcast(name, self.called.frame_bytes.max(POST_TO_ROOM_BYTES));
    }
}
