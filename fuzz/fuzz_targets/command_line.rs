//! The command line from any list of arguments. Checks: `pogu-cli/tests/fuzzed/command_line.rs`.

#![no_main]

#[path = "../../crates/pogu-cli/tests/fuzzed/command_line.rs"]
mod command_line;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| command_line::check(bytes, pogu_fuzz::is_planted()));
