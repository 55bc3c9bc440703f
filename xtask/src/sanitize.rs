//! `cargo xtask sanitize`: the tests of the port and the engine under AddressSanitizer, which also looks for leaks.
//!
//! Works on the stable compiler by its bootstrap switch. What the kernel writes where it should not is invisible here: that
//! is what the guarded buffers are for.

use clap::ValueEnum;

use crate::Failure;
use crate::run::{Outcome, cargo, tests};

#[derive(clap::Args)]
pub struct Options {
    /// Which one; `address` includes the search for leaks.
    #[arg(long, value_enum, default_value_t = Sanitizer::Address)]
    sanitizer: Sanitizer,
}

#[derive(Clone, Copy, ValueEnum)]
enum Sanitizer {
    Address,
    Leak,
}

/// The one target that the recipe is known to work on.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Leaks on purpose, and asserts that it does.
const LEAKS: &str = "what_cannot_be_drained_in_time_is_leaked";

/// They judge by resident memory, of which the sanitizer keeps what was freed. Leaks are what it looks for itself.
const MEASURE_MEMORY: [&str; 3] = ["cores_leave_nothing_behind", "w07_an_idle_session", "memory::w10"];

pub fn run(options: &Options) -> Result<(), Failure> {
    let name = match options.sanitizer {
        Sanitizer::Address => "address",
        Sanitizer::Leak => "leak",
    };
    let mut command = cargo();
    command
        .args(["test", "--package", "pogu-port", "--package", "pogu", "--lib", "--tests", "--target", TARGET])
        .args(["--", "--skip", LEAKS])
        .args(MEASURE_MEMORY.into_iter().flat_map(|name| ["--skip", name]))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", format!("-Zsanitizer={name}"))
        .env("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1");
    let Outcome { tally, took } = tests(&mut command)?;
    println!("{name} sanitizer: {} passed, 0 findings, {:.0} s", tally.passed, took.as_secs_f64());
    Ok(())
}
