//! Programs of writes read back, and any bytes read by any program. Checks: `pogu-wire/tests/support/values.rs`.

#![no_main]

#[path = "../../crates/pogu-wire/tests/support/invariants.rs"]
#[expect(dead_code, reason = "frames have a target of their own")]
mod invariants;
#[path = "../../crates/pogu-wire/tests/support/values.rs"]
mod values;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| values::check(bytes, pogu_fuzz::is_planted()));
