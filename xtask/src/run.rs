//! Running Cargo and reading what its tests report.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Failure;

/// Cargo, as this task was started with it.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The folder of the workspace.
pub fn root() -> Result<&'static Path, Failure> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or_else(|| "no workspace".into())
}

/// Runs a command that must succeed. What it said.
pub fn checked(command: &mut Command) -> Result<String, Failure> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            Err(format!("{command:?} ended with {}:\n{said}", output.status).into())
        }
    }
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
    let mut output = unnamed_file()?;
    // Not a pipe: what the command leaves running would hold that open, and this would wait for it.
    let status = command.stdout(output.try_clone()?).stderr(output.try_clone()?).status()?;
    let mut said = Vec::new();
    output.rewind()?;
    output.read_to_end(&mut said)?;
    let said = String::from_utf8_lossy(&said).into_owned();
    let tally = Tally::read(&said);
    if !status.success() {
        return Err(format!("{command:?} ended with {status}:\n{said}").into());
    }
    if tally.failed > 0 {
        return Err(format!("{command:?} says {tally:?}:\n{said}").into());
    }
    Ok(Outcome { tally, took: began.elapsed() })
}

/// A file that nobody else finds, and that goes with its handle.
fn unnamed_file() -> std::io::Result<File> {
    static MADE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = MADE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("pogu-xtask-{}-{number}", std::process::id()));
    let file = File::options().read(true).append(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_leaves_running_is_not_waited_for() {
        let began = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "(read line) <&0 & echo 'test result: ok. 3 passed; 0 failed'; echo SKIPPED one >&2"]);
        let (never, _held_open) = std::io::pipe().expect("a pipe");
        let outcome = finished(command.stdin(never)).expect("it ends");
        assert_eq!(outcome.tally, Tally { passed: 2, failed: 0, skipped: 1 });
        assert!(began.elapsed() < Duration::from_secs(10), "what it left waits for input for ever");
    }

    #[test]
    fn results_are_added_up_and_skipped_tests_do_not_count_as_passed() {
        let said = "test a ... ok\nSKIPPED b: refused\ntest result: ok. 7 passed; 0 failed; 0 ignored; 0 measured\n\
            console: test result: FAILED. 2 passed; 1 failed; 0 ignored";
        assert_eq!(Tally::read(said), Tally { passed: 8, failed: 1, skipped: 1 });
    }
}
