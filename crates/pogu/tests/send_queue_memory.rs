//! What sessions with full queues cost in memory: what they are charged, and little more. Alone in its process, because it
//! counts every allocation.

mod support;

use std::alloc::System;
use std::io::Write;

use cap::Cap;
use pogu::sim::SimulationOptions;
use pogu::{Context, Packet, Room, SendOverflow, Service, StreamOptions};
use support::simulated::{Client, SERVER, World};
use support::{Act, JOIN, SAY, frame};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const READERS: usize = 1_000;

const QUEUE_BYTES_MAX: usize = 256 * 1024;

/// Beyond its cap, for each session.
const SLACK_BYTES: usize = 4 * 1024;

/// Every session joins a room when it says anything; one says what it is told to all of them.
fn join_or_say(cx: &mut Context<'_>, packet: Packet<'_>) {
    let told = packet.reader().u32();
    match (packet.id(), told) {
        (JOIN, _) => assert_eq!(cx.join(Room(1)), pogu::JoinOutcome::Asked),
        (_, Ok(body_bytes)) => drop(cx.broadcast(Room(1), SAY, &vec![7; body_bytes as usize])),
        _ => {}
    }
}

/// Bytes by which memory grows per session when the queue of each becomes full.
fn growth_bytes(frame_bytes: u32) -> usize {
    let mut options = SimulationOptions::default();
    options.stream_bytes = 16 * 1024;
    let mut world = World::with_options(&options);
    let core = world.core(2);
    // The system's buffer is filled at once: what does not leave stays in the queue.
    let mut stream = StreamOptions::default();
    stream.send_buffer_bytes = Some(256);
    let service = Service::server(SERVER)
        .send_queue(QUEUE_BYTES_MAX, SendOverflow::DropNewest)
        .stream_options(stream)
        .max_sessions(READERS + 1);
    let service = core.serve(service, |_incoming| Act(join_or_say)).expect("a service");
    let mut readers: Vec<Client> = (0..READERS).map(|_| world.connect(&service)).collect();
    let mut talker = world.connect(&service);
    for reader in &mut readers {
        reader.send(JOIN, b"");
    }
    world.settle();
    let say = |talker: &mut Client, world: &mut World, times: usize| {
        for _ in 0..times {
            talker.peer.write_all(&frame(SAY, &(frame_bytes - 4).to_le_bytes())).expect("there is room");
        }
        world.settle();
    };
    // What is there once, however long the queues become.
    say(&mut talker, &mut world, 1);
    let before = ALLOCATOR.allocated();
    let dropped = |service: &pogu::ServiceHandle| service.counters().frames_dropped as usize;
    while dropped(&service) < READERS {
        say(&mut talker, &mut world, 100);
    }
    let grown = ALLOCATOR.allocated().saturating_sub(before) / READERS;
    assert_eq!(service.sessions(), READERS + 1);
    assert!(readers.iter().all(|reader| reader.peer.readable() <= 256), "nobody has read anything");
    grown
}

/// Small frames are copied into every queue; they are charged what they take.
#[test]
fn a_full_queue_takes_what_it_is_charged_and_little_more() {
    let small = growth_bytes(68);
    assert!(small > QUEUE_BYTES_MAX / 2, "{small} bytes: the queues were full");
    assert!(small <= QUEUE_BYTES_MAX + SLACK_BYTES, "{small} bytes each, frames of 68 bytes");
    for frame_bytes in [4, 20, 700, 1024] {
        let copied = growth_bytes(frame_bytes);
        assert!(copied <= QUEUE_BYTES_MAX + SLACK_BYTES, "{copied} bytes each, frames of {frame_bytes} bytes");
    }
    let shared = growth_bytes(2_000);
    assert!(shared <= QUEUE_BYTES_MAX / 10, "{shared} bytes each: a large frame is there once, whoever waits for it");
}
