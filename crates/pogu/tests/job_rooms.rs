//! A room with a job queue of its own: what its jobs say to the members, in order, in a window, to some of them, and what they
//! are told when it cannot be said.

mod support;

use std::time::Duration;

use pogu::{
    Broadcast, ByteOrder, Context, Core, Delivery, FanOutOutcome, FrameFormat, JobQueue, JoinOutcome, Packet, Room,
    RoomHandle, Service, ServiceHandle, Session, SessionId, SizeField,
};
use support::simulated::{Client, SERVER, World};

const SQUARE: Room = Room(7);
const MOVE: u16 = 1;
const MOVED: u16 = 2;
const NOISE: u16 = 3;

const WINDOW: Duration = Duration::from_millis(10);

/// What lives in the job queue.
struct Square {
    room: RoomHandle,
    players: Vec<SessionId>,
    moves: u32,
}

impl Square {
    fn on(core: &Core) -> JobQueue<Square> {
        core.jobs().queue("square", Square { room: core.room(SQUARE), players: Vec::new(), moves: 0 })
    }

    fn enter(&mut self, player: SessionId) {
        self.players.push(player);
    }

    fn moved(&mut self) {
        self.moves += 1;
        let window = Broadcast::to_all().delivery(Delivery::within(WINDOW));
        assert_eq!(self.room.broadcast_with(&window, MOVED, &self.moves.to_le_bytes()), FanOutOutcome::Posted);
    }
}

/// A member of the square whose moves are jobs.
struct Player {
    square: JobQueue<Square>,
}

impl Session for Player {
    fn on_connected(&mut self, cx: &mut Context<'_>) {
        assert_eq!(cx.join(SQUARE), JoinOutcome::Asked);
        let id = cx.id();
        assert!(self.square.push(move |square| square.enter(id)).is_pushed());
    }

    fn on_packet(&mut self, _cx: &mut Context<'_>, packet: Packet<'_>) {
        assert_eq!(packet.id(), MOVE);
        assert!(self.square.push(Square::moved).is_pushed());
    }
}

struct Play {
    world: World,
    core: Core,
    square: JobQueue<Square>,
    service: ServiceHandle,
    clients: Vec<Client>,
}

impl Play {
    fn new(clients: usize) -> Play {
        let mut world = World::new();
        let core = world.core(3);
        let square = Square::on(&core);
        let members = square.clone();
        let make = move |_| Player { square: members.clone() };
        let service = core.serve(Service::server(SERVER), make).expect("a service");
        let clients = (0..clients).map(|_| world.connect(&service)).collect();
        Play { world, core, square, service, clients }
    }

    /// Has a job done, and everything that follows from it.
    fn job<R: Send + 'static>(&mut self, job: impl FnOnce(&mut Square) -> R + Send + 'static) -> R {
        let mut asked = self.square.ask_future(job);
        self.world.run_for(2 * WINDOW);
        asked.try_take().expect("it ran").expect("an answer")
    }

    /// The numbers of the moves that each client was told, and how many packets of other kinds.
    fn heard(&mut self) -> Vec<(Vec<u32>, usize)> {
        let number = |body: &[u8]| u32::from_le_bytes(body.try_into().expect("a number"));
        let heard = |client: &mut Client| {
            let (moves, others): (Vec<_>, Vec<_>) = client.frames().into_iter().partition(|(id, _)| *id == MOVED);
            (moves.iter().map(|(_, body)| number(body)).collect(), others.len())
        };
        self.clients.iter_mut().map(heard).collect()
    }
}

#[test]
fn what_the_jobs_of_a_room_say_reaches_every_member_in_their_order() {
    const MOVES: u32 = 50;
    let mut play = Play::new(6);
    for _ in 0..MOVES {
        play.clients.iter_mut().for_each(|client| client.send(MOVE, b""));
        play.world.run_for(Duration::from_millis(1));
    }
    play.world.run_for(2 * WINDOW);
    for (moves, _) in play.heard() {
        assert!(moves.into_iter().eq(1..=6 * MOVES));
    }
    let counters = play.service.counters();
    assert!(counters.sends < counters.frames_sent / 4, "what a window is for: {counters:?}");
}

