//! Rooms with a state at their home: what it is told, in which order, and what it can do; and rooms in numbers.

mod support;

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pogu::{
    BroadcastOutcome, Context, Core, Delivery, Error, FrameFormat, JoinOutcome, Packet, PostOutcome, Room, RoomContext,
    RoomRef, RoomRefs, RoomState, Service, ServiceHandle, Session, SessionId, Time,
};
use support::simulated::{Client, SERVER, World};
use support::{ECHO, FAREWELL, JOIN, LEAVE, QUIT, SAY};

const HALL: Room = Room(1);

const MOVE: u16 = 20;
const TELL_ROOM: u16 = 21;

/// Joins, leaves, moves and speaks as its peer says.
struct Player {
    halls: Arc<Mutex<Option<RoomRefs<Hall>>>>,
}

impl Session for Player {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let mut reader = packet.reader();
        let mut room = || Room(u64::from(reader.u32().expect("a number")));
        match packet.id() {
            JOIN => assert_eq!(cx.join(room()), JoinOutcome::Asked),
            LEAVE => assert!(cx.leave(room())),
            MOVE => {
                let outcome = cx.move_to(room(), room());
                cx.send(MOVE, format!("{outcome:?}").as_bytes());
            }
            SAY => assert_eq!(cx.broadcast(room(), SAY, reader.rest()), BroadcastOutcome::Posted),
            TELL_ROOM => {
                let halls = self.halls.lock().expect("no panic").as_ref().and_then(|halls| halls.room(room()));
                let said = reader.rest().to_vec();
                let outcome = cx.post_to_room(&halls.expect("a room"), move |hall, cx| hall.told(cx, &said));
                assert_eq!(outcome, PostOutcome::Posted);
            }
            QUIT => cx.disconnect("asked to"),
            id => assert!(cx.send(id, packet.body()).is_accepted()),
        }
    }

    fn on_joined(&mut self, cx: &mut Context<'_>, room: Room) {
        cx.send(JOIN, &(room.0 as u32).to_le_bytes());
    }
}

/// What happened to a hall.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Seen {
    Made(Room),
    Joined(SessionId, usize),
    Left(SessionId, usize),
    Told(Vec<u8>),
    Timer(Time),
    Restarted(Vec<SessionId>),
    Dropped,
}

/// A state that reports what happens to it.
struct Hall {
    seen: Sender<Seen>,
}

impl Hall {
    fn see(&self, seen: Seen) {
        let _ = self.seen.send(seen);
    }

    fn told(&mut self, cx: &mut RoomContext<'_>, said: &[u8]) {
        self.see(Seen::Told(said.to_vec()));
        match said {
            b"panic" => panic!("planted"),
            b"timer" => cx.set_timer(Duration::from_secs(3)),
            b"no timer" => cx.clear_timer(),
            said => assert_eq!(cx.broadcast(ECHO, said), BroadcastOutcome::Posted),
        }
    }
}

impl RoomState for Hall {
    fn on_join(&mut self, cx: &mut RoomContext<'_>, member: SessionId) {
        self.see(Seen::Joined(member, cx.members()));
        assert_eq!(cx.send_to(member, FAREWELL, b"welcome"), pogu::SendOutcome::Posted);
        assert_eq!(cx.broadcast(ECHO, b"one more"), BroadcastOutcome::Posted);
    }

    fn on_leave(&mut self, cx: &mut RoomContext<'_>, member: SessionId) {
        self.see(Seen::Left(member, cx.members()));
        assert_eq!(cx.broadcast(ECHO, b"one less"), BroadcastOutcome::Posted);
    }

    fn on_timer(&mut self, cx: &mut RoomContext<'_>) {
        self.see(Seen::Timer(cx.now()));
        assert_eq!(cx.broadcast(ECHO, b"tick"), BroadcastOutcome::Posted);
    }

    fn on_restart(&mut self, cx: &mut RoomContext<'_>) {
        self.see(Seen::Restarted(cx.list_members().collect()));
    }
}

