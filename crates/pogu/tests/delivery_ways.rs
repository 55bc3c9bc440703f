//! Every way to send a packet has a delivery: to one, to a list, to a service; from a session, a room, a handle. Under virtual time.

mod support;

use std::time::Duration;

use pogu::{
    Context, Core, Delivery, FanOutOutcome, Packet, Room, RoomContext, RoomRef, RoomState, SendOutcome, Service,
    ServiceHandle, SessionId, SessionRef, Time, WINDOW_MAX,
};
use support::simulated::{Client, SERVER, World};
use support::{Act, ECHO};

const WINDOW: Duration = Duration::from_millis(10);

type Silent = Act<fn(&mut Context<'_>, Packet<'_>)>;

struct Hall;

impl RoomState for Hall {}

struct Stage {
    world: World,
    core: Core,
    service: ServiceHandle,
    hall: RoomRef<Hall>,
    clients: Vec<Client>,
    sessions: Vec<SessionRef<Silent>>,
}

impl Stage {
    /// Two workers, two sessions on each.
    fn new() -> Stage {
        let mut world = World::new();
        let core = world.core(2);
        let (told, made) = std::sync::mpsc::channel();
        let factory = move |incoming: pogu::Incoming| {
            told.send(SessionRef::new(incoming.session)).expect("the test waits");
            Act((|_, _| ()) as fn(&mut Context<'_>, Packet<'_>))
        };
        let service = core.serve(Service::server(SERVER), factory).expect("a service");
        let hall = core.open_room(Room(1), |_| Hall).expect("a room");
        let clients = (0..4).map(|_| world.connect(&service)).collect();
        let sessions: Vec<SessionRef<Silent>> = made.try_iter().collect();
        assert!(sessions.iter().map(|session| session.id().worker()).eq([0, 1, 0, 1]));
        Stage { world, core, service, hall, clients, sessions }
    }

    fn in_session(&mut self, closure: impl FnOnce(&mut Context<'_>) + Send + 'static) {
        assert!(self.service.post(self.sessions[0], move |_session, cx| closure(cx)).is_posted());
        self.world.settle();
    }

    fn in_room(&mut self, closure: impl FnOnce(&mut RoomContext<'_>) + Send + 'static) {
        assert!(self.hall.post(move |_hall, cx| closure(cx)).is_posted());
        self.world.settle();
    }

    fn heard(&mut self, client: usize) -> Vec<String> {
        let frames = self.clients[client].frames();
        frames.into_iter().map(|(_, body)| String::from_utf8(body).expect("it is text")).collect()
    }
}

/// Sends a text to one session at least, in one of the ways.
type Way = fn(&mut Stage, SessionId, Delivery, &'static [u8]);

const WAYS: [(&str, Way); 9] = [
    ("Context::send_to_with", |stage, to, delivery, text| {
        stage.in_session(move |cx| assert!(cx.send_to_with(to, delivery, ECHO, text).is_accepted()));
    }),
    ("Context::send_to_many", |stage, to, delivery, text| {
        stage.in_session(move |cx| assert_eq!(cx.send_to_many(&[to], delivery, ECHO, text), FanOutOutcome::Posted));
    }),
    ("Context::broadcast_to_service_with", |stage, _to, delivery, text| {
        stage.in_session(move |cx| {
            assert_eq!(cx.broadcast_to_service_with(delivery, ECHO, text), FanOutOutcome::Posted);
        });
    }),
    ("RoomContext::send_to_with", |stage, to, delivery, text| {
        stage.in_room(move |cx| assert_eq!(cx.send_to_with(to, delivery, ECHO, text), SendOutcome::Posted));
    }),
    ("RoomContext::send_to_many", |stage, to, delivery, text| {
        stage.in_room(move |cx| assert_eq!(cx.send_to_many(&[to], delivery, ECHO, text), FanOutOutcome::Posted));
    }),
    ("ServiceHandle::send_to_with", |stage, to, delivery, text| {
        assert_eq!(stage.service.send_to_with(to, delivery, ECHO, text), SendOutcome::Posted);
        stage.world.settle();
    }),
    ("ServiceHandle::send_to_many", |stage, to, delivery, text| {
        assert_eq!(stage.service.send_to_many(&[to], delivery, ECHO, text), FanOutOutcome::Posted);
        stage.world.settle();
    }),
    ("ServiceHandle::broadcast_with", |stage, _to, delivery, text| {
        assert_eq!(stage.service.broadcast_with(delivery, ECHO, text), FanOutOutcome::Posted);
        stage.world.settle();
    }),
    ("ServiceHandle::post, and Context::send_with", |stage, to, delivery, text| {
        let session = SessionRef::<Silent>::new(to);
        let posted = stage.service.post(session, move |_session, cx| {
            assert_eq!(cx.send_with(delivery, ECHO, text), SendOutcome::Queued);
        });
        assert!(posted.is_posted());
        stage.world.settle();
    }),
];

#[test]
fn whichever_way_a_packet_comes_it_waits_and_gives_way_as_its_delivery_says() {
    let mut stage = Stage::new();
    for (name, way) in WAYS {
        // One of the same worker, and one of another.
        for client in [2, 1] {
            stage.world.run_for(2 * WINDOW_MAX);
            (0..4).for_each(|other| _ = stage.heard(other));
            let to = stage.sessions[client].id();
            let from = stage.world.lockstep.now();
            way(&mut stage, to, Delivery::PROMPT, b"prompt");
            assert_eq!(stage.heard(client), ["prompt"], "{name}");
            let position = Delivery::within(WINDOW).latest(7);
            way(&mut stage, to, position, b"before");
            way(&mut stage, to, position, b"now");
            stage.world.run_to(Time::from_nanos((from + WINDOW).as_nanos() - 1));
            assert_eq!(stage.heard(client), [""; 0], "{name} waits for company");
            stage.world.run_to(from + WINDOW);
            assert_eq!(stage.heard(client), ["now"], "{name}");
        }
    }
}

#[test]
fn a_list_of_a_handle_reaches_its_sessions_once_and_the_others_are_counted() {
    let mut stage = Stage::new();
    let foreign = Stage::new().sessions[0].id();
    let ids: Vec<SessionId> = [3, 0, 2].iter().map(|session| stage.sessions[*session].id()).collect();
    drop(stage.clients.remove(2));
    stage.world.settle();
    let outcome = stage.service.send_to_many(&[ids[0], ids[1], ids[2], foreign], Delivery::PROMPT, ECHO, b"you");
    assert_eq!(outcome, FanOutOutcome::Posted);
    assert_eq!(stage.service.send_to_many(&[foreign], Delivery::PROMPT, ECHO, b"you"), FanOutOutcome::Gone);
    assert_eq!(stage.service.send_to_many(&[], Delivery::PROMPT, ECHO, b"nobody"), FanOutOutcome::Posted);
    let too_large = stage.service.send_to_many(&ids, Delivery::PROMPT, ECHO, &[0; 70_000]);
    assert!(matches!(too_large, FanOutOutcome::Unencodable(_)));
    stage.world.settle();
    let heard: Vec<usize> = (0..3).filter(|client| stage.heard(*client) == ["you"]).collect();
    assert_eq!(heard, [0, 2], "the first, and what was the fourth");
    let counters = stage.service.counters();
    assert_eq!((counters.frames_to_gone, counters.frames_unencodable), (2, 1), "two of another core");
    assert_eq!(stage.core.counters().frames_to_gone, 3, "and one that had ended");
}
