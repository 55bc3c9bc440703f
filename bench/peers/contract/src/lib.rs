//! Proves that a program keeps the contract of the peers (`bench/peers/README.md`), by what it does on its sockets.
//!
//! It knows a program by its path alone, so peers in any language are checked alike: those in Rust by a test of their own
//! package, the others by `peer-contract PROGRAM`. Nothing is timed: what must come is waited for, and a limit of time ends
//! only what hangs.

#![forbid(unsafe_code)]

mod client;
mod ends;
mod rooms;
mod server;
mod start;

use std::error::Error;
use std::path::Path;

type Failure = Box<dyn Error + Send + Sync>;
type Verdict = Result<(), Failure>;

/// A promise, and what proves that it is kept.
type Promise = (&'static str, fn(&Path) -> Verdict);

const PROMISES: [Promise; 12] = [
    ("the first line tells name, address and workers, and SIGTERM ends with 0", start::tells_where_it_serves),
    ("unknown arguments are refused with 2", start::refuses_unknown_arguments),
    ("several workers serve one room, or are refused with 2", start::has_workers_or_refuses_them),
    ("frames that come together are answered in their order", rooms::echoes_frames_that_come_together),
    ("frames that come in pieces are answered", rooms::echoes_frames_that_come_in_pieces),
    ("all members of a room hear one order", rooms::has_one_order_for_a_room),
    ("who moves to another room hears that one alone", rooms::moves_between_rooms),
    ("a violation ends the session, and no other", ends::ends_violators),
    ("a client that has finished sending gets its answers", ends::answers_after_a_half_close),
    ("resets concern nobody else", ends::survives_resets),
    ("a client that never reads is ended, and the others go on", ends::ends_who_never_reads),
    ("without descriptors it goes on, and accepts when there are some", ends::survives_without_descriptors),
];

/// Checks all promises of a program, and tells each verdict; how many are broken.
pub fn broken_promises(program: &Path, mut tell: impl FnMut(&str, &Verdict)) -> usize {
    let kept = |(promise, check): &Promise| {
        let verdict = check(program);
        tell(promise, &verdict);
        verdict.is_ok()
    };
    PROMISES.len() - PROMISES.iter().map(kept).filter(|is_kept| *is_kept).count()
}

/// Checks all promises of a program, for a test.
///
/// # Panics
///
/// If one of them is broken.
pub fn assert_kept(program: &str) {
    let mut broken = Vec::new();
    broken_promises(Path::new(program), |promise, verdict| {
        broken.extend(verdict.as_ref().err().map(|failure| format!("{promise}: {failure}")));
    });
    assert!(broken.is_empty(), "{program}\n{}", broken.join("\n"));
}

/// Fails with `what` unless it holds.
fn ensure(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what().into()) }
}
