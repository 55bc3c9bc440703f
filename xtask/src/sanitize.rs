//! `cargo xtask sanitize`: the tests of the port and the engine under AddressSanitizer, which also looks for leaks.
//!
//! Works on the stable compiler by its bootstrap switch. What the kernel writes where it should not is invisible here: that
//! is what the guarded buffers are for. A sanitizer that is not on finds nothing either: so it is first shown what it must find,
//! a read behind the end of a buffer and memory that nobody knows any more (`tests/sanitized.rs` of pogu-port).

use std::process::Command;

use clap::ValueEnum;

use crate::Failure;
use crate::run::{Outcome, cargo, tests};

#[derive(clap::Args)]
pub struct Options {
    /// Which one; `address` includes the search for leaks.
    #[arg(long, value_enum, default_value_t = Sanitizer::Address)]
    sanitizer: Sanitizer,
    /// Only look whether it finds what is planted.
    #[arg(long)]
    plants_only: bool,
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

/// A test that is wrong on purpose, and what the sanitizer says of it.
struct Plant {
    test: &'static str,
    report: &'static str,
}

const LEAK: Plant = Plant { test: "a_planted_leak", report: "LeakSanitizer: detected memory leaks" };
const OVERFLOW: Plant = Plant { test: "a_planted_overflow", report: "AddressSanitizer: heap-buffer-overflow" };

impl Sanitizer {
    fn name(self) -> &'static str {
        match self {
            Sanitizer::Address => "address",
            Sanitizer::Leak => "leak",
        }
    }

    fn plants(self) -> &'static [Plant] {
        match self {
            Sanitizer::Address => &[OVERFLOW, LEAK],
            Sanitizer::Leak => &[LEAK],
        }
    }

    /// Cargo's tests of these packages, with this sanitizer on.
    fn tests(self, packages: &[&str]) -> Command {
        let mut command = cargo();
        command
            .arg("test")
            .args(packages.iter().flat_map(|package| ["--package", package]))
            .args(["--target", TARGET])
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", format!("-Zsanitizer={}", self.name()))
            .env("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1");
        command
    }
}

/// Fails unless the sanitizer ends the test that is wrong on purpose, and says why.
fn finds(sanitizer: Sanitizer, plant: &Plant) -> Result<(), Failure> {
    let mut command = sanitizer.tests(&["pogu-port"]);
    command.args(["--test", "sanitized", "--", "--exact", plant.test]).env("POGU_SANITIZER_PLANT", "1");
    let output = command.output()?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    match judge(plant, output.status.success(), &said) {
        true => Ok(()),
        false => Err(format!("the {} sanitizer is silent about {}:\n{said}", sanitizer.name(), plant.test).into()),
    }
}

fn judge(plant: &Plant, success: bool, said: &str) -> bool {
    !success && said.contains("running 1 test") && said.contains(plant.report)
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let sanitizer = options.sanitizer;
    for plant in sanitizer.plants() {
        finds(sanitizer, plant)?;
        println!("{} sanitizer: finds {}", sanitizer.name(), plant.test);
    }
    if options.plants_only {
        return Ok(());
    }
    let name = sanitizer.name();
    let mut command = sanitizer.tests(&["pogu-port", "pogu"]);
    command
        .args(["--lib", "--tests", "--", "--skip", LEAKS])
        .args(MEASURE_MEMORY.into_iter().flat_map(|name| ["--skip", name]));
    let Outcome { tally, took } = tests(&mut command)?;
    println!("{name} sanitizer: {} passed, 0 findings, {:.0} s", tally.passed, took.as_secs_f64());
    Ok(())
}

#[test]
fn a_plant_counts_as_found_only_if_it_ran_and_was_named() {
    let said = "running 1 test\n==7==ERROR: LeakSanitizer: detected memory leaks";
    assert!(judge(&LEAK, false, said));
    assert!(!judge(&LEAK, true, said));
    assert!(!judge(&LEAK, false, "running 1 test\ntest result: FAILED"));
    assert!(!judge(&OVERFLOW, false, said));
}
