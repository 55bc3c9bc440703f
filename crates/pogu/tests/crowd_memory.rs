//! What a crowd leaves in memory once all have gone: its places, and no send queues. Alone in its process, because it counts every
//! allocation.

mod support;

use std::alloc::System;
use std::time::Duration;

use cap::Cap;
use pogu::sim::SimulationOptions;
use pogu::{Broadcast, Context, Packet, Room, Service, StreamOptions};
use support::simulated::{Client, SERVER, World};
use support::{Act, JOIN, SAY};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const CROWD: usize = 1_000;

/// What a place takes in the tables of engine, port and simulated network, with what they have grown ahead. With its queue it
/// would be 2,400.
const LEFT_BY_EACH_BYTES: usize = 1_536;

/// Everybody joins a room when it says anything; what the last says reaches all of them.
fn join_or_say() -> impl FnMut(&mut Context<'_>, Packet<'_>) {
    |cx, packet| match packet.id() {
        JOIN => assert_eq!(cx.join(Room(1)), pogu::JoinOutcome::Asked),
        _ => {
            let _ = cx.broadcast_with(Room(1), &Broadcast::to_all(), SAY, &[7; 700]);
        }
    }
}

#[test]
fn the_queues_of_a_crowd_go_with_it() {
    let mut world = World::with_options(&SimulationOptions::default());
    let core = world.core(1);
    let mut stream = StreamOptions::default();
    stream.send_buffer_bytes = Some(256);
    let service = Service::server(SERVER).stream_options(stream).max_sessions(CROWD);
    let service = core.serve(service, |_incoming| Act(join_or_say())).expect("a service");
    let mut crowd_of = |sessions: usize| {
        let mut crowd: Vec<Client> = (0..sessions).map(|_| world.connect(&service)).collect();
        crowd.iter_mut().for_each(|client| client.send(JOIN, b""));
        world.settle();
        crowd.last_mut().expect("a crowd").send(SAY, b"");
        world.settle();
        let with_all = ALLOCATOR.allocated();
        assert_eq!(service.sessions(), sessions);
        let mut heard = 0;
        while heard < sessions {
            heard += crowd.iter_mut().map(|client| client.frames().len()).sum::<usize>();
            world.run_for(Duration::from_millis(10));
        }
        drop(crowd);
        world.until("everybody has gone", support::simulated::at(60), || service.sessions() == 0);
        world.settle();
        (with_all, ALLOCATOR.allocated())
    };
    let (_, before) = crowd_of(1);
    let (with_all, after) = crowd_of(CROWD);
    assert!(with_all - before > CROWD * 2_048, "{before} bytes, {with_all} with all: everybody had a queue");
    let left = after.saturating_sub(before) / CROWD;
    assert!(left < LEFT_BY_EACH_BYTES, "{left} bytes are left by each");
    let left = crowd_of(CROWD).1.saturating_sub(after) / CROWD;
    assert!(left < 32, "{left} bytes are left by each of a second crowd: less than a block");
}
