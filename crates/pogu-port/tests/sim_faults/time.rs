//! Time, and the threads of ports, under faults.

use std::time::Duration;

use pogu_port::sim::{Advance, FaultClass, Simulation, SimulationOptions};
use pogu_port::{Owner, Port, PortConfig, PortSeed, Time};

fn simulation(set: impl Fn(&mut SimulationOptions)) -> (Simulation, Port<u32>) {
    let mut options = SimulationOptions::default();
    set(&mut options);
    let simulation = Simulation::with_options(&options);
    let mut config = PortConfig::default();
    config.clock = simulation.clock();
    let port = PortSeed::open(&simulation.selection(), &config).expect("a port").start().expect("a port");
    (simulation, port)
}

fn turn(port: &mut Port<u32>, until: Option<Time>) -> usize {
    port.dispatch(until, |_, _| {}).expect("the port works").posts
}

#[test]
fn a_wait_ends_after_its_time_and_never_before() {
    let (simulation, mut port) = simulation(|options| {
        options.faults.late_waits = 1000;
        options.faults.late_waits_max = Duration::from_millis(16);
    });
    for second in 1..=20 {
        let due = Time::ZERO + Duration::from_secs(second);
        turn(&mut port, Some(due));
        let Advance::To(time) = simulation.advance() else { panic!("it waits") };
        assert!(time > due && time <= due + Duration::from_millis(16), "{time:?}");
        turn(&mut port, Some(due));
    }
    assert!(simulation.faults_met().of(FaultClass::LateWait) >= 20);
}

#[test]
fn a_wake_up_is_late_and_never_lost() {
    let (simulation, mut port) = simulation(|options| {
        options.faults.late_wakes = 1000;
        options.faults.late_wakes_max = Duration::from_millis(10);
    });
    for value in 0..20 {
        while !simulation.is_idle() {
            turn(&mut port, None);
        }
        let before = simulation.now();
        port.poster().post(Owner(0), value).expect("there is room");
        assert!(port.is_held_up() && simulation.is_idle(), "time may move");
        assert_eq!(turn(&mut port, None), 0, "there is no turn");
        let Advance::To(time) = simulation.advance() else { panic!("it is woken") };
        assert!(time > before && time <= before + Duration::from_millis(10));
        assert_eq!(turn(&mut port, None), 1);
    }
    assert_eq!(simulation.faults_met().of(FaultClass::LateWake), 20);
}

#[test]
fn after_a_silence_nobody_is_waited_for() {
    const BUDGET: Duration = Duration::from_millis(5);
    let simulation = Simulation::with_options(&SimulationOptions::default());
    let mut config = PortConfig::default();
    (config.clock, config.latency_budget) = (simulation.clock(), BUDGET);
    let mut port = PortSeed::open(&simulation.selection(), &config).expect("a port").start().expect("a port");
    turn(&mut port, None);
    assert!(port.is_held_up() && simulation.is_idle(), "it gathers");
    assert_eq!(simulation.advance(), Advance::To(Time::ZERO + BUDGET));
    turn(&mut port, None);
    assert!(!port.is_held_up(), "nothing has come: it sleeps until something does");
    assert_eq!(simulation.advance(), Advance::Nothing);
    simulation.advance_to(Time::ZERO + Duration::from_secs(1));
    port.poster().post(Owner(0), 7).expect("there is room");
    assert_eq!(turn(&mut port, None), 1, "at once");
    turn(&mut port, None);
    assert!(port.is_held_up(), "who follows is waited for");
    port.poster().post(Owner(0), 8).expect("there is room");
    assert_eq!(turn(&mut port, None), 0);
    assert_eq!(simulation.advance(), Advance::To(Time::ZERO + Duration::from_secs(1) + BUDGET));
    assert_eq!(turn(&mut port, None), 1);
}

#[test]
fn who_sleeps_soundly_sleeps_until_something_comes_or_is_due() {
    let (_others, mut port) = simulation(|_| {});
    turn(&mut port, None);
    assert!(!port.is_asleep(), "elsewhere nobody says so");
    let (simulation, mut port) = simulation(|options| options.idle_turns = 0);
    let due = Time::ZERO + Duration::from_secs(1);
    assert!(!port.is_asleep(), "nobody has found out that there is nothing to do");
    turn(&mut port, Some(due));
    assert!(port.is_asleep() && simulation.is_idle());
    port.poster().post(Owner(0), 1).expect("there is room");
    assert!(!port.is_asleep());
    assert_eq!(turn(&mut port, Some(due)), 1);
    assert!(!port.is_asleep(), "a post may have made something due earlier");
    turn(&mut port, Some(due));
    assert!(port.is_asleep());
    assert_eq!(simulation.advance(), Advance::To(due));
    assert!(!port.is_asleep());
}

#[test]
fn healing_ends_what_lasts() {
    let (simulation, mut port) = simulation(|options| {
        options.faults.late_wakes = 1000;
        options.faults.late_wakes_max = Duration::from_secs(3600);
    });
    while !simulation.is_idle() {
        turn(&mut port, None);
    }
    port.poster().post(Owner(0), 1).expect("there is room");
    assert!(port.is_held_up());
    simulation.heal();
    assert!(!port.is_held_up() && !simulation.is_idle());
    assert_eq!(turn(&mut port, None), 1);
    let met = simulation.faults_met();
    while !simulation.is_idle() {
        turn(&mut port, None);
    }
    port.poster().post(Owner(0), 2).expect("there is room");
    assert_eq!((turn(&mut port, None), simulation.faults_met()), (1, met));
}

#[test]
fn rounds_are_shuffled_only_by_their_knob() {
    let plain = simulation(|_| {}).0;
    assert_eq!(plain.order(5), [0, 1, 2, 3, 4]);
    let (shuffled, _port) = simulation(|options| options.faults.shuffled_rounds = 1000);
    let mut orders: Vec<Vec<usize>> = (0..50).map(|_| shuffled.order(5)).collect();
    orders.iter().for_each(|order| assert_eq!(order.iter().sum::<usize>(), 10));
    orders.sort();
    orders.dedup();
    assert!(orders.len() > 30);
    assert!(shuffled.faults_met().of(FaultClass::ShuffledRound) > 40);
}

#[test]
fn tasks_are_held_only_by_their_knob_and_until_all_is_healed() {
    let (plain, _port) = simulation(|_| {});
    assert_eq!(plain.held_task(), None);
    let (holding, _port) = simulation(|options| {
        options.faults.held_tasks = 1000;
        options.faults.held_tasks_max = Duration::from_millis(3);
    });
    let until = holding.held_task().expect("it is held each time");
    assert!(until > holding.now() && until <= holding.now() + Duration::from_millis(3));
    assert_eq!(holding.faults_met().of(FaultClass::HeldTask), 1);
    holding.heal();
    assert_eq!(holding.held_task(), None);
}