impl Drop for Hall {
    fn drop(&mut self) {
        self.see(Seen::Dropped);
    }
}

struct Stage {
    world: World,
    core: Core,
    service: ServiceHandle,
    ids: Receiver<SessionId>,
    seen: Receiver<Seen>,
    make: Box<dyn Fn(Room) -> Hall + Send + Sync>,
    halls: Arc<Mutex<Option<RoomRefs<Hall>>>>,
}

impl Stage {
    /// A core of so many workers; the rooms from 1 to 99 are halls, made when somebody joins.
    fn new(workers: usize) -> Stage {
        let mut stage = Stage::without_rooms(workers);
        let make = std::mem::replace(&mut stage.make, Box::new(|_| unreachable!("it is taken")));
        let halls = stage.core.open_rooms(1..=99, FrameFormat::course(), make).expect("rooms");
        *stage.halls.lock().expect("no panic") = Some(halls);
        stage
    }

    fn without_rooms(workers: usize) -> Stage {
        let mut world = World::new();
        let core = world.core(workers);
        let ((told, ids), (reports, seen)) = (channel(), channel());
        let halls = Arc::new(Mutex::new(None));
        let of_players = Arc::clone(&halls);
        let factory = move |incoming: pogu::Incoming| {
            told.send(incoming.session).expect("the test listens");
            Player { halls: Arc::clone(&of_players) }
        };
        let service = core.serve(Service::server(SERVER), factory).expect("a service");
        let make = Box::new(move |room| {
            let hall = Hall { seen: reports.clone() };
            hall.see(Seen::Made(room));
            hall
        });
        Stage { world, core, service, ids, seen, make, halls }
    }

    fn client(&mut self) -> (Client, SessionId) {
        let client = self.world.connect(&self.service);
        (client, self.ids.try_recv().expect("it is connected"))
    }

    fn ask(&mut self, client: &mut Client, id: u16, room: Room, text: &[u8]) {
        client.send(id, &[&(room.0 as u32).to_le_bytes(), text].concat());
        self.world.settle();
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.try_iter().collect()
    }
}

fn heard(client: &mut Client) -> Vec<(u16, String)> {
    let text = |body| String::from_utf8(body).unwrap_or_default();
    client
        .frames()
        .into_iter()
        .map(|(id, body)| if id == JOIN { (id, String::new()) } else { (id, text(body)) })
        .collect()
}

fn said(text: &str) -> (u16, String) {
    (ECHO, text.to_owned())
}

#[test]
fn a_room_has_a_state_while_it_has_members() {
    let mut stage = Stage::new(2);
    let ((mut one, first), (mut other, second)) = (stage.client(), stage.client());
    stage.ask(&mut one, JOIN, HALL, b"");
    stage.ask(&mut other, JOIN, HALL, b"");
    assert_eq!(stage.seen(), [Seen::Made(HALL), Seen::Joined(first, 1), Seen::Joined(second, 2)]);
    stage.ask(&mut one, LEAVE, HALL, b"");
    other.send(QUIT, b"");
    stage.world.settle();
    assert_eq!(stage.seen(), [Seen::Left(first, 1), Seen::Left(second, 0), Seen::Dropped]);
    stage.ask(&mut one, JOIN, HALL, b"");
    assert_eq!(stage.seen(), [Seen::Made(HALL), Seen::Joined(first, 1)], "a new one");
}

