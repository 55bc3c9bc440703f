//! The tests of the port and the engine, run in another way: with guarded memory, without a form of io_uring.
//!
//! Cargo unites features over the packages that are asked for, and a dependency with other features makes everything above it
//! another build: `cargo test --package pogu` does not use what `cargo test` has built. So all packages are asked for, and
//! Cargo's runner lets only the programs of these two run.
//!
//! ```text
//!   cargo test ---> cargo xtask port-and-engine target/debug/deps/rooms-4711 ...      CARGO_PKG_NAME=pogu: becomes it
//!              '--> cargo xtask port-and-engine target/debug/deps/pogu_wire-0815 ...  CARGO_PKG_NAME=pogu-wire: ends
//! ```

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::Failure;
use crate::run::{Outcome, cargo, tests};

const PACKAGES: [&str; 2] = ["pogu-port", "pogu"];

/// They guard what the kernel may touch in any case, which calls the kernel for each page, and take a third of all time.
pub const GUARDED_IN_ANY_CASE: [&str; 2] =
    ["a_hundred_stops_at_random_moments_under_load", "a_thousand_starts_and_stops"];

#[derive(clap::Args)]
pub struct Options {
    /// A program of tests, and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Becomes the program, if it is one of the port's or the engine's.
pub fn run(options: &Options) -> Result<(), Failure> {
    let package = std::env::var("CARGO_PKG_NAME")
        .map_err(|error| format!("CARGO_PKG_NAME: {error}: this is a runner for `cargo test`"))?;
    if !PACKAGES.contains(&package.as_str()) {
        return Ok(());
    }
    let (program, arguments) = options.command.split_first().ok_or("no program")?;
    // Returns only if the program cannot be run.
    Err(Command::new(program).args(arguments).exec().into())
}

/// `cargo test` of these two packages; `inner` is a task of this program that runs what it is given.
pub fn command(inner: Option<&str>) -> Result<Command, Failure> {
    let program = std::env::current_exe()?;
    let program = program.to_str().ok_or("this program's path is not text")?;
    let runner = [Some(program), Some("port-and-engine"), inner.map(|_| program), inner];
    let runner: Vec<String> = runner.iter().flatten().map(|word| format!("'{word}'")).collect();
    let mut command = cargo();
    command.arg("test").args(["--config", &format!("target.'cfg(all())'.runner = [{}]", runner.join(", "))]);
    Ok(command)
}

/// `cargo xtask guarded`: all of them with memory that may not be touched when the kernel or the engine has no right to it.
pub fn run_guarded() -> Result<(), Failure> {
    let mut command = command(None)?;
    command.args(["--tests", "--"]).args(GUARDED_IN_ANY_CASE.iter().flat_map(|name| ["--skip", name]));
    let Outcome { tally, took } = tests(command.env("POGU_GUARDED", "1"))?;
    println!("guarded memory: {} passed, {} skipped, {:.0} s", tally.passed, tally.skipped, took.as_secs_f64());
    Ok(())
}
