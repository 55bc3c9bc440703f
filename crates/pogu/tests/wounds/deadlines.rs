//! What is about time, in virtual time: 5 (by age), 6, 12, 21. Never early, and at its time to the nanosecond.

use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use pogu::sim::SimulationOptions;
use pogu::{
    Cause, CauseKind, Context, Core, Heartbeat, Limit, LimitExceeded, Limits, ListenOptions, Packet, Rate,
    RateExceeded, Service, ServiceHandle, Session, Time,
};

use crate::support::simulated::{Flow, SERVER, World, at};
use crate::support::{ECHO, Event, FLOOD, QUIT, frame, probes};

fn serve(world: &mut World, configure: impl FnOnce(Service) -> Service) -> (Core, ServiceHandle, Receiver<Event>) {
    let core = world.core(2);
    let (factory, reports) = probes();
    let service = core.serve(configure(Service::server(SERVER)), factory).expect("a service");
    (core, service, reports)
}

fn exceeded(limit: Limit, value: u64, maximum: u64) -> Cause {
    Cause::LimitExceeded(LimitExceeded { limit, value, maximum })
}

fn just_before(time: Time) -> Time {
    Time::from_nanos(time.as_nanos() - 1)
}

#[test]
fn w05_what_a_client_does_not_read_is_not_kept_for_ever() {
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, |service| service);
    let mut deaf = world.connect(&service);
    // More than the network holds, less than the queue may.
    deaf.number(FLOOD, 150);
    world.run_to(just_before(at(10)));
    assert_eq!(service.sessions(), 1);
    let (time, cause) = world.end_of(&reports, &mut None, at(100));
    assert_eq!((time, cause), (at(10), exceeded(Limit::SendAge, 10_000, 10_000)));
    assert_eq!(service.sessions(), 0);
}

#[test]
fn w06_who_is_silent_ends_after_a_minute() {
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, |service| service);
    let silent = world.connect(&service);
    world.run_to(just_before(at(60)));
    assert_eq!(service.sessions(), 1);
    let (time, cause) = world.end_of(&reports, &mut Some(silent), at(1000));
    assert_eq!((time, cause), (at(60), exceeded(Limit::IdleTimeout, 60_000, 60_000)));
}

#[test]
fn w06_who_does_not_introduce_himself_ends_however_his_bytes_trickle() {
    let mut world = World::new();
    let deadline = Duration::from_secs(5);
    let (_core, service, reports) = serve(&mut world, |service| service.clients_speak_first(deadline));
    let mut polite = world.connect(&service);
    polite.send(ECHO, b"hello");
    let mut trickling = world.connect(&service);
    for (second, byte) in frame(ECHO, &[0; 60]).iter().take(5).enumerate() {
        world.run_to(at(second as u64));
        trickling.peer.write_all(&[*byte]).expect("there is room");
    }
    let (time, cause) = world.end_of(&reports, &mut Some(trickling), at(1000));
    assert_eq!((time, cause), (at(5), exceeded(Limit::FirstFrameTimeout, 5_000, 5_000)));
    assert_eq!(service.sessions(), 1, "the polite one stays");
}

#[test]
fn w06_a_frame_that_trickles_ends_its_session() {
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, |service| service);
    let mut client = world.connect(&service);
    for (second, byte) in frame(ECHO, &[0; 60_000]).iter().take(10).enumerate() {
        world.run_to(at(20 + second as u64));
        client.peer.write_all(&[*byte]).expect("there is room");
    }
    let (time, cause) = world.end_of(&reports, &mut Some(client), at(1000));
    assert_eq!((time, cause), (at(30), exceeded(Limit::FrameTimeout, 10_000, 10_000)));
}

