//! A room that could not be opened was never there: who joins it meanwhile finds one without a state.

mod support;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pogu::{
    Context, Core, DriverChoice, FanOutOutcome, JoinOutcome, Packet, PortConfig, Room, RoomState, Service, Session,
};
use support::{ECHO, Peer, eventually};

on_every_driver!(who_joins_a_room_that_is_not_opened_finds_no_state);

const HALL: Room = Room(1);

/// Joins the room and leaves it, all the time.
struct Guest;

impl Session for Guest {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        cx.send(ECHO, b"");
        cx.set_timer(Duration::ZERO);
    }

    fn on_packet(&mut self, _cx: &mut Context<'_>, _packet: Packet<'_>) {}

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        while cx.join(HALL) == JoinOutcome::Asked {
            assert!(cx.leave(HALL));
        }
        cx.set_timer(Duration::ZERO);
    }
}

struct Hall;

impl RoomState for Hall {}

fn who_joins_a_room_that_is_not_opened_finds_no_state(driver: DriverChoice) {
    const TIMES: u32 = 100_000;
    let mut port = PortConfig::default();
    port.posts_max = 64;
    let core = Core::builder().driver(driver).workers(1).port(port).start().expect("a core");
    let service = core.serve(Service::server("127.0.0.1:0"), |_| Guest).expect("a service");
    let mut guest = Peer::connect(service.address());
    assert_eq!(guest.receive().0, ECHO);
    let filler = core.room(Room(2));
    let made = Arc::new(Mutex::new(BTreeSet::new()));
    let mut refused = BTreeSet::new();
    for time in 0..TIMES {
        while filler.broadcast(ECHO, b"") == FanOutOutcome::Posted {}
        let made = Arc::clone(&made);
        let make = move |_| {
            made.lock().expect("no panic").insert(time);
            Hall
        };
        match core.open_room(HALL, make) {
            Ok(opened) => eventually("it is closed", || opened.close().is_posted()),
            Err(_) => _ = refused.insert(time),
        }
    }
    let made = made.lock().expect("no panic");
    assert!(!refused.is_empty(), "the inbox was full");
    assert_eq!(made.intersection(&refused).count(), 0, "of {} that were refused", refused.len());
}