#[test]
fn what_a_state_says_has_its_place_in_the_rooms_order() {
    for workers in 1..=4 {
        let mut stage = Stage::new(workers);
        let ((mut one, _), (mut other, _)) = (stage.client(), stage.client());
        stage.ask(&mut one, JOIN, HALL, b"");
        assert_eq!(heard(&mut one), [(JOIN, String::new()), (FAREWELL, "welcome".to_owned()), said("one more")]);
        stage.ask(&mut other, JOIN, HALL, b"");
        assert_eq!(heard(&mut other), [(JOIN, String::new()), (FAREWELL, "welcome".to_owned()), said("one more")]);
        assert_eq!(heard(&mut one), [said("one more")]);
        // All in one packet's worth: the order of one session is kept, past the state and through it.
        for round in 0..20 {
            let text = format!("{round}");
            one.say(HALL.0 as u32, text.as_bytes());
            let room = (HALL.0 as u32).to_le_bytes();
            one.send(TELL_ROOM, &[&room, text.as_bytes()].concat());
        }
        stage.world.settle();
        let expected: Vec<_> =
            (0..20).flat_map(|round| [(SAY, round.to_string()), (ECHO, round.to_string())]).collect();
        assert_eq!(heard(&mut one), expected, "{workers} workers");
        assert_eq!(heard(&mut other), expected, "{workers} workers");
        stage.ask(&mut other, LEAVE, HALL, b"");
        assert_eq!((heard(&mut one), heard(&mut other)), (vec![said("one less")], vec![]));
    }
}

#[test]
fn a_room_that_was_opened_by_itself_stays() {
    let mut stage = Stage::without_rooms(3);
    let make = std::mem::replace(&mut stage.make, Box::new(|_| unreachable!("it is taken")));
    let hall: RoomRef<Hall> = stage.core.open_room(HALL, make).expect("a room");
    stage.world.settle();
    assert_eq!(stage.seen(), [Seen::Made(HALL)]);
    let (mut one, first) = stage.client();
    stage.ask(&mut one, JOIN, HALL, b"");
    stage.ask(&mut one, LEAVE, HALL, b"");
    assert_eq!(stage.seen(), [Seen::Joined(first, 1), Seen::Left(first, 0)]);
    assert_eq!(hall.clone().post(|hall, cx| hall.told(cx, b"from outside")), PostOutcome::Posted);
    stage.world.settle();
    assert_eq!(stage.seen(), [Seen::Told(b"from outside".to_vec())]);
    let Stage { world, core, seen, .. } = stage;
    drop(world);
    drop(core);
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Seen::Dropped], "it ends with its worker");
    assert_eq!(hall.post(|_hall, _cx| ()), PostOutcome::Gone);
}

#[test]
fn what_is_posted_to_a_room_without_a_state_is_counted() {
    let mut stage = Stage::new(2);
    let halls = stage.halls.lock().expect("no panic").take().expect("rooms");
    let hall = halls.room(HALL).expect("it is of the range");
    assert!(halls.room(Room(100)).is_none());
    assert_eq!(hall.post(|_hall, _cx| panic!("nobody is there")), PostOutcome::Posted);
    stage.world.settle();
    assert_eq!((stage.core.counters().posts_to_gone, stage.seen()), (1, vec![]));
}

#[test]
fn rooms_are_opened_once() {
    let mut stage = Stage::without_rooms(1);
    let make = |stage: &mut Stage| {
        let (seen, _) = channel();
        std::mem::replace(&mut stage.make, Box::new(move |_| Hall { seen: seen.clone() }))
    };
    let open = |stage: &mut Stage, range| {
        let make = make(stage);
        stage.core.open_rooms(range, FrameFormat::course(), make).map(drop)
    };
    assert!(open(&mut stage, 5..=10).is_ok());
    for range in [5..=5, 10..=20, 0..=5, 6..=7, 0..=u64::MAX] {
        assert!(matches!(open(&mut stage, range), Err(Error::Configuration { field: "the range of rooms", .. })));
    }
    #[expect(clippy::reversed_empty_ranges, reason = "it is to be refused")]
    let backwards = 40..=30;
    assert!(matches!(open(&mut stage, backwards), Err(Error::Configuration { .. })));
    assert!(open(&mut stage, 11..=u64::MAX).is_ok());
    let make = make(&mut stage);
    assert!(stage.core.open_room(Room(7), make).is_err());
}

