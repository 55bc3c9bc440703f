//! Replays the corpora of the fuzz targets `session` and `schedule`, with the same checks.

mod puppet;
mod remote;
#[path = "../../../../fuzz/replay.rs"]
mod replay;
mod schedule;
mod script;
mod session;
mod witness;

#[test]
fn every_session_of_the_corpus_passes() {
    replay::replay("session", 50, |bytes| session::check(bytes, false));
}

#[test]
fn every_schedule_of_the_corpus_passes() {
    replay::replay("schedule", 50, |bytes| schedule::check(bytes, false));
}

#[test]
fn planted_bugs_are_noticed() {
    replay::notices("session", |bytes| session::check(bytes, true));
    replay::notices("schedule", |bytes| schedule::check(bytes, true));
}
