//! The latency budget of a core: what is gained by it, and what it may cost.

mod support;

use std::time::Duration;

use pogu::{Context, Core, Delivery, DriverChoice, Packet, Service, Time};
use support::simulated::{SERVER, World};
use support::{Act, ECHO, probes};

const BUDGET: Duration = Duration::from_millis(2);

fn milliseconds(tenths: u64) -> Time {
    Time::ZERO + Duration::from_secs(1) + Duration::from_micros(100 * tenths)
}

#[test]
fn who_comes_after_a_silence_is_answered_at_once_and_who_follows_within_the_budget() {
    let mut world = World::new();
    let core = world.lockstep.start(Core::builder().workers(1).latency_budget(BUDGET)).expect("a core");
    let (factory, _reports) = probes();
    let service = core.serve(Service::server(SERVER), factory).expect("a service");
    let mut client = world.connect(&service);
    world.run_to(milliseconds(0));
    client.send(ECHO, b"first");
    world.settle();
    assert_eq!(client.frames(), [(ECHO, b"first".to_vec())], "nobody was there to wait for");
    for (tenths, body) in [(5, b"second"), (12, b"third ")] {
        world.run_to(milliseconds(tenths));
        client.send(ECHO, body);
        world.settle();
        assert_eq!(client.frames(), [], "at {tenths} tenths of a millisecond");
    }
    world.run_to(milliseconds(19));
    assert_eq!(client.frames(), []);
    world.run_to(milliseconds(20));
    assert_eq!(client.frames(), [(ECHO, b"second".to_vec()), (ECHO, b"third ".to_vec())]);
}

#[test]
fn a_window_ends_within_the_budget() {
    const WINDOW: Duration = Duration::from_millis(10);
    let mut world = World::new();
    let core = world.lockstep.start(Core::builder().workers(1).latency_budget(BUDGET)).expect("a core");
    let answer = |cx: &mut Context<'_>, packet: Packet<'_>| {
        assert!(cx.send_with(Delivery::within(WINDOW), ECHO, packet.body()).is_accepted());
    };
    let service = core.serve(Service::server(SERVER), move |_| Act(answer)).expect("a service");
    let mut client = world.connect(&service);
    let (mut heard, mut flushes) = (0u64, 0);
    for tenths in 0..1_000 {
        world.run_to(milliseconds(tenths));
        if tenths % 7 == 0 && tenths < 800 {
            client.send(ECHO, &tenths.to_le_bytes());
            world.settle();
        }
        let came = client.frames();
        flushes += u64::from(!came.is_empty());
        for (_, body) in came {
            let said = u64::from_le_bytes(body.try_into().expect("as it was said"));
            assert_eq!(said, heard * 7, "in order");
            heard += 1;
            // It was noticed within the budget, and waited for the window and as much again.
            assert!(tenths - said <= 20 + 100 + 20, "said at {said}, heard at {tenths}");
        }
    }
    assert_eq!(heard, 115);
    assert!((8..=9).contains(&flushes), "{flushes} in 80 ms");
}

#[test]
fn a_budget_above_a_second_is_refused_and_overrides_what_the_port_says() {
    let mut port = pogu::PortConfig::default();
    port.latency_budget = Duration::from_secs(5);
    let builder = Core::builder().workers(1).driver(DriverChoice::Auto).port(port);
    let refused = builder.clone().start().map(drop);
    let told = refused.expect_err("it makes no sense").to_string();
    assert!(told.contains("latency_budget") && told.contains("0 to 1 s"), "{told}");
    builder.latency_budget(BUDGET).start().map(drop).expect("that does");
}