#[test]
fn a_panic_of_a_state_is_the_rooms_alone() {
    let mut stage = Stage::new(2);
    let ((mut one, first), (mut other, _)) = (stage.client(), stage.client());
    stage.ask(&mut one, JOIN, HALL, b"");
    stage.ask(&mut other, JOIN, HALL, b"");
    stage.ask(&mut one, TELL_ROOM, HALL, b"panic");
    assert_eq!(stage.seen().last(), Some(&Seen::Dropped));
    stage.ask(&mut one, TELL_ROOM, HALL, b"is anybody there");
    assert_eq!(stage.seen(), []);
    let counters = stage.core.counters();
    assert_eq!((counters.room_panics, counters.posts_to_gone, stage.service.sessions()), (1, 1, 2));
    heard(&mut other);
    stage.ask(&mut one, SAY, HALL, b"we go on");
    assert_eq!(heard(&mut other), [(SAY, "we go on".to_owned())]);
    stage.ask(&mut one, LEAVE, HALL, b"");
    stage.ask(&mut other, LEAVE, HALL, b"");
    stage.ask(&mut one, JOIN, HALL, b"");
    assert_eq!(stage.seen(), [Seen::Made(HALL), Seen::Joined(first, 1)], "who comes after the last gets a new one");
}

#[test]
fn a_room_that_stays_and_has_panicked_is_made_anew_when_it_is_wanted() {
    let mut stage = Stage::without_rooms(2);
    let make = std::mem::replace(&mut stage.make, Box::new(|_| unreachable!("it is taken")));
    let hall: RoomRef<Hall> = stage.core.open_room(HALL, make).expect("a room");
    let (mut one, first) = stage.client();
    stage.ask(&mut one, JOIN, HALL, b"");
    stage.seen();
    // Its timer goes with it.
    assert_eq!(hall.post(|hall, cx| hall.told(cx, b"timer")), PostOutcome::Posted);
    assert_eq!(hall.post(|hall, cx| hall.told(cx, b"panic")), PostOutcome::Posted);
    stage.world.settle();
    assert_eq!(stage.seen().last(), Some(&Seen::Dropped));
    stage.world.run_for(Duration::from_secs(1));
    // Somebody is in it, and somebody else comes.
    let (mut other, second) = stage.client();
    stage.ask(&mut other, JOIN, HALL, b"");
    assert_eq!(stage.seen(), [Seen::Made(HALL), Seen::Restarted(vec![first]), Seen::Joined(second, 2)]);
    assert_eq!(hall.post(|hall, cx| hall.told(cx, b"panic")), PostOutcome::Posted);
    assert_eq!(hall.post(|hall, cx| hall.told(cx, b"again")), PostOutcome::Posted);
    stage.world.run_for(Duration::from_secs(10));
    let members = {
        let mut members = vec![first, second];
        members.sort_unstable();
        members
    };
    let again = [Seen::Made(HALL), Seen::Restarted(members), Seen::Told(b"again".to_vec())];
    assert_eq!(stage.seen(), [&[Seen::Told(b"panic".to_vec()), Seen::Dropped], &again[..]].concat());
    assert_eq!(stage.core.counters().posts_to_gone, 0);
    stage.ask(&mut other, LEAVE, HALL, b"");
    stage.seen();
    // Nobody is in it: the next one who wants it gets a new one.
    stage.ask(&mut one, LEAVE, HALL, b"");
    stage.seen();
    assert_eq!(hall.post(|hall, cx| hall.told(cx, b"panic")), PostOutcome::Posted);
    assert_eq!(hall.post(|hall, cx| hall.told(cx, b"again")), PostOutcome::Posted);
    stage.world.settle();
    let expected = [Seen::Told(b"panic".to_vec()), Seen::Dropped, Seen::Made(HALL), Seen::Told(b"again".to_vec())];
    assert_eq!(stage.seen(), expected);
}

