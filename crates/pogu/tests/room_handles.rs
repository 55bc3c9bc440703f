//! What the state of a room can do beside speaking: know its members, tell other rooms, and end; and how a room is closed and
//! opened again.

mod support;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use pogu::{
    BroadcastOutcome, Context, Core, Delivery, Error, FrameFormat, JoinOutcome, OPEN_ROOMS_MAX, Packet, PostOutcome,
    Room, RoomContext, RoomRef, RoomState, SendOutcome, Service, ServiceHandle, SessionId, SessionRef, SizeField,
};
use support::simulated::{Client, SERVER, World};
use support::{Act, ECHO, SAY};

const HALL: Room = Room(1);

type Silent = Act<fn(&mut Context<'_>, Packet<'_>)>;

/// What happened to a hall, in a word.
struct Hall {
    seen: Sender<&'static str>,
}

impl Hall {
    fn see(&self, seen: &'static str) {
        let _ = self.seen.send(seen);
    }
}

impl RoomState for Hall {
    fn on_join(&mut self, _cx: &mut RoomContext<'_>, _member: SessionId) {
        self.see("joined");
    }

    fn on_leave(&mut self, _cx: &mut RoomContext<'_>, _member: SessionId) {
        self.see("left");
    }

    fn on_timer(&mut self, _cx: &mut RoomContext<'_>) {
        self.see("timer");
    }
}

impl Drop for Hall {
    fn drop(&mut self) {
        self.see("dropped");
    }
}

struct Stage {
    world: World,
    core: Core,
    service: ServiceHandle,
    clients: Vec<Client>,
    sessions: Vec<SessionRef<Silent>>,
    told: Sender<&'static str>,
    seen: Receiver<&'static str>,
}

impl Stage {
    fn new(workers: usize, clients: usize) -> Stage {
        Stage::with_format(workers, clients, FrameFormat::course())
    }

    fn with_format(workers: usize, clients: usize, format: FrameFormat) -> Stage {
        let mut world = World::new();
        let core = world.core(workers);
        let ((told, seen), (made, names)) = (channel(), channel());
        let factory = move |incoming: pogu::Incoming| {
            made.send(SessionRef::new(incoming.session)).expect("the test listens");
            Act((|_, _| ()) as fn(&mut Context<'_>, Packet<'_>))
        };
        let service = core.serve(Service::server(SERVER).format(format), factory).expect("a service");
        let clients = (0..clients).map(|_| world.connect(&service)).collect();
        let sessions = names.try_iter().collect();
        Stage { world, core, service, clients, sessions, told, seen }
    }

    fn make(&self) -> impl Fn(Room) -> Hall + Send + Sync + 'static {
        let told = self.told.clone();
        move |_| {
            let hall = Hall { seen: told.clone() };
            hall.see("made");
            hall
        }
    }

    fn open(&self, room: Room) -> RoomRef<Hall> {
        self.core.open_room(room, self.make()).expect("a room")
    }

    /// Does something in a session, and everything that comes of it.
    fn act(&mut self, session: usize, closure: impl FnOnce(&mut Context<'_>) + Send + 'static) {
        assert!(self.service.post(self.sessions[session], move |_session, cx| closure(cx)).is_posted());
        self.world.settle();
    }

    fn join(&mut self, session: usize, room: Room) {
        self.act(session, move |cx| assert_eq!(cx.join(room), JoinOutcome::Asked));
    }

    fn leave(&mut self, session: usize, room: Room) {
        self.act(session, move |cx| assert!(cx.leave(room)));
    }

    fn say(&mut self, session: usize, room: Room, text: &'static str) {
        self.act(session, move |cx| {
            assert_eq!(cx.broadcast(room, SAY, text.as_bytes()), BroadcastOutcome::Posted);
        });
    }

    fn heard(&mut self, client: usize) -> Vec<String> {
        let frames = self.clients[client].frames();
        frames.into_iter().map(|(_, body)| String::from_utf8(body).expect("it is text")).collect()
    }

    fn seen(&mut self) -> Vec<&'static str> {
        self.world.settle();
        self.seen.try_iter().collect()
    }
}

