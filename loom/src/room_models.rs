//! Models of rooms that are opened and closed: nobody waits for ever, the count is right, and a home is told what its list says.

use std::ops::RangeInclusive;
use std::sync::Arc;

use loom::thread;

use crate::FrameFormat;
use crate::core::Shared;
use crate::identity::{Room, SessionId};
use crate::jobs::post_answer;
use crate::message::{Errand, Frame, Message};
use crate::models::explore;
use crate::room_kinds::{RoomKind, RoomKinds};
use crate::workers::{Worker, core_of};

/// A room of its own stays, the rooms of a range do not: as they are opened.
fn kind(rooms: RangeInclusive<u64>) -> RoomKind {
    let stays = rooms.start() == rooms.end();
    RoomKind::new(rooms, FrameFormat, stays, Box::new(|_| unreachable!("nobody joins")))
}

fn room(number: u64) -> RoomKind {
    kind(number..=number)
}

/// Ranges, which are in the lists of both homes, beside each other and beside a room of its own, which is in one.
fn ranges_beside_a_room(is_told: fn(&RoomKinds) -> bool) {
    explore(2, move || {
        let kinds = Arc::new(RoomKinds::new(2));
        let opening = thread::spawn({
            let kinds = Arc::clone(&kinds);
            move || {
                let range = kinds.add(kind(0..=3), |_, _| true).expect("nothing overlaps");
                kinds.forget_kind(&range);
            }
        });
        kinds.add(kind(8..=11), |_, _| true).expect("nothing overlaps");
        // At the second home.
        kinds.add(room(5), |_, _| is_told(&kinds)).expect("nothing overlaps");
        kinds.close(Room(5), |_, _| true);
        opening.join().expect("no panic");
        assert_eq!(kinds.count(), 1);
        let found = [0, 5, 8, 9].map(|number| kinds.of(Room(number)).is_some());
        assert_eq!(found, [false, false, true, true]);
    });
}

