//! Faults on the drivers of the system, injected where they call it and where they read its answers.
//!
//! The claims: no listener dies or spins, whatever accept answers; no byte of a surviving session is lost, doubled or
//! reordered; what ends, ends once; when the cause has gone, everything works again.
//!
//! Where io_uring is refused its tests say so on the error stream and pass; with `POGU_REQUIRE_URING` set they fail.

mod accepts;
#[path = "../codes/mod.rs"]
mod codes;
#[cfg(windows)]
mod completion_ports;
mod connects;
mod drivers;
mod limits;
mod lines;
mod rounds;
mod server;
mod streams;

use pogu_port::Selection;

/// Runs `test` on each driver that runs here.
fn on_each_driver(test: impl Fn(&Selection)) {
    drivers::all().iter().for_each(test);
}

/// Drivers with a queue and a ring of buffers of their own.
#[cfg(unix)]
fn on_uring(test: impl Fn(&Selection)) {
    drivers::uring().iter().for_each(test);
}
