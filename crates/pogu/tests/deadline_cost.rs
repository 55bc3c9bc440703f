//! What timers that come and go cost: the same per packet, however many sessions there are and whatever else they wait for.
//! Alone in its process, because it measures time.

mod support;

use std::time::{Duration, Instant};

use pogu::{Context, Heartbeat, Limits, Packet, Service, Session};
use support::ECHO;
use support::rounds::in_time_at_least_once;
use support::simulated::{Client, SERVER, World, at};

const ROUNDS: usize = 10;

/// A timer per packet: a player who does something that is decided a moment later.
struct Debounce;

impl Session for Debounce {
    fn on_packet(&mut self, cx: &mut Context<'_>, _packet: Packet<'_>) {
        cx.set_timer(Duration::from_millis(1));
    }

    fn on_timer(&mut self, _cx: &mut Context<'_>) {}
}

/// How long a packet takes of one of so many sessions.
fn packet_cost(sessions: usize, heartbeat: Heartbeat) -> Duration {
    let mut world = World::new();
    let core = world.core(1);
    let mut limits = Limits::default();
    limits.idle_timeout = Duration::from_secs(10_000);
    let service = Service::server(SERVER).limits(limits).heartbeat(heartbeat);
    let service = core.serve(service, |_| Debounce).expect("a service");
    let connect = |_| Client::new(world.simulation.connect(service.address()).expect("an address"));
    let mut clients: Vec<Client> = (0..sessions).map(connect).collect();
    world.run_to(at(160));
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        for client in &mut clients {
            client.number(ECHO, 1);
            world.run_for(Duration::from_micros(200));
        }
    }
    let took = begun.elapsed();
    assert_eq!(service.sessions(), sessions);
    took / (ROUNDS * sessions) as u32
}

#[test]
fn a_timer_per_packet_costs_the_same_whatever_else_is_due() {
    let every = || Heartbeat::every(Duration::from_secs(100), 900);
    // The answer to the ping of second 100 is due in second 250: each timer that goes off leaves the session waiting for that.
    let required = || every().pong_required(901, Duration::from_secs(150));
    // Both of a pair one right after the other, so that a busy machine slows both down.
    in_time_at_least_once(|| {
        let few = packet_cost(1_000, required());
        let (without, with) = (packet_cost(8_000, every()), packet_cost(8_000, required()));
        println!(
            "a packet of 1,000 sessions that owe a pong: {few:?}; of 8,000: {with:?}; of 8,000 that owe none: {without:?}"
        );
        let same = with < 3 * without;
        same.then_some(()).ok_or_else(|| format!("{with:?} a packet, {without:?} if nothing else is due"))
    });
}