#[test]
fn w06_a_heartbeat_without_an_answer_ends_its_session() {
    const PING: u16 = 900;
    const PONG: u16 = 901;
    let mut world = World::new();
    let heartbeat = Heartbeat::every(Duration::from_secs(5), PING).pong_required(PONG, Duration::from_secs(12));
    let (_core, service, reports) = serve(&mut world, |service| service.heartbeat(heartbeat));
    let (mut answering, mut deaf) = (world.connect(&service), world.connect(&service));
    let mut ended = None;
    for second in 1..=100 {
        world.run_to(at(second));
        for (id, _) in answering.frames() {
            assert_eq!(id, PING);
            answering.send(PONG, b"");
        }
        deaf.frames();
        ended = ended.or_else(|| {
            reports.try_iter().find(|event| matches!(event, Event::Disconnected(_))).map(|event| (at(second), event))
        });
    }
    let (time, cause) = ended.expect("one has ended");
    assert_eq!(time, at(17), "the first ping left after 5 s");
    assert_eq!(cause, Event::Disconnected(exceeded(Limit::HeartbeatTimeout, 12_000, 12_000)));
    assert_eq!(service.sessions(), 1, "who answers stays, although it says nothing else");
    assert!(service.counters().heartbeats_answered >= 19);
}

fn limited(change: impl FnOnce(&mut Limits)) -> impl FnOnce(Service) -> Service {
    let mut limits = Limits::default();
    change(&mut limits);
    move |service| service.limits(limits)
}

#[test]
fn w06_a_flood_of_messages_is_slowed_down() {
    let mut world = World::new();
    let rate = Rate { per_second: 10, burst: 20 };
    let (_core, service, _reports) = serve(&mut world, limited(|limits| limits.message_rate = Some(rate)));
    let (mut flooding, mut neighbour) = (world.connect(&service), world.connect(&service));
    (0..500).for_each(|_| flooding.send(ECHO, b"flood"));
    let mut answers = 0;
    for second in 0..20 {
        world.run_to(at(second));
        answers += flooding.frames().len();
        let allowed = 20 + 10 * second as usize;
        assert!((allowed..=allowed + 2).contains(&answers), "second {second}: {answers} of {allowed}");
        neighbour.send(ECHO, b"unharmed");
        world.settle();
        assert_eq!(neighbour.frames(), [(ECHO, b"unharmed".to_vec())]);
    }
    assert_eq!(service.sessions(), 2, "it is delayed, not ended");
}

#[test]
fn w06_a_flood_of_bytes_may_end_its_session() {
    let mut world = World::new();
    let (_core, service, reports) = serve(
        &mut world,
        limited(|limits| {
            limits.byte_rate = Some(Rate { per_second: 1_000, burst: 5_000 });
            limits.rate_exceeded = RateExceeded::Disconnect;
        }),
    );
    let mut client = world.connect(&service);
    (0..50).for_each(|_| client.send(ECHO, &[0; 996]));
    let (time, cause) = world.end_of(&reports, &mut Some(client), at(100));
    assert_eq!((time, cause), (at(0), exceeded(Limit::ByteRate, 6_000, 5_000)));
    assert_eq!(service.counters().frames_received, 6, "what came behind it was not handled");
}

/// Charges ten for each packet that it answers.
struct Charging;

impl Session for Charging {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        cx.charge(10);
        cx.send(packet.id(), packet.body());
    }
}

#[test]
fn w06_what_handlers_charge_is_limited() {
    let mut world = World::new();
    let core = world.core(1);
    let mut limits = Limits::default();
    limits.cost_rate = Some(Rate { per_second: 50, burst: 100 });
    let service = core.serve(Service::server(SERVER).limits(limits), |_| Charging).expect("a service");
    let mut client = world.connect(&service);
    (0..100).for_each(|_| client.send(ECHO, b"search"));
    let mut answers = 0;
    for second in 0..10 {
        world.run_to(at(second));
        answers += client.frames().len();
        let allowed = 10 + 5 * second as usize;
        assert!((allowed..=allowed + 1).contains(&answers), "second {second}: {answers} of {allowed}");
    }
    assert_eq!(service.sessions(), 1);
}

