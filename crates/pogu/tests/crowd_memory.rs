//! What a crowd with queues leaves in memory once all have gone: no more than one that never had any. Alone in its process, because
//! it counts every allocation.

mod support;

use std::alloc::System;
use std::io::Write;
use std::time::Duration;

use cap::Cap;
use pogu::sim::SimulationOptions;
use pogu::{Broadcast, Context, Packet, Room, Service, ServiceHandle, StreamOptions};
use support::simulated::{Client, SERVER, World};
use support::{Act, JOIN, SAY, frame};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const CROWD: usize = 1_000;

/// Below what a send queue, a gather or an unfinished frame takes, of which a session has one each.
const LEFT_BY_EACH_BYTES_MAX: usize = 48;

/// Everybody joins a room first; what the last says reaches all of them.
fn join_or_say() -> impl FnMut(&mut Context<'_>, Packet<'_>) {
    |cx, packet| match packet.id() {
        JOIN => assert_eq!(cx.join(Room(1)), pogu::JoinOutcome::Asked),
        _ => {
            let _ = cx.broadcast_with(Room(1), &Broadcast::to_all(), SAY, &[7; 700]);
        }
    }
}

/// Whether the sessions of a crowd get anything, and say half a frame.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Crowd {
    Silent,
    Busy,
}

/// A crowd comes and goes. Bytes of the whole process while it was there, and when it had gone.
fn come_and_go(world: &mut World, service: &ServiceHandle, kind: Crowd) -> [usize; 2] {
    let mut crowd: Vec<Client> = (0..CROWD).map(|_| world.connect(service)).collect();
    crowd.iter_mut().for_each(|client| client.send(JOIN, b""));
    world.settle();
    let (said, half) = (frame(SAY, b""), frame(JOIN, &[0; 200]));
    if kind == Crowd::Busy {
        for client in &mut crowd {
            client.peer.write_all(&half[..100]).expect("there is room");
        }
        world.settle();
        // Not the first half of it: this session has sent a whole frame less than the others.
        let mut talker = world.connect(service);
        talker.peer.write_all(&said).expect("there is room");
        world.settle();
        crowd.push(talker);
    }
    let there = ALLOCATOR.allocated();
    assert_eq!(service.sessions(), crowd.len());
    if kind == Crowd::Busy {
        let mut heard = 0;
        for _ in 0..1_000 {
            heard += crowd.iter_mut().map(|client| client.frames().len()).sum::<usize>();
            world.run_for(Duration::from_millis(10));
        }
        assert_eq!(heard, CROWD);
    }
    drop(crowd);
    world.run_for(Duration::from_secs(10));
    assert_eq!(service.sessions(), 0);
    [there, ALLOCATOR.allocated()]
}

#[test]
fn the_queues_of_a_crowd_go_with_it() {
    let mut world = World::with_options(&SimulationOptions::default());
    let core = world.core(1);
    let mut stream = StreamOptions::default();
    stream.send_buffer_bytes = Some(256);
    let service = Service::server(SERVER).stream_options(stream).max_sessions(CROWD + 1);
    let service = core.serve(service, |_incoming| Act(join_or_say())).expect("a service");
    // Tables grow to their greatest crowd.
    come_and_go(&mut world, &service, Crowd::Silent);
    let [silent, before] = come_and_go(&mut world, &service, Crowd::Silent);
    let [busy, after] = come_and_go(&mut world, &service, Crowd::Busy);
    assert!(busy > silent + CROWD * 1_024, "{silent} bytes, {busy} if they are told something: they had queues");
    let left = after.saturating_sub(before) / CROWD;
    assert!(left < LEFT_BY_EACH_BYTES_MAX, "{left} bytes are left by each");
}
