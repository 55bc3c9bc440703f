//! What one thread sees of the kinds of rooms; the models (`loom/`) have several.

use pogu_wire::FrameFormat;

use crate::identity::Room;
use crate::room_kinds::{RoomKind, RoomKinds};

const ROOM: Room = Room(3);

fn kind() -> RoomKind {
    RoomKind::new(ROOM.0..=ROOM.0, FrameFormat::course(), true, Box::new(|_| unreachable!("nobody joins")))
}

#[test]
fn what_its_home_was_not_told_of_was_never_there() {
    let kinds = RoomKinds::new(1);
    assert!(kinds.add(kind(), |_, _| false).is_ok() && kinds.of(ROOM).is_none());
    assert_eq!(kinds.count(), 0);
    assert!(kinds.add(kind(), |_, _| true).is_ok());
    assert!(kinds.of(ROOM).is_some());
    assert_eq!(kinds.count(), 1);
}

#[test]
fn a_room_that_its_home_does_not_hear_of_stays_open() {
    let kinds = RoomKinds::with_room_for(1, 1);
    kinds.add(kind(), |_, _| true).expect("the first");
    kinds.close(ROOM, |opened, _| {
        assert!(opened.is_some());
        false
    });
    assert!(kinds.of(ROOM).is_some() && kinds.count() == 1);
    kinds.close(ROOM, |_, _| true);
    assert!(kinds.of(ROOM).is_none() && kinds.count() == 0);
    assert!(kinds.add(kind(), |_, _| true).is_ok(), "there is room again");
}
