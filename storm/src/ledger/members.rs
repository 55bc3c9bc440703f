//! Who is in which room, what was said there, and to whom it came.
//!
//! ```text
//!   asked --> in, not a member yet --acknowledged--> member: owed whatever is posted for it from now on --left, ended--> out
//! ```
//!
//! A move is a leave and a join at once, or nothing. What the state of a room says is owed from the moment at which its home has
//! put the join in order, which only the [home](super::homes) sees.

use std::collections::VecDeque;

use pogu::{BroadcastOutcome, JoinOutcome, Time};

use super::heard::Verdict;
use super::rooms::Broadcast;
use super::{Host, Ledger, Phase, Way};
use crate::judged::Check;
use crate::manner::{Keep, Speech};
use crate::message::{Message, Stamp};
use crate::violation::{Side, Violation, Whereabouts};

/// What there is between a host and a room.
#[derive(Debug, Default)]
pub(super) struct Entry {
    /// Joins that were asked for, so far.
    pub(super) asked: u32,
    /// The last of them has not been taken back.
    pub(super) is_in: bool,
    /// Once it is acknowledged.
    pub(super) member: Option<Membership>,
}

/// A host in a room, acknowledged.
#[derive(Debug, Default)]
pub(super) struct Membership {
    /// Broadcasts that were posted since, are for it, and have not come.
    pub(super) owed: VecDeque<usize>,
    /// When those came of which only the newest have to.
    newest_heard: Vec<Time>,
}

/// What a guest knows of a room that it is in.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// The last broadcast that it heard of those that keep their place.
    last: Option<usize>,
    /// Those since the last fence that may have come in the turn of another.
    floating: Vec<usize>,
}

impl Host {
    /// Rooms that it is a member of.
    pub(super) fn memberships(&self) -> impl Iterator<Item = &Membership> {
        self.rooms.values().filter_map(|entry| entry.member.as_ref())
    }

    /// A room whose join was not acknowledged.
    pub(super) fn unacknowledged(&self) -> Option<u32> {
        self.rooms.iter().find(|(_, entry)| entry.is_in && entry.member.is_none()).map(|(room, _)| *room)
    }
}

impl Ledger {
    // ---- Joins and leaves ----

    pub(crate) fn join_asked(&mut self, host: usize, stamp: Stamp, room: u32, outcome: JoinOutcome, is_live: bool) {
        let is_in = self.hosts[host].rooms.get(&room).is_some_and(|entry| entry.is_in);
        match outcome {
            JoinOutcome::Asked if !is_in => return self.enter(host, room),
            JoinOutcome::Already if is_in => {}
            outcome => self.not_joined(host, "join", outcome, is_live),
        }
        self.no_acknowledgement(host, stamp);
    }

    fn enter(&mut self, host: usize, room: u32) {
        let entry = self.hosts[host].rooms.entry(room).or_default();
        entry.asked += 1;
        entry.is_in = true;
    }

    fn not_joined(&mut self, host: usize, what: &str, outcome: JoinOutcome, is_live: bool) {
        match outcome {
            JoinOutcome::Overloaded => {
                self.tally.servers[self.hosts[host].service].joins_refused += 1;
                self.inbox_full(self.hosts[host].core, what);
            }
            JoinOutcome::Gone if !is_live || self.phase == Phase::Stop => {}
            outcome => self.wrong_outcome(what, outcome),
        }
    }

    /// None will come.
    fn no_acknowledgement(&mut self, host: usize, stamp: Stamp) {
        if let Some(guest) = self.hosts[host].guest {
            self.guests[guest].joins.retain(|(sequence, _)| *sequence != stamp.sequence);
        }
    }

    /// A host has moved, or has not.
    pub(crate) fn moved(&mut self, host: usize, stamp: Stamp, rooms: [u32; 2], outcome: JoinOutcome, is_live: bool) {
        let [from, to] = rooms;
        let is_in = |room: &u32| self.hosts[host].rooms.get(room).is_some_and(|entry| entry.is_in);
        let what = format_args!("host {host} moves from room {from} to {to}: {outcome:?}");
        match (outcome, is_in(&from), is_in(&to)) {
            (JoinOutcome::Asked, true, false) => {
                self.event(what, [20, host as u64, stamp.sequence.into()]);
                self.take_out(host, from);
                self.enter(host, to);
                let guest = self.hosts[host].guest.and_then(|guest| self.guests.get_mut(guest));
                let asks = guest.into_iter().flat_map(|guest| &mut guest.asks);
                asks.filter(|ask| ask.sequence == stamp.sequence).for_each(|ask| ask.leaves = Some(from));
                return;
            }
            (JoinOutcome::Already, true, true) | (JoinOutcome::NotThere, false, _) => {}
            (outcome, ..) => self.not_joined(host, "move", outcome, is_live),
        }
        self.no_acknowledgement(host, stamp);
    }

