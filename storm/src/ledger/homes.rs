//! Rooms with a state, as their states see them: at the home, where joins, leaves and broadcasts are put in order.
//!
//! ```text
//!   made -- on_join, on_leave, on_timer, one after the other -- dropped: when nobody is in it any more, or after a panic
//!   kept, and made when it is opened -------------------------- dropped: with its core, or after a panic
//! ```
//!
//! A state knows its members from the moment at which they are in order, before they do. What it says then has to reach them. Once
//! a state has panicked, what happens in the room is seen by nobody until it is empty, or until a state that is kept is made anew.
//! The next state of an empty room sees it again: of a session that came before, nobody knows with which of its joins it comes until
//! that is acknowledged. Of a kept one only the states are counted from then on.

use std::collections::{BTreeMap, VecDeque};

use pogu::{BroadcastOutcome, FanOutOutcome, RoomRef, SessionId, Time};

use super::rooms::RoomOfCore;
use super::sent::Forward;
use super::{Ledger, Life, Phase};
use crate::hall::Hall;
use crate::judged::Check;
use crate::manner::{Audience, Speech};
use crate::message::Stamp;
use crate::violation::Violation;

/// A room that a state may have.
#[derive(Debug, Default)]
pub(super) struct Home {
    pub(super) has_state: bool,
    /// It is there also when nobody is in the room.
    pub(super) is_kept: bool,
    /// Posts from outside of its core that have not run, in order.
    pub(super) calls: VecDeque<u64>,
    /// The last of them that has.
    pub(super) last_call: u64,
    /// A state has panicked: who is in the room is not known until there is another.
    pub(super) is_untracked: bool,
    /// One has panicked before: joins and posts of that time were not seen.
    has_gap: bool,
    /// Posts from outside of that time: they may have run nowhere.
    pub(super) doubtful: VecDeque<u64>,
    pub(super) members: BTreeMap<usize, Homed>,
    /// Joins that states have seen, by host.
    joins: BTreeMap<usize, u32>,
    pub(super) timer: Option<Time>,
}

/// A member that a state knows.
#[derive(Debug, Default)]
pub(super) struct Homed {
    /// Which of its joins it is here with; 0: not known yet.
    pub(super) join: u32,
    /// What was said before it knew that it is a member.
    owed: VecDeque<usize>,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Homes {
    pub(super) rooms: BTreeMap<RoomOfCore, Home>,
    /// Rooms from 1 on that have one.
    pub(super) halls: u32,
    /// States so far.
    made: u64,
    /// What they have said so far, and sessions when they were told that their core stops.
    said: u32,
    /// Posts to them from outside, so far.
    pub(super) calls: u64,
}

impl Homes {
    pub(super) fn new(halls: u32) -> Homes {
        Homes { rooms: BTreeMap::new(), halls, made: 0, said: 0, calls: 0 }
    }

    pub(super) fn next_sequence(&mut self) -> u32 {
        self.said += 1;
        self.said
    }

    pub(super) fn of(&mut self, room: RoomOfCore) -> &mut Home {
        self.rooms.entry(room).or_default()
    }
}

impl Home {
    /// Whether a host is a member, and how many joins of it were seen; `None` if some were not.
    pub(super) fn knows(&self, host: usize) -> Option<(bool, u32)> {
        let joins = self.joins.get(&host).copied().or((!self.has_gap).then_some(0))?;
        Some((self.members.contains_key(&host), joins))
    }

    /// There is another state after one that has panicked: the room was empty.
    fn begin_anew(&mut self) {
        (self.is_untracked, self.has_gap) = (false, true);
        self.members.clear();
        self.joins.clear();
        self.doubtful.append(&mut self.calls);
    }

