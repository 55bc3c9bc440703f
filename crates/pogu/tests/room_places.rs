//! A room with a capacity, as the page of `RoomState` shows it: a place that was given to somebody who does not come is not lost.

mod support;

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::time::Duration;

use pogu::{
    BroadcastOutcome, CauseKind, Context, Core, JoinOutcome, Packet, ROOMS_PER_SESSION_MAX, Room, RoomContext, RoomRef,
    RoomState, SendOutcome, Service, ServiceHandle, SessionId, SessionRef, Time,
};
use support::simulated::{Client, Flow, SERVER, World};
use support::{Act, SAY};

const TABLE: Room = Room(1);
const SEATS: usize = 2;
const KEPT: Duration = Duration::from_secs(10);

type Silent = Act<fn(&mut Context<'_>, Packet<'_>)>;

/// Lets two in.
#[derive(Default)]
struct Table {
    seats: BTreeMap<SessionId, Option<Time>>,
}

impl Table {
    fn ask(&mut self, cx: &mut RoomContext<'_>, player: SessionRef<Silent>) {
        let (room, now) = (cx.room(), cx.now());
        self.seats.retain(|_, kept_until| kept_until.is_none_or(|kept_until| now < kept_until));
        if self.seats.len() >= SEATS {
            assert_eq!(cx.send_to(player, SAY, b"full"), SendOutcome::Posted);
            return;
        }
        let joins = move |_: &mut Silent, cx: &mut Context<'_>| _ = cx.join(room);
        if cx.post(player, joins).is_posted() {
            self.seats.entry(player.id()).or_insert(Some(now + KEPT));
        }
    }
}

impl RoomState for Table {
    fn on_join(&mut self, cx: &mut RoomContext<'_>, member: SessionId) {
        match self.seats.get_mut(&member) {
            Some(kept_until) => *kept_until = None,
            None => assert!(cx.kick(member, "it has no seat").is_posted()),
        }
        assert_eq!(cx.broadcast(SAY, b"one more"), BroadcastOutcome::Posted);
    }

    fn on_leave(&mut self, _cx: &mut RoomContext<'_>, member: SessionId) {
        self.seats.remove(&member);
    }
}

struct Stage {
    world: World,
    _core: Core,
    service: ServiceHandle,
    clients: Vec<Client>,
    sessions: Vec<SessionRef<Silent>>,
    table: RoomRef<Table>,
}

impl Stage {
    fn new(clients: usize) -> Stage {
        let mut world = World::new();
        let core = world.core(2);
        let (made, names) = channel();
        let factory = move |incoming: pogu::Incoming| {
            made.send(SessionRef::new(incoming.session)).expect("the test listens");
            Act((|_, _| ()) as fn(&mut Context<'_>, Packet<'_>))
        };
        let service = core.serve(Service::server(SERVER), factory).expect("a service");
        let clients = (0..clients).map(|_| world.connect(&service)).collect();
        let table = core.open_room(TABLE, |_| Table::default()).expect("a room");
        Stage { world, _core: core, service, clients, sessions: names.try_iter().collect(), table }
    }

    fn act(&mut self, player: usize, act: impl FnOnce(&mut Context<'_>) + Send + 'static) {
        assert!(self.service.post(self.sessions[player], move |_, cx| act(cx)).is_posted());
        self.world.settle();
    }

    /// A player asks for a place, and does something before it has one.
    fn ask_and(&mut self, player: usize, and: impl FnOnce(&mut Context<'_>) + Send + 'static) {
        let (table, name) = (self.table.clone(), self.sessions[player]);
        self.act(player, move |cx| {
            assert!(cx.post_to_room(&table, move |table, cx| table.ask(cx, name)).is_posted());
            and(cx);
        });
    }

    fn ask(&mut self, player: usize) {
        self.ask_and(player, |_| ());
    }

    /// What a player has heard, without a repetition.
    fn heard(&mut self, player: usize) -> Vec<String> {
        let frames = self.clients[player].frames().into_iter();
        let mut heard: Vec<String> = frames.map(|(_, body)| String::from_utf8(body).expect("it is text")).collect();
        heard.dedup();
        heard
    }
}

#[test]
fn a_room_with_a_capacity_gives_places_before_it_is_joined() {
    let mut stage = Stage::new(3);
    (0..3).for_each(|player| stage.ask(player));
    assert_eq!([0, 1, 2].map(|player| stage.heard(player).concat()), ["one more", "one more", "full"]);
    // They stay, however long; who asks twice has one place.
    stage.ask(0);
    stage.world.run_for(3 * KEPT);
    stage.ask(2);
    assert_eq!(stage.heard(2), ["full"]);
    stage.act(0, |cx| assert!(cx.leave(TABLE)));
    stage.ask(2);
    assert_eq!([0, 1, 2].map(|player| stage.heard(player).concat()), ["full", "one more", "one more"]);
}

#[test]
fn a_place_of_one_who_does_not_come_is_kept_for_a_while() {
    let mut stage = Stage::new(4);
    stage.ask_and(0, |cx| cx.disconnect("it has ended on its way"));
    stage.act(1, |cx| {
        (0..ROOMS_PER_SESSION_MAX as u64).for_each(|room| assert_eq!(cx.join(Room(100 + room)), JoinOutcome::Asked));
    });
    stage.ask(1);
    stage.ask(2);
    assert_eq!(stage.heard(2), ["full"]);
    stage.world.run_for(KEPT);
    (2..4).for_each(|player| stage.ask(player));
    assert_eq!([2, 3].map(|player| stage.heard(player).concat()), ["one more", "one more"]);
}

#[test]
fn who_comes_without_a_place_is_put_out() {
    let mut stage = Stage::new(1);
    stage.act(0, |cx| assert_eq!(cx.join(TABLE), JoinOutcome::Asked));
    assert_eq!(stage.clients[0].take_what_came(), Flow::Finished);
    assert_eq!(stage.service.counters().disconnects(CauseKind::Kicked), 0, "it has not closed its own end");
    drop(stage.clients.remove(0));
    stage.world.settle();
    assert_eq!((stage.service.sessions(), stage.service.counters().disconnects(CauseKind::Kicked)), (0, 1));
}