    /// From now on the host hears every broadcast of the room.
    pub(crate) fn joined(&mut self, host: usize, room: u32, is_live: bool) {
        self.called(Side::Host(host), is_live);
        self.event(format_args!("host {host} is in room {room}"), [10, host as u64, u64::from(room)]);
        let of_core = (self.hosts[host].core, room);
        let asked = self.hosts[host].rooms.get(&room).filter(|entry| entry.is_in && entry.member.is_none());
        let Some(asked) = asked.map(|entry| entry.asked) else {
            return self
                .violate(Violation::WrongMembers(format!("host {host} is told twice that it is in room {room}")));
        };
        self.tally.judged.count(Check::Join);
        let owed = self.owed_since_join(of_core, host, asked);
        self.is_unsure_of_queue(host);
        self.rooms.join(of_core, host);
        if let Some(entry) = self.hosts[host].rooms.get_mut(&room) {
            entry.member = Some(Membership { owed, newest_heard: Vec::new() });
        }
    }

    /// A host has left a room; the engine says whether it was there.
    pub(crate) fn left(&mut self, host: usize, room: u32, was_in: bool, is_live: bool) {
        let is_in = self.hosts[host].rooms.get(&room).is_some_and(|entry| entry.is_in);
        if is_live && was_in != is_in {
            self.wrong_outcome("leave", was_in);
        }
        self.take_out(host, room);
    }

    fn take_out(&mut self, host: usize, room: u32) {
        self.rooms.leave((self.hosts[host].core, room), host);
        self.is_unsure_of_queue(host);
        if let Some(entry) = self.hosts[host].rooms.get_mut(&room) {
            entry.is_in = false;
            entry.member = None;
        }
    }

    pub(super) fn leave_all(&mut self, host: usize) {
        let rooms: Vec<u32> = self.hosts[host].rooms.keys().copied().collect();
        rooms.into_iter().for_each(|room| self.take_out(host, room));
    }

    // ---- Broadcasts ----

    pub(crate) fn broadcast(
        &mut self,
        host: usize,
        room: u32,
        stamp: Stamp,
        (checksum, speech): (u64, Speech),
        outcome: BroadcastOutcome,
    ) {
        let what = format_args!("host {host} says in room {room}, {speech:?}: {outcome:?}");
        self.event(what, [11, host as u64, checksum]);
        let core = self.hosts[host].core;
        match outcome {
            BroadcastOutcome::Posted => {
                let index = self.rooms.said((core, room), stamp, checksum, speech, self.now);
                for member in self.rooms.members((core, room)) {
                    let member = &mut self.hosts[*member];
                    let is_meant = speech.audience.takes(member.id);
                    let membership = member.rooms.get_mut(&room).and_then(|entry| entry.member.as_mut());
                    membership.filter(|_| is_meant).into_iter().for_each(|member| member.owed.push_back(index));
                }
            }
            BroadcastOutcome::Overloaded => {
                self.tally.cores[core].broadcasts_refused += 1;
                self.inbox_full(core, "broadcast");
            }
            // The home of a room that somebody is in is there until the time is up.
            BroadcastOutcome::Gone if self.phase == Phase::Stop && !self.is_home_needed(host, room) => {}
            outcome => self.wrong_outcome("broadcast", outcome),
        }
    }

    fn is_home_needed(&self, host: usize, room: u32) -> bool {
        let host = &self.hosts[host];
        let is_member = host.rooms.get(&room).is_some_and(|entry| entry.member.is_some());
        is_member && !self.is_out_of_time(host.core)
    }

