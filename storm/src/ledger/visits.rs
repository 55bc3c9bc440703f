//! Closures that sessions post to the state of a room: behind their own joins and leaves of it, before those that come later.

use pogu::PostOutcome;

use super::rooms::RoomOfCore;
use super::{Host, Ledger};
use crate::judged::Check;

/// A closure that a host posts to the state of a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Visit {
    host: usize,
    room: u32,
    /// Joins that the host has asked for before, and whether the last of them stands.
    joins: u32,
    is_in: bool,
}

impl Visit {
    pub(super) fn room(&self) -> u32 {
        self.room
    }
}

impl Ledger {
    /// What a host posts to a room now, if it has a state.
    pub(crate) fn next_visit(&self, host: usize, room: u32) -> Option<Visit> {
        let entry = self.hosts[host].rooms.get(&room);
        let (joins, is_in) = entry.map_or((0, false), |entry| (entry.asked, entry.is_in));
        (room <= self.homes.halls).then_some(Visit { host, room, joins, is_in })
    }

    pub(crate) fn hall_visit_posted(&mut self, visit: Visit, outcome: PostOutcome) {
        let core = self.hosts[visit.host].core;
        self.event(format_args!("{visit:?}: {outcome:?}"), [32, visit.host as u64, visit.room.into()]);
        match outcome {
            PostOutcome::Posted => {
                self.tally.cores[core].visits_posted += 1;
                let is_tracked = self.homes.rooms.get(&(core, visit.room)).is_none_or(|home| !home.is_untracked);
                let is_kept = self.homes.of((core, visit.room)).is_kept;
                if (visit.is_in || is_kept) && is_tracked {
                    self.hosts[visit.host].visits.push_back(visit);
                }
            }
            PostOutcome::Overloaded => {
                self.tally.cores[core].posts_refused += 1;
                self.inbox_full(core, "post to a room");
            }
            PostOutcome::Gone => self.tally.cores[core].posts_to_gone += 1,
            outcome => self.wrong_outcome("post to a room", outcome),
        }
    }

    /// It runs: behind the joins and leaves that its host asked for before, and before those that came later.
    pub(crate) fn hall_visited(&mut self, room: RoomOfCore, visit: Visit) {
        self.event(format_args!("room {room:?} is visited: {visit:?}"), [33, visit.host as u64, room.1.into()]);
        self.tally.cores[room.0].visits_run += 1;
        let visits = &mut self.hosts[visit.host].visits;
        if let Some(at) = visits.iter().position(|other| *other == visit) {
            visits.remove(at);
        }
        let home = self.homes.of(room);
        if home.is_untracked {
            return;
        }
        let Some((is_in, joins)) = home.knows(visit.host) else { return };
        self.tally.judged.count(Check::StateVisit);
        if (is_in, joins) != (visit.is_in, visit.joins) {
            self.wrong_members(room, &format!("is visited after {joins} joins: {visit:?}"));
        }
    }

    /// The number of the next post from outside.
    pub(crate) fn next_call(&mut self) -> u64 {
        self.homes.calls += 1;
        self.homes.calls
    }

    pub(crate) fn hall_call_posted(&mut self, room: RoomOfCore, call: u64, outcome: PostOutcome) {
        self.event(format_args!("post {call} to room {room:?}: {outcome:?}"), [40, room.1.into(), call]);
        match outcome {
            PostOutcome::Posted => {
                self.tally.cores[room.0].visits_posted += 1;
                self.homes.of(room).calls.push_back(call);
            }
            PostOutcome::Overloaded => {
                self.tally.cores[room.0].posts_refused += 1;
                self.inbox_full(room.0, "post to a room from outside");
            }
            outcome => self.wrong_outcome("post to a room from outside", outcome),
        }
    }

    /// It runs: in the order of such posts, each once.
    pub(crate) fn hall_called(&mut self, room: RoomOfCore, call: u64) {
        self.event(format_args!("room {room:?} is called: {call}"), [41, room.1.into(), call]);
        self.tally.cores[room.0].visits_run += 1;
        let home = self.homes.of(room);
        if let Some(at) = home.doubtful.iter().position(|other| *other == call) {
            home.doubtful.drain(..=at);
            return;
        }
        // Where a state has not been, what was posted meanwhile has run nowhere.
        let may_miss = !home.is_kept || home.is_untracked;
        let before = home.calls.iter().position(|other| *other == call);
        let is_next = before.is_some_and(|before| before == 0 || may_miss);
        home.calls.drain(..before.map_or(0, |before| before + 1));
        let last = std::mem::replace(&mut home.last_call, call);
        if !is_next {
            self.wrong_members(room, &format!("has run post {call}, and post {last} before"));
        }
    }

    /// A post of a host that has not run, though the state was there for it.
    pub(super) fn unvisited(&self, host: &Host) -> Option<u32> {
        let is_tracked =
            |visit: &&Visit| self.homes.rooms.get(&(host.core, visit.room)).is_none_or(|home| !home.is_untracked);
        host.visits.iter().find(is_tracked).map(|visit| visit.room)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Scene, proved};
    use super::*;
    use crate::message::Kind;
    use pogu::JoinOutcome;

    const ROOM: RoomOfCore = (0, 1);

    /// Host 1 is in a room with a state, and has posted to it.
    fn posted() -> (Scene, Visit) {
        let mut scene = Scene::new();
        let ledger = &mut scene.ledger;
        ledger.homes.halls = 1;
        ledger.hall_made(ROOM);
        let stamp = scene.heard(1, Kind::Join, 1);
        scene.ledger.join_asked(1, stamp, 1, JoinOutcome::Asked, true);
        let answer = scene.answer(1, stamp);
        scene.ledger.heard_by_guest(1, Some(answer), true);
        let visit = scene.ledger.next_visit(1, 1).expect("it has a state");
        assert_eq!(scene.ledger.next_visit(1, 2), None);
        scene.ledger.hall_visit_posted(visit, PostOutcome::Posted);
        (scene, visit)
    }

    #[test]
    fn a_post_runs_behind_the_join_before_it() {
        let (mut scene, visit) = posted();
        scene.ledger.hall_joined(ROOM, id_of(&scene), 1);
        scene.ledger.hall_visited(ROOM, visit);
        assert_eq!(scene.ledger.violation(), None);
        let (mut scene, visit) = posted();
        scene.ledger.hall_visited(ROOM, visit);
        scene.found("wrong members");
        let (mut scene, visit) = posted();
        scene.ledger.hall_joined(ROOM, id_of(&scene), 1);
        scene.ledger.hall_left(ROOM, id_of(&scene), 0);
        scene.ledger.hall_visited(ROOM, visit);
        scene.found("wrong members");
    }

    fn id_of(scene: &Scene) -> pogu::SessionId {
        scene.ledger.hosts[1].id
    }

    #[test]
    fn a_post_that_does_not_run_is_missed() {
        let (mut scene, visit) = posted();
        scene.ledger.hall_joined(ROOM, id_of(&scene), 1);
        scene.ledger.joined(1, 1, true);
        let mut scene = proved(scene);
        assert_eq!(scene.ledger.stuck(&[], 0).name(), "stuck");
        scene.ledger.hall_visited(ROOM, visit);
        assert_eq!((scene.ledger.unsettled(&[]), scene.ledger.violation()), (None, None));
    }
}
