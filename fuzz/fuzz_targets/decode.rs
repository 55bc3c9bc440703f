//! Any bytes, as a stream in any format, against a model of the decoder. Checks: `pogu-wire/tests/support/any_stream.rs`.

#![no_main]

#[path = "../../crates/pogu-wire/tests/support/any_stream.rs"]
mod any_stream;
#[path = "../../crates/pogu-wire/tests/support/invariants.rs"]
#[expect(dead_code, reason = "readers have a target of their own")]
mod invariants;
#[path = "../../crates/pogu-wire/tests/support/model.rs"]
mod model;
#[path = "../../crates/pogu-wire/tests/support/shapes.rs"]
#[expect(dead_code, reason = "names are for the tables of the tests")]
mod shapes;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| any_stream::check(bytes, pogu_fuzz::is_planted()));
