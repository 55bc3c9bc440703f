//! Replays the corpora of the fuzz targets `session` and `schedule`, with the same checks.

mod faults;
mod puppet;
mod remote;
#[path = "../../../../fuzz/replay.rs"]
mod replay;
mod schedule;
mod script;
mod session;
mod speech;
mod witness;

use std::cell::RefCell;

use pogu::sim::FaultCounts;

/// Replays a corpus: what it meets, and that it meets faults of at least so many classes.
fn replay(target: &str, classes_least: usize, check: fn(&[u8], bool) -> FaultCounts) {
    let met = RefCell::new(FaultCounts::default());
    replay::replay(target, 100, |bytes| *met.borrow_mut() += &check(bytes, false));
    let met = met.into_inner();
    let classes = met.iter().filter(|(_, count)| *count > 0).count();
    assert!(classes >= classes_least, "faults of {classes} classes, {classes_least} are expected: {met}");
}

#[test]
fn every_session_of_the_corpus_passes() {
    // All that the head of an input can ask for.
    replay("session", 19, session::check);
}

#[test]
fn every_schedule_of_the_corpus_passes() {
    // All but two: no connection ends here, so nothing is cancelled.
    replay("schedule", 17, schedule::check);
}

#[test]
fn planted_bugs_are_noticed() {
    replay::notices("session", |bytes| {
        session::check(bytes, true);
    });
    replay::notices("schedule", |bytes| {
        schedule::check(bytes, true);
    });
}
