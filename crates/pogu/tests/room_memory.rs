//! What rooms cost: nothing when they are empty, and a broadcast what its members cost, however many other rooms there are.
//! Alone in its process, because it counts every allocation.

mod support;

use std::alloc::System;

use cap::Cap;
use pogu::{BroadcastOutcome, Context, Core, JoinOutcome, Limits, Packet, Room, Service, ServiceHandle, Session};
use support::simulated::{Client, SERVER, World};
use support::{ECHO, JOIN, LEAVE, SAY};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const SESSIONS: u32 = 2_000;
const ROOMS_EACH: u32 = 40;

/// Joins, leaves, and speaks in the rooms that a packet names.
struct Guest;

impl Session for Guest {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        let mut reader = packet.reader();
        while let Ok(room) = reader.u32() {
            let room = Room(room.into());
            match packet.id() {
                ECHO => {}
                JOIN => assert_eq!(cx.join(room), JoinOutcome::Asked),
                LEAVE => assert!(cx.leave(room)),
                _ => assert_eq!(cx.broadcast(room, SAY, b"hello"), BroadcastOutcome::Posted),
            }
        }
    }
}

struct Stage {
    world: World,
    _core: Core,
    service: ServiceHandle,
    clients: Vec<Client>,
}

impl Stage {
    fn new(workers: usize) -> Stage {
        let mut world = World::new();
        let core = world.core(workers);
        let mut limits = Limits::default();
        limits.idle_timeout = std::time::Duration::from_secs(1_000_000);
        let service = core.serve(Service::server(SERVER).limits(limits), |_| Guest).expect("a service");
        let clients = (0..SESSIONS).map(|_| world.connect(&service)).collect();
        Stage { world, _core: core, service, clients }
    }

    fn ask(&mut self, client: u32, id: u16, rooms: impl Iterator<Item = u32>) {
        let rooms: Vec<u8> = rooms.flat_map(u32::to_le_bytes).collect();
        self.clients[client as usize].send(id, &rooms);
    }

    /// Every one of some sessions, some rooms each.
    fn all(&mut self, id: u16, sessions: u32, rooms_of: impl Fn(u32) -> std::ops::Range<u32>) {
        for session in 0..sessions {
            self.ask(session, id, rooms_of(session));
            if session % 8 == 7 {
                self.world.settle();
            }
        }
        self.world.settle();
        assert_eq!(self.service.counters().causes().count(), 0, "nobody has ended");
    }

    /// Bytes that were allocated for a broadcast to a room, and how many heard it.
    fn say(&mut self, client: u32, room: u32) -> (usize, u64) {
        self.ask(client, SAY, std::iter::once(room));
        let (bytes, frames) = (ALLOCATOR.total_allocated(), self.service.counters().frames_sent);
        self.world.settle();
        (ALLOCATOR.total_allocated() - bytes, self.service.counters().frames_sent - frames)
    }
}

fn memory_comes_back() {
    let mut stage = Stage::new(2);
    let rooms = |session: u32| 1_000 + session * ROOMS_EACH..1_000 + (session + 1) * ROOMS_EACH;
    // What is there once, however many rooms there are; and what connections keep, having carried so much.
    stage.all(ECHO, SESSIONS, rooms);
    stage.all(JOIN, SESSIONS, |session| session..session + 1);
    stage.all(LEAVE, SESSIONS, |session| session..session + 1);
    let before = ALLOCATOR.allocated();
    stage.all(JOIN, SESSIONS, rooms);
    let held = ALLOCATOR.allocated() - before;
    let count = (SESSIONS * ROOMS_EACH) as usize;
    assert!((count * 100..count * 400).contains(&held), "{} bytes each", held / count);
    stage.all(LEAVE, SESSIONS, rooms);
    let left = ALLOCATOR.allocated().saturating_sub(before);
    assert!(left < held / 100, "{left} bytes are left of {held}");
}

/// Ten thousand rooms of ten, and one of two thousand: what is said in one costs its members and no other room.
fn a_broadcast_costs_its_members() {
    const ROOMS_OF_TEN: u32 = 50;
    let mut stage = Stage::new(2);
    // Ten sessions share fifty rooms; all of them one.
    let small = |session: u32| 1_000 + session / 10 * ROOMS_OF_TEN..1_000 + (session / 10 + 1) * ROOMS_OF_TEN;
    let least = |stage: &mut Stage, room| (0..5).map(|_| stage.say(3, room)).min().expect("five");
    stage.all(JOIN, 10, |_| 1_000..1_001);
    let (alone, heard) = least(&mut stage, 1_000);
    assert_eq!(heard, 10);
    stage.all(LEAVE, 10, |_| 1_000..1_001);

    stage.all(JOIN, SESSIONS, small);
    stage.all(JOIN, SESSIONS, |_| 0..1);
    let (among_many, heard) = least(&mut stage, 1_000);
    assert_eq!(heard, 10);
    assert!(among_many <= alone + 1_024, "{alone} bytes for a room alone, {among_many} for one of ten thousand");
    let (for_all, heard) = least(&mut stage, 0);
    assert_eq!(heard, u64::from(SESSIONS));
    let each = for_all / SESSIONS as usize;
    assert!(each <= alone / 10 + 64, "{each} bytes for each of two thousand, {} for each of ten", alone / 10);
}

/// One after the other: they count the same allocator.
#[test]
fn rooms_cost_what_their_members_cost() {
    memory_comes_back();
    a_broadcast_costs_its_members();
}
