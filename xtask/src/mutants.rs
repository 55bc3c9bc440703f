//! `cargo xtask mutants`: one mistake at a time in the code of a piece (a comparison turned round, a call left out, an answer
//! made up), and a look whether a test fails. What no test sees, no test protects.
//!
//! A piece is named files and the tests that have to see. They are several rounds where a build of all would cost more than what
//! is learnt: each gets what the one before has missed, and the last ends with storms. Runs of hours: not in CI.
//!
//! A piece passes if all of it was tried and enough is caught. A test that does not end has seen something, or the machine was
//! busy: what hung is tried once more at the end of its round, and counts as caught if it hangs again.

mod page;
mod piece;
mod verdicts;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::Failure;
use crate::run::{cargo, checked, root};
use piece::{PIECES, Piece, Round};
use verdicts::Verdicts;

#[derive(clap::Args)]
pub struct Options {
    /// One piece: wire, pools, send-queue or life-cycle. Left out: all of them, one after the other.
    #[arg(long, value_parser = PIECES.map(|piece| piece.name))]
    only: Option<String>,
    /// Goes on in the round in which an earlier run was interrupted, or with what it missed: what it caught is not tried again.
    #[arg(long)]
    go_on: bool,
    /// One part of several, as `1/4`, counted from 0; of that the first round alone. A part is not judged. `--go-on` does what is
    /// left.
    #[arg(long)]
    shard: Option<String>,
}

/// The end of `cargo mutants` when mutants were missed, and when tests hung.
const FOUND: [i32; 3] = [0, 2, 3];

pub fn run(options: &Options) -> Result<(), Failure> {
    page::write()?;
    installed()?;
    let mut short = Vec::new();
    for piece in PIECES.iter().filter(|piece| options.only.as_ref().is_none_or(|only| only == piece.name)) {
        let verdicts = judge(piece, options)?;
        print!("{}\n{verdicts}", piece.name);
        if options.shard.is_none() {
            short.extend(verdicts.shortfall().map(|shortfall| format!("{}: {shortfall}", piece.name)));
        }
    }
    match short.is_empty() {
        true => Ok(()),
        false => Err(short.join("\n").into()),
    }
}

