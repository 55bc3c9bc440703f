//! What one thread sees of a worker's progress; the models (`loom/`) have two.

use std::sync::Arc;
use std::time::Duration;

use crate::identity::Room;
use crate::progress::{Call, Handler, Marker, Progress, Turns};

#[test]
fn a_call_says_what_it_is() {
    for handler in Handler::ALL {
        let call = Call::new(u64::MAX, 3, handler, 0xabcd);
        assert_eq!((call.handler(), call.service()), (Some(handler), Some(3)));
        assert_eq!(call.packet_id(), (handler == Handler::Packet).then_some(0xabcd));
        assert_ne!(Call::new(1 << 28, 0, handler, 0), Call::NONE, "also when the sequence comes round");
        assert_ne!(call, Call::new(0, 3, handler, 0xabcd), "the next call of the same handler is another");
    }
    assert_eq!(Call::new(1, 1 << 20, Handler::Timer, 0).service(), None);
    assert_eq!(Call::NONE.handler(), None);
}

#[test]
fn a_call_of_a_room_says_which_until_it_is_over() {
    let progress = Arc::new(Progress::default());
    let mut marker = Marker::new(Arc::clone(&progress), None);
    marker.begin_room(Room(7));
    let call = progress.call();
    assert_eq!((call.handler(), call.service(), progress.room_of(call)), (Some(Handler::Room), None, Some(Room(7))));
    marker.end();
    assert_eq!(progress.room_of(call), None);
    marker.begin_room(Room(8));
    assert_eq!((progress.room_of(call), progress.room_of(progress.call())), (None, Some(Room(8))));
    marker.begin(Handler::Packet, 0, 0);
    assert_eq!(progress.room_of(progress.call()), None, "a packet is no room's");
}

#[test]
fn long_turns_are_counted_and_the_longest_is_kept() {
    let progress = Arc::new(Progress::default());
    let mut marker = Marker::new(Arc::clone(&progress), Some(Duration::from_millis(100)));
    for milliseconds in [1, 100, 101, 500, 2] {
        marker.turn_took(Duration::from_millis(milliseconds));
    }
    assert_eq!(progress.turns(), Turns { long: 2, longest: Duration::from_millis(500) });
}
