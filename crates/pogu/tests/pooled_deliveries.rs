//! What handlers on a pool send has a delivery and an audience, as what handlers in a worker send. Under virtual time.

mod support;

use std::sync::mpsc::channel;
use std::time::Duration;

use pogu::{
    Broadcast, Core, Delivery, EncodeError, FrameFormat, Packet, Pooled, PooledContext, PooledSendOutcome,
    PooledSession, PortConfig, Room, Service, ServiceHandle, SessionId, SessionRef, Time, WINDOW_MAX,
};
use support::simulated::{Client, SERVER, World};
use support::{ECHO, SAY};

const HALL: Room = Room(7);
const WINDOW: Duration = Duration::from_millis(10);
const FRAME_BYTES_MAX: usize = 1_000;
const REFUSED: u16 = 20;

/// In the hall from the beginning; does what it is told, and says which broadcasts were refused.
struct Guest;

impl PooledSession for Guest {
    fn on_connected(&mut self, cx: &mut PooledContext<'_>) {
        cx.join(HALL);
    }

    fn on_packet(&mut self, _cx: &mut PooledContext<'_>, _packet: Packet<'_>) {}

    fn on_broadcast_refused(&mut self, cx: &mut PooledContext<'_>, room: Room) {
        assert!(cx.send(REFUSED, &room.0.to_le_bytes()).is_asked());
    }
}

struct Stage {
    world: World,
    _core: Core,
    service: ServiceHandle,
    clients: Vec<Client>,
    sessions: Vec<SessionRef<Pooled<Guest>>>,
}

impl Stage {
    /// Two workers, two guests on each.
    fn new(posts_max: usize) -> Stage {
        let mut world = World::new();
        let mut port = PortConfig::default();
        port.posts_max = posts_max;
        let core = world.lockstep.start(Core::builder().workers(2).port(port)).expect("a core");
        let (told, made) = channel();
        let guests = core.jobs().pooled("guests", move |incoming| {
            told.send(SessionRef::new(incoming.session)).expect("the test waits");
            Guest
        });
        let format = FrameFormat::course().frame_bytes_max(FRAME_BYTES_MAX);
        let service = core.serve(Service::server(SERVER).format(format), guests).expect("a service");
        let clients = (0..4).map(|_| world.connect(&service)).collect();
        let sessions: Vec<SessionRef<Pooled<Guest>>> = made.try_iter().collect();
        assert!(sessions.iter().map(|session| session.id().worker()).eq([0, 1, 0, 1]));
        Stage { world, _core: core, service, clients, sessions }
    }

    /// One more handler of a guest, on the pool.
    fn act_as(&mut self, guest: usize, act: impl FnOnce(&mut PooledContext<'_>) + Send + 'static) {
        let posted = self.service.post(self.sessions[guest], move |guest, cx| {
            assert!(guest.post(cx, move |_guest, cx| act(cx)).is_posted());
        });
        assert!(posted.is_posted());
        self.world.settle();
    }

    fn heard(&mut self, guest: usize) -> Vec<String> {
        let frames = self.clients[guest].frames();
        frames.into_iter().map(|(_, body)| String::from_utf8(body).expect("it is text")).collect()
    }

    fn id(&self, guest: usize) -> SessionId {
        self.sessions[guest].id()
    }
}

/// Has the first guest send a text to another guest at least, in one of the ways.
type Way = fn(&mut PooledContext<'_>, SessionId, Delivery, &'static [u8]) -> PooledSendOutcome;

/// And two of those who get it: of the same worker and of another, or the first alone.
const WAYS: [(&str, [usize; 2], Way); 3] = [
    ("send_with", [0, 0], |cx, _to, delivery, text| cx.send_with(delivery, ECHO, text)),
    ("send_to_with", [2, 1], |cx, to, delivery, text| cx.send_to_with(to, delivery, ECHO, text)),
    ("broadcast_with", [2, 1], |cx, _to, delivery, text| {
        cx.broadcast_with(HALL, &Broadcast::to_all().delivery(delivery), ECHO, text)
    }),
];

#[test]
fn whichever_way_a_handler_on_a_pool_sends_a_packet_waits_and_gives_way_as_its_delivery_says() {
    let mut stage = Stage::new(4096);
    for (name, guests, way) in WAYS {
        for guest in guests {
            stage.world.run_for(2 * WINDOW_MAX);
            (0..4).for_each(|other| _ = stage.heard(other));
            let to = stage.id(guest);
            let from = stage.world.lockstep.now();
            let send = |stage: &mut Stage, delivery, texts: &'static [&'static str]| {
                stage.act_as(0, move |cx| {
                    texts.iter().for_each(|text| assert!(way(cx, to, delivery, text.as_bytes()).is_asked()));
                });
            };
            send(&mut stage, Delivery::PROMPT, &["prompt"]);
            assert_eq!(stage.heard(guest), ["prompt"], "{name}");
            // Of one handler, and of another one later.
            let position = Delivery::within(WINDOW).latest(7);
            send(&mut stage, position, &["long ago", "before"]);
            send(&mut stage, position, &["now"]);
            send(&mut stage, Delivery::within(WINDOW).newest(1, 2), &["one", "two", "three"]);
            stage.world.run_to(Time::from_nanos((from + WINDOW).as_nanos() - 1));
            assert_eq!(stage.heard(guest), [""; 0], "{name} waits for company");
            stage.world.run_to(from + WINDOW);
            assert_eq!(stage.heard(guest), ["now", "two", "three"], "{name}");
        }
    }
}

