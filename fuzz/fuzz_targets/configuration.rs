//! The configuration of `pogu serve` from any text. Checks: `pogu-cli/tests/fuzzed/configuration.rs`.

#![no_main]

#[path = "../../crates/pogu-cli/tests/fuzzed/configuration.rs"]
mod configuration;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| configuration::check(bytes, pogu_fuzz::is_planted()));