/// Rooms whose home is each of the workers, and one session, which lives on one of them.
#[test]
fn a_room_hears_of_the_last_of_its_members_when_the_core_stops() {
    for room in (1..=8).map(Room) {
        let mut stage = Stage::new(3);
        let (mut one, first) = stage.client();
        stage.ask(&mut one, JOIN, room, b"");
        stage.seen();
        let Stage { mut world, core, seen, .. } = stage;
        core.begin_stop(Duration::from_secs(5));
        let from = world.lockstep.now();
        let mut one = Some(one);
        let stopped = world.until("a stop", from + Duration::from_secs(5), || {
            if one.as_mut().is_some_and(|one| one.take_what_came() != support::simulated::Flow::Open) {
                one = None;
            }
            core.has_stopped()
        });
        assert!(stopped < from + Duration::from_secs(1), "nobody waits for longer than it takes");
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Seen::Left(first, 0), Seen::Dropped], "{room}");
    }
}

#[test]
fn a_room_that_could_not_be_opened_can_be_opened_later() {
    let mut stage = Stage::without_rooms(1);
    let core = stage.world.lockstep.start({
        let mut port = pogu::PortConfig::default();
        port.posts_max = 2;
        Core::builder().workers(1).port(port)
    });
    let core = core.expect("a core");
    let open = |room| core.open_room(Room(room), |_| Hall { seen: channel().0 }).map(drop);
    assert!((0..2).all(|room| open(room).is_ok()));
    assert!(matches!(open(2), Err(Error::Workers(_))));
    stage.world.settle();
    assert!(open(2).is_ok());
}

