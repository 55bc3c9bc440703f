//! Rooms: one order for all members, one post per worker.
//!
//! A room has a *home*, the worker that its number falls to. Joins, leaves and broadcasts go there and are put in order by
//! arriving there. The [home](super::room_home) knows how many members each worker has; each worker knows its own members.
//!
//! ```text
//!   session --join-->       home --Joined-->  its worker       (the member is added there: it misses nothing after this)
//!   session --broadcast-->  home --Deliver--> every worker with members --> send queues of its members
//! ```
//!
//! Messages from one worker to another keep their order, so what a home sends after a `Joined` arrives after it: an
//! acknowledged join misses no later broadcast, and all members see the home's order. A broadcast is given to all workers
//! or, if one of them has no room for it, to none.

use pogu_port::Operations;
use pogu_port::plant::{self, Plant};
use pogu_port::slots::Name;
use std::collections::HashMap;
use std::sync::Arc;
use thin_vec::ThinVec;

use crate::identity::{Room, SessionId};
use crate::keyed::NumberKey;
use crate::message::{Message, SharedFrame};
use crate::progress::Handler;
use crate::trim::{trim_list, trim_table};
use crate::worker::carrier::Membership;
use crate::worker::{State, Undelivered};

/// Rooms that one session may be in or joining: bounds what it costs others to forget it. One more join is refused.
pub const ROOMS_PER_SESSION_MAX: usize = 64;

/// What became of a join.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a join that is not on its way will not be acknowledged"]
#[non_exhaustive]
pub enum JoinOutcome {
    /// It is on its way; `on_joined` tells when it took effect.
    Asked,
    /// The session is in the room, or joining it, already.
    Already,
    /// The session is in as many rooms as it may be ([`ROOMS_PER_SESSION_MAX`]).
    TooMany,
    /// The session is not in the room that it was to move from. It is where it was.
    NotThere,
    /// Messages to the room's home pile up; try again later.
    Overloaded,
    /// The session has ended or is ending, or the worker that the room lives in has gone: the core is stopping.
    Gone,
}

/// What became of a broadcast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a broadcast that was refused reaches nobody"]
#[non_exhaustive]
pub enum BroadcastOutcome {
    /// It is on its way to the room's home. Should the home have to refuse it, `on_broadcast_refused` tells.
    Posted,
    /// Messages to the room's home pile up; nobody gets it.
    Overloaded,
    /// The packet does not fit the session's frame format: the caller's mistake.
    Unencodable(pogu_wire::EncodeError),
    /// The session has ended, or the worker that the room lives in has gone: the core is stopping.
    Gone,
}

pub(crate) struct Rooms {
    workers: usize,
    /// Acknowledged members that live here.
    members: HashMap<Room, Vec<Name>, NumberKey>,
    /// The memory of the list that `deliver` walks.
    walk: Vec<Name>,
    tickets: u32,
}

impl Rooms {
    pub(crate) fn new(workers: usize, key: NumberKey) -> Rooms {
        Rooms { workers, members: HashMap::with_hasher(key), walk: Vec::new(), tickets: 0 }
    }

    fn home(&self, room: Room) -> usize {
        room.home(self.workers)
    }

    fn next_ticket(&mut self) -> u32 {
        self.tickets = self.tickets.wrapping_add(1);
        self.tickets
    }
}

impl State {
    pub(crate) fn join(&mut self, name: Name, room: Room) -> JoinOutcome {
        let session = self.session_id(name);
        let Some(carrier) = self.carriers.get_mut(name).filter(|carrier| carrier.is_live()) else {
            return JoinOutcome::Gone;
        };
        if carrier.rooms.iter().any(|membership| membership.room == room) {
            return JoinOutcome::Already;
        }
        if carrier.rooms.len() >= ROOMS_PER_SESSION_MAX {
            return JoinOutcome::TooMany;
        }
        let service = carrier.standing.running().index;
        let ticket = self.rooms.next_ticket();
        if plant::is(Plant::JoinRefused) && ticket.is_multiple_of(50) {
            self.ledger.row(service).joins_refused += 1;
            return JoinOutcome::Overloaded;
        }
        match self.mail.post(self.rooms.home(room), Message::Join { room, session, ticket }) {
            Ok(()) => {
                carrier.rooms.push(Membership { room, ticket, place: None });
                JoinOutcome::Asked
            }
            Err(Undelivered::Full) => {
                self.ledger.row(service).joins_refused += 1;
                JoinOutcome::Overloaded
            }
            Err(Undelivered::Gone(_)) => {
                self.ledger.core().room_calls_to_gone += 1;
                JoinOutcome::Gone
            }
        }
    }

    /// Takes a session out of a room. True if it was in it or joining it.
    pub(crate) fn leave(&mut self, name: Name, room: Room) -> bool {
        let Some(carrier) = self.carriers.get_mut(name) else { return false };
        let Some(index) = carrier.rooms.iter().position(|membership| membership.room == room) else { return false };
        let membership = carrier.rooms.swap_remove(index);
        if carrier.rooms.is_empty() {
            carrier.rooms = ThinVec::new();
        }
        self.forget_member(self.session_id(name), membership);
        true
    }