#[test]
fn a_broadcast_of_a_handler_on_a_pool_goes_to_whom_it_says() {
    let mut stage = Stage::new(4096);
    let [own, chosen] = [stage.id(0), stage.id(3)];
    let audiences = [
        (Broadcast::to_all(), vec![0, 1, 2, 3]),
        (Broadcast::to_all().except(own), vec![1, 2, 3]),
        (Broadcast::to_all().only(move |member| member == own || member == chosen), vec![0, 3]),
        (Broadcast::to_all().only(move |member| member == own || member == chosen).except(own).unordered(), vec![3]),
    ];
    for (how, expected) in audiences {
        let what = format!("{how:?}");
        stage.act_as(0, move |cx| assert!(cx.broadcast_with(HALL, &how, SAY, b"you").is_asked()));
        let hearing: Vec<usize> = (0..4).filter(|guest| stage.heard(*guest) == ["you"]).collect();
        assert_eq!(hearing, expected, "{what}");
    }
}

#[test]
fn what_does_not_fit_or_finds_no_room_is_told_whatever_its_delivery() {
    let mut stage = Stage::new(4);
    let to = stage.id(1);
    stage.act_as(0, move |cx| {
        let body = [0; FRAME_BYTES_MAX];
        let (body_bytes, frame_bytes, max) = (body.len(), FRAME_BYTES_MAX + 4, FRAME_BYTES_MAX);
        let refused = PooledSendOutcome::Unencodable(EncodeError::FrameTooLarge { body_bytes, frame_bytes, max });
        let (delivery, how) = (Delivery::within(WINDOW), Broadcast::to_all());
        let outcomes = [
            cx.send_with(delivery, SAY, &body),
            cx.send_to_with(to, delivery, SAY, &body),
            cx.broadcast_with(HALL, &how, SAY, &body),
        ];
        assert_eq!(outcomes, [refused; 3]);
    });
    assert_eq!(stage.service.counters().frames_unencodable, 3);
    // More than inbox and outbox of the other worker take in one turn, without order: refused at once, and told.
    stage.act_as(0, |cx| {
        let how = Broadcast::to_all().unordered();
        (0..20).for_each(|_| assert!(cx.broadcast_with(HALL, &how, SAY, b"").is_asked()));
    });
    let refused = stage.clients[0].frames().into_iter().filter(|(id, _)| *id == REFUSED);
    let refused: Vec<Vec<u8>> = refused.map(|(_, room)| room).collect();
    assert!(!refused.is_empty() && refused.iter().all(|room| *room == HALL.0.to_le_bytes()), "{refused:?}");
    assert_eq!(stage.service.sessions(), 4);
}

#[test]
fn what_a_broadcast_takes_is_charged_to_its_session() {
    let mut stage = Stage::new(4096);
    stage.act_as(0, |cx| {
        let how = Broadcast::to_all().delivery(Delivery::within(WINDOW).latest(1));
        let asked = (0..).take_while(|_| cx.broadcast_with(HALL, &how, SAY, b"").is_asked()).count();
        let each = pogu::Limits::default().send_bytes_max / asked;
        assert!(each > size_of::<Broadcast>(), "{each} bytes each");
    });
    drop(stage.clients.remove(0));
    stage.world.run_for(Duration::from_secs(20));
    assert_eq!(stage.service.counters().disconnects(pogu::CauseKind::SendBytes), 1);
}
