//! The example `town` where no client can bring it: somebody whom the town has let in cannot join the square.

mod support;
#[allow(dead_code, reason = "its `main` is for the program")]
#[path = "../examples/town.rs"]
mod town;

use std::sync::mpsc::channel;
use std::time::Duration;

use pogu::{Context, JoinOutcome, ROOMS_PER_SESSION_MAX, Room, Service, SessionRef};
use support::simulated::{Client, SERVER, World};

const ENTER: u16 = 1;
const SHOUT: u16 = 2;
const NEWS: u16 = 3;
const HOUR: u16 = 4;
const REFUSED: u16 = 5;

/// What a citizen has heard beside the hours.
fn heard(world: &mut World, client: &mut Client) -> Vec<(u16, String)> {
    // News have a window.
    world.run_for(Duration::from_millis(20));
    let frames = client.frames().into_iter().filter(|(id, _)| *id != HOUR);
    frames.map(|(id, body)| (id, String::from_utf8(body).expect("it is text"))).collect()
}

fn news(all: &[&str]) -> Vec<(u16, String)> {
    all.iter().map(|news| (NEWS, (*news).to_owned())).collect()
}

#[test]
fn who_is_let_in_and_cannot_join_the_square_is_refused_and_its_name_is_free() {
    let mut world = World::new();
    let core = world.core(2);
    let (told, made) = channel();
    let citizens = town::found(&core);
    let factory = move |incoming: pogu::Incoming| {
        told.send(SessionRef::<town::Citizen>::new(incoming.session)).expect("the test waits");
        citizens(incoming)
    };
    let service = core.serve(Service::server(SERVER), factory).expect("a service");
    let [mut ada, mut eve, mut other] = [(); 3].map(|()| world.connect(&service));
    let eve_there = made.try_iter().nth(1).expect("three");
    let in_session = |world: &mut World, act: fn(&mut Context<'_>)| {
        assert!(service.post(eve_there, move |_citizen, cx| act(cx)).is_posted());
        world.settle();
    };
    ada.send(ENTER, b"Ada");
    assert_eq!(heard(&mut world, &mut ada), []);

    in_session(&mut world, |cx| {
        (0..ROOMS_PER_SESSION_MAX as u64).for_each(|room| assert_eq!(cx.join(Room(100 + room)), JoinOutcome::Asked));
    });
    eve.send(ENTER, b"Eve");
    assert_eq!(heard(&mut world, &mut eve), [(REFUSED, String::new())]);
    assert_eq!(heard(&mut world, &mut ada), news(&["Eve has come", "Eve has gone"]));
    eve.send(SHOUT, b"I am not here");
    other.send(ENTER, b"Eve");
    other.send(SHOUT, b"I am Eve");
    assert_eq!(heard(&mut world, &mut other), news(&["Eve: I am Eve"]));
    assert_eq!(heard(&mut world, &mut ada), news(&["Eve has come", "Eve: I am Eve"]));

    in_session(&mut world, |cx| assert!(cx.leave(Room(100))));
    eve.send(ENTER, b"Eva");
    eve.send(SHOUT, b"there is room");
    assert_eq!(heard(&mut world, &mut eve), news(&["Eva: there is room"]));
}