#[test]
fn a_room_that_is_closed_has_no_state_and_can_be_opened_again() {
    let mut stage = Stage::new(3, 2);
    let hall = stage.open(HALL);
    stage.join(0, HALL);
    assert!(hall.post(|_hall, cx| cx.set_timer(Duration::from_secs(1))).is_posted());
    assert_eq!(stage.seen(), ["made", "joined"]);
    assert_eq!(hall.post(|hall, _cx| hall.see("told")), PostOutcome::Posted);
    assert_eq!(hall.close(), PostOutcome::Posted);
    assert_eq!(hall.close(), PostOutcome::Posted, "once more does no harm");
    assert_eq!(stage.seen(), ["told", "dropped"], "behind what was posted before");
    assert_eq!(hall.post(|_hall, _cx| unreachable!("it has no state")), PostOutcome::Posted);
    stage.join(1, HALL);
    stage.say(1, HALL, "still here");
    assert_eq!((stage.heard(0), stage.heard(1)), (vec!["still here".to_owned()], vec!["still here".to_owned()]));
    stage.world.run_for(Duration::from_secs(5));
    assert_eq!((stage.seen(), stage.core.counters().posts_to_gone), (vec![], 1), "no timer either");

    let again = stage.open(HALL);
    assert_eq!(stage.seen(), [""; 0], "it has members, who came to a room without a state");
    (0..2).for_each(|session| stage.leave(session, HALL));
    assert!(again.post(|hall, _cx| hall.see("told")).is_posted());
    assert_eq!(stage.seen(), ["made", "told"]);
}

#[test]
fn a_room_of_nobody_is_made_again_at_once() {
    let mut stage = Stage::new(2, 0);
    for _ in 0..3 {
        let hall = stage.open(HALL);
        assert!(stage.core.open_room(HALL, stage.make()).is_err(), "it is open");
        assert!(hall.post(|hall, _cx| hall.see("told")).is_posted());
        assert_eq!(hall.close(), PostOutcome::Posted);
    }
    // Before its home has looked once: in the order in which it was asked.
    assert_eq!(stage.seen(), [["made", "told", "dropped"]; 3].concat());
}

#[test]
fn a_state_closes_its_own_room() {
    let mut stage = Stage::new(2, 1);
    for round in 0..3 {
        let hall = stage.open(HALL);
        let closes = hall.post(move |hall, cx| {
            cx.set_timer(Duration::ZERO);
            cx.close();
            hall.see("closes");
            if round == 2 {
                panic!("planted");
            }
        });
        assert!(closes.is_posted());
        assert_eq!(stage.seen(), ["made", "closes", "dropped"], "when its handler has returned, or panicked");
        assert!(hall.post(|_hall, _cx| unreachable!("it is closed")).is_posted());
        assert_eq!(stage.seen(), [""; 0]);
    }
    let halls = stage.core.open_rooms(10..=20, FrameFormat::course(), stage.make()).expect("rooms");
    let hall = halls.room(Room(15)).expect("it is of the range");
    stage.join(0, Room(15));
    assert!(hall.post(|_hall, cx| cx.close()).is_posted());
    assert_eq!(stage.seen(), ["made", "joined", "dropped"]);
    stage.leave(0, Room(15));
    stage.join(0, Room(15));
    assert_eq!(stage.seen(), ["made", "joined"], "the range is open still");
}

#[test]
fn a_range_closes_what_it_opened_and_nothing_that_was_opened_since() {
    let mut stage = Stage::new(2, 0);
    let open = |stage: &Stage| stage.core.open_rooms(5..=5, FrameFormat::course(), stage.make());
    let halls = open(&stage).expect("a range");
    halls.clone().close();
    let hall = stage.open(Room(5));
    halls.close();
    assert!(stage.core.open_room(Room(5), stage.make()).is_err(), "it is open");
    assert!(hall.close().is_posted());
    let again = open(&stage).expect("another range of the same numbers");
    halls.close();
    assert!(open(&stage).is_err(), "it is open");
    again.close();
    assert!(open(&stage).is_ok());
    assert_eq!(stage.seen(), ["made", "dropped"]);
}