    pub(super) fn said_came(&mut self, guest: usize, host: usize, message: &Message) -> Verdict {
        let room = message.argument;
        let unsent = Violation::Unsent as fn(Whereabouts) -> Violation;
        let (index, broadcast) = self.rooms.find(message.stamp).ok_or(unsent)?;
        let (speech, of_room) = (broadcast.speech, broadcast.room);
        if broadcast.checksum != message.checksum || broadcast.stamp != message.stamp {
            return Err(Violation::Altered);
        }
        if of_room != (self.hosts[host].core, room) || !speech.audience.takes(self.hosts[host].id) {
            return Err(Violation::Misdirected);
        }
        let no_member = Violation::NoMember as fn(Whereabouts) -> Violation;
        let keep = speech.manner.keep;
        self.guests[guest].rooms.get(&room).ok_or(no_member)?;
        let way = if speech.is_unordered { Way::Loose(room) } else { Way::Room(room) };
        self.in_order(guest, way, message.stamp, keep)?;
        let hearing = self.guests[guest].rooms.get_mut(&room).ok_or(no_member)?;
        match speech.is_unordered {
            true => self.rooms.heard(index, []),
            false => self.rooms.heard(index, hearing.before(index, keep)),
        }
        self.hosts[host].broadcasts_heard += 1;
        self.tally.judged.count(Check::Broadcast);
        if message.stamp.number == Stamp::LAST_WORDS {
            self.guests[guest].last_words.insert(index);
        }
        let now = self.now;
        if let Some(member) = self.hosts[host].rooms.get_mut(&room).and_then(|entry| entry.member.as_mut()) {
            member.heard(now, index, keep, |other| self.rooms.keep_of(other));
        }
        Ok(())
    }

    /// Whether a broadcast that a member has not heard has given way to newer ones, or will.
    pub(super) fn has_given_way(&self, member: &Membership, index: usize) -> bool {
        let Some(said) = self.rooms.get(index) else { return false };
        let keep = said.speech.manner.keep;
        match keep {
            Keep::All => false,
            Keep::Latest(_) => member.owed.iter().any(|other| *other > index && self.rooms.keep_of(*other) == keep),
            // Nobody outside sees how those of two speakers lie in the queue: whatever may have come behind it counts.
            Keep::Newest { frames_max, .. } => {
                let is_newer = |other: &Broadcast| other.stamp.number != said.stamp.number || other.stamp > said.stamp;
                let owed = member.owed.iter().filter_map(|other| self.rooms.get(*other));
                let newer = owed.filter(|other| other.speech.manner.keep == keep && is_newer(other));
                let came = member.newest_heard.iter().filter(|at| **at >= said.at);
                newer.count() + came.count() >= usize::from(frames_max)
            }
        }
    }
}

impl Membership {
    /// What was owed has come, and older ones of its key come no more.
    fn heard(&mut self, now: Time, index: usize, keep: Keep, keep_of: impl Fn(usize) -> Keep) {
        match keep {
            Keep::Latest(_) => self.owed.retain(|owed| *owed > index || *owed < index && keep_of(*owed) != keep),
            Keep::All | Keep::Newest { .. } => {
                if let Some(at) = self.owed.iter().position(|owed| *owed == index) {
                    self.owed.remove(at);
                }
            }
        }
        if matches!(keep, Keep::Newest { .. }) {
            self.newest_heard.push(now);
        }
    }
}

impl Hearing {
    /// Broadcasts that are before this one in the order of the room, as far as this guest can tell.
    fn before(&mut self, index: usize, keep: Keep) -> Vec<usize> {
        let mut before: Vec<usize> = self.last.into_iter().collect();
        match keep {
            Keep::All => before.append(&mut self.floating),
            Keep::Newest { .. } => {}
            Keep::Latest(_) => {
                self.floating.push(index);
                return before;
            }
        }
        self.last = Some(index);
        before
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GUESTS, Scene, proved};
    use super::*;
    use crate::manner::{Audience, Manner};
    use crate::message::Kind;

    fn keyed(keep: Keep) -> Speech {
        Speech { manner: Manner { keep, ..Manner::PROMPT }, ..Speech::PLAIN }
    }

    fn hear(scene: &mut Scene, guest: usize, said: &[Message]) {
        said.iter().for_each(|said| scene.ledger.heard_by_guest(guest, Some(*said), true));
    }

    #[test]
    fn what_is_said_in_a_room_reaches_members_alone() {
        let mut scene = Scene::new().in_a_room();
        let stamp = scene.heard(1, Kind::Leave, 1);
        scene.ledger.left(1, 1, true, true);
        let answer = scene.answer(1, stamp);
        let said = scene.broadcast_so(0, Speech::PLAIN);
        scene.ledger.heard_by_guest(1, Some(answer), true);
        scene.ledger.heard_by_guest(1, Some(said), true);
        scene.found("no member");
    }

