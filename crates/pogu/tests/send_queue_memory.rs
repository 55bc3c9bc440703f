//! What sessions with full queues cost in memory: what they are charged, and little more. Alone in its process, because it
//! counts every allocation.

mod support;

use std::alloc::System;
use std::io::Write;

use cap::Cap;
use pogu::sim::SimulationOptions;
use pogu::{Broadcast, Context, Delivery, Packet, Room, SendOverflow, Service, StreamOptions};
use support::simulated::{Client, SERVER, World};
use support::{Act, JOIN, SAY, frame};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const READERS: usize = 1_000;

const QUEUE_BYTES_MAX: usize = 256 * 1024;

/// Beyond its cap, for each session.
const SLACK_BYTES: usize = 4 * 1024;

/// How what is said is delivered.
type Deliver = fn(u64) -> Delivery;

/// Every session joins a room when it says anything; one says what it is told to all of them.
fn join_or_say(deliver: Deliver) -> impl FnMut(&mut Context<'_>, Packet<'_>) {
    let mut said = 0;
    move |cx, packet| {
        let told = packet.reader().u32();
        match (packet.id(), told) {
            (JOIN, _) => assert_eq!(cx.join(Room(1)), pogu::JoinOutcome::Asked),
            (_, Ok(body_bytes)) => {
                said += 1;
                let how = Broadcast::to_all().delivery(deliver(said));
                let _ = cx.broadcast_with(Room(1), &how, SAY, &vec![7; body_bytes as usize]);
            }
            _ => {}
        }
    }
}

/// Bytes by which memory grows per session when the queue of each becomes full.
fn growth_bytes(deliver: Deliver, frame_bytes: u32) -> usize {
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
    let service = core.serve(service, move |_incoming| Act(join_or_say(deliver))).expect("a service");
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
    let plain = |_| Delivery::PROMPT;
    let small = growth_bytes(plain, 68);
    assert!(small > QUEUE_BYTES_MAX / 2, "{small} bytes: the queues were full");
    assert!(small <= QUEUE_BYTES_MAX + SLACK_BYTES, "{small} bytes each, frames of 68 bytes");
    for frame_bytes in [4, 20, 700, 1024] {
        let copied = growth_bytes(plain, frame_bytes);
        assert!(copied <= QUEUE_BYTES_MAX + SLACK_BYTES, "{copied} bytes each, frames of {frame_bytes} bytes");
    }
    let shared = growth_bytes(plain, 2_000);
    assert!(shared <= QUEUE_BYTES_MAX / 10, "{shared} bytes each: a large frame is there once, whoever waits for it");
    // What may be replaced is shared while it waits, and has a place in an index.
    let keys: [Deliver; 2] = [|said| Delivery::PROMPT.latest(said), |_| Delivery::PROMPT.newest(1, u16::MAX)];
    for (deliver, frame_bytes) in keys.into_iter().flat_map(|deliver| [4, 68, 1024].map(|bytes| (deliver, bytes))) {
        let waiting = growth_bytes(deliver, frame_bytes);
        assert!(waiting <= QUEUE_BYTES_MAX + SLACK_BYTES, "{waiting} bytes each, {frame_bytes} that may be replaced");
    }
}