#[test]
fn a_factory_that_holds_a_room_keeps_nothing_alive() {
    let held = Arc::new(());
    let mut stage = Stage::without_rooms(1);
    let lobby = stage.core.open_room(HALL, |_| Hall { seen: channel().0 }).expect("a room");
    let captured = Arc::clone(&held);
    let rooms = stage.core.open_rooms(200..=300, FrameFormat::course(), move |_| {
        let _ = (&lobby, &captured);
        Hall { seen: channel().0 }
    });
    drop(rooms);
    stage.world.settle();
    drop(stage);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn a_timer_of_a_room_comes_at_its_time() {
    let mut stage = Stage::new(3);
    let (mut one, _) = stage.client();
    stage.ask(&mut one, JOIN, HALL, b"");
    stage.seen();
    let from = stage.world.lockstep.now();
    stage.ask(&mut one, TELL_ROOM, HALL, b"timer");
    stage.world.run_for(Duration::from_secs(2));
    // Set again: the one before is replaced.
    stage.ask(&mut one, TELL_ROOM, HALL, b"timer");
    stage.world.run_for(Duration::from_secs(60));
    let timers: Vec<Seen> = stage.seen().into_iter().filter(|seen| matches!(seen, Seen::Timer(_))).collect();
    assert_eq!(timers, [Seen::Timer(from + Duration::from_secs(5))]);
    stage.ask(&mut one, TELL_ROOM, HALL, b"timer");
    stage.ask(&mut one, TELL_ROOM, HALL, b"no timer");
    stage.world.run_for(Duration::from_secs(60));
    assert!(!stage.seen().iter().any(|seen| matches!(seen, Seen::Timer(_))));
}

#[test]
fn a_move_is_both_or_neither() {
    let mut stage = Stage::new(4);
    let ((mut one, _), (mut other, _)) = (stage.client(), stage.client());
    let (from, to) = (Room(200), Room(201));
    stage.ask(&mut one, JOIN, from, b"");
    stage.ask(&mut other, JOIN, to, b"");
    stage.ask(&mut one, MOVE, to, &200u32.to_le_bytes());
    assert_eq!(heard(&mut one)[1..], [(MOVE, "NotThere".to_owned())]);
    stage.ask(&mut one, MOVE, from, &201u32.to_le_bytes());
    assert_eq!(heard(&mut one), [(MOVE, "Asked".to_owned()), (JOIN, String::new())]);
    heard(&mut other);
    stage.ask(&mut other, SAY, from, b"nobody is left");
    stage.ask(&mut other, SAY, to, b"here");
    assert_eq!(heard(&mut one), [(SAY, "here".to_owned())]);
    stage.ask(&mut one, JOIN, from, b"");
    stage.ask(&mut one, MOVE, from, &201u32.to_le_bytes());
    assert_eq!(heard(&mut one)[1..], [(MOVE, "Already".to_owned())], "it stays where it was");
    stage.ask(&mut one, MOVE, from, &200u32.to_le_bytes());
    assert_eq!(heard(&mut one), [(MOVE, "Already".to_owned())], "no leave comes after a join of the same room");
    stage.ask(&mut other, SAY, from, b"still there");
    assert_eq!(heard(&mut one), [(SAY, "still there".to_owned())]);
}

#[test]
fn many_small_rooms_and_a_large_one() {
    const SESSIONS: usize = 5_000;
    const SMALL_ROOMS: u32 = 10_000;
    let mut stage = Stage::new(2);
    let mut clients: Vec<Client> = (0..SESSIONS).map(|_| stage.client().0).collect();
    let large = Room(1_000_000);
    // 20 rooms each: ten members in each of ten thousand.
    for (index, client) in clients.iter_mut().enumerate() {
        client.number(JOIN, large.0 as u32);
        (0..20).for_each(|place| client.number(JOIN, 1000 + (index as u32 * 20 + place) % SMALL_ROOMS));
        if index % 100 == 99 {
            stage.world.settle();
        }
    }
    clients.iter_mut().for_each(|client| assert_eq!(client.frames().len(), 21));
    // Speakers on both workers: everybody hears them in their order, and each once.
    for (speaker, text) in [(7, "everybody"), (2_500, "again"), (4_999, "and again")] {
        clients[speaker].say(large.0 as u32, text.as_bytes());
        stage.world.settle();
    }
    clients[7].say(1000 + 7 * 20, b"ten of us");
    stage.world.settle();
    let said = |texts: &[&str]| texts.iter().map(|text| (SAY, (*text).to_owned())).collect::<Vec<_>>();
    let (by_all, by_ten) =
        (said(&["everybody", "again", "and again"]), said(&["everybody", "again", "and again", "ten of us"]));
    let heard: Vec<Vec<(u16, String)>> = clients.iter_mut().map(heard).collect();
    assert!(heard.iter().all(|heard| *heard == by_all || *heard == by_ten));
    let ten: BTreeSet<usize> = (0..SESSIONS).filter(|index| heard[*index] == by_ten).collect();
    assert_eq!(ten.len(), 10);
    assert!(ten.contains(&7));
}

#[test]
fn a_room_sends_to_whom_it_likes() {
    let mut stage = Stage::new(3);
    let mut clients: Vec<(Client, SessionId)> = (0..6).map(|_| stage.client()).collect();
    let ids: Vec<SessionId> = clients.iter().map(|(_, id)| *id).collect();
    stage.ask(&mut clients[0].0, JOIN, HALL, b"");
    let halls = stage.halls.lock().expect("no panic").take().expect("rooms");
    let posted = halls.room(HALL).expect("a room").post(move |_hall, cx| {
        let some = [ids[1], ids[3], ids[5]];
        assert_eq!(cx.send_to_many(&some, Delivery::PROMPT, SAY, b"odd"), pogu::FanOutOutcome::Posted);
        assert_eq!(cx.kick(ids[2], "the room wants it"), PostOutcome::Posted);
    });
    assert_eq!(posted, PostOutcome::Posted);
    stage.world.settle();
    let odd = |client: &mut Client| heard(client).contains(&(SAY, "odd".to_owned()));
    let got: Vec<usize> = (0..6).filter(|index| odd(&mut clients[*index].0)).collect();
    assert_eq!(got, [1, 3, 5]);
    assert_eq!(clients[2].0.take_what_came(), support::simulated::Flow::Finished);
}