    /// Which of its joins a host comes with, if so many were asked for.
    fn next_join(&mut self, host: usize, asked: u32) -> u32 {
        let is_known = !self.has_gap || asked == 1 || self.joins.contains_key(&host);
        if !is_known {
            return 0;
        }
        let seen = self.joins.entry(host).or_default();
        *seen += 1;
        *seen
    }
}

impl Ledger {
    pub(super) fn wrong_members(&mut self, (core, room): RoomOfCore, what: &str) {
        self.violate(Violation::WrongMembers(format!("room {room} of core {core} {what}")));
    }

    /// A room with a state is opened, and can be posted to.
    pub(crate) fn hall_opened(&mut self, room: RoomOfCore, hall: Option<RoomRef<Hall>>, is_kept: bool) {
        self.homes.of(room).is_kept = is_kept;
        self.halls.extend(hall.map(|hall| (room, hall)));
    }

    /// An inbox has no room for the making of a state that is kept.
    pub(crate) fn hall_not_kept(&mut self, core: usize) {
        self.tally.cores[core].posts_refused += 1;
    }

    /// Tells how many states were made before.
    pub(crate) fn hall_made(&mut self, room: RoomOfCore) -> u64 {
        self.event(format_args!("room {room:?} has a state"), [21, room.0 as u64, room.1.into()]);
        self.homes.made += 1;
        self.values += 1;
        let home = self.homes.of(room);
        let had_state = std::mem::replace(&mut home.has_state, true);
        if home.is_untracked {
            home.begin_anew();
            self.tally.judged.count(Check::StateAgain);
            // What was posted to it before may have run nowhere.
            for host in self.hosts.iter_mut().filter(|host| host.core == room.0) {
                host.visits.retain(|visit| visit.room() != room.1);
            }
        }
        if had_state {
            self.wrong_members(room, "has two states");
        }
        self.homes.made - 1
    }

    pub(crate) fn hall_dropped(&mut self, room: RoomOfCore) {
        self.event(format_args!("the state of room {room:?} is dropped"), [31, room.0 as u64, room.1.into()]);
        self.values -= 1;
        let home = self.homes.of(room);
        home.has_state = false;
        home.timer = None;
        let is_empty = home.is_untracked || std::mem::take(&mut home.members).is_empty();
        let is_kept = home.is_kept && !home.is_untracked;
        if !is_empty && !self.is_out_of_time(room.0) {
            self.wrong_members(room, "has members, and its state is dropped");
        } else if is_kept && self.phase != Phase::Stop {
            self.wrong_members(room, "is kept, and its state is dropped");
        }
    }

    /// The state of a room is about to panic.
    pub(crate) fn hall_panics(&mut self, room: RoomOfCore) {
        self.event(format_args!("the state of room {room:?} panics"), [22, room.0 as u64, room.1.into()]);
        self.homes.of(room).is_untracked = true;
        self.tally.cores[room.0].room_panics += 1;
    }

    /// The state of a kept room is made anew over members: nobody knows with which of their joins they are there.
    pub(crate) fn hall_goes_on(&mut self, room: RoomOfCore) {
        self.event(format_args!("the state of room {room:?} goes on over members"), [42, room.0 as u64, room.1.into()]);
        self.homes.of(room).is_untracked = true;
    }

    /// A state is told of a member, which makes so many.
    pub(crate) fn hall_joined(&mut self, room: RoomOfCore, member: SessionId, members: usize) {
        self.event(format_args!("room {room:?}: {member} joins"), [23, room.0 as u64, room.1.into()]);
        let Some(host) = self.by_id.get(&member).copied() else {
            return self.wrong_members(room, "has a member that nobody is");
        };
        let asked = self.hosts[host].rooms.get(&room.1).map_or(0, |entry| entry.asked);
        let home = self.homes.of(room);
        if home.is_untracked {
            return;
        }
        let join = home.next_join(host, asked);
        let is_new = home.members.insert(host, Homed { join, owed: VecDeque::new() }).is_none();
        let count = home.members.len();
        self.tally.judged.count(Check::StateJoin);
        if !is_new || join > asked {
            self.wrong_members(room, &format!("is told of host {host}, which is there or has not asked"));
        } else if members != count {
            self.wrong_members(room, &format!("has {members} members, and its state was told of {count}"));
        }
    }