#[test]
fn w06_a_client_service_does_not_storm_its_server() {
    const AT_A_TIME: usize = 7;
    let mut options = SimulationOptions::default();
    options.latency = Duration::from_millis(50);
    let mut world = World::with_options(&options);
    let far_side = world.simulation.listen(SERVER.parse().expect("an address"), &ListenOptions::default());
    let far_side = far_side.expect("a listener");
    let core = world.core(1);
    let (factory, _reports) = probes();
    let mut limits = Limits::default();
    limits.connects_in_flight_max = AT_A_TIME;
    let client = core.connect(Service::client(SERVER).sessions(50).limits(limits), factory).expect("a service");
    let mut taken = Vec::new();
    for round in 1u32..=8 {
        // One way there, one back: then the next ones begin.
        world.run_to(Time::ZERO + Duration::from_millis(100) * (round - 1) + Duration::from_millis(50));
        taken.extend(std::iter::from_fn(|| far_side.accept()));
        assert_eq!(taken.len(), (AT_A_TIME * round as usize).min(50), "round {round}");
    }
    world.run_to(at(1));
    assert_eq!(client.counters().sessions_opened, 50);
}

/// How many times each session was told that it ended is what `Probe` reports; everything else is the peer's doing.
#[test]
fn w12_a_peer_cannot_hold_the_end_open() {
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, |service| service);
    // One neither reads nor closes, one has vanished without a word, one goes on sending.
    let (mut holding, mut vanishing, mut talking) =
        (world.connect(&service), world.connect(&service), world.connect(&service));
    for client in [&mut holding, &mut vanishing, &mut talking] {
        client.send(QUIT, b"");
    }
    vanishing.peer.vanish();
    world.settle();
    for _ in 0..4 {
        talking.send(ECHO, b"and another thing");
        world.run_for(Duration::from_secs(1));
    }
    world.run_to(just_before(at(5)));
    assert_eq!((service.sessions(), service.counters().sessions_closed), (3, 0), "the linger time is not up");
    world.run_to(at(5));
    assert_eq!((service.sessions(), service.counters().sessions_closed), (0, 3));
    assert_eq!(service.counters().linger_expired, 3);
    let _ = holding.take_what_came();
    world.run_to(at(1000));
    let ends = reports.try_iter().filter(|event| matches!(event, Event::Disconnected(_))).count();
    assert_eq!(ends, 3, "each once, and never again");
    assert!(service.counters().causes().eq([(CauseKind::HandlerAsked, 3)]));
}

#[test]
fn w12_an_end_that_is_asked_for_many_times_is_told_once() {
    let mut world = World::new();
    let (_core, service, reports) = serve(&mut world, |service| service);
    let mut client = world.connect(&service);
    (0..10).for_each(|_| client.send(QUIT, b""));
    client.peer.shutdown();
    for _ in 0..10 {
        let _ = service.kick_all("and stay out");
    }
    world.settle();
    assert_eq!(client.take_what_came(), Flow::Finished);
    let _ = service.kick_all("again");
    drop(client);
    world.run_to(at(100));
    let ends = reports.try_iter().filter(|event| matches!(event, Event::Disconnected(_))).count();
    assert_eq!((ends, service.counters().sessions_closed), (1, 1));
}

/// Sets, replaces and clears its timer as it is told, and tells when it rings.
struct Ringing(Sender<Time>);

const SET: u16 = 10;
const CLEAR: u16 = 11;

impl Session for Ringing {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        match packet.id() {
            SET => cx.set_timer(Duration::from_millis(packet.reader().u32().expect("a number").into())),
            _ => cx.clear_timer(),
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        let _ = self.0.send(cx.now());
    }
}

#[test]
fn w21_a_timer_is_replaced_cleared_and_exact() {
    let mut world = World::new();
    let core = world.core(1);
    let (ring, rings) = channel();
    let service = core.serve(Service::server(SERVER), move |_| Ringing(ring.clone())).expect("a service");
    let mut client = world.connect(&service);
    // A thousand settings are one timer: the last.
    for _ in 0..10 {
        (0..100).for_each(|milliseconds| client.number(SET, 1 + milliseconds));
        world.settle();
    }
    world.run_to(just_before(Time::ZERO + Duration::from_millis(100)));
    assert_eq!(rings.try_iter().count(), 0);
    world.run_to(at(1));
    assert_eq!(rings.try_iter().collect::<Vec<_>>(), [Time::ZERO + Duration::from_millis(100)]);
    // Cancelled, it never rings, not even in the turn in which it would.
    client.number(SET, 1_000);
    world.run_to(just_before(at(2)));
    client.send(CLEAR, b"");
    world.run_to(at(50));
    assert_eq!(rings.try_iter().count(), 0);
}
