//! Who is let in, and how much each may ask for: addresses, rates with a delay or an end, refusals.

mod support;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use pogu::{
    Cause, CauseKind, Context, Core, Heartbeat, Incoming, Limit, LimitExceeded, Limits, Packet, Rate, RateExceeded,
    Refusal, Service, ServiceHandle, Session, Time,
};
use support::simulated::{Client, Flow, SERVER, World, at};
use support::{ECHO, Event, QUIT, frame, probes};

fn serve(world: &mut World, configure: impl FnOnce(&mut Limits)) -> (Core, ServiceHandle, Receiver<Event>) {
    serve_with(world, Service::server(SERVER), configure)
}

fn serve_with(
    world: &mut World,
    service: Service,
    configure: impl FnOnce(&mut Limits),
) -> (Core, ServiceHandle, Receiver<Event>) {
    let core = world.core(1);
    let (factory, reports) = probes();
    let mut limits = Limits::default();
    configure(&mut limits);
    let service = core.serve(service.limits(limits), factory).expect("a service");
    (core, service, reports)
}

fn just_before(time: Time) -> Time {
    Time::from_nanos(time.as_nanos() - 1)
}

fn milliseconds(count: u64) -> Time {
    Time::ZERO + Duration::from_millis(count)
}

/// In a simulation a client has the address that it connects to: of two addresses of one listener, two clients.
fn connect_at(world: &mut World, service: &ServiceHandle, ip: &str) -> Client {
    let address = SocketAddr::new(ip.parse().expect("an address"), service.address().port());
    let client = Client::new(world.simulation.connect(address).expect("a connection"));
    world.settle();
    client
}

#[test]
fn one_address_has_so_many_connections_and_gets_them_back_after_the_drain() {
    for (listen, one, same, other) in [
        ("0.0.0.0:7777", "10.0.0.1", "10.0.0.1", "10.0.0.2"),
        ("[::]:7777", "2001:db8:1:2::1", "2001:db8:1:2::ffff", "2001:db8:1:3::1"),
    ] {
        let mut world = World::new();
        let limit = |limits: &mut Limits| limits.connections_per_address_max = Some(2);
        let (_core, service, _reports) = serve_with(&mut world, Service::server(listen), limit);
        let mut first = connect_at(&mut world, &service, one);
        let mut second = connect_at(&mut world, &service, same);
        let mut third = connect_at(&mut world, &service, one);
        assert_eq!(third.take_what_came(), Flow::Reset, "at once");
        let mut elsewhere = connect_at(&mut world, &service, other);
        for client in [&mut first, &mut second, &mut elsewhere] {
            client.send(ECHO, b"in");
        }
        world.settle();
        for client in [&mut first, &mut second, &mut elsewhere] {
            assert_eq!(client.frames(), [(ECHO, b"in".to_vec())]);
        }
        // One that is ending still counts, until it has ended.
        first.send(QUIT, b"");
        world.settle();
        assert_eq!(first.take_what_came(), Flow::Finished);
        assert_eq!(connect_at(&mut world, &service, one).take_what_came(), Flow::Reset);
        drop(first);
        world.settle();
        assert_eq!(connect_at(&mut world, &service, one).take_what_came(), Flow::Open);
        let counters = service.counters();
        assert_eq!((counters.refused, counters.refused_by_address, counters.refused_at_once), (2, 2, 0));
        assert_eq!(counters.sessions_opened, 4);
    }
}

#[test]
fn connections_of_one_address_come_at_a_rate() {
    let mut world = World::new();
    let rate = |limits: &mut Limits| limits.connection_rate_per_address = Some(Rate { per_second: 2, burst: 3 });
    let (_core, service, _reports) = serve_with(&mut world, Service::server("0.0.0.0:7777"), rate);
    let storm = |world: &mut World, ip| {
        (0..5).filter(|_| connect_at(world, &service, ip).take_what_came() == Flow::Open).count()
    };
    assert_eq!((storm(&mut world, "10.0.0.1"), storm(&mut world, "10.0.0.2")), (3, 3));
    world.run_to(just_before(milliseconds(500)));
    assert_eq!(storm(&mut world, "10.0.0.1"), 0, "who is refused does not have to wait longer for it");
    world.run_to(milliseconds(500));
    assert_eq!(storm(&mut world, "10.0.0.1"), 1);
    world.run_to(at(100));
    assert_eq!(storm(&mut world, "10.0.0.1"), 3);
    assert_eq!(service.counters().refused_by_address, 2 + 2 + 5 + 4 + 2);
}