    #[test]
    fn what_is_for_some_members_comes_to_those() {
        let mut scene = Scene::new().in_a_room();
        // Both have one name here: the other audience is nobody.
        let id = scene.ledger.hosts[0].id;
        scene.broadcast_so(0, Speech { audience: Audience::Except(id), ..Speech::PLAIN });
        assert_eq!(proved(scene).ledger.unsettled(&[]), None, "nobody is owed it");
        let mut scene = Scene::new().in_a_room();
        let id = scene.ledger.hosts[0].id;
        let said = scene.broadcast_so(0, Speech { audience: Audience::Except(id), ..Speech::PLAIN });
        hear(&mut scene, 1, &[said]);
        scene.found("misdirected");
    }

    #[test]
    fn the_last_of_a_key_comes_and_others_may_have_given_way() {
        let latest = keyed(Keep::Latest(9));
        let mut scene = Scene::new().in_a_room();
        let said = [scene.broadcast_so(0, latest), scene.broadcast_so(0, latest)];
        GUESTS.into_iter().for_each(|guest| hear(&mut scene, guest, &said[1..]));
        assert_eq!(proved(scene).ledger.unsettled(&[]), None);
        let mut scene = Scene::new().in_a_room();
        let said = [scene.broadcast_so(0, latest), scene.broadcast_so(0, latest)];
        GUESTS.into_iter().for_each(|guest| hear(&mut scene, guest, &said[..1]));
        assert_eq!(proved(scene).ledger.stuck(&[], 0).name(), "missed");
    }

    #[test]
    fn a_newer_frame_of_a_key_does_not_come_before_what_was_said_earlier() {
        let mut scene = Scene::new().in_a_room();
        let said = [scene.broadcast_so(0, Speech::PLAIN), scene.broadcast_so(0, keyed(Keep::Latest(9)))];
        hear(&mut scene, 1, &[said[1], said[0]]);
        scene.found("out of order");
    }

    #[test]
    fn of_a_class_so_many_come() {
        let newest = keyed(Keep::Newest { class: 20, frames_max: 2 });
        for (heard, settled) in [(2, true), (1, false)] {
            let mut scene = Scene::new().in_a_room();
            let said = [0; 3].map(|_| scene.broadcast_so(0, newest));
            GUESTS.into_iter().for_each(|guest| hear(&mut scene, guest, &said[3 - heard..]));
            assert_eq!(proved(scene).ledger.unsettled(&[]).is_none(), settled, "{heard} came");
        }
    }

    #[test]
    fn a_move_is_a_leave_and_a_join_or_nothing() {
        let moved = |rooms, outcome| {
            let mut scene = Scene::new().in_a_room();
            let stamp = scene.heard(1, Kind::Move, 1 << 16 | 2);
            scene.ledger.moved(1, stamp, rooms, outcome, true);
            scene.ledger.violation().map(|(_, violation)| violation.name())
        };
        assert_eq!(moved([1, 2], JoinOutcome::Asked), None);
        assert_eq!(moved([3, 2], JoinOutcome::NotThere), None);
        assert_eq!(moved([1, 1], JoinOutcome::Already), None);
        assert_eq!(moved([3, 2], JoinOutcome::Asked), Some("wrong outcome"));
        assert_eq!(moved([1, 2], JoinOutcome::NotThere), Some("wrong outcome"));
        assert_eq!(moved([1, 1], JoinOutcome::Asked), Some("wrong outcome"));
    }

    #[test]
    fn who_has_moved_hears_the_other_room_alone_and_waits_to_be_told() {
        let mut scene = Scene::new().in_a_room();
        let stamp = scene.heard(1, Kind::Move, 1 << 16 | 2);
        scene.ledger.moved(1, stamp, [1, 2], JoinOutcome::Asked, true);
        let answer = scene.answer(1, stamp);
        hear(&mut scene, 1, &[answer]);
        let said = scene.broadcast_so(0, Speech::PLAIN);
        hear(&mut scene, 0, &[said]);
        let mut scene = proved(scene);
        assert_eq!(scene.ledger.unsettled(&[]), Some(Side::Host(1)), "nobody has told it that it is in the other room");
        assert_eq!(scene.ledger.stuck(&[], 0).name(), "stuck");
        scene.ledger.joined(1, 2, true);
        assert_eq!(scene.ledger.unsettled(&[]), None);
        scene.ledger.heard_by_guest(1, Some(said), true);
        scene.found("no member");
    }

    #[test]
    fn a_join_is_acknowledged_once() {
        let mut scene = Scene::new().in_a_room();
        scene.ledger.joined(1, 1, true);
        scene.found("wrong members");
    }
}
