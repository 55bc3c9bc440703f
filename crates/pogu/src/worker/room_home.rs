//! A room at its home: who is in it by worker, its state, and its order.
//!
//! ```text
//!   Join, Leave, Broadcast, VisitRoom --one after the other--> [ counts by worker | state of the user's, members, timer ]
//!                                                   \--> Joined, Deliver: at most one message per worker
//! ```
//!
//! What a room's state sends while it is called takes its place in the order at once: it is called between two messages.
//! While it runs it is out of the map, and put back if it did not panic.
//!
//! A worker that goes alone may take leaves of its sessions with it that found no room on their way. So every home looks in each
//! turn whether a worker has gone, and strikes its members; what comes from it afterwards, because it was on its way, finds them
//! struck.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use pogu_port::plant::{self, Plant};

use crate::identity::{Room, SessionId};
use crate::keyed::NumberKey;
use crate::message::{Message, SharedFrame};
use crate::post::Errand;
use crate::room::{RoomState, RoomVisit};
use crate::room_context::RoomContext;
use crate::room_kinds::RoomKind;
use crate::trim::trim_table;
use crate::worker::State;
use crate::worker::caught::{caught, drop_quietly};
use crate::worker::log_gate::Line;
use crate::worker::rooms::BroadcastOutcome;
use crate::worker::wheel::Chain;

/// A room with members, or with a state that stays.
struct Home {
    /// Members by worker.
    counts: Vec<u32>,
    /// `None` of a room without a state.
    logic: Option<Box<Logic>>,
}

/// What makes a room more than a list of members.
pub(super) struct Logic {
    kind: Arc<RoomKind>,
    /// `None` while it is called, and once it has panicked.
    state: Option<Quiet>,
    /// All of them, in the order of their names: the same in every run.
    members: BTreeSet<SessionId>,
    pub(super) timers: Chain,
    /// The state has asked for its end.
    is_closing: bool,
}

/// A state that harms nobody when its drop panics.
struct Quiet(Option<Box<dyn RoomState>>);

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(state) = self.0.take() {
            drop_quietly(state);
        }
    }
}

/// The rooms whose home a worker is.
pub(crate) struct Homes {
    workers: usize,
    rooms: HashMap<Room, Home, NumberKey>,
    /// Of all of them.
    members: u64,
    /// By worker: it has gone, and its sessions were struck.
    struck: Vec<bool>,
    departures_seen: usize,
}

impl Homes {
    pub(crate) fn new(workers: usize, key: NumberKey) -> Homes {
        let struck = vec![false; workers];
        Homes { workers, rooms: HashMap::with_hasher(key), members: 0, struck, departures_seen: 0 }
    }

    /// True if somebody is in one of them, wherever: then its home is needed.
    pub(super) fn have_members(&self) -> bool {
        self.members > 0
    }

    pub(super) fn logic(&mut self, room: Room) -> Option<&mut Logic> {
        self.rooms.get_mut(&room)?.logic.as_deref_mut()
    }
}

impl Home {
    fn has_members(&self) -> bool {
        self.counts.iter().any(|count| *count > 0)
    }
}

impl State {
    /// Members of a room whose home is here.
    pub(crate) fn room_members(&self, room: Room) -> usize {
        let counts = self.homes.rooms.get(&room).map(|home| home.counts.iter());
        counts.into_iter().flatten().fold(0, |members, count| members.saturating_add(*count as usize))
    }