    pub(super) fn leave_all(&mut self, name: Name) {
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        for membership in std::mem::take(&mut carrier.rooms) {
            if plant::is(Plant::EndUntold) {
                membership.place.into_iter().for_each(|place| self.remove_member(membership.room, place));
                continue;
            }
            self.forget_member(self.session_id(name), membership);
        }
    }

    /// Out of one room and into another: both, or neither. True if it was in the first, or joining it.
    pub(crate) fn move_room(&mut self, name: Name, from: Room, to: Room) -> JoinOutcome {
        let Some(carrier) = self.carriers.get_mut(name).filter(|carrier| carrier.is_live()) else {
            return JoinOutcome::Gone;
        };
        let Some(index) = carrier.rooms.iter().position(|membership| membership.room == from) else {
            return JoinOutcome::NotThere;
        };
        if from == to {
            return JoinOutcome::Already;
        }
        // Its place is free for the other room, and taken again if that is not to be had.
        let left = carrier.rooms.swap_remove(index);
        let outcome = if plant::is(Plant::MovedNowhere) { JoinOutcome::Asked } else { self.join(name, to) };
        match outcome {
            JoinOutcome::Asked => self.forget_member(self.session_id(name), left),
            _ => {
                if let Some(carrier) = self.carriers.get_mut(name) {
                    carrier.rooms.push(left);
                }
            }
        }
        outcome
    }

    fn forget_member(&mut self, session: SessionId, membership: Membership) {
        let Membership { room, place, .. } = membership;
        if let Some(place) = place {
            self.remove_member(room, place);
        }
        self.mail.tell(self.rooms.home(room), Message::Leave { room, session });
    }

    fn remove_member(&mut self, room: Room, place: usize) {
        let Some(members) = self.rooms.members.get_mut(&room) else { return };
        if place < members.len() {
            members.swap_remove(place);
        }
        let moved = members.get(place).copied();
        match members.len() {
            0 => {
                self.rooms.members.remove(&room);
                trim_table(&mut self.rooms.members);
            }
            count => trim_list(members, count),
        }
        let moved = moved.and_then(|moved| self.carriers.get_mut(moved));
        if let Some(membership) = moved.and_then(|carrier| carrier.rooms.iter_mut().find(|other| other.room == room))
            && !plant::is(Plant::MovedMemberLost)
        {
            membership.place = Some(place);
        }
    }

    pub(crate) fn broadcast(
        &mut self,
        room: Room,
        from: SessionId,
        frame: SharedFrame,
        unordered: bool,
    ) -> BroadcastOutcome {
        if unordered {
            let taken = self.deliver_to_all(room, &Arc::new(frame));
            return if taken { BroadcastOutcome::Posted } else { BroadcastOutcome::Overloaded };
        }
        let message = Message::Broadcast { room, from: Some(from), frame: Arc::new(frame) };
        match self.mail.post(self.rooms.home(room), message) {
            Ok(()) => BroadcastOutcome::Posted,
            Err(Undelivered::Full) => {
                self.ledger.core().broadcasts_refused += 1;
                BroadcastOutcome::Overloaded
            }
            Err(Undelivered::Gone(_)) => {
                self.ledger.core().room_calls_to_gone += 1;
                BroadcastOutcome::Gone
            }
        }
    }

    /// To all workers, past the home, which alone knows where there are members. True if all of them take it; else none does,
    /// and that is counted.
    pub(super) fn deliver_to_all(&mut self, room: Room, frame: &Arc<SharedFrame>) -> bool {
        let workers =
            if plant::is(Plant::OrderlessNearby) { self.index..self.index + 1 } else { 0..self.rooms.workers };
        if workers.clone().any(|worker| !self.mail.has_room(worker)) {
            self.ledger.core().broadcasts_refused += 1;
            return false;
        }
        workers.for_each(|worker| self.mail.tell(worker, Message::Deliver { room, frame: Arc::clone(frame) }));
        true
    }

    /// At the member's worker: the home has put the join in order.
    pub(super) fn joined(&mut self, operations: &mut Operations<'_>, room: Room, session: SessionId, ticket: u32) {
        let name = session.name();
        let Some(carrier) = self.carriers.get_mut(name) else { return };
        let by_room = plant::is(Plant::JoinAcknowledgedEarly);
        let mut memberships = carrier.rooms.iter_mut();
        let membership = memberships.find(|other| other.ticket == ticket || by_room && other.room == room);
        let Some(membership) = membership else { return };
        let members = self.rooms.members.entry(room).or_default();
        membership.place = Some(members.len());
        members.push(name);
        self.call_live(operations, name, Handler::Joined, |session, cx| session.on_joined(cx, room));
    }

    /// At a member's worker: a broadcast for all members that live here.
    pub(super) fn deliver(&mut self, operations: &mut Operations<'_>, room: Room, frame: &Arc<SharedFrame>) {
        // A member whose queue overflows leaves the room while it is being walked: walk a copy of the list.
        let mut walk = std::mem::take(&mut self.rooms.walk);
        walk.clear();
        walk.extend_from_slice(self.rooms.members.get(&room).map_or(&[], Vec::as_slice));
        self.fan_out(operations, &walk, frame);
        let count = walk.len();
        trim_list(&mut walk, count);
        self.rooms.walk = walk;
    }
}