#[test]
fn a_range_that_is_closed_makes_no_further_states() {
    let mut stage = Stage::new(2, 2);
    let halls = stage.core.open_rooms(1..=2, FrameFormat::course(), stage.make()).expect("rooms");
    stage.join(0, Room(1));
    halls.close();
    stage.join(1, Room(2));
    stage.join(1, Room(1));
    assert_eq!(stage.seen(), ["made", "joined", "joined"], "the one with a state keeps it");
    let once_more = stage.core.open_rooms(1..=2, FrameFormat::course(), stage.make());
    assert!(once_more.is_ok());
    stage.leave(1, Room(1));
    stage.leave(0, Room(1));
    stage.join(0, Room(1));
    assert_eq!(stage.seen(), ["left", "left", "dropped", "made", "joined"]);
    drop(once_more);
    // A range of one room is none that can be closed by the room.
    let single = stage.core.open_rooms(7..=7, FrameFormat::course(), stage.make()).expect("a range");
    assert!(single.room(Room(7)).expect("the one").close().is_posted());
    stage.join(0, Room(7));
    assert_eq!(stage.seen(), ["made", "joined"]);
}

#[test]
fn so_many_rooms_are_open_at_a_time_and_closed_ones_leave_nothing() {
    let mut stage = Stage::new(1, 1);
    let open = |stage: &Stage, room: u64| stage.core.open_rooms(room..=room, FrameFormat::course(), stage.make());
    let mut halls: Vec<_> = (0..OPEN_ROOMS_MAX as u64).map(|room| open(&stage, room).expect("a room")).collect();
    let one_more = OPEN_ROOMS_MAX as u64;
    assert!(matches!(open(&stage, one_more), Err(Error::Configuration { field: "the range of rooms", .. })));
    halls.pop().expect("the last one").close();
    assert!(open(&stage, one_more).is_ok());
    halls.drain(..).for_each(|halls| halls.close());
    // A match after the other, each in a room of its own: twice as many as may be open.
    for number in 0..2 * OPEN_ROOMS_MAX as u64 {
        let hall = stage.core.open_room(Room(1_000_000 + number), |_| Hall { seen: channel().0 }).expect("a room");
        assert!(hall.close().is_posted());
        if number % 1_000 == 0 {
            stage.world.settle();
        }
    }
    stage.join(0, Room(5));
    assert_eq!(stage.seen(), [""; 0], "nobody makes it a state");
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        // Without the hook of panics: nothing is to be read in the output of a test that goes well.
        std::panic::resume_unwind(Box::new("planted"));
    }
}

#[test]
fn a_factory_that_panics_when_it_is_dropped_harms_nobody() {
    let mut stage = Stage::new(1, 0);
    for close in [true, false] {
        let (bomb, told) = (Bomb, stage.told.clone());
        let hall = stage.core.open_room(HALL, move |_| {
            let _ = &bomb;
            Hall { seen: told.clone() }
        });
        let hall = hall.expect("a room");
        stage.world.settle();
        match close {
            true => assert!(hall.close().is_posted()),
            false => assert!(hall.post(|_hall, cx| cx.close()).is_posted()),
        }
        assert_eq!(stage.seen(), ["dropped"]);
    }
}

#[test]
fn a_close_that_finds_no_room_changes_nothing() {
    let mut stage = Stage::new(1, 0);
    let mut port = pogu::PortConfig::default();
    port.posts_max = 2;
    let core = stage.world.lockstep.start(Core::builder().workers(1).port(port)).expect("a core");
    let hall = core.open_room(HALL, stage.make()).expect("a room");
    assert_eq!(hall.post(|_hall, _cx| ()), PostOutcome::Posted);
    assert_eq!(hall.close(), PostOutcome::Overloaded);
    assert_eq!(stage.seen(), ["made"]);
    assert!(core.open_room(HALL, stage.make()).is_err(), "it is open");
    assert_eq!(hall.close(), PostOutcome::Posted);
    assert_eq!(stage.seen(), ["dropped"]);
}

