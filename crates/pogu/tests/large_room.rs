//! One room of five thousand on four workers: whoever is in it hears what is said in its time, once and in the order of all, while
//! others come and go; and when all have left, nothing is kept of it. Alone in its process, because it counts every allocation.

mod support;

use std::alloc::System;
use std::ops::Range;
use std::time::Duration;

use cap::Cap;
use pogu::{
    BroadcastOutcome, Context, Core, FanOutOutcome, JoinOutcome, Limits, Packet, Room, Service, ServiceHandle, Session,
};
use support::simulated::{Client, SERVER, World};
use support::{ECHO, JOIN, LEAVE, SAY};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const ROOM: Room = Room(1);
const WORKERS: usize = 4;
const MEMBERS: usize = 5_000;
/// One on each worker. They stay, and say two things each in every round.
const SPEAKERS: usize = WORKERS;
const SAID_EACH_ROUND: usize = 2 * SPEAKERS;
/// In the first two of them and in the last two everybody is there.
const ROUNDS: usize = 14;
const ROUNDS_WITH_MOVES: Range<usize> = 3..13;

struct Member;

impl Session for Member {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match packet.id() {
            JOIN => assert_eq!(cx.join(ROOM), JoinOutcome::Asked),
            LEAVE => assert!(cx.leave(ROOM)),
            SAY => assert_eq!(cx.broadcast(ROOM, SAY, packet.body()), BroadcastOutcome::Posted),
            id => _ = cx.send(id, packet.body()),
        }
    }

    fn on_joined(&mut self, cx: &mut Context<'_>, room: Room) {
        assert_eq!(room, ROOM);
        cx.send(JOIN, b"");
    }
}

/// A time in the room, and what was heard in it.
struct Stay {
    /// Rounds in which it began and ended: it may have heard some of what was said in them.
    joined: usize,
    left: Option<usize>,
    /// Its join was acknowledged, before anything was heard.
    is_acknowledged: bool,
    heard: Vec<u32>,
}

impl Stay {
    fn new(joined: usize) -> Stay {
        Stay { joined, left: None, is_acknowledged: false, heard: Vec::new() }
    }

    /// What was heard is what all heard, from somewhere in its first round to somewhere in its last.
    fn check(&self, order: &[u32]) {
        assert!(self.is_acknowledged);
        let begins = round(self.joined);
        let ends = self.left.map_or(order.len()..order.len(), round);
        // In the round of its join it may have begun behind everything, and in that of its leave have ended before.
        let fits = |from: usize, to: usize| {
            (begins.start..=begins.end).contains(&from) && (ends.start..=ends.end).contains(&to)
        };
        let is_part = |from: usize| {
            let to = from + self.heard.len();
            fits(from, to) && order.get(from..to) == Some(&self.heard)
        };
        let Stay { joined, left, heard, .. } = self;
        assert!((begins.start..=begins.end).any(is_part), "from round {joined} to {left:?}: {heard:?} of {order:?}");
    }
}

/// The places of what is said in a round, in the order of all. Joins before the first are in no round.
fn round(number: usize) -> Range<usize> {
    match number.checked_sub(1) {
        Some(number) => number * SAID_EACH_ROUND..(number + 1) * SAID_EACH_ROUND,
        None => 0..0,
    }
}

struct Stage {
    world: World,
    _core: Core,
    service: ServiceHandle,
    clients: Vec<Client>,
}

impl Stage {
    fn new() -> Stage {
        let mut world = World::new();
        let core = world.core(WORKERS);
        let mut limits = Limits::default();
        limits.idle_timeout = Duration::from_secs(1_000_000);
        let service = core.serve(Service::server(SERVER).limits(limits), |_| Member).expect("a service");
        let clients: Vec<Client> = (0..MEMBERS).map(|_| world.connect(&service)).collect();
        Stage { world, _core: core, service, clients }
    }

    /// What a connection keeps, having carried as much as it will; without a room.
    fn warm_up(&mut self) {
        for _ in 0..ROUNDS {
            self.all(ECHO);
            for said in 0..SAID_EACH_ROUND {
                // Of another size than the one before: neighbours that are alike take less of a send queue.
                assert_eq!(self.service.broadcast(ECHO, &[0; 8][said % 2..]), FanOutOutcome::Posted);
            }
            self.world.settle();
            assert!(self.clients.iter_mut().all(|client| client.frames().len() == 1 + SAID_EACH_ROUND));
        }
    }

    fn all(&mut self, id: u16) {
        self.clients.iter_mut().for_each(|client| client.send(id, b""));
        self.world.settle();
    }

