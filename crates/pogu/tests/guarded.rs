//! `POGU_GUARDED=1` guards the ports of the engine's tests, and no operation of them meets memory that has been released.
//!
//! (A port of these builds that meets such memory without being told to panics: no test of this crate runs past it.)

mod support;

use std::time::Duration;

use pogu::{DriverChoice, PortCounters, Service, WorkerStatus};
use pogu_port::{Drains, Fault, FaultPoint, FaultStage, Faults};

use support::{ECHO, Peer, core, probes};

on_every_driver!(nothing_meets_released_memory, a_planted_release_is_noticed_exactly_if_the_run_is_guarded);

/// What this very run was told.
fn guarded() -> bool {
    std::env::var_os("POGU_GUARDED").is_some_and(|value| value == "1")
}

/// A core with one worker whose port follows `plan`, and what that port has counted when `play` is over.
fn counted(driver: DriverChoice, plan: &Faults, play: impl FnOnce(&mut Peer)) -> PortCounters {
    let mut port = pogu::PortConfig::default();
    assert_eq!(port.guarded, guarded(), "the feature that reads the variable is on");
    port.faults = plan.clone();
    let (core, seeds) = core(driver, 1).port(port).hand_out().expect("a core");
    let (factory, _reports) = probes();
    let service = core.serve(Service::server("127.0.0.1:0"), factory).expect("a service");
    let threads: Vec<_> = seeds
        .into_iter()
        .map(|seed| {
            std::thread::spawn(move || {
                let mut worker = seed.start().expect("a worker");
                while worker.dispatch(Some(Duration::from_millis(5))).expect("a turn") == WorkerStatus::Running {}
                worker.port_counters()
            })
        })
        .collect();
    play(&mut Peer::connect(service.address()));
    core.stop(Duration::from_secs(5)).expect("told to stop");
    let mut counters = threads.into_iter().map(|thread| thread.join().expect("it ended by itself"));
    counters.next().expect("there is one worker")
}

fn nothing_meets_released_memory(driver: DriverChoice) {
    let plan = Faults::new();
    let counters = counted(driver, &plan, |peer| {
        for size in [1, 5_000, 60_000] {
            peer.send(ECHO, &vec![7; size]);
            assert_eq!(peer.receive(), (ECHO, vec![7; size]));
        }
    });
    assert!(counters.accepted == 1 && counters.sent_bytes > 65_000, "{counters:?}");
    assert_eq!(counters.memory_faults, 0);
    let ends = plan.drains();
    assert_eq!(ends, Drains { clean: ends.clean, ..Drains::default() }, "until the port had gone");
}

fn a_planted_release_is_noticed_exactly_if_the_run_is_guarded(driver: DriverChoice) {
    let plan = Faults::new();
    plan.inject(Fault::new(FaultPoint::Send, FaultStage::Memory, 0).times(1));
    let counters = counted(driver, &plan, |peer| {
        peer.send(ECHO, b"hello");
        if guarded() {
            let (rest, _) = peer.ends_well();
            assert_eq!(rest, b"", "the session ends instead of an answer");
        } else {
            assert_eq!(peer.receive(), (ECHO, b"hello".to_vec()));
        }
    });
    assert_eq!(plan.hits(), 1);
    assert_eq!(counters.memory_faults, u64::from(guarded()), "{counters:?}");
}