#[test]
fn a_job_speaks_to_some_of_the_members_or_to_a_list() {
    let mut play = Play::new(4);
    let outcomes = play.job(|square| {
        let [first, second, ..] = square.players[..] else { panic!("four have entered") };
        let all_but_one = Broadcast::to_all().except(first).unordered();
        let some = square.room.broadcast_with(&all_but_one, NOISE, b"");
        let many = square.room.send_to_many(&[first, second], Delivery::within(WINDOW), NOISE, b"");
        [some, many, square.room.send_to_many(&[], Delivery::PROMPT, NOISE, b"")]
    });
    assert_eq!(outcomes, [FanOutOutcome::Posted; 3]);
    assert_eq!(play.heard().into_iter().map(|(_, noises)| noises).collect::<Vec<_>>(), [1, 2, 1, 1]);
    let service = play.service.clone();
    let many = play.job(move |square| service.send_to_many(&square.players, Delivery::PROMPT, NOISE, b""));
    assert_eq!(many, FanOutOutcome::Posted);
    assert_eq!(play.heard().into_iter().map(|(_, noises)| noises).collect::<Vec<_>>(), [1; 4]);
}

#[test]
fn what_does_not_fit_or_finds_nobody_is_told_and_counted() {
    let mut play = Play::new(1);
    let (too_large, gone) = play.job(|square| {
        let room = &square.room;
        let too_large =
            [room.broadcast(NOISE, &[0; 70_000]), room.send_to_many(&[], Delivery::PROMPT, 1, &[0; 70_000])];
        (too_large, square.players[0])
    });
    assert!(too_large.iter().all(|outcome| matches!(outcome, FanOutOutcome::Unencodable(_))), "{too_large:?}");
    play.clients.clear();
    play.world.run_for(Duration::from_secs(20));
    let sent = play.job(move |square| square.room.send_to_many(&[gone], Delivery::PROMPT, NOISE, b""));
    assert_eq!(sent, FanOutOutcome::Posted, "that it has ended is known in its worker");
    let counters = play.core.counters();
    assert_eq!((counters.frames_unencodable, counters.frames_to_gone), (2, 1));
    let room = play.core.room(SQUARE);
    let other = play.core.room(SQUARE).with_format(FrameFormat::course()).expect("it makes sense");
    assert_eq!((room.room(), format!("{other:?}")), (SQUARE, "room 7".to_owned()));
    let elsewhere = play.world.core(1);
    let missed = elsewhere.room(SQUARE).send_to_many(&[gone], Delivery::PROMPT, NOISE, b"");
    assert_eq!((missed, elsewhere.counters().frames_to_gone), (FanOutOutcome::Gone, 1));
    play.world.lockstep.stop(play.core, Duration::ZERO).expect("stopped");
    assert_eq!(room.broadcast(NOISE, b""), FanOutOutcome::Gone);
    assert_eq!(room.broadcast_with(&Broadcast::to_all().unordered(), NOISE, b""), FanOutOutcome::Gone);
}

#[test]
fn a_room_whose_home_does_not_keep_up_refuses_and_is_counted() {
    let mut port = pogu::PortConfig::default();
    port.posts_max = 4;
    let mut world = World::new();
    let core = world.lockstep.start(Core::builder().workers(1).port(port)).expect("a core");
    let room = core.room(SQUARE);
    let outcomes: Vec<_> = (0..6).map(|_| room.broadcast(NOISE, b"")).collect();
    assert_eq!(outcomes, [[FanOutOutcome::Posted; 4].as_slice(), &[FanOutOutcome::Overloaded; 2]].concat());
    let unordered = room.broadcast_with(&Broadcast::to_all().unordered(), NOISE, b"");
    let many = room.send_to_many(&[], Delivery::PROMPT, NOISE, b"");
    assert_eq!((unordered, many), (FanOutOutcome::Overloaded, FanOutOutcome::Posted));
    assert_eq!(core.counters().broadcasts_refused, 3);
    world.settle();
    assert_eq!(room.broadcast(NOISE, b""), FanOutOutcome::Posted);
}

#[test]
fn members_of_a_service_with_another_format_get_it_in_theirs() {
    let mut play = Play::new(1);
    let square = play.square.clone();
    let wide = FrameFormat::course().size_field(SizeField::U32).byte_order(ByteOrder::Big);
    let wide = Service::server("10.0.0.1:9").format(wide);
    let wide = play.core.serve(wide, move |_| Player { square: square.clone() }).expect("a service");
    let mut other = play.world.connect(&wide);
    assert_eq!(play.job(|square| square.room.broadcast(NOISE, b"x")), FanOutOutcome::Posted);
    assert_eq!(play.heard(), [(vec![], 1)]);
    other.take_what_came();
    assert_eq!(other.received, [0, 0, 0, 7, 0, NOISE as u8, b'x'], "its size of four bytes, and the largest first");
}
