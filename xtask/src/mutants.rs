//! `cargo xtask mutants`: one mistake at a time in the code of a piece (a comparison turned round, a call left out, an answer
//! made up), and a look whether a test fails. What no test sees, no test protects.
//!
//! A piece is named files and the tests that have to see. They are two rounds where a build of all would cost more than what is
//! learnt: the second, which ends with storms, gets what the first has missed. Runs of hours: not in CI.

mod piece;
mod verdicts;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;
use crate::run::{cargo, checked};
use piece::{PIECES, Piece, Round};
use verdicts::Verdicts;

#[derive(clap::Args)]
pub struct Options {
    /// One piece: wire, pools, send-queue or life-cycle. Left out: all of them, one after the other.
    #[arg(long, value_parser = PIECES.map(|piece| piece.name))]
    only: Option<String>,
    /// Goes on where an earlier run was interrupted, or missed something: what it caught is not tried again.
    #[arg(long)]
    go_on: bool,
    /// One part of several, as `1/4`, counted from 0; of that the first round alone. `--go-on` does what is left.
    #[arg(long)]
    shard: Option<String>,
}

/// What has to be caught of each piece.
const SHARE_MIN: f64 = 0.9;

/// The end of `cargo mutants` when mutants were missed, and when tests hung.
const FOUND: [i32; 3] = [0, 2, 3];

pub fn run(options: &Options) -> Result<(), Failure> {
    installed()?;
    let mut short = Vec::new();
    for piece in PIECES.iter().filter(|piece| options.only.as_ref().is_none_or(|only| only == piece.name)) {
        let verdicts = judge(piece, options)?;
        print!("{}\n{verdicts}", piece.name);
        if verdicts.share() < SHARE_MIN {
            short.push(piece.name);
        }
    }
    match short.as_slice() {
        [] => Ok(()),
        pieces => Err(format!("less than {:.0} % are caught in {}", SHARE_MIN * 100.0, pieces.join(", ")).into()),
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
    let (lists, remembered) = (output.join("mutants.out"), output.join("verdicts.txt"));
    if !options.go_on && output.exists() {
        std::fs::remove_dir_all(&output)?;
    }
    std::fs::create_dir_all(&output)?;
    let mut verdicts = Verdicts::of(&checked(mutants(piece)?.arg("--list"))?);
    if remembered.exists() {
        verdicts.remember(&remembered)?;
    }
    if lists.exists() {
        // Of a run that did not come to its end.
        verdicts.read(&lists)?;
    }
    // A part of what the first round missed would be another part of the whole.
    let rounds = if options.shard.is_some() { 1 } else { piece.rounds.len() };
    for (number, round) in piece.rounds.iter().take(rounds).enumerate() {
        let mut command = try_all(piece, round, &output)?;
        if number > 0 || options.go_on {
            command.arg("--iterate");
        }
        if let Some(shard) = &options.shard {
            command.args(["--shard", shard]);
        }
        let skipped = round.skipped.iter().flat_map(|name| ["--skip", name]);
        command.args(["--", "--"]).args(round.only).args(skipped);
        let status = command.status()?;
        if !status.code().is_some_and(|code| FOUND.contains(&code)) {
            return Err(format!("{command:?} ended with {status}").into());
        }
        verdicts.read(&lists)?;
        verdicts.write(&remembered)?;
    }
    Ok(verdicts)
}

/// The lists of a piece lie beside what is built.
fn output(piece: &Piece) -> Result<PathBuf, Failure> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    Ok(std::path::absolute(root()?.join(target))?.join("mutants-of").join(piece.name))
}

fn root() -> Result<&'static Path, Failure> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or_else(|| "no workspace".into())
}

fn mutants(piece: &Piece) -> Result<Command, Failure> {
    let mut command = cargo();
    command.arg("mutants").args(piece.files.iter().flat_map(|file| ["--file", file])).current_dir(root()?);
    Ok(command)
}

fn try_all(piece: &Piece, round: &Round, output: &Path) -> Result<Command, Failure> {
    let mut command = mutants(piece)?;
    // A test hangs after five times what it takes without a mutant.
    command.args(["--no-shuffle", "--profile", "mutants", "--jobs", "1", "--minimum-test-timeout", "60"]);
    command.arg("--output").arg(output).args(["--test-package", round.packages]);
    // Of the build as well as of the run: what is not run is not built.
    command.arg("--cargo-arg=--lib");
    command.args(round.suites.iter().map(|suite| format!("--cargo-arg=--test={suite}")));
    // The next mutant differs in one line.
    command.env("CARGO_INCREMENTAL", "1");
    Ok(command)
}
