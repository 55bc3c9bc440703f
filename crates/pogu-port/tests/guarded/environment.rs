//! `POGU_GUARDED=1` guards every port of a test run: the step of the checks that sets it does what it says.

use pogu_port::{Fault, FaultPoint, FaultStage, PortConfig};

use crate::lines::Lines;
use crate::server::Server;
use crate::{child, drivers, speaking};

const VARIABLE: &str = "POGU_GUARDED";

/// What this very run was told.
fn asked_for() -> bool {
    match std::env::var(VARIABLE).as_deref() {
        Ok("1") => true,
        Ok("0") | Err(std::env::VarError::NotPresent) => false,
        other => panic!("{VARIABLE} is {other:?}, which guards nothing: 1 or 0"),
    }
}

/// Also said by what a port does: it notices a release that comes too early exactly if it is guarded.
#[test]
fn a_port_is_guarded_exactly_if_the_run_is_told_so() {
    assert_eq!(PortConfig::default().guarded, asked_for());
    for selection in drivers::all() {
        // The report of the fault is not for this run's output.
        Lines::count(|_| {
            let mut server = Server::start_with(&selection, |config| {
                config.faults.inject(Fault::new(FaultPoint::Send, FaultStage::Memory, 0).times(1));
            });
            server.planted = true;
            let _client = speaking(&server);
            server.run_until("an answer", |server| server.counters().sent_bytes > 0 || !server.seen.failed.is_empty());
            assert_eq!(server.counters().memory_faults, u64::from(asked_for()), "{}", selection.kind());
        });
    }
}

/// Both ways, however this run was told.
#[test]
fn the_variable_decides() {
    for value in ["0", "1"] {
        let told = child("environment::a_port_is_guarded_exactly_if_the_run_is_told_so", &[(VARIABLE, value)]);
        let output = String::from_utf8_lossy(&told.stdout);
        assert!(told.status.success() && output.contains("1 passed"), "{VARIABLE}={value}: {output}");
    }
    let told = child("environment::a_port_is_guarded_exactly_if_the_run_is_told_so", &[(VARIABLE, "yes")]);
    assert!(!told.status.success(), "a value that guards nothing is not let pass");
}