    /// A state is told that somebody is a member no more, which makes so many.
    pub(crate) fn hall_left(&mut self, room: RoomOfCore, member: SessionId, members: usize) {
        self.event(format_args!("room {room:?}: {member} leaves"), [24, room.0 as u64, room.1.into()]);
        let host = self.by_id.get(&member).copied();
        let home = self.homes.of(room);
        if home.is_untracked {
            return;
        }
        let was_there = host.is_some_and(|host| home.members.remove(&host).is_some());
        let count = home.members.len();
        if !was_there {
            self.wrong_members(room, &format!("is left by {member}, which was not there"));
        } else if members != count {
            self.wrong_members(room, &format!("has {members} members, and its state knows of {count}"));
        }
    }

    /// Whom a room says to be there are not those whom its state was told of.
    pub(crate) fn hall_lists_others(&mut self, room: RoomOfCore) {
        self.wrong_members(room, "lists others than its state was told of");
    }

    /// The stamp of what a state says next.
    pub(crate) fn hall_stamp(&mut self, (core, room): RoomOfCore) -> Stamp {
        // What two rooms say has no order: they may live in two workers.
        Stamp { number: Stamp::ROOMS, incarnation: (core as u32) << 16 | room, sequence: self.homes.next_sequence() }
    }

    /// A state has said something: all that it knows to be there hear it, those included that do not know it yet.
    pub(crate) fn hall_said(
        &mut self,
        room: RoomOfCore,
        stamp: Stamp,
        (checksum, speech): (u64, Speech),
        outcome: BroadcastOutcome,
    ) {
        self.event(format_args!("room {room:?} says {speech:?}: {outcome:?}"), [25, room.0 as u64, checksum]);
        match outcome {
            BroadcastOutcome::Posted => {
                let index = self.rooms.said(room, stamp, checksum, speech, self.now);
                self.owe_from_home(room, index, speech.audience);
            }
            BroadcastOutcome::Overloaded => {
                self.tally.cores[room.0].broadcasts_refused += 1;
                self.inbox_full(room.0, "broadcast of a room");
            }
            outcome => self.wrong_outcome("broadcast of a room", outcome),
        }
    }

    fn owe_from_home(&mut self, room: RoomOfCore, index: usize, audience: Audience) {
        let Some(home) = self.homes.rooms.get_mut(&room) else { return };
        for (host, homed) in &mut home.members {
            let host = &mut self.hosts[*host];
            let is_meant = audience.takes(host.id);
            match host.rooms.get_mut(&room.1).filter(|entry| is_meant && entry.is_in && entry.asked == homed.join) {
                None => {}
                Some(entry) => {
                    entry.member.as_mut().map_or(&mut homed.owed, |member| &mut member.owed).push_back(index)
                }
            }
        }
    }

    /// What a state has sent to some of its members.
    pub(crate) fn hall_told(&mut self, members: &[SessionId], stamp: Stamp, checksum: u64, outcome: FanOutOutcome) {
        let to: Vec<usize> = members.iter().filter_map(|member| self.by_id.get(member).copied()).collect();
        let core = to.first().map_or(0, |host| self.hosts[*host].core);
        let have_ended = to.iter().all(|host| self.hosts[*host].life == Life::Ended);
        let is_owed = match outcome {
            FanOutOutcome::Posted => true,
            FanOutOutcome::Partial { .. } if self.is_tight[core] => false,
            FanOutOutcome::Overloaded if self.is_tight[core] => return,
            FanOutOutcome::Gone if self.phase == Phase::Stop && have_ended => return,
            outcome => return self.wrong_outcome("send_to_many of a room", outcome),
        };
        to.into_iter().for_each(|host| self.forward(host, Forward { stamp, checksum, is_owed }));
    }

