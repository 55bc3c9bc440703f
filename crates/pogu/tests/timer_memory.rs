//! What timers cost in memory, and that it comes back. Alone in its process, because it counts every allocation.

mod support;

use std::alloc::System;
use std::time::Duration;

use cap::Cap;
use pogu::{Context, Limits, Packet, Service, Session, TIMERS_PER_SESSION_MAX, Timer, TimerOutcome};
use support::simulated::{Client, SERVER, World, at};
use support::{ECHO, QUIT};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const SESSIONS: usize = 200;
const TIMERS: usize = SESSIONS * TIMERS_PER_SESSION_MAX;

/// Starts as many timers as it may when it hears anything: due after 10 s.
struct Burst;

impl Session for Burst {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        if packet.id() == QUIT {
            return cx.disconnect("asked to");
        }
        for key in 0..TIMERS_PER_SESSION_MAX as u64 {
            assert!(matches!(cx.start_timer(Duration::from_secs(10), key), TimerOutcome::Started(_)));
        }
    }

    fn on_keyed_timer(&mut self, _cx: &mut Context<'_>, _timer: Timer, _key: u64) {}
}

#[test]
fn a_burst_of_timers_gives_its_memory_back_when_it_has_fired_or_its_sessions_end() {
    for ends in [false, true] {
        let mut world = World::new();
        let core = world.core(1);
        let mut limits = Limits::default();
        limits.idle_timeout = Duration::from_secs(1_000);
        let service = core.serve(Service::server(SERVER).limits(limits), |_| Burst).expect("a service");
        let mut clients: Vec<Client> = (0..SESSIONS).map(|_| world.connect(&service)).collect();
        // What is there once, however many timers there are.
        clients.iter_mut().for_each(|client| client.send(ECHO, b""));
        world.run_to(at(20));
        assert_eq!(service.counters().timers_fired, TIMERS as u64);
        let before = ALLOCATOR.allocated();

        clients.iter_mut().for_each(|client| client.send(ECHO, b""));
        world.settle();
        let held = ALLOCATOR.allocated().saturating_sub(before);
        assert!((TIMERS * 48..=TIMERS * 66).contains(&held), "{} bytes each", held / TIMERS);
        if ends {
            // They linger: their peers do not close.
            clients.iter_mut().for_each(|client| client.send(QUIT, b""));
            world.settle();
            assert_eq!(service.counters().timers_cancelled, TIMERS as u64);
        } else {
            world.run_to(at(40));
            assert_eq!(service.counters().timers_fired, 2 * TIMERS as u64);
        }
        assert_eq!(service.sessions(), SESSIONS);
        let left = ALLOCATOR.allocated().saturating_sub(before);
        // Ending sessions have something of their own; a block of timers may stay.
        assert!(left < held / 100, "{left} bytes are left of {held}");
    }
}
