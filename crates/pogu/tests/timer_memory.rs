//! What timers and deadlines cost in memory, and that it comes back. One at a time, because every allocation is counted.

mod support;

use std::alloc::System;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cap::Cap;
use pogu::{Context, Limits, Packet, Service, Session, TIMERS_PER_SESSION_MAX, Timer, TimerOutcome};
use support::simulated::{Client, SERVER, World, at};
use support::{ECHO, QUIT};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Held by the test that counts.
static ALONE: Mutex<()> = Mutex::new(());

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
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Has its timer go off a millisecond after each packet.
struct Debounce;

impl Session for Debounce {
    fn on_packet(&mut self, cx: &mut Context<'_>, _packet: Packet<'_>) {
        cx.set_timer(Duration::from_millis(1));
    }

    fn on_timer(&mut self, _cx: &mut Context<'_>) {}
}

/// After each timer its session waits for its idle timeout again, which is far away.
#[test]
fn what_timers_that_went_off_leave_among_the_deadlines_does_not_grow() {
    const ROUNDS: usize = 20_000;
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut world = World::new();
    let core = world.core(1);
    let service = core.serve(Service::server(SERVER), |_| Debounce).expect("a service");
    let mut client = world.connect(&service);
    let mut held = [0; 2];
    for held in &mut held {
        for _ in 0..ROUNDS {
            client.send(ECHO, b"");
            world.run_for(Duration::from_millis(1));
        }
        *held = ALLOCATOR.allocated();
    }
    assert!(held[1] < held[0] + ROUNDS, "{held:?}: less than a byte a round");
    assert_eq!(service.sessions(), 1);
}