    /// What a new member is owed that its room has said before it knew. Its join was seen by the state.
    pub(super) fn owed_since_join(&mut self, room: RoomOfCore, host: usize, join: u32) -> VecDeque<usize> {
        if room.1 > self.homes.halls {
            return VecDeque::new();
        }
        let is_out_of_time = self.is_out_of_time(room.0);
        let home = self.homes.of(room);
        let homed = home.members.get_mut(&host).filter(|homed| homed.join == join || homed.join == 0);
        match homed.map(|homed| (std::mem::replace(&mut homed.join, join), std::mem::take(&mut homed.owed))) {
            Some((_, owed)) => {
                home.joins.insert(host, join);
                owed
            }
            None => {
                // A worker that stops without regard takes its rooms along; what it has acknowledged is on its way.
                let has_gone = !home.has_state && is_out_of_time;
                if !home.is_untracked && !has_gone {
                    self.wrong_members(room, &format!("has not seen join {join} of host {host}"));
                }
                VecDeque::new()
            }
        }
    }

    // ---- Timers of rooms ----

    pub(crate) fn hall_waits(&mut self, room: RoomOfCore, until: Option<Time>) {
        self.homes.of(room).timer = until;
    }

    pub(crate) fn hall_rang(&mut self, room: RoomOfCore) {
        self.event(format_args!("the timer of room {room:?}"), [26, room.0 as u64, room.1.into()]);
        let due = self.homes.of(room).timer.take();
        self.tally.judged.count(Check::RoomTimer);
        self.rang(due, || format!("the timer of room {room:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Scene, proved};
    use super::*;
    use crate::message::{Kind, Message};
    use pogu::JoinOutcome;

    const ROOM: RoomOfCore = (0, 1);

    /// Host 1 has asked to be in a room with a state, which is there.
    fn asked() -> Scene {
        let mut scene = Scene::new();
        scene.ledger.homes.halls = 1;
        let stamp = scene.heard(1, Kind::Join, 1);
        scene.ledger.join_asked(1, stamp, 1, JoinOutcome::Asked, true);
        let answer = scene.answer(1, stamp);
        scene.ledger.heard_by_guest(1, Some(answer), true);
        assert_eq!(scene.ledger.hall_made(ROOM), 0);
        scene
    }

    fn joined() -> Scene {
        let mut scene = asked();
        let id = scene.ledger.hosts[1].id;
        scene.ledger.hall_joined(ROOM, id, 1);
        scene
    }

    fn said(scene: &mut Scene) -> Message {
        let stamp = scene.ledger.hall_stamp(ROOM);
        let mut body = Vec::new();
        Message::write(&mut body, Kind::Said, stamp, 1, 5, &mut crate::draw::Draw::new(1, 1));
        let said = Message::read(&body).expect("it was just written");
        scene.ledger.hall_said(ROOM, stamp, (said.checksum, Speech::PLAIN), BroadcastOutcome::Posted);
        said
    }

    #[test]
    fn what_a_state_says_before_a_member_knows_that_it_is_one_has_to_come() {
        let mut scene = joined();
        said(&mut scene);
        scene.ledger.joined(1, 1, true);
        assert_eq!(scene.ledger.violation(), None);
        assert_eq!(scene.ledger.hosts[1].memberships().map(|member| member.owed.len()).sum::<usize>(), 1);
        let scene = proved(scene);
        assert_eq!(scene.ledger.stuck(&[], 0).name(), "missed");
    }

    #[test]
    fn a_state_sees_a_join_before_it_is_acknowledged_and_once() {
        let mut scene = asked();
        scene.ledger.joined(1, 1, true);
        scene.found("wrong members");
        let mut scene = joined();
        let id = scene.ledger.hosts[1].id;
        scene.ledger.hall_joined(ROOM, id, 1);
        scene.found("wrong members");
        let mut scene = asked();
        let id = scene.ledger.hosts[1].id;
        scene.ledger.hall_joined(ROOM, id, 2);
        scene.found("wrong members");
        let mut scene = asked();
        let id = scene.ledger.hosts[1].id;
        scene.ledger.hall_left(ROOM, id, 0);
        scene.found("wrong members");
    }

    #[test]
    fn states_and_members_agree_when_all_is_settled() {
        let mut scene = joined();
        scene.ledger.joined(1, 1, true);
        assert_eq!(scene.ledger.disagreement(), None);
        scene.ledger.left(1, 1, true, true);
        assert!(scene.ledger.disagreement().is_some(), "the state has not seen it");
        let id = scene.ledger.hosts[1].id;
        scene.ledger.hall_left(ROOM, id, 0);
        assert!(scene.ledger.disagreement().is_some(), "the state is still there");
        scene.ledger.hall_dropped(ROOM);
        assert_eq!((scene.ledger.disagreement(), scene.ledger.violation()), (None, None));
        let scene = asked();
        assert!(scene.ledger.disagreement().is_some(), "the state has not seen the join");
    }

    #[test]
    fn a_state_is_dropped_when_nobody_is_left_and_is_one() {
        let mut scene = joined();
        scene.ledger.hall_dropped(ROOM);
        scene.found("wrong members");
        let mut scene = asked();
        scene.ledger.hall_made(ROOM);
        scene.found("wrong members");
    }

    #[test]
    fn a_join_may_be_acknowledged_after_its_home_has_stopped_without_regard() {
        let mut scene = joined();
        scene.ledger.stops.insert(0, scene.ledger.now);
        scene.ledger.hall_dropped(ROOM);
        scene.ledger.joined(1, 1, true);
        assert_eq!(scene.ledger.violation(), None);
        let mut scene = asked();
        scene.ledger.stops.insert(0, scene.ledger.now);
        scene.ledger.joined(1, 1, true);
        scene.found("wrong members");
    }

    #[test]
    fn once_a_state_has_panicked_its_room_is_not_judged() {
        let mut scene = joined();
        scene.ledger.hall_panics(ROOM);
        scene.ledger.hall_dropped(ROOM);
        scene.ledger.joined(1, 1, true);
        assert_eq!((scene.ledger.disagreement(), scene.ledger.violation()), (None, None));
        assert_eq!(scene.ledger.tally.cores[0].room_panics, 1);
    }

    #[test]
    fn the_state_after_one_that_has_panicked_sees_the_room_again() {
        let mut scene = joined();
        scene.ledger.hall_panics(ROOM);
        scene.ledger.hall_dropped(ROOM);
        scene.ledger.joined(1, 1, true);
        scene.ledger.left(1, 1, true, true);
        let stamp = scene.heard(1, Kind::Join, 1);
        scene.ledger.join_asked(1, stamp, 1, JoinOutcome::Asked, true);
        scene.ledger.hall_made(ROOM);
        let id = scene.ledger.hosts[1].id;
        scene.ledger.hall_joined(ROOM, id, 1);
        assert_eq!(scene.ledger.homes.of(ROOM).knows(1), None, "its first join was not seen");
        scene.ledger.joined(1, 1, true);
        assert_eq!(scene.ledger.homes.of(ROOM).knows(1), Some((true, 2)));
        assert_eq!((scene.ledger.disagreement(), scene.ledger.violation()), (None, None));
        scene.ledger.left(1, 1, true, true);
        assert!(scene.ledger.disagreement().is_some(), "the state has not seen it");
    }

    #[test]
    fn a_timer_of_a_room_fires_when_it_is_due() {
        let at = |milliseconds: u64| Time::from_nanos(milliseconds * 1_000_000);
        let rang = |set: Option<Time>, now: Time| {
            let mut scene = asked();
            scene.ledger.hall_waits(ROOM, set);
            scene.ledger.now = now;
            scene.ledger.hall_rang(ROOM);
            scene.ledger.violation().map(|(_, violation)| violation.name())
        };
        assert_eq!(rang(Some(at(5)), at(5)), None);
        assert_eq!([rang(Some(at(5)), at(4)), rang(None, at(5))], [Some("untimely"); 2]);
    }
}