#[test]
fn a_delay_loses_nothing_and_keeps_the_rate_for_one_alone() {
    for bytes in [false, true] {
        let mut world = World::new();
        let (_core, service, reports) = serve(&mut world, |limits| match bytes {
            false => limits.message_rate = Some(Rate { per_second: 10, burst: 20 }),
            true => limits.byte_rate = Some(Rate { per_second: 120, burst: 240 }),
        });
        let (mut loud, mut neighbour) = (world.connect(&service), world.connect(&service));
        let body = |index: u32| [index.to_le_bytes(), [7; 4]].concat();
        for index in 0..1_020 {
            loud.send(ECHO, &body(index));
        }
        let mut heard = Vec::new();
        for tenth in 0..=1_000_u64 {
            world.run_to(milliseconds(100 * tenth));
            heard.extend(loud.frames());
            // The burst, one that is owed, and then one every tenth of a second.
            assert_eq!(heard.len() as u64, (21 + tenth).min(1_020), "after {tenth} tenths of a second");
            if tenth % 100 == 0 {
                neighbour.send(ECHO, b"n");
                world.settle();
                assert_eq!(neighbour.frames(), [(ECHO, b"n".to_vec())]);
            }
        }
        assert!(heard == (0..1_020).map(|index| (ECHO, body(index))).collect::<Vec<_>>());
        assert!(!reports.try_iter().any(|event| matches!(event, Event::Disconnected(_))));
        assert!(service.counters().delays >= 990);
    }
}

#[test]
fn a_rate_may_end_the_session_and_the_cause_names_it() {
    for (limit, kind) in [(Limit::MessageRate, CauseKind::MessageRate), (Limit::ByteRate, CauseKind::ByteRate)] {
        let mut world = World::new();
        let (_core, service, reports) = serve(&mut world, |limits| {
            limits.rate_exceeded = RateExceeded::Disconnect;
            match limit {
                Limit::MessageRate => limits.message_rate = Some(Rate { per_second: 10, burst: 5 }),
                _ => limits.byte_rate = Some(Rate { per_second: 100, burst: 64 }),
            }
        });
        let mut client = world.connect(&service);
        for _ in 0..9 {
            client.send(ECHO, &[1; 8]);
        }
        world.settle();
        assert_eq!(client.frames().len(), 6, "what was handled is answered");
        let (_, cause) = world.end_of(&reports, &mut Some(client), at(1));
        let (value, maximum) = if kind == CauseKind::MessageRate { (6, 5) } else { (72, 64) };
        assert_eq!(cause, Cause::LimitExceeded(LimitExceeded { limit, value, maximum }));
        assert_eq!(service.counters().disconnects(kind), 1);
    }
}

/// Charges what packets say, and what a timer does.
struct Costly;

