//! Any bytes, as a stream in every format and as a packet's body: the invariants that the corpus
//! replay and the property tests check. Start it with the corpus of `crates/pogu-wire/tests/corpus`.

#![no_main]

#[path = "../../crates/pogu-wire/tests/support/invariants.rs"]
mod invariants;
#[path = "../../crates/pogu-wire/tests/support/shapes.rs"]
#[expect(dead_code, reason = "names are for the tables of the tests")]
mod shapes;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for shape in shapes::SHAPES {
        invariants::check(&shape.format(), bytes);
    }
    // The first quarter names the operations that read the rest.
    let (program, body) = bytes.split_at(bytes.len() / 4);
    invariants::check_reader(program, body);
});
