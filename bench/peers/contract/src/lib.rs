//! Proves that a program keeps the contract of the peers (`bench/peers/README.md`), by what it does on its sockets.
//!
//! It knows a program by its path alone, so peers in any language are checked alike: those in Rust by a test of their own
//! package, the others by `peer-contract [--without-rooms] PROGRAM`. Nothing is timed: what must come is waited for, and a limit of time ends
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

struct Promise {
    words: &'static str,
    /// Whether it is made by programs that know ECHO alone, too.
    without_rooms: bool,
    check: fn(&Path) -> Verdict,
}

const fn of_all(words: &'static str, check: fn(&Path) -> Verdict) -> Promise {
    Promise { words, without_rooms: true, check }
}

const fn of_rooms(words: &'static str, check: fn(&Path) -> Verdict) -> Promise {
    Promise { words, without_rooms: false, check }
}

const PROMISES: [Promise; 12] = [
    of_all("the first line tells name, address and workers, and SIGTERM ends with 0", start::tells_where_it_serves),
    of_all("unknown arguments are refused with 2", start::refuses_unknown_arguments),
    of_rooms("several workers serve one room, or are refused with 2", start::has_workers_or_refuses_them),
    of_all("frames that come together are answered in their order", rooms::echoes_frames_that_come_together),
    of_all("frames that come in pieces are answered", rooms::echoes_frames_that_come_in_pieces),
    of_rooms("all members of a room hear one order", rooms::has_one_order_for_a_room),
    of_rooms("who moves to another room hears that one alone", rooms::moves_between_rooms),
    of_all("a violation ends the session, and no other", ends::ends_violators),
    of_all("a client that has finished sending gets its answers", ends::answers_after_a_half_close),
    of_rooms("resets concern nobody else", ends::survives_resets),
    of_rooms("a client that never reads is ended, and the others go on", ends::ends_who_never_reads),
    of_all("without descriptors it goes on, and accepts when there are some", ends::survives_without_descriptors),
];

/// What a program offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    Rooms,
    /// JOIN and SAY are unknown to it.
    EchoAlone,
}

/// Checks the promises of a program, and tells each verdict; how many are broken.
pub fn broken_promises(program: &Path, scope: Scope, mut tell: impl FnMut(&str, &Verdict)) -> usize {
    let made = PROMISES.iter().filter(|promise| scope == Scope::Rooms || promise.without_rooms);
    let is_broken = |promise: &&Promise| {
        let verdict = (promise.check)(program);
        tell(promise.words, &verdict);
        verdict.is_err()
    };
    made.filter(is_broken).count()
}

/// Checks all promises of a program, for a test.
///
/// # Panics
///
/// If one of them is broken.
pub fn assert_kept(program: &str) {
    let mut broken = Vec::new();
    broken_promises(Path::new(program), Scope::Rooms, |promise, verdict| {
        broken.extend(verdict.as_ref().err().map(|failure| format!("{promise}: {failure}")));
    });
    assert!(broken.is_empty(), "{program}\n{}", broken.join("\n"));
}

/// Fails with `what` unless it holds.
fn ensure(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what().into()) }
}
