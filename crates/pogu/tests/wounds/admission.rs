//! Who comes in: 6 (by address), 8, 14, 18 (the listener's options).

use std::net::TcpListener;
use std::time::Duration;

use pogu::{DriverChoice, Error, Limits, PortConfig, Rate, Refusal, Service, StreamOptions, WorkerStatus};
use pogu_port::{Fault, FaultPoint, FaultStage, Faults};

use crate::support::simulated::{Client, Flow, World, at};
use crate::support::{Peer, core, eventually, frame, is_reset_at_once, probes};
use crate::{on_every_driver, serve, served, still_served};

on_every_driver!(
    w06_one_address_has_so_many_connections,
    w08_the_cap_counts_sessions_and_not_accepts,
    w14_a_listener_goes_on_whatever_accept_answers,
    w14_a_factory_that_makes_no_session_costs_its_connection_alone,
    w18_an_address_is_not_shared,
);

fn w06_one_address_has_so_many_connections(driver: DriverChoice) {
    let (_core, service, _reports) = serve(driver, |service| {
        let mut limits = Limits::default();
        limits.connections_per_address_max = Some(2);
        service.limits(limits)
    });
    let mut inside = [served(&service), served(&service)];
    for _ in 0..3 {
        assert!(is_reset_at_once(service.address()));
    }
    eventually("they are counted", || service.counters().refused_by_address == 3);
    inside.iter_mut().for_each(still_served);
    let [one, mut other] = inside;
    drop(one);
    eventually("one has left", || service.sessions() == 1);
    let mut newcomer = served(&service);
    still_served(&mut newcomer);
    still_served(&mut other);
}

#[test]
fn w06_one_address_connects_so_often() {
    let mut world = World::new();
    let core = world.core(2);
    let (factory, _reports) = probes();
    let mut limits = Limits::default();
    limits.connection_rate_per_address = Some(Rate { per_second: 1, burst: 3 });
    let service = core.serve(Service::server("10.0.0.1:7777").limits(limits), factory).expect("a service");
    let connects = |world: &mut World, count: usize| {
        let mut clients: Vec<Client> = (0..count).map(|_| world.connect(&service)).collect();
        clients.iter_mut().filter_map(|client| (client.take_what_came() == Flow::Open).then_some(())).count()
    };
    assert_eq!(connects(&mut world, 5), 3, "its burst");
    world.run_to(at(1));
    assert_eq!(connects(&mut world, 5), 1, "one second's worth");
    world.run_to(at(60));
    assert_eq!(connects(&mut world, 5), 3, "never more than its burst");
    assert_eq!(service.counters().refused_by_address, 8);
}

fn w08_the_cap_counts_sessions_and_not_accepts(driver: DriverChoice) {
    let full = Refusal::new("full").with_packet(99, *b"full");
    let (_core, service, _reports) = serve(driver, |service| service.max_sessions(3).refuse_full_with(full.clone()));
    let mut inside: Vec<Peer> = (0..3).map(|_| served(&service)).collect();
    for _ in 0..10 {
        assert_eq!(Peer::connect(service.address()).ends_well(), (frame(99, b"full"), true));
        assert!(service.sessions() <= 3);
    }
    inside.iter_mut().for_each(still_served);
    inside.pop();
    eventually("there is a place", || service.sessions() == 2);
    still_served(&mut served(&service));
    eventually("they are counted", || service.counters().refused == 10);
    assert_eq!(service.counters().sessions_opened, 4, "a refused one never was a session");
}

/// What accept can answer: WSAEMFILE, ERROR_TOO_MANY_OPEN_FILES, WSAENOBUFS, ERROR_NOT_ENOUGH_MEMORY, WSAECONNABORTED,
/// ERROR_ACCESS_DENIED.
#[cfg(windows)]
const ANSWERS: [i32; 6] = [10_024, 4, 10_055, 8, 10_053, 5];

/// EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED, EPERM.
#[cfg(not(windows))]
const ANSWERS: [i32; 6] = [24, 23, 105, 12, 103, 1];

fn w14_a_listener_goes_on_whatever_accept_answers(driver: DriverChoice) {
    let plan = Faults::new();
    let mut port = PortConfig::default();
    port.faults = plan.clone();
    port.accept_pause = Duration::from_millis(1);
    port.receive_buffers = 64;
    let (core, seeds) = core(driver, 1).port(port).hand_out().expect("a core");
    let (factory, _reports) = probes();
    let service = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let worker = seeds.into_iter().next().expect("one worker");
    let thread = std::thread::spawn(move || {
        let mut worker = worker.start().expect("a worker");
        while worker.dispatch(None).expect("a turn") == WorkerStatus::Running {}
        worker.port_counters()
    });
    let mut neighbour = served(&service);
    for stage in [FaultStage::Call, FaultStage::Result] {
        for code in ANSWERS {
            let hits = plan.hits();
            plan.inject(Fault::new(FaultPoint::Accept, stage, code).times(20));
            // Whoever comes now may be lost or wait; a call that re-armed itself would go twenty calls deep.
            let waiting: Vec<Peer> = (0..20).map(|_| Peer::connect(service.address())).collect();
            eventually("accept has failed", || plan.hits() > hits);
            still_served(&mut neighbour);
            plan.lift();
            drop(waiting);
            still_served(&mut served(&service));
        }
    }
    core.stop(Duration::ZERO).expect("told to stop");
    let counters = thread.join().expect("it ended by itself");
    assert!(counters.accept_failures >= 12 && counters.accept_pauses >= 1, "{counters:?}");
}

fn w14_a_factory_that_makes_no_session_costs_its_connection_alone(driver: DriverChoice) {
    let core = core(driver, 2).start().expect("a core");
    let (make, _reports) = probes();
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let factory = move |incoming| match turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 3 {
        0 => Ok(make(incoming)),
        1 => Err(Refusal::new("not today").with_packet(99, *b"no")),
        _ => panic!("a planted panic in a factory"),
    };
    let service = core.serve(Service::server("127.0.0.1:0").max_sessions(10), factory).expect("a service");
    let mut live = Vec::new();
    for _ in 0..5 {
        live.push(served(&service));
        assert_eq!(Peer::connect(service.address()).ends_well(), (frame(99, b"no"), true));
        assert_eq!(Peer::connect(service.address()).ends_well(), (Vec::new(), true));
    }
    live.iter_mut().for_each(still_served);
    eventually("only sessions take places", || service.sessions() == 5);
}

fn w18_an_address_is_not_shared(driver: DriverChoice) {
    let (core, service, _reports) = serve(driver, |service| service);
    let (factory, _) = probes();
    let second = core.serve(Service::server(service.address()), factory);
    assert!(matches!(second, Err(Error::Listen { .. })), "{second:?}");
    // Nor with a process that knows nothing of pogu.
    assert!(TcpListener::bind(service.address()).is_err());
    still_served(&mut served(&service));
}

#[test]
fn w18_segments_are_not_held_back_unless_asked_for() {
    assert!(StreamOptions::default().nodelay);
}