fn installed() -> Result<(), Failure> {
    let asked = cargo().args(["mutants", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    match asked.success() {
        true => Ok(()),
        false => Err("cargo-mutants is not installed: `cargo install cargo-mutants --locked`".into()),
    }
}

fn judge(piece: &Piece, options: &Options) -> Result<Verdicts, Failure> {
    let output = output(piece)?;
    let (lists, remembered, begun) =
        (output.join("mutants.out"), output.join("verdicts.txt"), output.join("round.txt"));
    if !options.go_on && output.exists() {
        std::fs::remove_dir_all(&output)?;
    }
    std::fs::create_dir_all(&output)?;
    let mut verdicts = Verdicts::of(&checked(mutants(piece)?.arg("--list"))?);
    if remembered.exists() {
        verdicts.remember(&remembered)?;
    }
    if lists.exists() {
        // Of a run that did not come to its end. If this one does not either, its lists are all that is found then.
        verdicts.read(&lists)?;
        verdicts.write(&remembered)?;
    }
    // A part of what the first round missed would be another part of the whole.
    let rounds = if options.shard.is_some() { 1 } else { piece.rounds.len() };
    let interrupted = std::fs::read_to_string(&begun).ok().and_then(|number| number.parse().ok()).unwrap_or(0);
    for (number, round) in piece.rounds.iter().enumerate().take(rounds).skip(interrupted.min(rounds - 1)) {
        std::fs::write(&begun, number.to_string())?;
        let mut which = Vec::new();
        if number > 0 || options.go_on {
            which.push("--iterate".to_owned());
        }
        if let Some(shard) = &options.shard {
            which.extend(["--shard".to_owned(), shard.clone()]);
        }
        // It would hang in the next round as well.
        which.extend(verdicts.hung_again().into_iter().flat_map(|mutant| ["--exclude-re".to_owned(), exactly(mutant)]));
        touch(&verdicts)?;
        attempt(piece, round, &which, &output)?;
        touch(&verdicts)?;
        verdicts.read(&lists)?;
        verdicts.write(&remembered)?;
        let which: Vec<String> =
            verdicts.hung().into_iter().flat_map(|mutant| ["--re".to_owned(), exactly(mutant)]).collect();
        if !which.is_empty() {
            let again = output.join("again");
            std::fs::create_dir_all(&again)?;
            attempt(piece, round, &which, &again)?;
            touch(&verdicts)?;
            verdicts.read_again(&again.join("mutants.out"))?;
            verdicts.write(&remembered)?;
        }
    }
    // Whoever goes on from here tries what was missed again, in all rounds.
    std::fs::remove_file(&begun)?;
    Ok(verdicts)
}

/// Has cargo build the files of the piece anew. In a target directory that all share, it would take the last mutant for them: that
/// was built later than they were written, from a copy that cargo does not tell from this workspace.
fn touch(verdicts: &Verdicts) -> Result<(), Failure> {
    for file in verdicts.files() {
        let file = std::fs::File::options().append(true).open(root()?.join(file))?;
        file.set_modified(SystemTime::now())?;
    }
    Ok(())
}

/// A pattern that this name alone matches.
fn exactly(mutant: &str) -> String {
    let escape = |letter: char| "\\.+*?()|[]{}^$".contains(letter).then_some('\\');
    let escaped: String = mutant.chars().flat_map(|letter| escape(letter).into_iter().chain([letter])).collect();
    format!("^{escaped}$")
}

/// Shows those mutants of a piece that `which` names to the tests of a round.
fn attempt(piece: &Piece, round: &Round, which: &[String], output: &Path) -> Result<(), Failure> {
    let limit = LIMIT_TIMES * time_without(round)?.as_secs() + LIMIT_LEAST_SECONDS;
    let mut command = try_all(piece, round, output)?;
    command.args(which).arg(format!("--timeout={limit}"));
    command.arg("--").args(beyond(round)).arg("--").args(named(round));
    let status = command.status()?;
    match status.code().is_some_and(|code| FOUND.contains(&code)) {
        true => Ok(()),
        false => Err(format!("{command:?} ended with {status}").into()),
    }
}

/// The lists of a piece lie beside what is built.
fn output(piece: &Piece) -> Result<PathBuf, Failure> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    Ok(std::path::absolute(root()?.join(target))?.join("mutants-of").join(piece.name))
}

fn mutants(piece: &Piece) -> Result<Command, Failure> {
    let mut command = cargo();
    command.arg("mutants").args(piece.files.iter().flat_map(|file| ["--file", file])).current_dir(root()?);
    Ok(command)
}

/// A round hangs after so many times what it takes without a mutant, and as many seconds more.
const LIMIT_TIMES: u64 = 5;
const LIMIT_LEAST_SECONDS: u64 = 20;

/// How long the tests of a round take where nothing is changed: they pass, or nothing can be learnt of them. cargo-mutants would
/// find that out of the changed package alone, which knows no suites of others.
fn time_without(round: &Round) -> Result<Duration, Failure> {
    let tests = || -> Result<Command, Failure> {
        let mut command = cargo();
        command.args(["test", "--profile", "mutants", "--lib"]).current_dir(root()?).env("CARGO_INCREMENTAL", "1");
        command.args(round.packages.split(',').map(|package| format!("--package={package}")));
        command.args(round.suites.iter().map(|suite| format!("--test={suite}"))).args(beyond(round));
        Ok(command)
    };
    checked(tests()?.arg("--no-run"))?;
    let began = Instant::now();
    checked(tests()?.arg("--").args(named(round)))?;
    Ok(began.elapsed())
}

/// The suites that only the run is told of: cargo-mutants builds the changed package first, which has none of these.
fn beyond(round: &Round) -> impl Iterator<Item = String> {
    round.beyond.iter().map(|suite| format!("--test={suite}"))
}

/// Which tests of the suites.
fn named(round: &Round) -> impl Iterator<Item = &'static str> {
    round.only.iter().copied().chain(round.skipped.iter().flat_map(|name| ["--skip", name]))
}

fn try_all(piece: &Piece, round: &Round, output: &Path) -> Result<Command, Failure> {
    let mut command = mutants(piece)?;
    command.args(["--no-shuffle", "--profile", "mutants", "--jobs", "1", "--baseline", "skip"]);
    command.arg("--output").arg(output).args(["--test-package", round.packages]);
    // Of the build as well as of the run: what is not run is not built.
    command.arg("--cargo-arg=--lib");
    command.args(round.suites.iter().map(|suite| format!("--cargo-arg=--test={suite}")));
    // The next mutant differs in one line.
    command.env("CARGO_INCREMENTAL", "1");
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_of_a_mutant_has_no_signs_of_its_own() {
        let mutant = "a.rs:1:2: replace Held<T>::get -> Option<&T> with Some(&(1 + 2)) in x[..]";
        let pattern = r"^a\.rs:1:2: replace Held<T>::get -> Option<&T> with Some\(&\(1 \+ 2\)\) in x\[\.\.\]$";
        assert_eq!(exactly(mutant), pattern.replace(r"\\", r"\"));
    }
}