    /// Each but the speakers leaves in one round and comes back five rounds later, a fifth of them at a time, while others speak.
    fn play(&mut self, stays: &mut [Vec<Stay>]) {
        let mut said = 0_u32;
        for number in 1..=ROUNDS {
            for speaker in 0..SPEAKERS {
                self.say(speaker, &mut said);
            }
            for (member, stays) in stays.iter_mut().enumerate().skip(SPEAKERS) {
                // Amid those who come and go.
                let (speaker, place) = (member / (MEMBERS / SPEAKERS), member % (MEMBERS / SPEAKERS));
                if place == 5 + number % 5 {
                    self.say(speaker, &mut said);
                }
                if member % 5 != number % 5 || !ROUNDS_WITH_MOVES.contains(&number) {
                    continue;
                }
                match stays.last_mut().filter(|stay| stay.left.is_none()) {
                    Some(stay) => {
                        stay.left = Some(number);
                        self.clients[member].send(LEAVE, b"");
                    }
                    None => {
                        stays.push(Stay::new(number));
                        self.clients[member].send(JOIN, b"");
                    }
                }
            }
            self.world.settle();
            self.listen(stays);
            assert_eq!(said as usize, number * SAID_EACH_ROUND, "in round {number}");
        }
    }

    fn say(&mut self, speaker: usize, said: &mut u32) {
        let body = [(speaker as u32).to_le_bytes(), said.to_le_bytes()].concat();
        self.clients[speaker].send(SAY, &body);
        *said += 1;
    }

    /// What has come belongs to the last stay of its member: there is a round between two of them.
    fn listen(&mut self, stays: &mut [Vec<Stay>]) {
        for (client, stays) in self.clients.iter_mut().zip(stays) {
            for (id, body) in client.frames() {
                let stay = stays.last_mut().expect("nobody hears anything before its join");
                match id {
                    JOIN => assert!(!std::mem::replace(&mut stay.is_acknowledged, true), "once"),
                    SAY => {
                        assert!(stay.is_acknowledged, "behind the acknowledgement");
                        stay.heard.push(u32::from_le_bytes(body[4..].try_into().expect("a number")));
                    }
                    _ => unreachable!("nobody else says anything"),
                }
            }
        }
    }

    /// All come, talk, come and go; all leave. Bytes that were held when all had come.
    fn run(&mut self) -> usize {
        let before = ALLOCATOR.allocated();
        self.all(JOIN);
        let held = ALLOCATOR.allocated().saturating_sub(before);
        let mut stays: Vec<Vec<Stay>> = (0..MEMBERS).map(|_| vec![Stay::new(0)]).collect();
        self.listen(&mut stays);
        self.play(&mut stays);
        self.check(&stays);
        for (client, stays) in self.clients.iter_mut().zip(&stays) {
            if stays.last().is_some_and(|stay| stay.left.is_none()) {
                client.send(LEAVE, b"");
            }
        }
        self.world.settle();
        // Nobody is in it.
        self.clients[0].send(SAY, b"anybody?");
        self.world.settle();
        assert!(self.clients.iter_mut().all(|client| client.frames().is_empty()));
        held
    }

    fn check(&self, stays: &[Vec<Stay>]) {
        let [first] = stays[0].as_slice() else { panic!("it stays") };
        let order = &first.heard;
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..(ROUNDS * SAID_EACH_ROUND) as u32), "everything, once");
        stays.iter().flatten().for_each(|stay| stay.check(order));
        let throughout = stays.iter().filter(|stays| stays.iter().any(|stay| stay.heard == *order)).count();
        assert_eq!(throughout, SPEAKERS, "all others have come and gone");
        assert_eq!(stays.iter().map(Vec::len).sum::<usize>(), SPEAKERS + 2 * (MEMBERS - SPEAKERS));
        let amid = stays.iter().flatten().filter(|stay| stay.heard.len() % SAID_EACH_ROUND != 0).count();
        assert!(amid > 0, "all came and went between rounds: this test sees nothing");
        assert_eq!(self.service.counters().causes().count(), 0, "nobody has ended");
    }
}

#[test]
fn five_thousand_hear_everything_once_and_in_order_and_leave_nothing_behind() {
    let mut stage = Stage::new();
    stage.warm_up();
    let before = ALLOCATOR.allocated();
    for time in ["first", "second"] {
        let held = stage.run();
        let left = ALLOCATOR.allocated().saturating_sub(before);
        assert!(held > 20 * MEMBERS, "{held} bytes for a room of five thousand");
        // Each worker keeps the list that it has walked last, of as many names as there were members.
        assert!(left < held / 5, "the {time} time {left} bytes are left of {held}");
    }
}
