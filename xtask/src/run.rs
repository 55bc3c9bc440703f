//! Running Cargo and reading what its tests report.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::Failure;

/// Cargo, as this task was started with it.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// What a run of tests came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Tally {
    /// Reads the output of one or several test binaries. Tests that cannot run say `SKIPPED` and pass.
    pub fn read(said: &str) -> Tally {
        let mut tally = Tally::default();
        for line in said.lines() {
            tally.skipped += usize::from(line.contains("SKIPPED"));
            let Some((_, counts)) = line.split_once("test result: ") else { continue };
            let words: Vec<&str> = counts.split([' ', ';']).collect();
            let count = |name: &str| {
                let at = words.iter().position(|word| *word == name)?;
                words.get(at.checked_sub(1)?)?.parse::<usize>().ok()
            };
            tally.passed += count("passed").unwrap_or(0);
            tally.failed += count("failed").unwrap_or(0);
        }
        tally.passed = tally.passed.saturating_sub(tally.skipped);
        tally
    }
}

/// The end of a command that runs tests.
pub struct Outcome {
    pub tally: Tally,
    pub took: Duration,
}

/// Runs the command to its end; at least one test has to have passed. What it said is shown only if it failed.
pub fn tests(command: &mut Command) -> Result<Outcome, Failure> {
    let outcome = finished(command)?;
    match outcome.tally.passed {
        0 => Err(format!("{command:?}: no test ran").into()),
        _ => Ok(outcome),
    }
}

/// The same, also where no test may be left.
pub fn finished(command: &mut Command) -> Result<Outcome, Failure> {
    let began = Instant::now();
    let output = command.output()?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let tally = Tally::read(&said);
    if !output.status.success() {
        return Err(format!("{command:?} ended with {}:\n{said}", output.status).into());
    }
    if tally.failed > 0 {
        return Err(format!("{command:?} says {tally:?}:\n{said}").into());
    }
    Ok(Outcome { tally, took: began.elapsed() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up_and_skipped_tests_do_not_count_as_passed() {
        let said = "test a ... ok\nSKIPPED b: refused\ntest result: ok. 7 passed; 0 failed; 0 ignored; 0 measured\n\
            console: test result: FAILED. 2 passed; 1 failed; 0 ignored";
        assert_eq!(Tally::read(said), Tally { passed: 8, failed: 1, skipped: 1 });
    }
}