impl Session for Costly {
    fn on_packet(&mut self, cx: &mut Context<'_>, packet: Packet<'_>) {
        cx.charge(packet.reader().u32().expect("a number"));
        cx.send(ECHO, packet.body());
        if packet.id() == QUIT {
            cx.set_timer(Duration::from_secs(1));
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        cx.charge(40);
    }
}

#[test]
fn what_handlers_charge_is_paid_before_the_next_packet() {
    let mut world = World::new();
    let core = world.core(1);
    let mut limits = Limits::default();
    limits.cost_rate = Some(Rate { per_second: 10, burst: 10 });
    let service = core.serve(Service::server(SERVER).limits(limits), |_incoming| Costly).expect("a service");
    let mut client = world.connect(&service);
    client.number(ECHO, 60);
    client.number(QUIT, 1);
    world.run_to(just_before(at(5)));
    assert_eq!(client.frames().len(), 1);
    world.run_to(milliseconds(5_100));
    assert_eq!(client.frames().len(), 1);
    // A charge of a timer delays what comes next too: 40 at 6 s, of which 1 + 40 - 9 - 10 are owed.
    world.run_to(at(7));
    client.number(ECHO, 0);
    let owed = milliseconds(6_000 + 3_200 - 10 * 10);
    world.run_to(just_before(owed));
    assert_eq!(client.frames(), []);
    world.run_to(owed);
    assert_eq!(client.frames().len(), 1);
}

/// For 39 seconds nothing is received because of what a timer has charged: the frame that had begun, the idle time and the
/// heartbeat that was not answered stand still meanwhile, and then go on from where they were.
#[test]
fn our_own_delay_is_nobody_s_silence() {
    for answers in [true, false] {
        let mut world = World::new();
        let core = world.core(1);
        let mut limits = Limits::default();
        limits.cost_rate = Some(Rate { per_second: 1, burst: 1 });
        limits.idle_timeout = Duration::from_secs(40);
        let heartbeat = Heartbeat::every(Duration::from_millis(500), 900).pong_required(901, Duration::from_secs(6));
        let service = Service::server(SERVER).limits(limits).heartbeat(heartbeat);
        let service = core.serve(service, |_incoming| Costly).expect("a service");
        let mut client = world.connect(&service);
        client.number(QUIT, 0);
        let whole = frame(ECHO, &0_u32.to_le_bytes());
        world.run_to(milliseconds(200));
        client.peer.write_all(&whole[..3]).expect("there is room");
        world.run_to(at(20));
        let pings = client.frames().into_iter().filter(|frame| frame.0 == 900).count();
        assert_eq!((pings, service.counters().delays), (1, 1), "at 700 ms; who is not listened to is not asked");
        if answers {
            client.peer.write_all(&[&whole[3..], &frame(901, b"")].concat()).expect("there is room");
        }
        let strikes = milliseconds(700 + 39_000 + 6_000);
        world.run_to(just_before(strikes));
        let ends = |kind| service.counters().disconnects(kind);
        assert_eq!((ends(CauseKind::HeartbeatTimeout), service.sessions()), (0, 1));
        let echoes = client.frames().into_iter().filter(|frame| frame.0 == ECHO).count();
        assert_eq!((echoes, service.counters().heartbeats_answered), if answers { (1, 1) } else { (0, 0) });
        world.run_to(strikes);
        assert_eq!((ends(CauseKind::HeartbeatTimeout), ends(CauseKind::FrameTimeout)), (u64::from(!answers), 0));
    }
}

/// The peer's end is not seen during a delay: what a peer that has gone left behind must not hold a place for hours, be it one
/// debt or one packet after the other.
#[test]
fn a_delay_without_a_break_ends_the_session() {
    for (costs, delay_seconds_max, ended_at_seconds) in
        [(vec![40], 39, 39), (vec![40], 38, 0), (vec![1; 100], 20, 20), (vec![1; 10], 20, 9)]
    {
        let mut world = World::new();
        let core = world.core(1);
        let mut limits = Limits::default();
        limits.cost_rate = Some(Rate { per_second: 1, burst: 1 });
        limits.delay_max = Duration::from_secs(delay_seconds_max);
        let service = core.serve(Service::server(SERVER).limits(limits), |_incoming| Costly).expect("a service");
        let mut client = world.connect(&service);
        costs.iter().for_each(|cost| client.number(ECHO, *cost));
        client.peer.shutdown();
        let ended = || service.sessions() == 0;
        world.run_to(at(ended_at_seconds.max(2) - 1));
        assert_eq!(ended(), ended_at_seconds == 0, "{} packets, {delay_seconds_max} s", costs.len());
        world.run_to(at(ended_at_seconds + 6));
        assert!(ended(), "{} packets, {delay_seconds_max} s", costs.len());
    }
}

#[test]
fn a_rate_that_is_lifted_or_raised_ends_a_delay_that_it_no_longer_asks_for() {
    for (rate, echoed_at_milliseconds) in [(None, 2_000), (Some(Rate { per_second: 10, burst: 10 }), 4_800)] {
        let mut world = World::new();
        let core = world.core(1);
        let mut limits = Limits::default();
        limits.cost_rate = Some(Rate { per_second: 1, burst: 1 });
        let service = core.serve(Service::server(SERVER).limits(limits), |_incoming| Costly).expect("a service");
        let mut client = world.connect(&service);
        client.number(ECHO, 40);
        client.number(ECHO, 0);
        world.run_to(at(2));
        assert_eq!(client.frames().len(), 1);
        service.change_limits(|limits| limits.cost_rate = rate).expect("it makes sense");
        if rate.is_some() {
            world.run_to(just_before(milliseconds(echoed_at_milliseconds)));
            assert!(client.frames().is_empty());
        }
        world.run_to(milliseconds(echoed_at_milliseconds));
        assert_eq!(client.frames().len(), 1, "38 are missing, at ten a second and ten at once in 2.8 s");
    }
}

/// Everything that can end a session ends one that is delayed, and at once.
#[test]
fn a_delayed_session_ends_properly() {
    for how in ["handler", "core", "reset"] {
        let mut world = World::new();
        let core = world.core(1);
        let mut limits = Limits::default();
        limits.cost_rate = Some(Rate { per_second: 1, burst: 1 });
        let (ended, ends) = channel();
        struct Owing(std::sync::mpsc::Sender<Cause>, bool);
        impl Session for Owing {
            fn on_packet(&mut self, cx: &mut Context<'_>, _packet: Packet<'_>) {
                cx.charge(31);
                cx.send(ECHO, b"last word");
                if self.1 {
                    cx.set_timer(Duration::from_secs(5));
                }
            }
            fn on_timer(&mut self, cx: &mut Context<'_>) {
                cx.disconnect("it is time");
            }
            fn on_disconnected(&mut self, _cx: &mut Context<'_>, cause: &Cause) {
                let _ = self.0.send(cause.clone());
            }
        }
        let timer = how == "handler";
        let service = core
            .serve(Service::server(SERVER).limits(limits), move |_incoming| Owing(ended.clone(), timer))
            .expect("a service");
        let mut client = Some(world.connect(&service));
        if let Some(client) = &mut client {
            client.send(ECHO, b"");
            client.send(ECHO, b"held back");
        }
        world.run_to(at(5));
        match how {
            "core" => core.begin_stop(Duration::from_secs(20)),
            "reset" => client.take().expect("it is there").peer.reset(),
            _ => {}
        }
        let mut cause = None;
        let time = world.until("an end", at(40), || {
            if client.as_mut().is_some_and(|client| client.take_what_came() != Flow::Open) {
                client = None;
            }
            cause = ends.try_iter().next();
            cause.is_some()
        });
        let (kind, latest) = match how {
            "handler" => (CauseKind::HandlerAsked, at(5)),
            "core" => (CauseKind::ServiceStopping, at(5) + Duration::from_millis(20)),
            _ => (CauseKind::PeerReset, at(30)),
        };
        assert_eq!(cause.map(|cause| cause.kind()), Some(kind), "{how}");
        assert!(time <= latest, "{how}: {time:?}");
        assert_eq!(core.counters().linger_expired, 0, "{how}: an orderly end");
    }
}

/// What came before the end of the stream is handled at the rate, and then the session ends.
#[test]
fn a_peer_that_finishes_while_delayed_has_everything_handled() {
    let mut world = World::new();
    let rate = |limits: &mut Limits| limits.message_rate = Some(Rate { per_second: 10, burst: 1 });
    let (_core, service, reports) = serve(&mut world, rate);
    let mut client = world.connect(&service);
    for index in 0..50_u32 {
        client.number(ECHO, index);
    }
    client.peer.shutdown();
    world.run_to(just_before(milliseconds(4_800)));
    assert_eq!((client.frames().len(), service.sessions()), (49, 1));
    world.run_to(at(5));
    assert_eq!(client.frames(), [(ECHO, 49_u32.to_le_bytes().to_vec())]);
    let (time, cause) = world.end_of(&reports, &mut Some(client), at(100));
    assert!(time <= at(5), "{time:?}");
    assert_eq!(cause, Cause::PeerClosed);
}

#[test]
fn a_refusal_of_the_factory_is_heard_and_few_linger() {
    let mut world = World::new();
    let core = world.core(1);
    let mut limits = Limits::default();
    (limits.lingering_refusals_max, limits.sessions_max) = (3, 1);
    let refuse = |_incoming: Incoming| -> Result<Costly, Refusal> { Err(Refusal::new("odd").with_packet(98, *b"odd")) };
    let service = Service::server(SERVER).limits(limits);
    let service = core.serve(service, refuse).expect("a service");
    let told = |world: &mut World| {
        let mut clients: Vec<Client> = (0..5).map(|_| world.connect(&service)).collect();
        let told: Vec<_> = clients.iter_mut().map(|client| (client.take_what_came(), client.frames())).collect();
        assert_eq!(service.sessions(), 0, "who is refused holds no place");
        drop(clients);
        world.settle();
        told
    };
    let heard = (Flow::Finished, vec![(98, b"odd".to_vec())]);
    for _ in 0..3 {
        let told = told(&mut world);
        assert_eq!(told[..3], [heard.clone(), heard.clone(), heard.clone()]);
        assert!(told[3..].iter().all(|told| *told == (Flow::Reset, vec![])), "{told:?}");
    }
    let counters = service.counters();
    assert_eq!((counters.refused, counters.refused_at_once, counters.sessions_opened), (15, 6, 0));
}

#[test]
fn who_is_refused_still_counts_with_its_address() {
    let refuse = |_incoming: Incoming| -> Result<Costly, Refusal> { Err(Refusal::new("odd")) };
    // Refused by its factory, and because the service is full.
    for sessions_max in [10, 1] {
        let mut world = World::new();
        let core = world.core(1);
        let mut limits = Limits::default();
        (limits.connections_per_address_max, limits.sessions_max) = (Some(2), sessions_max);
        let service = Service::server(SERVER).limits(limits);
        let (factory, _reports) = probes();
        let (service, lingering) = match sessions_max {
            1 => (core.serve(service, factory).expect("a service"), 1),
            _ => (core.serve(service, refuse).expect("a service"), 2),
        };
        for round in 1..=2 {
            let mut clients: Vec<Client> = (0..10).map(|_| world.connect(&service)).collect();
            let came: Vec<Flow> = clients.iter_mut().map(Client::take_what_came).collect();
            assert_eq!(came.iter().filter(|came| **came == Flow::Finished).count(), lingering, "{came:?}");
            assert!(came[2..].iter().all(|came| *came == Flow::Reset), "{came:?}");
            assert_eq!(service.counters().refused_by_address, 8 * round);
            drop(clients);
            world.settle();
        }
    }
}
