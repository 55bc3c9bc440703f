//! Turns of workers and steps of time out of bytes, with honest clients. Checks: `pogu/tests/fuzzed/schedule.rs`.

#![no_main]

#[path = "../../crates/pogu/tests/fuzzed/faults.rs"]
mod faults;
#[path = "../../crates/pogu/tests/fuzzed/met.rs"]
#[expect(dead_code, reason = "only the replay adds up, and each target gives orders of its own")]
mod met;
#[path = "../../crates/pogu/tests/fuzzed/schedule.rs"]
mod schedule;
#[path = "../../crates/pogu/tests/fuzzed/script.rs"]
#[expect(dead_code, reason = "its other half is for the target `session`")]
mod script;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    schedule::check(bytes, pogu_fuzz::is_planted());
});
