//! A whole core on the simulation, driven by operations out of bytes. Checks: `pogu/tests/fuzzed/session.rs`.

#![no_main]

#[path = "../../crates/pogu/tests/fuzzed/faults.rs"]
mod faults;
#[path = "../../crates/pogu/tests/fuzzed/met.rs"]
#[expect(dead_code, reason = "only the replay adds up, and each target gives orders of its own")]
mod met;
#[path = "../../crates/pogu/tests/fuzzed/puppet.rs"]
mod puppet;
#[path = "../../crates/pogu/tests/fuzzed/remote.rs"]
mod remote;
#[path = "../../crates/pogu/tests/fuzzed/script.rs"]
mod script;
#[path = "../../crates/pogu/tests/fuzzed/session.rs"]
mod session;
#[path = "../../crates/pogu/tests/fuzzed/speech.rs"]
mod speech;
#[path = "../../crates/pogu/tests/fuzzed/witness.rs"]
mod witness;
#[path = "../../crates/pogu/tests/fuzzed/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    session::check(bytes, pogu_fuzz::is_planted());
});
