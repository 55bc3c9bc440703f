//! `cargo xtask sanitize`: the tests of the port and the engine under AddressSanitizer, which also looks for leaks, or under
//! ThreadSanitizer, which looks for data races.
//!
//! The first two work on the stable compiler by its bootstrap switch; the third needs a [set-up](thread) of its own. What the
//! kernel writes where it should not is invisible here: that is what the guarded buffers are for. A sanitizer that is not on
//! finds nothing either: so it is first shown what it must find, a read behind the end of a buffer, memory that nobody knows
//! any more, or two threads at one number (`tests/sanitized.rs` of pogu-port). Nothing that is found is suppressed.

mod thread;

use std::process::Command;

use clap::ValueEnum;

use crate::Failure;
use crate::masks::{ON_THE_SIMULATION, suites_on_drivers};
use crate::newer_compiler::NewerCompiler;
use crate::port_and_engine::GUARDED_IN_ANY_CASE;
use crate::run::{Outcome, cargo, tests};

#[derive(clap::Args)]
pub struct Options {
    /// Which one; `address` includes the search for leaks.
    #[arg(long, value_enum, default_value_t = Sanitizer::Address)]
    sanitizer: Sanitizer,
    /// Only look whether it finds what is planted.
    #[arg(long)]
    plants_only: bool,
    /// Only tests whose names contain this.
    #[arg(long, conflicts_with = "plants_only")]
    filter: Option<String>,
    /// Without the suites that run in the simulation alone: what they reach of unsafe code, the memory of buffers, others reach too.
    #[arg(long, conflicts_with = "plants_only")]
    on_drivers: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Sanitizer {
    Address,
    Leak,
    Thread,
}

/// The one target that the recipes are known to work on.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// They leak on purpose.
const LEAK_ON_PURPOSE: [&str; 2] = ["what_cannot_be_drained_in_time_is_leaked", "what_throws_without_end_is_leaked"];

/// They judge by resident memory, of which a sanitizer keeps what was freed.
const MEASURE_MEMORY: [&str; 2] = ["w07_an_idle_session", "memory::w10"];

/// Measures a type, of which an error number is twice as wide where rustix calls the C library.
const MEASURE_TYPES: [&str; 1] = ["an_idle_connection_is_small"];

/// One thread each, under virtual time or timed: packets of 8,000 sessions, dozens of seeds, thousands of links that lost their
/// server. Minutes, and nothing that threads share.
const ONE_THREAD: [&str; 4] = [
    "a_timer_per_packet_costs_the_same",
    "whatever_a_seed_draws",
    "five_thousand_bots_come_back",
    "links_draw_again_while_a_server_is_silent",
];

/// They start programs, which a build of tests alone does not make.
const PROGRAMS: &str = "example_program_";

/// A test that is wrong on purpose, and what the sanitizer says of it.
struct Plant {
    test: &'static str,
    report: &'static str,
}

const LEAK: Plant = Plant { test: "a_planted_leak", report: "LeakSanitizer: detected memory leaks" };
const OVERFLOW: Plant = Plant { test: "a_planted_overflow", report: "AddressSanitizer: heap-buffer-overflow" };
const RACE: Plant = Plant { test: "a_planted_race", report: "ThreadSanitizer: data race" };

impl Sanitizer {
    fn name(self) -> &'static str {
        match self {
            Sanitizer::Address => "address",
            Sanitizer::Leak => "leak",
            Sanitizer::Thread => "thread",
        }
    }

    fn plants(self) -> &'static [Plant] {
        match self {
            Sanitizer::Address => &[OVERFLOW, LEAK],
            Sanitizer::Leak => &[LEAK],
            Sanitizer::Thread => &[RACE],
        }
    }

    /// Tests that say nothing with this sanitizer on.
    fn left_out(self) -> Vec<&'static str> {
        let own = match self {
            Sanitizer::Address => [LEAK_ON_PURPOSE, GUARDED_IN_ANY_CASE].concat(),
            Sanitizer::Leak => LEAK_ON_PURPOSE.to_vec(),
            Sanitizer::Thread => [ONE_THREAD.as_slice(), &MEASURE_TYPES].concat(),
        };
        [MEASURE_MEMORY.as_slice(), &own, &[PROGRAMS]].concat()
    }
}

/// A sanitizer, and what its programs are built with.
struct Build {
    sanitizer: Sanitizer,
    /// Left out: the toolchain at hand.
    newer: Option<NewerCompiler>,
}