#[test]
fn a_state_knows_its_members() {
    let mut stage = Stage::new(3, 5);
    let hall = stage.open(HALL);
    let ids: Vec<SessionId> = stage.sessions.iter().map(|session| session.id()).collect();
    (0..5).for_each(|session| stage.join(session, HALL));
    stage.leave(1, HALL);
    let mut expected = [ids[0], ids[2], ids[3], ids[4]];
    expected.sort();
    let posted = hall.post(move |hall, cx| {
        let members: Vec<SessionId> = cx.list_members().collect();
        assert_eq!((&members[..], cx.members()), (&expected[..], 4));
        let outcome = cx.send_to_many(&members, Delivery::PROMPT, SAY, b"members");
        assert_eq!(outcome, pogu::FanOutOutcome::Posted);
        hall.see("looked");
    });
    assert!(posted.is_posted());
    assert_eq!(stage.seen().last(), Some(&"looked"));
    let heard: Vec<usize> = (0..5).filter(|client| stage.heard(*client) == ["members"]).collect();
    assert_eq!(heard, [0, 2, 3, 4]);
}

/// A room tells another one what it has said, and that one says so: whoever is in both hears it in this order.
#[test]
fn what_a_room_posts_to_another_comes_behind_what_it_has_said() {
    for workers in 1..=4 {
        let mut stage = Stage::new(workers, 4);
        let rooms = [Room(1), Room(2), Room(3), Room(4), Room(5)];
        let halls: Vec<RoomRef<Hall>> = rooms.iter().map(|room| stage.open(*room)).collect();
        for session in 0..4 {
            rooms.iter().for_each(|room| stage.join(session, *room));
        }
        for (from, to) in [(0, 1), (1, 0), (0, 3), (3, 4), (2, 2)] {
            let (first, second) = (halls[from].clone(), halls[to].clone());
            for round in 0..10 {
                let second = second.clone();
                let posted = first.post(move |_hall, cx| {
                    assert_eq!(cx.broadcast(SAY, format!("{round} first").as_bytes()), BroadcastOutcome::Posted);
                    let told = cx.post_to_room(&second, move |_hall, cx| {
                        assert_eq!(cx.broadcast(SAY, format!("{round} then").as_bytes()), BroadcastOutcome::Posted);
                    });
                    assert_eq!(told, PostOutcome::Posted);
                });
                assert!(posted.is_posted());
            }
            stage.world.settle();
            for client in 0..4 {
                let heard = stage.heard(client);
                let place = |text: String| heard.iter().position(|other| *other == text).expect("it is heard");
                assert_eq!(heard.len(), 20);
                for round in 0..10 {
                    assert!(place(format!("{round} first")) < place(format!("{round} then")), "{heard:?}");
                }
            }
        }
    }
}

#[test]
fn a_room_of_another_core_is_nobody() {
    let mut stage = Stage::new(1, 0);
    let other = stage.world.core(1);
    let there = other.open_room(HALL, stage.make()).expect("a room");
    let here = stage.open(HALL);
    let posted = here.post(move |hall, cx| {
        assert_eq!(cx.post_to_room(&there, |_hall, _cx| ()), PostOutcome::Gone);
        hall.see("nobody");
    });
    assert!(posted.is_posted());
    assert!(stage.seen().contains(&"nobody"));
    assert_eq!(stage.core.counters().posts_to_gone, 1);
}

#[test]
fn a_room_speaks_the_format_that_it_was_opened_with() {
    let wide = FrameFormat::course().size_field(SizeField::U32).frame_bytes_max(200_000);
    let mut stage = Stage::with_format(2, 1, wide);
    let narrow = stage.open(HALL);
    let hall = stage.core.open_room_with(Room(2), wide, stage.make()).expect("a room");
    [HALL, Room(2)].into_iter().for_each(|room| stage.join(0, room));
    let body = || vec![7; 100_000];
    let refused = narrow.post(move |_hall, cx| {
        assert!(matches!(cx.broadcast(ECHO, &body()), BroadcastOutcome::Unencodable(_)), "the course's has 64 KiB");
        let member = cx.list_members().next().expect("one");
        assert!(matches!(cx.send_to(member, ECHO, &body()), SendOutcome::Unencodable(_)));
    });
    let said = hall.post(move |_hall, cx| assert_eq!(cx.broadcast(ECHO, &body()), BroadcastOutcome::Posted));
    assert!(refused.is_posted() && said.is_posted());
    for _ in 0..10 {
        stage.world.settle();
        stage.clients[0].take_what_came();
    }
    assert_eq!((stage.clients[0].received.len(), stage.core.counters().room_panics), (6 + 100_000, 0));
}
