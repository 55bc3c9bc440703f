//! The drivers of the system that run here.

use pogu_port::{DriverChoice, Selection};

/// All of them.
#[cfg(windows)]
pub fn all() -> Vec<Selection> {
    vec![Selection::choose(DriverChoice::Iocp).expect("runs everywhere")]
}

/// As above.
#[cfg(unix)]
pub fn all() -> Vec<Selection> {
    let readiness = Selection::choose(DriverChoice::Readiness).expect("runs everywhere");
    [readiness].into_iter().chain(uring()).collect()
}

/// The one with a queue and a ring of buffers of its own; says so if it is refused, which `POGU_REQUIRE_URING` says may not be.
#[cfg(unix)]
pub fn uring() -> Option<Selection> {
    use std::io::Write;
    let said = |unavailable: &pogu_port::Unavailable| {
        assert!(std::env::var_os("POGU_REQUIRE_URING").is_none(), "{unavailable}");
        // Past the test harness, which captures what `eprintln` says.
        let _ = writeln!(std::io::stderr(), "SKIPPED: {unavailable}");
    };
    Selection::choose(DriverChoice::Uring).inspect_err(said).ok()
}