impl Build {
    fn with(sanitizer: Sanitizer) -> Result<Build, Failure> {
        let newer = match sanitizer {
            Sanitizer::Address | Sanitizer::Leak => None,
            Sanitizer::Thread => Some(thread::set_up()?),
        };
        Ok(Build { sanitizer, newer })
    }

    /// Cargo's tests of these packages, with this sanitizer on.
    fn tests(&self, packages: &[&str]) -> Result<Command, Failure> {
        let mut command = cargo();
        command
            .arg("test")
            .args(packages.iter().flat_map(|package| ["--package", package]))
            .args(["--target", TARGET])
            .env("RUSTC_BOOTSTRAP", "1")
            // For tests that also judge by memory or by the wall clock.
            .env("POGU_SANITIZER", self.sanitizer.name())
            // Tests plant panics, and a trace of the stack takes seconds there.
            .env("RUST_BACKTRACE", "0");
        match &self.newer {
            Some(compiler) => thread::equip(&mut command, compiler)?,
            None => {
                command
                    .env("RUSTFLAGS", format!("-Zsanitizer={}", self.sanitizer.name()))
                    .env("ASAN_OPTIONS", "detect_leaks=1:detect_stack_use_after_return=1");
            }
        }
        Ok(command)
    }

    /// Fails unless the sanitizer ends the test that is wrong on purpose, and says why.
    fn finds(&self, plant: &Plant) -> Result<(), Failure> {
        let mut command = self.tests(&["pogu-port"])?;
        command.args(["--test", "sanitized", "--", "--exact", plant.test]).env("POGU_SANITIZER_PLANT", "1");
        let output = command.output()?;
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        match judge(plant, output.status.success(), &said) {
            true => Ok(()),
            false => {
                let name = self.sanitizer.name();
                Err(format!("the {name} sanitizer is silent about {}:\n{said}", plant.test).into())
            }
        }
    }

    /// All that are asked for, also behind one that fails.
    fn all_tests(&self, options: &Options) -> Result<Outcome, Failure> {
        let mut command = self.tests(&["pogu-port", "pogu"])?;
        let left_out = self.sanitizer.left_out();
        command.args(["--lib", "--no-fail-fast"]);
        match options.on_drivers {
            true => command.args(suites_on_drivers()?.iter().flat_map(|name| ["--test", name])),
            false => command.arg("--tests"),
        };
        command
            .arg("--")
            .args(&options.filter)
            .args(left_out.into_iter().flat_map(|name| ["--skip", name]))
            .args(options.on_drivers.then_some(["--skip", ON_THE_SIMULATION]).into_iter().flatten());
        tests(&mut command).map_err(|error| {
            let said = error.to_string();
            format!("{said}\n{} sanitizer: {} findings", self.sanitizer.name(), findings(&said)).into()
        })
    }
}

fn judge(plant: &Plant, success: bool, said: &str) -> bool {
    !success && said.contains("running 1 test") && said.contains(plant.report)
}

/// How often a sanitizer spoke up. The summary that ends each report names it a second time.
fn findings(said: &str) -> usize {
    said.lines().filter(|line| line.contains("Sanitizer: ") && !line.starts_with("SUMMARY")).count()
}

pub fn run(options: &Options) -> Result<(), Failure> {
    let build = Build::with(options.sanitizer)?;
    let name = options.sanitizer.name();
    for plant in options.sanitizer.plants() {
        build.finds(plant)?;
        println!("{name} sanitizer: finds {}", plant.test);
    }
    if options.plants_only {
        return Ok(());
    }
    let Outcome { tally, took } = build.all_tests(options)?;
    println!("{name} sanitizer: {} passed, 0 findings, {:.0} s", tally.passed, took.as_secs_f64());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plant_counts_as_found_only_if_it_ran_and_was_named() {
        let said = "running 1 test\n==7==ERROR: LeakSanitizer: detected memory leaks";
        assert!(judge(&LEAK, false, said));
        assert!(!judge(&LEAK, true, said));
        assert!(!judge(&LEAK, false, "running 1 test\ntest result: FAILED"));
        assert!(!judge(&OVERFLOW, false, said));
        assert!(!judge(&RACE, false, said));
    }

    #[test]
    fn reports_are_counted_once() {
        let report = "WARNING: ThreadSanitizer: data race (pid=7)\nSUMMARY: ThreadSanitizer: data race in main\n";
        assert_eq!(findings(&report.repeat(2)), 2);
        assert_eq!(findings("test result: FAILED. 3 passed; 1 failed"), 0);
    }
}