#[test]
fn who_opens_and_closes_waits_for_others_but_not_for_ever() {
    ranges_beside_a_room(|_| true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn who_looks_at_another_home_while_it_tells_one_is_noticed() {
    ranges_beside_a_room(|kinds| {
        drop(kinds.of(Room(0)));
        true
    });
}

#[test]
fn of_two_that_overlap_one_is_opened() {
    explore(2, || {
        let kinds = Arc::new(RoomKinds::new(2));
        let opening = thread::spawn({
            let kinds = Arc::clone(&kinds);
            move || kinds.add(kind(0..=3), |_, _| true).is_ok()
        });
        let is_room = kinds.add(room(2), |_, _| true).is_ok();
        let is_range = opening.join().expect("no panic");
        assert!(is_room != is_range, "both, or neither");
        assert_eq!(kinds.count(), 1);
        let found = [0, 1, 2, 3].map(|number| kinds.of(Room(number)).map(|kind| kind.stays));
        let expected = if is_range { [Some(false); 4] } else { [None, None, Some(true), None] };
        assert_eq!(found, expected);
    });
}

#[test]
fn as_few_are_refused_as_must_be() {
    explore(2, || {
        let kinds = Arc::new(RoomKinds::with_room_for(1, 2));
        kinds.add(room(0), |_, _| true).expect("there is room for one");
        // At the other home: only the count is between them.
        let opening = thread::spawn({
            let kinds = Arc::clone(&kinds);
            move || kinds.add(room(1), |_, _| true).is_ok()
        });
        kinds.close(Room(0), |_, _| true);
        let opened = usize::from(kinds.add(room(2), |_, _| true).is_ok());
        let opened = opened + usize::from(opening.join().expect("no panic"));
        assert_eq!((opened, kinds.count()), (1, 1), "room for one");
    });
}

const HOME: usize = 0;
const ROOM: Room = Room(7);
const OPENED: usize = 1;
const CLOSED: usize = 2;

/// Tells the home of the room; true unless its inbox is full.
fn tell(shared: &Shared, number: usize, left: &mut Vec<Message>) -> bool {
    shared.post_under_lock(HOME, Message::Frame(Arc::new(Frame { from: 0, number })), left).is_ok()
}

/// What a home makes of what it was told: whether the room has a state.
fn state_at_home(worker: &Worker) -> bool {
    let mut has_state = false;
    for message in worker.take_waiting() {
        let Message::Frame(frame) = message else { continue };
        has_state = frame.number == OPENED;
    }
    has_state
}

/// A room is opened by two threads and closed by one. `in_order`: whether its home is told while nobody else can change its list.
fn a_room_opened_and_closed_beside_itself(posts_max: usize, in_order: bool) {
    explore(2, move || {
        let (shared, mut workers) = core_of(1, posts_max);
        let worker = workers.remove(HOME);
        let kinds = Arc::new(RoomKinds::new(1));
        let open = move |kinds: &RoomKinds, shared: &Shared| {
            let added = kinds.add(room(ROOM.0), |_, left| !in_order || tell(shared, OPENED, left));
            if added.is_ok() && !in_order {
                tell(shared, OPENED, &mut Vec::new());
            }
        };
        let opening = thread::spawn({
            let (kinds, shared) = (Arc::clone(&kinds), Arc::clone(&shared));
            move || open(&kinds, &shared)
        });
        open(&kinds, &shared);
        kinds.close(ROOM, |_, left| tell(&shared, CLOSED, left));
        opening.join().expect("no panic");
        let is_open = kinds.of(ROOM).is_some();
        assert_eq!(state_at_home(&worker), is_open, "a home and its list differ");
        assert_eq!(kinds.count(), usize::from(is_open));
    });
}

#[test]
fn a_home_is_told_what_its_list_says() {
    a_room_opened_and_closed_beside_itself(4, true);
}

#[test]
fn a_home_whose_inbox_is_full_is_told_what_its_list_says() {
    a_room_opened_and_closed_beside_itself(1, true);
}

#[test]
#[should_panic(expected = "a home and its list differ")]
fn a_home_that_is_told_after_its_list_has_changed_is_noticed() {
    a_room_opened_and_closed_beside_itself(4, false);
}

#[test]
fn a_room_that_its_home_is_not_told_of_was_never_there() {
    explore(2, || {
        let kinds = Arc::new(RoomKinds::new(1));
        let opening = thread::spawn({
            let kinds = Arc::clone(&kinds);
            move || drop(kinds.add(room(ROOM.0), |_, _| false))
        });
        assert!(kinds.of(ROOM).is_none());
        opening.join().expect("no panic");
        assert_eq!(kinds.count(), 0);
    });
}

/// Somebody tells a worker that goes, and whose inbox holds something that comes back as it is dropped.
fn a_post_beside_a_worker_that_goes(
    come_back: impl Fn(&Arc<Shared>, &RoomKinds) + Clone + Send + Sync + 'static,
    tell: fn(&Arc<Shared>, &RoomKinds),
) {
    explore(2, move || {
        let (shared, mut workers) = core_of(1, 3);
        let worker = workers.remove(HOME);
        let kinds = Arc::new(RoomKinds::new(1));
        kinds.add(room(ROOM.0), |_, _| true).expect("the first");
        let errand = Errand::that_ends_with({
            let (come_back, shared, kinds) = (come_back.clone(), Arc::clone(&shared), Arc::clone(&kinds));
            move || come_back(&shared, &kinds)
        });
        shared.post(HOME, Message::Visit(errand)).expect("room");
        let going = thread::spawn(move || worker.finish());
        tell(&shared, &kinds);
        going.join().expect("no panic");
        assert_eq!(Arc::strong_count(&kinds), 1, "it came back, once");
    });
}

fn close_and_tell_nobody(_: &Arc<Shared>, kinds: &RoomKinds) {
    kinds.close(ROOM, |_, _| true);
}

#[test]
fn what_a_home_that_goes_leaves_may_close_a_room() {
    a_post_beside_a_worker_that_goes(close_and_tell_nobody, |shared, kinds| {
        kinds.close(ROOM, |_, left| tell(shared, CLOSED, left));
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn what_is_dropped_under_the_lock_of_a_list_is_noticed() {
    a_post_beside_a_worker_that_goes(close_and_tell_nobody, |shared, kinds| {
        kinds.close(ROOM, |_, _| shared.post(HOME, Message::Look).is_ok());
    });
}

const SESSION: SessionId = SessionId(HOME);

#[test]
fn what_a_worker_that_goes_leaves_may_answer_a_question() {
    let answer = |shared: &Arc<Shared>, _: &RoomKinds| post_answer(shared, SESSION, Message::Look);
    a_post_beside_a_worker_that_goes(answer, answer);
}
