//! A model of what a worker says that it does, beside somebody who looks: a room is that of the call that it is told with.

use std::sync::Arc;

use loom::thread;

use crate::identity::Room;
use crate::models::explore;
use crate::progress::{Handler, Marker, Progress};
use crate::sync::without_orders_of;

const ROOMS: [Room; 2] = [Room(1), Room(2)];

fn call_rooms(marker: &mut Marker, mut look: impl FnMut()) {
    for room in ROOMS {
        marker.begin_room(room);
        look();
        marker.end();
    }
}

fn two_calls_beside_a_look() {
    explore(2, || {
        // What the calls look like: they are numbered, and the same in every worker.
        let known = Arc::new(Progress::default());
        let mut calls = Vec::new();
        call_rooms(&mut Marker::new(Arc::clone(&known), None), || calls.push(known.call()));
        let progress = Arc::new(Progress::default());
        let working = thread::spawn({
            let mut marker = Marker::new(Arc::clone(&progress), None);
            move || call_rooms(&mut marker, || {})
        });
        let call = progress.call();
        if let Some(room) = progress.room_of(call) {
            assert_eq!(call.handler(), Some(Handler::Room));
            let meant = calls.iter().zip(ROOMS).find(|(known, _)| **known == call).map(|(_, room)| room);
            assert_eq!(Some(room), meant, "the room of another call");
        }
        working.join().expect("no panic");
    });
}

#[test]
fn a_room_that_is_named_is_that_of_the_call() {
    two_calls_beside_a_look();
}

#[test]
#[should_panic(expected = "the room of another call")]
fn without_its_orders_a_call_is_named_with_the_room_of_another() {
    without_orders_of("progress.rs", two_calls_beside_a_look);
}
