//! A worker that goes alone, because its thread does: its sessions are struck from the rooms of the others, and what it still had
//! for those who live on is counted.

mod support;

#[allow(dead_code, reason = "last words are for others")]
#[path = "support/crew.rs"]
mod crew;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crew::{Crew, turn};
use pogu::{
    BroadcastOutcome, FrameFormat, JoinOutcome, Room, RoomContext, RoomRefs, RoomState, SessionId, WorkerStatus,
};
use support::{ECHO, SAY};

/// Of two workers, the homes of rooms.
const HOMES: [Room; 2] = [Room(2), Room(1)];
const OTHER_OF_THE_FIRST: Room = Room(3);
const WITHOUT_A_STATE: [Room; 2] = [Room(10), Room(8)];

#[derive(Clone, PartialEq, Eq, Debug)]
enum Seen {
    Joined(SessionId, usize),
    Left(SessionId, usize),
    Dropped,
}

struct Hall(Sender<Seen>);

impl RoomState for Hall {
    fn on_join(&mut self, cx: &mut RoomContext<'_>, member: SessionId) {
        assert_eq!(cx.room(), HOMES[cx.worker()]);
        let _ = self.0.send(Seen::Joined(member, cx.members()));
    }

    fn on_leave(&mut self, cx: &mut RoomContext<'_>, member: SessionId) {
        assert!(!cx.list_members().any(|other| other == member));
        let _ = self.0.send(Seen::Left(member, cx.members()));
    }
}

impl Drop for Hall {
    fn drop(&mut self) {
        let _ = self.0.send(Seen::Dropped);
    }
}

fn halls(crew: &Crew) -> (RoomRefs<Hall>, Receiver<Seen>) {
    let (told, seen) = channel();
    let make = move |_| Hall(told.clone());
    (crew.core.open_rooms(1..=2, FrameFormat::course(), make).expect("rooms"), seen)
}

/// What is posted to a worker waits on its way from now on.
fn fill_inbox(crew: &Crew, worker: usize) {
    while crew.service.send_to(crew.names[worker], ECHO, b"").is_accepted() {}
}

fn join(crew: &mut Crew, worker: usize, room: Room) {
    assert_eq!(crew.act_in(worker, move |cx| cx.join(room)), JoinOutcome::Asked);
    (0..2).for_each(|_| crew.workers.iter_mut().for_each(|worker| _ = turn(worker)));
}

#[test]
fn the_members_of_a_worker_that_goes_are_struck() {
    let mut crew = Crew::new();
    let (_halls, seen) = halls(&crew);
    let [first, second] = [crew.names[0].id(), crew.names[1].id()];
    join(&mut crew, 0, HOMES[1]);
    join(&mut crew, 1, HOMES[1]);
    fill_inbox(&crew, 1);
    drop(crew.workers.remove(0));
    let joined = [Seen::Joined(first, 1), Seen::Joined(second, 2)];
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), joined, "its leave has found no room");
    let _ = turn(&mut crew.workers[0]);
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Seen::Left(first, 1)]);
    drop(crew.clients.remove(1));
    (0..4).for_each(|_| _ = turn(&mut crew.workers[0]));
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Seen::Left(second, 0), Seen::Dropped], "the room is empty");
}

#[test]
fn a_room_without_a_state_does_not_wait_for_members_of_a_worker_that_has_gone() {
    let mut crew = Crew::new();
    join(&mut crew, 0, WITHOUT_A_STATE[1]);
    fill_inbox(&crew, 1);
    drop(crew.workers.remove(0));
    crew.clients.clear();
    crew.core.begin_stop(Duration::from_secs(10));
    let mut stops = (0..10).map(|_| turn(&mut crew.workers[0]));
    assert!(stops.any(|status| status == WorkerStatus::Stopped), "it does not wait for the deadline");
}

#[test]
fn a_room_hears_of_those_who_go_with_its_own_home() {
    let mut crew = Crew::new();
    let (_halls, seen) = halls(&crew);
    let first = crew.names[0].id();
    join(&mut crew, 0, HOMES[0]);
    drop(crew.workers.remove(0));
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Seen::Joined(first, 1), Seen::Left(first, 0), Seen::Dropped]);
}

#[test]
fn what_a_worker_that_goes_still_had_for_others_is_counted() {
    let mut crew = Crew::new();
    join(&mut crew, 1, WITHOUT_A_STATE[0]);
    assert_eq!(crew.act_in(1, |cx| cx.join(OTHER_OF_THE_FIRST)), JoinOutcome::Asked);
    fill_inbox(&crew, 1);
    assert_eq!(crew.act(|cx| cx.broadcast(WITHOUT_A_STATE[0], SAY, b"to nobody")), BroadcastOutcome::Posted);
    let before = crew.core.counters();
    assert_eq!((before.broadcasts_refused, before.room_calls_to_gone), (0, 0));
    drop(crew.workers.remove(0));
    let counters = crew.core.counters();
    assert_eq!(counters.broadcasts_refused, 1, "what was promised to the other one");
    assert_eq!(counters.room_calls_to_gone, 1, "and that it is a member");
}