    /// The members of a room with a state whose home is here.
    pub(crate) fn list_room_members(&self, room: Room) -> impl Iterator<Item = SessionId> + '_ {
        let logic = self.homes.rooms.get(&room).and_then(|home| home.logic.as_ref());
        logic.into_iter().flat_map(|logic| logic.members.iter().copied())
    }

    /// A member joins.
    pub(super) fn home_join(&mut self, room: Room, session: SessionId, ticket: u32) {
        // It went with its worker.
        if self.homes.struck.get(session.worker()) == Some(&true) {
            return;
        }
        self.restart_room(room);
        let home = self.home(room, |_| true);
        let Some(home) = home else { return };
        if let Some(count) = home.counts.get_mut(session.worker()) {
            *count = if plant::is(Plant::MemberCountedOnce) { 1 } else { count.saturating_add(1) };
        }
        if let Some(logic) = &mut home.logic {
            logic.members.insert(session);
        }
        self.homes.members += 1;
        if plant::is(Plant::StateSpeaksFirst) {
            self.call_room(room, |state, cx| state.on_join(cx, session));
        }
        self.mail.tell(session.worker(), Message::Joined { room, session, ticket });
        if !plant::is(Plant::StateSpeaksFirst) {
            self.call_room(room, |state, cx| state.on_join(cx, session));
        }
    }

    /// A member leaves.
    pub(super) fn home_leave(&mut self, room: Room, session: SessionId) {
        let Some(home) = self.homes.rooms.get_mut(&room) else { return };
        let count = home.counts.get_mut(session.worker()).filter(|count| **count > 0);
        let is_member = home.logic.as_mut().is_none_or(|logic| logic.members.remove(&session));
        // It was struck with its worker.
        let Some(count) = count.filter(|_| is_member) else { return };
        *count -= 1;
        self.homes.members = self.homes.members.saturating_sub(1);
        self.call_room(room, |state, cx| state.on_leave(cx, session));
        self.close_if_empty(room);
    }

    /// Strikes the members of workers that have gone since.
    pub(super) fn look_at_departures(&mut self) {
        let departures = self.shared.departures().count();
        if departures == self.homes.departures_seen {
            return;
        }
        self.homes.departures_seen = departures;
        for worker in 0..self.homes.workers {
            let has_gone = self.shared.departures().has_gone(worker);
            let is_struck = self.homes.struck.get_mut(worker);
            if has_gone && is_struck.is_some_and(|is_struck| !std::mem::replace(is_struck, true)) {
                self.strike_members_of(worker);
            }
        }
    }

    fn strike_members_of(&mut self, worker: usize) {
        let has_some = |home: &Home| home.counts.get(worker).is_some_and(|count| *count > 0);
        let concerned = self.homes.rooms.iter().filter(|(_, home)| has_some(home)).map(|(room, _)| *room);
        let mut rooms: Vec<Room> = concerned.collect();
        rooms.sort_unstable();
        for room in rooms {
            let known: Vec<SessionId> = self.list_room_members(room).filter(|id| id.worker() == worker).collect();
            known.into_iter().for_each(|session| self.home_leave(room, session));
            // Of a room without a state nobody knows who they are.
            let Some(home) = self.homes.rooms.get_mut(&room) else { continue };
            let unknown = home.counts.get_mut(worker).map(std::mem::take);
            self.homes.members = self.homes.members.saturating_sub(u64::from(unknown.unwrap_or_default()));
            self.close_if_empty(room);
        }
    }

    /// A room without members has no entry, unless it has a state that stays.
    fn close_if_empty(&mut self, room: Room) {
        let Some(home) = self.homes.rooms.get(&room).filter(|home| !home.has_members()) else { return };
        // One that stays and has panicked goes: it is made anew when it is wanted next.
        let stays = !plant::is(Plant::KeptStateDropped);
        if stays && home.logic.as_ref().is_some_and(|logic| logic.kind.stays && logic.state.is_some()) {
            return;
        }
        let closed = self.homes.rooms.remove(&room);
        trim_table(&mut self.homes.rooms);
        if let Some(logic) = closed.and_then(|home| home.logic) {
            self.drop_logic(room, logic);
        }
    }

    fn drop_logic(&mut self, room: Room, mut logic: Box<Logic>) {
        self.timers.remove_all(&mut logic.timers);
        self.marker.begin_room(room);
        drop(logic);
        self.marker.end();
    }

    /// A room was opened: it has its state from now on, unless it has members, who came to a room without one.
    pub(super) fn open_room(&mut self, room: Room, kind: Arc<RoomKind>) {
        if self.homes.rooms.contains_key(&room) {
            return;
        }
        let home = self.empty_home(room, Some(kind));
        self.homes.rooms.insert(room, home);
        // Perhaps it could not be made.
        self.close_if_empty(room);
    }

    /// A room was closed from outside. By now it may have been opened again.
    pub(super) fn close_room_of(&mut self, room: Room, kind: Option<&Arc<RoomKind>>) {
        let is_meant = self.homes.logic(room).is_some_and(|logic| match kind {
            Some(kind) => Arc::ptr_eq(&logic.kind, kind),
            None => !logic.kind.stays,
        });
        if is_meant {
            self.close_room(room);
        }
    }

    /// The state of a room goes, where it is; who is in the room stays.
    fn close_room(&mut self, room: Room) {
        let logic = self.homes.rooms.get_mut(&room).and_then(|home| home.logic.take());
        let Some(logic) = logic else { return };
        if logic.kind.stays {
            self.shared.room_kinds().forget_kind(&logic.kind);
        }
        self.drop_logic(room, logic);
        self.close_if_empty(room);
    }

    /// As [`State::close_room`], once the call of its state that asks for it is over.
    pub(crate) fn close_room_after_call(&mut self, room: Room) {
        if let Some(logic) = self.homes.logic(room) {
            logic.is_closing = true;
        }
    }

    /// The entry of a room, made if there is none and its kind is as `wanted`.
    fn home(&mut self, room: Room, wanted: impl FnOnce(Option<&RoomKind>) -> bool) -> Option<&mut Home> {
        if !self.homes.rooms.contains_key(&room) {
            let kind = self.shared.room_kinds().of(room);
            if !wanted(kind.as_deref()) {
                return None;
            }
            let home = self.empty_home(room, kind);
            self.homes.rooms.insert(room, home);
        }
        self.homes.rooms.get_mut(&room)
    }

    fn empty_home(&mut self, room: Room, kind: Option<Arc<RoomKind>>) -> Home {
        let logic = kind.map(|kind| {
            let state = self.make_state(room, &kind);
            Box::new(Logic { kind, state, members: BTreeSet::new(), timers: Chain::default(), is_closing: false })
        });
        Home { counts: vec![0; self.homes.workers], logic }
    }

    /// A state that stays and has panicked is made anew, over those who are there.
    fn restart_room(&mut self, room: Room) {
        let lost = self.homes.logic(room).filter(|logic| logic.kind.stays && logic.state.is_none());
        let Some(kind) = lost.map(|logic| Arc::clone(&logic.kind)) else { return };
        let state = self.make_state(room, &kind);
        if let Some(logic) = self.homes.logic(room) {
            logic.state = state;
        }
        self.call_room(room, |state, cx| state.on_restart(cx));
    }

    fn make_state(&mut self, room: Room, kind: &RoomKind) -> Option<Quiet> {
        self.marker.begin_room(room);
        let state = caught(|| kind.make(room)).flatten().map(|state| Quiet(Some(state)));
        self.marker.end();
        if state.is_none() {
            self.room_panicked(room, None);
        }
        state
    }

    /// Calls the state of a room, if it has one. `None` if it has none, or panicked: then it has none any more.
    pub(super) fn call_room<R>(
        &mut self,
        room: Room,
        handler: impl FnOnce(&mut dyn RoomState, &mut RoomContext<'_>) -> R,
    ) -> Option<R> {
        let logic = self.homes.logic(room)?;
        let format = logic.kind.format;
        let mut state = logic.state.take()?;
        let boxed = state.0.as_deref_mut()?;
        self.marker.begin_room(room);
        let result = caught(|| handler(boxed, &mut RoomContext::new(self, room, format)));
        self.marker.end();
        match (&result, self.homes.logic(room)) {
            (Some(_), Some(logic)) => logic.state = Some(state),
            _ => self.room_panicked(room, Some(state)),
        }
        match self.homes.logic(room).is_some_and(|logic| logic.is_closing) {
            true => self.close_room(room),
            false if result.is_none() => self.close_if_empty(room),
            false => {}
        }
        result
    }

    /// The state of a room panicked, or could not be made.
    fn room_panicked(&mut self, room: Room, state: Option<Quiet>) {
        let State { homes, timers, .. } = self;
        if let Some(logic) = homes.logic(room) {
            timers.remove_all(&mut logic.timers);
        }
        self.marker.begin_room(room);
        drop(state);
        self.marker.end();
        self.ledger.core().room_panics += 1;
        if self.log.allows(Line::RoomPanicked, self.now) {
            tracing::error!(worker = self.index, %room, "the state of a room panicked");
        }
    }

    /// The worker begins to stop: each state that is here may say a last word.
    pub(super) fn tell_rooms_of_stop(&mut self) {
        let has_state = |home: &Home| home.logic.as_ref().is_some_and(|logic| logic.state.is_some());
        let told = self.homes.rooms.iter().filter(|(_, home)| has_state(home)).map(|(room, _)| *room);
        let mut rooms: Vec<Room> = told.collect();
        rooms.sort_unstable();
        for room in rooms {
            self.call_room(room, |state, cx| state.on_stopping(cx));
        }
    }

    /// A closure for the state of a room.
    pub(super) fn visit_room(&mut self, room: Room, visit: Errand<dyn RoomVisit>) {
        self.restart_room(room);
        self.home(room, |kind| kind.is_some_and(|kind| kind.stays));
        let has_state = self.homes.logic(room).is_some_and(|logic| logic.state.is_some());
        let visited = visit
            .take_if(has_state)
            .and_then(|visit| self.call_room(room, |state, cx| visit.visit(state.as_any_mut(), cx)).or(Some(true)));
        if visited != Some(true) {
            self.ledger.core().posts_to_gone += 1;
            // Perhaps it was to be made for this, and could not be.
            self.close_if_empty(room);
        }
    }

    /// A broadcast of a session, or of somebody who is none, takes its place in the order.
    pub(super) fn home_broadcast(&mut self, room: Room, from: Option<SessionId>, frame: &Arc<SharedFrame>) {
        if !self.order_broadcast(room, frame)
            && let Some(from) = from
        {
            // However much waits for its worker, which may be the one that does not keep up.
            self.mail.tell(from.worker(), Message::BroadcastRefused { room, session: from });
        }
    }

    /// A broadcast of the room's own.
    pub(crate) fn broadcast_from_home(&mut self, room: Room, frame: SharedFrame, unordered: bool) -> BroadcastOutcome {
        let frame = Arc::new(frame);
        let taken = if unordered { self.deliver_to_all(room, &frame) } else { self.order_broadcast(room, &frame) };
        if taken { BroadcastOutcome::Posted } else { BroadcastOutcome::Overloaded }
    }

    /// True if all workers with members take it, and so get it; else none of them does, and that is counted.
    fn order_broadcast(&mut self, room: Room, frame: &Arc<SharedFrame>) -> bool {
        let Some(home) = self.homes.rooms.get(&room) else { return true };
        let targets = home.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(|(worker, _)| worker);
        if targets.clone().any(|worker| !self.mail.has_room(worker)) {
            self.ledger.core().broadcasts_refused += 1;
            return false;
        }
        targets.for_each(|worker| self.mail.tell(worker, Message::Deliver { room, frame: Arc::clone(frame) }));
        true
    }
}
