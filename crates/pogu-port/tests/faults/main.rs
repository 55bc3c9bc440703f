//! Faults on the drivers of the system, injected where they call it and where they read its answers.
//!
//! The claims: no listener dies or spins, whatever accept answers; no byte of a surviving session is lost, doubled or
//! reordered; what ends, ends once; when the cause has gone, everything works again.
//!
//! Where io_uring is refused its tests say so on the error stream and pass; with `POGU_REQUIRE_URING` set they fail.

mod accepts;
#[path = "../codes/mod.rs"]
mod codes;
mod connects;
mod limits;
mod lines;
mod server;
mod streams;

use pogu_port::{DriverChoice, Selection};

/// Runs `test` on each driver that runs here.
#[cfg(unix)]
fn on_each_driver(test: impl Fn(&Selection)) {
    test(&Selection::choose(DriverChoice::Readiness).expect("runs everywhere"));
    on_uring(test);
}

#[cfg(windows)]
fn on_each_driver(test: impl Fn(&Selection)) {
    test(&Selection::choose(DriverChoice::Iocp).expect("runs everywhere"));
}

/// Drivers with a queue and a ring of buffers of their own.
#[cfg(unix)]
fn on_uring(test: impl Fn(&Selection)) {
    use std::io::Write;
    match Selection::choose(DriverChoice::Uring) {
        Ok(selection) => test(&selection),
        Err(unavailable) => {
            assert!(std::env::var_os("POGU_REQUIRE_URING").is_none(), "{unavailable}");
            // Past the test harness, which captures what `eprintln` says.
            let _ = writeln!(std::io::stderr(), "SKIPPED: {unavailable}");
        }
    }
}
