//! Replays the corpora of the fuzz targets `decode` and `readers_and_writers`, with the same checks.

#[path = "support/any_stream.rs"]
mod any_stream;
#[path = "support/invariants.rs"]
mod invariants;
#[path = "support/model.rs"]
mod model;
#[path = "../../../fuzz/replay.rs"]
mod replay;
#[path = "support/shapes.rs"]
#[expect(dead_code, reason = "names are for the tables of other tests")]
mod shapes;
#[path = "support/values.rs"]
mod values;

#[test]
fn every_stream_of_the_corpus_passes() {
    replay::replay("decode", 178, |bytes| any_stream::check(bytes, false));
}

#[test]
fn every_program_of_the_corpus_passes() {
    replay::replay("readers_and_writers", 66, |bytes| values::check(bytes, false));
}

#[test]
fn planted_bugs_are_noticed() {
    replay::notices("decode", |bytes| any_stream::check(bytes, true));
    replay::notices("readers_and_writers", |bytes| values::check(bytes, true));
}
