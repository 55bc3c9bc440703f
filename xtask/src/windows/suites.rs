//! The tests and the examples of every crate, as Windows programs under Wine.

use std::process::Command;
use std::time::Instant;

use super::toolchain::Toolchain;
use crate::Failure;
use crate::run::{Outcome, checked, finished};

/// Tests of a crate.
struct Suite {
    name: &'static str,
    arguments: &'static [&'static str],
    /// So many have to pass at least, skipped ones not counted: what is compiled out by accident is missed.
    least: usize,
}

const SUITES: [Suite; 5] = [
    Suite { name: "pogu-wire", arguments: &["--package", "pogu-wire", "--lib", "--tests"], least: 37 },
    Suite { name: "pogu-port", arguments: &["--package", "pogu-port", "--lib", "--tests"], least: 396 },
    Suite { name: "pogu", arguments: &["--package", "pogu", "--lib", "--tests"], least: 325 },
    Suite { name: "pogu-cli", arguments: &["--package", "pogu-cli", "--lib", "--tests"], least: 137 },
    Suite {
        name: "documentation",
        arguments: &["--package", "pogu-wire", "--package", "pogu-port", "--package", "pogu", "--doc"],
        least: 15,
    },
];

/// Examples that come to an end, and what they say on the way.
const EXAMPLES: [(&[&str], &str); 2] = [
    (&["--package", "pogu-port", "--example", "five_workers", "--", "--seconds", "3"], "12 bytes"),
    (&["--package", "pogu", "--example", "login_and_game"], "the same ticket once more: refused"),
];

pub fn run(toolchain: &Toolchain, filter: Option<&str>) -> Result<(), Failure> {
    // So that their times are those of their tests.
    build(toolchain)?;
    println!("{:<14} {:>7} {:>8} {:>8}", "under Wine", "passed", "skipped", "seconds");
    let mut failed = Vec::new();
    for suite in SUITES {
        match suite.run(toolchain, filter) {
            Ok(Outcome { tally, took }) => {
                let seconds = took.as_secs_f64();
                println!("{:<14} {:>7} {:>8} {seconds:>8.1}", suite.name, tally.passed, tally.skipped);
            }
            Err(error) => {
                println!("{:<14} FAILED", suite.name);
                eprintln!("{error}");
                failed.push(suite.name);
            }
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("tests failed under Wine: {}", failed.join(", ")).into()),
    }
}

/// As the suites ask for it, so that nothing is built twice; and what the tests of the commands run their programs by.
pub fn build(toolchain: &Toolchain) -> Result<(), Failure> {
    let leash: &[&str] = &["build", "--package", "pogu-port", "--example", "leash"];
    let tests = SUITES.iter().filter(|suite| !suite.arguments.contains(&"--doc"));
    let tests = tests.map(|suite| [&["test", "--no-run"], suite.arguments].concat());
    for arguments in [leash.to_vec()].into_iter().chain(tests) {
        let mut command = toolchain.cargo()?;
        command.args(arguments).args(["--locked", "--quiet"]);
        checked(&mut command).map_err(|error| format!("the tests do not build for Windows: {error}"))?;
    }
    Ok(())
}

impl Suite {
    fn run(&self, toolchain: &Toolchain, filter: Option<&str>) -> Result<Outcome, Failure> {
        let mut command = toolchain.cargo()?;
        command.args(["test", "--locked", "--quiet", "--no-fail-fast"]).args(self.arguments);
        command.arg("--").args(filter);
        let outcome = finished(&mut command)?;
        let passed = outcome.tally.passed;
        match filter.is_some() || passed >= self.least {
            true => Ok(outcome),
            false => Err(format!("{}: {passed} tests ran, expected are {} or more", self.name, self.least).into()),
        }
    }
}

pub fn build_examples(toolchain: &Toolchain) -> Result<(), Failure> {
    for (arguments, _) in EXAMPLES {
        let named = arguments.iter().take_while(|argument| **argument != "--");
        checked(toolchain.cargo()?.args(["build", "--locked", "--quiet"]).args(named))?;
    }
    Ok(())
}

pub fn examples(toolchain: &Toolchain) -> Result<(), Failure> {
    for (arguments, expected) in EXAMPLES {
        let began = Instant::now();
        let mut command: Command = toolchain.cargo()?;
        let said = checked(command.args(["run", "--locked", "--quiet"]).args(arguments))?;
        if !said.contains(expected) {
            return Err(format!("{command:?} does not say {expected:?}:\n{said}").into());
        }
        let name = arguments.get(3).ok_or("an example has a name")?;
        println!("example {name}: {:.1} s", began.elapsed().as_secs_f64());
    }
    Ok(())
}
